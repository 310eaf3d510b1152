/* SPDX-License-Identifier: MIT */
/* See wrap.h. */
#include "out/wrap.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <qcow2/number.h>
#include <qcow2/text.h>

struct range {
	uint32_t first;
	uint32_t last;
};

/* Characters of double width (Unicode 15, East Asian Width W and F), by blocks. */
static const struct range wide[] = {
	{0x1100, 0x115f},   {0x2e80, 0x303e},   {0x3041, 0xa4cf},   {0xa960, 0xa97f},
	{0xac00, 0xd7a3},   {0xf900, 0xfaff},   {0xfe30, 0xfe6f},   {0xff00, 0xff60},
	{0xffe0, 0xffe6},   {0x1f300, 0x1f64f}, {0x1f680, 0x1f6ff}, {0x1f900, 0x1f9ff},
	{0x20000, 0x3fffd},
};

/* Accents that stand on the character before them, by blocks. */
static const struct range accents[] = {
	{0x0300, 0x036f}, {0x0483, 0x0489}, {0x0591, 0x05bd}, {0x1ab0, 0x1aff},
	{0x1dc0, 0x1dff}, {0x20d0, 0x20ff}, {0xfe20, 0xfe2f},
};

static bool within(const struct range *ranges, size_t count, uint32_t codepoint)
{
	for (size_t i = 0; i < count; i++)
		if (codepoint >= ranges[i].first && codepoint <= ranges[i].last)
			return true;
	return false;
}

static unsigned character_columns(uint32_t codepoint)
{
	if (codepoint < 0x300)
		return 1;
	if (within(accents, sizeof(accents) / sizeof(accents[0]), codepoint))
		return 0;
	return within(wide, sizeof(wide) / sizeof(wide[0]), codepoint) ? 2 : 1;
}

/* The length of the sequence that sets colours at the start of a text, or 0 if there is none. */
static size_t colour_length(const char *text, size_t size)
{
	size_t length = 2;

	if (size < 3 || text[0] != '\033' || text[1] != '[')
		return 0;
	while (length < size && text[length] >= 0x20 && text[length] < 0x40)
		length++;
	return length < size ? length + 1 : 0;
}

static unsigned columns_of(const char *text, size_t size)
{
	unsigned columns = 0;
	uint32_t codepoint;
	bool valid;

	for (size_t at = 0, used; at < size; at += used) {
		used = colour_length(text + at, size - at);
		if (used > 0)
			continue;
		used = qcow2_text_next((struct qcow2_bytes){(const uint8_t *)text + at, size - at},
				       &codepoint, &valid);
		columns += character_columns(codepoint);
	}
	return columns;
}

unsigned text_columns(const char *text)
{
	return columns_of(text, strlen(text));
}

unsigned terminal_columns(void)
{
	const char *columns = getenv("COLUMNS");
	struct winsize size = {0};
	struct qcow2_error err;
	uint64_t number = 0;

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
		number = size.ws_col;
	else if (!columns || qcow2_number_parse(columns, UINT32_MAX, &number, &err) || number == 0)
		return COLUMNS_UNKNOWN;
	if (number < COLUMNS_LEAST)
		return COLUMNS_LEAST;
	return number > COLUMNS_MOST ? COLUMNS_MOST : (unsigned)number;
}

unsigned terminal_rows(void)
{
	struct winsize size = {0};

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) || size.ws_row == 0)
		return ROWS_UNKNOWN;
	return size.ws_row > ROWS_MOST ? ROWS_MOST : size.ws_row;
}

/* Whether a text fits as it is: no character takes more columns than bytes. */
static bool fits(const char *text, unsigned column, unsigned width)
{
	size_t size = strlen(text);

	return column + size <= width && !strchr(text, '\n') &&
	       (size == 0 || text[size - 1] != ' ');
}

/*
 * Writes words from `column` on. `blanks` are still to be written before the first one, so that no
 * line ends with blanks.
 */
static void wrap(struct spool *out, const char *text, unsigned column, size_t blanks,
		 const unsigned limits[2])
{
	unsigned hanging = limits[0], width = limits[1];
	bool any = false; /* whether the line has a word */

	if (text[0] != '\0' && fits(text, column, width)) {
		spool_fill(out, ' ', blanks);
		spool_text(out, text);
		text = "";
	}
	while (*text) {
		size_t length = strcspn(text, " \n");
		unsigned columns = columns_of(text, length);

		if (length > 0 && (any || column > hanging) && column + columns > width) {
			spool_text(out, "\n");
			column = hanging;
			blanks = hanging;
			any = false;
		}
		if (length > 0) {
			any = true;
			spool_fill(out, ' ', blanks);
			spool_write(out, text, length);
			blanks = 0;
		}
		column += columns;
		text += length;
		if (*text == '\n') {
			spool_text(out, "\n");
			column = hanging;
			blanks = hanging;
			any = false;
			text++;
		}
		length = strspn(text, " ");
		column += (unsigned)length;
		blanks += length;
		text += length;
	}
	spool_text(out, "\n");
}

void wrap_text(struct spool *out, const char *text, unsigned first, unsigned hanging,
	       unsigned width)
{
	wrap(out, text, first, first, (const unsigned[2]){hanging, width});
}

void wrap_rest(struct spool *out, const char *text, unsigned column, unsigned hanging,
	       unsigned width)
{
	wrap(out, text, column, 0, (const unsigned[2]){hanging, width});
}

void wrap_spool(struct spool *out, struct spool *line, unsigned first, unsigned hanging,
		unsigned width)
{
	spool_write(line, "", 1);
	if (line->errnum == 0)
		wrap_text(out, line->kept, first, hanging, width);
	else
		out->errnum = line->errnum;
	line->size = 0;
}

void wrap_anywhere(struct spool *out, const char *text, unsigned indent, unsigned width)
{
	const char *end = text + strlen(text);
	char character[8];

	do {
		unsigned used = indent;
		bool any = false; /* a line has a character, however narrow the terminal is */

		spool_fill(out, ' ', indent);
		while (text < end) {
			struct qcow2_bytes rest = {(const uint8_t *)text, (size_t)(end - text)};
			uint32_t codepoint;
			bool valid;
			size_t size = qcow2_text_next(rest, &codepoint, &valid);

			snprintf(character, sizeof(character), "%.*s", (int)size, text);
			used += text_columns(character);
			if (any && used > width)
				break;
			spool_write(out, text, size);
			text += size;
			any = true;
		}
		spool_text(out, "\n");
	} while (text < end);
}
