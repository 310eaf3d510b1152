/* SPDX-License-Identifier: MIT */
/* Keeps what a repair of bitmaps tells, to show it on the page about the plan. */
#ifndef CMD_BITMAP_REPAIRS_H
#define CMD_BITMAP_REPAIRS_H

#include "out/json.h"
#include "out/spool.h"

#include <qcow2/bitmap_edit.h>

#define REPAIR_COST_MAX 320
#define REPAIR_WHAT_MAX 128

/* What a repair told of one problem. */
struct kept_repair {
	bool has_bitmap;
	uint64_t index, dirty_bytes;
	const struct qcow2_problem_kind *kind;
	enum qcow2_bitmap_remedy remedy;
	uint8_t *name;
	size_t name_size;
	char cost[REPAIR_COST_MAX];
	char what[REPAIR_WHAT_MAX]; /* empty: the kind's text says it */
};

struct bitmap_repairs {
	struct kept_repair *list;
	size_t count, capacity;
	uint64_t total;
	/* Stale bitmaps that are left, and those of them that cannot be assumed dirty. */
	uint64_t left, left_to_drop;
	bool image_in_use; /* by another program */
};

/* Keeps what was told: qcow2_bitmap_repair_options.tell. opaque is a struct bitmap_repairs. */
int bitmap_repairs_hear(void *opaque, const struct qcow2_bitmap_treatment *repair);
void bitmap_repairs_release(struct bitmap_repairs *repairs);

/* The functions of struct plan_more; what is a struct bitmap_repairs. A line each for people. */
void bitmap_repairs_human(struct spool *out, const void *what);
/* The members "repairs", "repairs-total", "left", "left-remedies" and "image-in-use". */
void bitmap_repairs_json(struct json *json, const void *what);

#endif
