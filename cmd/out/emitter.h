/* SPDX-License-Identifier: MIT */
/* The pages that a walk can be shown as. None of them knows a structure of the format. */
#ifndef CMD_OUT_EMITTER_H
#define CMD_OUT_EMITTER_H

#include "out/json.h"
#include "out/problem_log.h"
#include "out/progress.h"
#include "out/spool.h"
#include "out/text_table.h"

#include <qcow2/walk.h>

/* What both pages can show beside values. */
struct emitter_options {
	const char *file_name;
	bool offsets; /* where each field is */
	bool hex;     /* its bytes */
	bool colour;
	unsigned columns;          /* of the terminal that lines have to fit; 0: there is none */
	struct progress *progress; /* never NULL */
};

/* Lines for people. */
struct text_emitter {
	struct emitter_options options;
	struct spool *out;
	struct problem_log *problems;
	bool started;    /* something was printed: the next heading wants an empty line before it */
	char title[160]; /* heading of what comes next; it is not printed over nothing */
	unsigned depth;  /* blocks that are open */
	bool apart;      /* something was said of whole sections */
	bool in_row;
	bool skipping; /* the row that is told repeats the pending one */
	struct text_table table;
	struct rows_page *rows; /* of text_rows_visitor */
};

/* One JSON document. */
struct json_emitter {
	struct emitter_options options;
	struct json json;
	struct problem_log *problems;
	unsigned depth;
	bool in_row;
	struct rows_page *rows; /* of json_rows_visitor */
};

extern const struct qcow2_visitor text_visitor;
extern const struct qcow2_visitor json_visitor;
/* Print the same, much faster where tables are large. They show neither offsets nor bytes, and know
 * no terminal. The page of rows is the caller's, who closes it before the spool is finished. */
extern const struct qcow2_visitor text_rows_visitor;
extern const struct qcow2_visitor json_rows_visitor;

/* Ends the page: with the problems that were collected, or "none" if there was nothing at all. */
void text_emitter_finish(struct text_emitter *emitter);

#endif
