/* SPDX-License-Identifier: MIT */
/* The pages that a walk can be shown as. None of them knows a structure of the format. */
#ifndef CMD_OUT_EMITTER_H
#define CMD_OUT_EMITTER_H

#include "out/json.h"
#include "out/problem_log.h"
#include "out/spool.h"

#include <qcow2/walk.h>

#define ROW_COLUMNS_MAX 16
#define ROW_TEXT_MAX    2048

/* What both pages can show beside values. */
struct emitter_options {
	const char *file_name;
	bool offsets; /* where each field is */
	bool hex;     /* its bytes */
	bool colour;
};

/* Lines for people. */
struct text_emitter {
	struct emitter_options options;
	struct spool *out;
	struct problem_log *problems;
	bool started; /* something was printed: the next heading wants an empty line before it */
	bool in_row;
	bool row_heading; /* the list's heading was printed */
	size_t columns;
	char names[ROW_COLUMNS_MAX][32];
	char row[ROW_TEXT_MAX]; /* the cells of the row, one after another */
	size_t row_size;
	size_t cells[ROW_COLUMNS_MAX]; /* where each cell starts in row */
	uint64_t row_index;
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

/* Prints the problems that were collected, as the last part of the page. */
void text_emitter_problems(struct text_emitter *emitter);

#endif
