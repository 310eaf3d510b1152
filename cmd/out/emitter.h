/* SPDX-License-Identifier: MIT */
/* The pages that a walk can be shown as. None of them knows a structure of the format. */
#ifndef CMD_OUT_EMITTER_H
#define CMD_OUT_EMITTER_H

#include "out/json.h"
#include "out/problem_log.h"
#include "out/progress.h"
#include "out/spool.h"

#include <qcow2/walk.h>

#define TEXT_COLUMNS_MAX 16
#define TEXT_ROW_MAX     2048

/* What both pages can show beside values. */
struct emitter_options {
	const char *file_name;
	bool offsets; /* where each field is */
	bool hex;     /* its bytes */
	bool colour;
	struct progress *progress; /* never NULL */
};

/* A table that is being shown: its heading comes from its first row, and runs of rows that repeat
 * each other become one. */
struct text_table {
	bool in_row;
	bool heading;  /* it was printed */
	bool pending;  /* a row waits for those that repeat it */
	bool skipping; /* the row that is told repeats the pending one */
	size_t columns;
	char title[32];                   /* of the first column: what rows are counted by */
	char names[TEXT_COLUMNS_MAX][32]; /* of the others */
	unsigned widths[TEXT_COLUMNS_MAX];
	char row[TEXT_ROW_MAX]; /* the cells, one after another */
	size_t row_size;
	size_t cells[TEXT_COLUMNS_MAX]; /* where each starts in row */
	uint64_t first, last;           /* numbers of the pending rows */
};

/* Lines for people. */
struct text_emitter {
	struct emitter_options options;
	struct spool *out;
	struct problem_log *problems;
	bool started;    /* something was printed: the next heading wants an empty line before it */
	char title[160]; /* heading of what comes next; it is not printed over nothing */
	struct text_table table;
};

/* One JSON document. */
struct json_emitter {
	struct emitter_options options;
	struct json json;
	struct problem_log *problems;
	unsigned depth;
	bool in_row;
};

extern const struct qcow2_visitor text_visitor;
extern const struct qcow2_visitor json_visitor;

/* Ends the page: with the problems that were collected, or "none" if there was nothing at all. */
void text_emitter_finish(struct text_emitter *emitter);

#endif
