/* SPDX-License-Identifier: MIT */
/*
 * One call of qcow2 report: what was asked for, and what was found out about the image. It is found
 * out once, then a page is made of it; if that is too large, another one that shows less.
 */
#ifndef CMD_REPORT_REPORT_H
#define CMD_REPORT_REPORT_H

#include "check/report.h"
#include "common/command.h"
#include "common/snapshot_table.h"
#include "info/image_info.h"
#include "layout/layout.h"
#include "out/progress.h"
#include "report/redact.h"

#include <qcow2/bitmap.h>
#include <qcow2/rescue.h>

/* What a page takes at most. */
#define REPORT_BYTES_MOST ((size_t)2 << 20)
/* The most snapshots and bitmaps that are looked at one by one. */
#define REPORT_ROWS_MOST 50U
/* Room for the text of an error, terminated. */
#define REPORT_WHY_MAX 256
/* The bytes of a name that are kept of a bitmap. */
#define REPORT_NAME_MOST 1024U

/* What a snapshot or a bitmap takes of the file. */
struct report_space {
	bool known;
	uint64_t referenced_bytes, exclusive_bytes, vm_state_bytes;
};

struct report_bitmap {
	uint64_t index;
	uint8_t name[REPORT_NAME_MOST];
	size_t name_size, name_omitted;
	struct qcow2_bitmap_dir_entry entry;
	const char *state;
	const struct qcow2_problem_kind *why, *remark; /* or NULL */
	bool counted;
	struct qcow2_bitmap_totals totals;
	char uncounted[REPORT_WHY_MAX]; /* why it was not */
	struct report_space space;
};

/* The lists of the page. */
struct report_lists {
	struct snapshot_table snapshots;
	struct report_space snapshot_space[REPORT_ROWS_MOST];
	struct report_bitmap *bitmaps; /* REPORT_ROWS_MOST of them */
	size_t bitmap_count;
	uint64_t bitmaps_total; /* as the image says */
	uint64_t entry_bytes[REPORT_ROWS_MOST], directory_bytes;
};

/* How much of all that the page shows. */
struct report_bounds {
	uint64_t rows;   /* of each list */
	size_t bytes;    /* of each value */
	uint64_t places; /* of each kind of problem, in the JSON document */
	bool structures; /* the dump is in it */
	bool data;       /* the JSON document has more than a summary */
};

struct report {
	const struct command *command;
	const char *path; /* of the image, as it was given */
	const char *file; /* as it is shown */
	const char *to;
	bool force, redacts;
	unsigned threads;
	time_t made, modified; /* modified: the file, if has_modified says so */
	bool has_modified;
	struct qcow2_source *source;
	struct qcow2_image *image; /* NULL: it cannot be opened */
	struct qcow2_error why;    /* for that reason */
	bool in_use;
	struct redaction redaction;
	bool redaction_differs;          /* a check of the image finds something else */
	const struct qcow2_image *shown; /* the image with or without its names */
	struct info info;
	struct check_report check;
	struct layout layout;
	bool has_layout;
	char no_layout[REPORT_WHY_MAX]; /* why there is none */
	struct report_lists lists;
	struct qcow2_rescue *rescue; /* of a file that is no image any more */
	struct problem_log problems; /* of the dump */
	struct progress progress;
	struct report_bounds bounds;
};

/* Finds out all that the page shows. 0, or -1 with *err filled. */
int report_look(struct report *report, struct qcow2_error *err);

/* The parts of that which have files of their own. */
int report_look_at_lists(struct report *report, struct qcow2_error *err);
void report_release_lists(struct report_lists *lists);

/* What the command ends with when the page was made. */
int report_exit_code(const struct report *report);

#endif
