/* SPDX-License-Identifier: MIT */
/*
 * Shows a walk as HTML: each structure folds open to a table of its fields, with where each is in the
 * file and its bytes, or to a table of rows. Like the other emitters it knows no structure of the
 * format. What was left out of a list is said where the list ends.
 */
#ifndef CMD_OUT_HTML_EMITTER_H
#define CMD_OUT_HTML_EMITTER_H

#include "out/spool.h"

#include <qcow2/walk.h>

#define HTML_TITLE_MAX 160
#define HTML_LABEL_MAX 320

enum html_table { HTML_NO_TABLE, HTML_FIELDS, HTML_ROWS };

struct html_emitter {
	/* Set by the caller. */
	struct spool *out;
	const char *command; /* a line for a shell that shows what is left out */
	/* Zeros at first; html_emitter_finish() releases them. */
	struct spool body;  /* of the structure that is open: its label is found in it */
	struct spool heads; /* the names of the row that is told */
	struct spool cells, bytes;
	struct spool columns; /* the names of the table of rows that is open */
	char title[HTML_TITLE_MAX];
	char label[HTML_LABEL_MAX]; /* escaped; what tells the structure from others */
	bool labelled;              /* by its name, which is better than anything else */
	unsigned values;            /* told of the structure */
	uint64_t offset_bytes;      /* where it is */
	enum html_table table;
	bool in_row, skipping;
	bool after_row; /* what ended last was a row */
	uint64_t row, row_offset_bytes;
	unsigned column_count;
	uint64_t same;  /* rows that say what the one before them said */
	uint64_t shown; /* structures, for the page */
};

extern const struct qcow2_visitor html_visitor;

void html_emitter_init(struct html_emitter *emitter, struct spool *out, const char *command);

/* Ends the last structure and releases everything. */
void html_emitter_finish(struct html_emitter *emitter);

#endif
