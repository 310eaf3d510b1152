/* SPDX-License-Identifier: MIT */
/* What qcow2 bitmap list knows of the bitmaps of an image, and the pages that it makes of it. */
#ifndef CMD_BITMAP_LIST_H
#define CMD_BITMAP_LIST_H

#include "bitmap/run.h"

/* The most remarks below a table. */
#define LIST_NOTES 32

/* The list of one image, and the bitmap that is looked at. */
struct list {
	struct bitmap_run *run;
	const char *file;
	const struct qcow2_image *image;
	struct qcow2_source *source;
	struct qcow2_bitmap_health *health;
	bool all;          /* show what is counted of stale bitmaps, and the entries of tables */
	bool chain;        /* it is one of several */
	bool damaged;      /* one of the bitmaps is */
	bool image_in_use; /* by another program */
	uint64_t count;
	uint64_t omitted; /* bitmaps that the directory claims beyond what the file stores */
	const struct qcow2_bitmap *bitmap;
	struct qcow2_bitmap_totals totals;
	bool counted;
	uint64_t left;                /* bytes of tables and data that may still be read */
	struct qcow2_error uncounted; /* why it was not */
	const char *state;
	bool stale;                              /* in use, or inconsistent */
	const struct qcow2_problem_kind *why;    /* it cannot be used; NULL: it can */
	const struct qcow2_problem_kind *remark; /* it is not as it should be, and can be used */
	/* For people, below the table: what the states and problems of it mean. */
	char notes[LIST_NOTES][320];
	size_t note_count;
	bool notes_left_out;
};

/* The same for people. A row; what follows the last one; an image that has no bitmaps. */
void list_text_begin(struct list *list);
void list_text_row(struct list *list);
void list_text_end(struct list *list);

/* As JSON: what stands before the rows, a row, and what stands behind them. */
void list_json_begin(const struct list *list);
void list_json_row(const struct list *list);
void list_json_end(const struct list *list);

#endif
