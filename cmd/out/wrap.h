/* SPDX-License-Identifier: MIT */
/*
 * Text in lines that fit the terminal: how wide it is, how many columns a text takes, and wrapping
 * by words. Sequences that set colours (ESC [ … m) take no columns.
 */
#ifndef CMD_OUT_WRAP_H
#define CMD_OUT_WRAP_H

#include "out/spool.h"

/* What terminal_columns() returns at least and at most, and if nobody knows the width. */
#define COLUMNS_LEAST   40U
#define COLUMNS_MOST    1000U
#define COLUMNS_UNKNOWN 80U

/*
 * The width of the terminal on standard output. If that is none, or does not tell its width: the
 * environment's COLUMNS, if it is a number, else COLUMNS_UNKNOWN. Narrower terminals count as
 * COLUMNS_LEAST wide: they wrap by themselves.
 */
unsigned terminal_columns(void);

/* What terminal_rows() returns if nobody knows the height, and at most. */
#define ROWS_UNKNOWN 24U
#define ROWS_MOST    1000U

/* The height of the terminal on standard output, or ROWS_UNKNOWN if that is none. */
unsigned terminal_rows(void);

/* The columns that a text takes on a terminal: 2 for characters of double width, 0 for accents. */
unsigned text_columns(const char *text);

/*
 * Writes a text in lines of at most `width` columns, and ends the last one. The first line begins
 * with `first` blanks, the others with `hanging`. A newline in the text ends a line; a word that is
 * longer than a line stands in one of its own and passes the width, so that it can be copied.
 */
void wrap_text(struct spool *out, const char *text, unsigned first, unsigned hanging,
	       unsigned width);

/* The same in the line that is begun: `column` columns of it are taken, no blanks are written. */
void wrap_rest(struct spool *out, const char *text, unsigned column, unsigned hanging,
	       unsigned width);

/*
 * Writes a text that has no blanks to wrap at, as a long name: in lines of at most `width` columns,
 * each indented so far, broken between any two characters. The last line is ended.
 */
void wrap_anywhere(struct spool *out, const char *text, unsigned indent, unsigned width);

/*
 * Wraps what was put together in another spool, which has no file behind it, and empties that. A
 * failure of `line` becomes one of `out`.
 */
void wrap_spool(struct spool *out, struct spool *line, unsigned first, unsigned hanging,
		unsigned width);

#endif
