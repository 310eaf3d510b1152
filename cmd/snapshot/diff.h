/* SPDX-License-Identifier: MIT */
/* One run of qcow2 snapshot diff: the two disks, and how their differences are shown. */
#ifndef CMD_SNAPSHOT_DIFF_H
#define CMD_SNAPSHOT_DIFF_H

#include "snapshot/snapshot.h"

#include <qcow2/mapping_diff.h>

#define DIFF_NAME_MOST 128

/* One of the two disks. */
struct diff_side {
	const char *file;
	const struct qcow2_image *image;
	struct qcow2_mapping *mapping;
	bool has_backing, has_data_file;
	char name[DIFF_NAME_MOST]; /* what it is, safe to print: "snapshot 1 (monday)" */
};

/* What ranges come to. */
struct diff_total {
	uint64_t ranges, bytes;
};

struct diff {
	struct snapshot_run *run;
	struct diff_side sides[2];
	/* The second image, if there is one. */
	const char *other_file;
	struct qcow2_source *other_source;
	struct qcow2_image *other_image;
	struct qcow2_mapping_diff *stream;
	struct diff_total total, alike; /* alike: of these, what reads the same on both sides */
	struct diff_total invalid;
	/* The first of these: which side, where, and the problem. */
	unsigned invalid_side;
	uint64_t invalid_at;
	enum qcow2_problem_id invalid_problem;
};

/*
 * Finds the next difference, and counts it. Returns 1 with *out set, which lives until the next call;
 * 0 at the end, or when nothing can be printed any more; or -1 with *err filled.
 */
int diff_next(struct diff *diff, const struct qcow2_mapping_difference **out,
	      struct qcow2_error *err);

/* Show all differences. Each returns 0, or -1 with *err filled. */
int diff_show_human(struct diff *diff, struct qcow2_error *err);
int diff_show_data(struct diff *diff, struct qcow2_error *err);

#endif
