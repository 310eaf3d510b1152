/* SPDX-License-Identifier: MIT */
/* See html.h. */
#include "out/html.h"

#include <inttypes.h>

#include "out/human.h"

void html_name(struct spool *out, struct qcow2_bytes name, size_t most)
{
	const struct qcow2_bytes shown = human_cut(name, most);

	if (name.size == 0) {
		spool_text(out, "<em>no name</em>");
		return;
	}
	spool_text(out, "<bdi>");
	xml_text(out, shown);
	spool_text(out, shown.size < name.size ? "…</bdi>" : "</bdi>");
}

void html_command(struct spool *out, const char *command)
{
	spool_text(out, "<code class=\"command\">");
	html_text(out, command);
	spool_text(out, "</code>");
}

void html_offset(struct spool *out, uint64_t offset)
{
	spool_print(out, "<code>0x%" PRIx64 "</code>", offset);
}

void html_begin_table(struct spool *out, const char *class, const char *caption)
{
	/* A box that scrolls has to be reached with the keyboard, and so needs a name. */
	spool_text(out, "<div class=\"scroll\" role=\"group\" tabindex=\"0\" aria-label=\"");
	html_text(out, caption);
	spool_print(out, "\"><table class=\"%s\"><caption>", class);
	html_text(out, caption);
	spool_text(out, "</caption>\n");
}

void html_end_table(struct spool *out)
{
	spool_text(out, "</tbody></table></div>\n");
}

void html_head(struct spool *out, const char *const *headings, size_t count)
{
	spool_text(out, "<thead><tr>");
	for (size_t i = 0; i < count; i++) {
		const bool number = headings[i][0] == '#';

		spool_print(out, "<th scope=\"col\"%s>", number ? " class=\"number\"" : "");
		html_text(out, headings[i] + number);
		spool_text(out, "</th>");
	}
	spool_text(out, "</tr></thead>\n<tbody>\n");
}

void html_size_cell(struct spool *out, bool known, uint64_t bytes)
{
	char human[HUMAN_MAX];

	if (known)
		spool_print(out, "<td class=\"number\" title=\"%" PRIu64 " bytes\">%s</td>", bytes,
			    human_size(bytes, human));
	else
		spool_text(out, "<td class=\"number\">not known</td>");
}

/* What stands for a character that could end the element, or NULL. Only strings of JSON have it. */
static const char *unit_of(char byte)
{
	switch (byte) {
	case '<':
		return "\\u003c";
	case '>':
		return "\\u003e";
	case '&':
		return "\\u0026";
	default:
		return NULL;
	}
}

void html_json(struct spool *out, const char *json, size_t size)
{
	size_t plain;

	for (size_t at = 0; at < size; at += plain) {
		for (plain = 0; at + plain < size && !unit_of(json[at + plain]); plain++)
			;
		spool_write(out, json + at, plain);
		if (at + plain < size)
			spool_text(out, unit_of(json[at + plain++]));
	}
}
