/* SPDX-License-Identifier: MIT */
/* Words for command lines that people copy to a shell. */
#include <qcow2/text.h>

#include "base/nbd_name.h"
#include "base/utf8.h"

#include <stdio.h>
#include <string.h>

/* A buffer that takes what fits. */
struct word {
	char *buffer;
	size_t size;
	size_t wanted;
};

static void put(struct word *word, const char *text, size_t length)
{
	for (size_t i = 0; i < length; i++, word->wanted++)
		if (word->wanted + 1 < word->size)
			word->buffer[word->wanted] = text[i];
}

static void put_text(struct word *word, const char *text)
{
	put(word, text, strlen(text));
}

static size_t end(const struct word *word)
{
	if (word->size > 0)
		word->buffer[word->wanted < word->size ? word->wanted : word->size - 1] = '\0';
	return word->wanted;
}

/* ---- what kind of word it is ---- */

static bool is_plain(char byte)
{
	return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
	       (byte >= '0' && byte <= '9') || (byte != '\0' && strchr("_-./:,+@", byte));
}

static bool all_plain(struct qcow2_bytes text)
{
	for (size_t i = 0; i < text.size; i++)
		if (!is_plain((char)text.data[i]))
			return false;
	return text.size > 0;
}

/*
 * Whether a text can stand between single quotes. A backslash can in most shells, but fish takes it
 * for an escape.
 */
static bool all_quotable(struct qcow2_bytes text)
{
	for (size_t at = 0; at < text.size;) {
		uint32_t codepoint;
		bool valid;

		at += q2_utf8_next(text.data + at, text.size - at, &codepoint, &valid);
		if (!valid || !q2_codepoint_printable(codepoint) || codepoint == '\\')
			return false;
	}
	return true;
}

/* ---- how it is written ---- */

static void put_quoted(struct word *word, struct qcow2_bytes text)
{
	put_text(word, "'");
	for (size_t i = 0; i < text.size; i++)
		if (text.data[i] == '\'')
			put_text(word, "'\\''");
		else
			put(word, (const char *)text.data + i, 1);
	put_text(word, "'");
}

/*
 * printf(1) of every system knows three octal digits; a shell's $'' is not known by all. An
 * interactive shell looks for the exclamation mark between double quotes as well.
 */
static void put_octal(struct word *word, const uint8_t *bytes, size_t count)
{
	char octal[8];

	for (size_t i = 0; i < count; i++) {
		snprintf(octal, sizeof(octal), "\\%03o", bytes[i]);
		if (bytes[i] != 0)
			put_text(word, octal);
	}
}

/*
 * The output of a command loses the newlines at its end, so that the word would name another file.
 * There $'' is better: a shell that does not know it finds no such file.
 */
static void put_octals(struct word *word, struct qcow2_bytes text)
{
	bool newline = text.data[text.size - 1] == '\n';
	size_t length;

	put_text(word, newline ? "$'" : "\"$(printf '");
	for (size_t at = 0; at < text.size; at += length) {
		const uint8_t *here = text.data + at;
		uint32_t codepoint;
		bool valid;

		length = q2_utf8_next(here, text.size - at, &codepoint, &valid);
		if (codepoint == '%' && !newline)
			put_text(word, "%%");
		else if (!valid || !q2_codepoint_printable(codepoint) || codepoint == '\\' ||
			 codepoint == '\'' || codepoint == '!' || (at == 0 && codepoint == '-'))
			put_octal(word, here, length);
		else
			put(word, (const char *)here, length);
	}
	put_text(word, newline ? "'" : "')\"");
}

static void put_word(struct word *word, struct qcow2_bytes text)
{
	if (all_plain(text))
		put(word, (const char *)text.data, text.size);
	else if (all_quotable(text))
		put_quoted(word, text);
	else
		put_octals(word, text);
}

size_t qcow2_text_shell(struct qcow2_bytes text, char *buffer, size_t size)
{
	struct word word = {.buffer = buffer, .size = size};

	put_word(&word, text);
	return end(&word);
}

size_t qcow2_text_shell_file(const char *file, char *buffer, size_t size)
{
	struct word word = {.buffer = buffer, .size = size};
	struct qcow2_bytes text = {(const uint8_t *)file, strlen(file)};
	const char *colon = strchr(file, ':'), *slash = strchr(file, '/');

	if (file[0] == '-' || (colon && (!slash || colon < slash) && !q2_is_nbd_name(file)))
		put_text(&word, "./");
	put_word(&word, text);
	return end(&word);
}
