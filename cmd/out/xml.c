/* SPDX-License-Identifier: MIT */
/* See xml.h. */
#include "out/xml.h"

/* Room for the escape of one character, terminated. */
#define ESCAPE_MAX 16

/* What stands for a character that has a meaning in XML, or NULL. */
static const char *entity(char byte)
{
	switch (byte) {
	case '&':
		return "&amp;";
	case '<':
		return "&lt;";
	case '>':
		return "&gt;";
	case '"':
		return "&quot;";
	case '\'':
		return "&#39;";
	default:
		return NULL;
	}
}

void xml_escaped(struct spool *out, const char *text)
{
	for (; *text; text++) {
		const char *name = entity(*text);

		if (name)
			spool_text(out, name);
		else
			spool_write(out, text, 1);
	}
}

void xml_text(struct spool *out, struct qcow2_bytes text)
{
	char escape[ESCAPE_MAX];
	uint32_t codepoint;
	bool valid;

	for (size_t at = 0, used; at < text.size; at += used) {
		struct qcow2_bytes rest = {text.data + at, text.size - at};

		used = qcow2_text_next(rest, &codepoint, &valid);
		qcow2_text_escape((struct qcow2_bytes){rest.data, used}, escape, sizeof(escape));
		xml_escaped(out, escape);
	}
}
