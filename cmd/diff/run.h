/* SPDX-License-Identifier: MIT */
/* One call of qcow2 diff, and what its pages share. */
#ifndef CMD_DIFF_RUN_H
#define CMD_DIFF_RUN_H

#include "common/command.h"
#include "out/json.h"
#include "out/spool.h"

#include <qcow2/diff.h>

/* Parts that were not compared are kept up to the end; what is beyond is counted. */
#define DIFF_GAPS_MAX 32

struct diff_gap {
	char path[64];
	char reason[160];
};

struct diff_run {
	const struct command *command;
	const char *files[2];
	const struct qcow2_image *images[2];
	bool as_json, colour;
	unsigned columns; /* of the terminal; lines of files are as long as they are */
	struct diff_gap gaps[DIFF_GAPS_MAX];
	size_t gap_count;
	bool in_element; /* its fields are told */
	size_t fields;   /* of it */
	struct qcow2_diff_result result;
	struct spool out;
	struct spool line; /* of a page, before it is fitted to the terminal */
	struct json json;
};

/* The pages. Both keep gaps. */
extern const struct qcow2_diff_visitor diff_text;
extern const struct qcow2_diff_visitor diff_json;
void diff_text_end(struct diff_run *run);
void diff_json_begin(struct diff_run *run);
void diff_json_end(struct diff_run *run);

/* Keeps what was not compared. */
int diff_keep_gap(void *opaque, const struct qcow2_diff_gap *gap);
/* Says it on standard error: one line for all parts with the same reason. */
void diff_tell_gaps(const struct diff_run *run);

/* Enough for what diff_entry_text() writes. */
#define DIFF_ENTRY_MAX 192

/*
 * What an entry of a range says, for people: "data 0x50000.. copied", "2", "missing". Returns text.
 */
const char *diff_entry_text(const struct diff_run *run, const struct qcow2_diff_range *range,
			    enum qcow2_diff_side side, char text[DIFF_ENTRY_MAX]);

/* The kind of an entry that has kinds: "data", "all-ones"; else NULL. */
const char *diff_entry_type(const struct diff_run *run, const struct qcow2_diff_range *range,
			    enum qcow2_diff_side side);

#endif
