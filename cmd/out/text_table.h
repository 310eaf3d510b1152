/* SPDX-License-Identifier: MIT */
/*
 * A table of the human output: rows of cells, with a heading from the first row. Rows that repeat
 * each other become one. Without a terminal each column has a fixed width. On a terminal the first
 * rows wait until it is known how wide their columns are; a table that does not fit the terminal
 * goes on in further lines, whose cells stand below those of the first one.
 */
#ifndef CMD_OUT_TEXT_TABLE_H
#define CMD_OUT_TEXT_TABLE_H

#include "out/spool.h"

#define TEXT_COLUMNS_MAX 16
#define TEXT_ROW_MAX     2048
#define TEXT_ROWS_KEPT   (32U << 10)

struct text_table {
	struct spool *out;
	unsigned columns;  /* of the terminal; 0: there is none */
	bool heading;      /* the first row has been told: names are set */
	bool pending;      /* a row waits for those that repeat it */
	bool settled;      /* the heading was printed, and with it all widths are known */
	size_t count;      /* columns of the row that is told */
	size_t name_count; /* of the first row */
	size_t most;       /* of the rows that are kept */
	char names[TEXT_COLUMNS_MAX][32]; /* that of column 0 is what rows are counted by */
	unsigned widths[TEXT_COLUMNS_MAX];
	unsigned lines[TEXT_COLUMNS_MAX]; /* in which line of a row each column stands */
	unsigned gap;                     /* blanks between columns */
	char row[TEXT_ROW_MAX];           /* the cells, one after another, terminated */
	size_t row_size;
	uint64_t first, last;      /* numbers of the pending rows */
	char kept[TEXT_ROWS_KEPT]; /* rows that wait: count in a byte, then the cells */
	size_t kept_size;
};

/* Starts row `number`. If it is the first one, `title` is what rows are counted by. */
void text_table_begin_row(struct text_table *table, const char *title, uint64_t number);

/* Adds a cell. What does not fit a row is left out. */
void text_table_cell(struct text_table *table, const char *name, const char *text);

/*
 * How many columns cell `count`, from 0 for what stands behind the row's number, comes after the
 * begin of the one before it, without a terminal; at most TEXT_WIDTH_MOST. The table has a heading.
 */
#define TEXT_WIDTH_MOST 32
unsigned text_table_place(const struct text_table *table, size_t count);

/* Prints, or keeps, the row that waits, if there is one. */
void text_table_flush(struct text_table *table);

/* Prints all that is kept, and forgets the heading: what comes is another table. */
void text_table_end(struct text_table *table);

#endif
