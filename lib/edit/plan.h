/* SPDX-License-Identifier: MIT */
/* A plan as the files of this room see it. */
#ifndef QCOW2_EDIT_PLAN_H
#define QCOW2_EDIT_PLAN_H

#include <qcow2/edit.h>

#include "edit/intents.h"
#include "edit/plan_index.h"

struct qcow2_planned_write {
	enum qcow2_phase phase;
	uint64_t number; /* among all, as they were added */
	uint64_t offset_bytes;
	uint8_t *bytes;
	size_t size;
	char why[QCOW2_WHY_MAX];
};

struct qcow2_plan {
	struct qcow2_source *source;
	struct qcow2_planned_write **writes; /* in the order of their phases */
	size_t count, capacity;
	struct qcow2_plan_bucket buckets[QCOW2_PLAN_BUCKETS];
	uint64_t old_size_bytes, size_bytes;
	uint64_t held_bytes; /* in all writes */
	uint8_t *now;        /* what a write is compared with: room of now_size bytes */
	size_t now_size;
	uint8_t *old_bytes; /* of the write that was asked for last */
	struct qcow2_intents intents;
};

/* Reads the file as it is after the first count writes; past the end of the file, zeros. */
int qcow2_plan_read(const struct qcow2_plan *plan, size_t count, uint64_t offset_bytes,
		    uint8_t *bytes, size_t size, struct qcow2_error *err);

/* A place that a plan changes. */
struct qcow2_place {
	uint64_t offset_bytes;
	uint64_t size_bytes;
};

#define QCOW2_PLACE_MOST_BYTES ((uint64_t)1 << 20)
/* So many writes a plan may have; an undo file may have twice as many records. */
#define QCOW2_WRITES_MOST ((size_t)1 << 22)

/*
 * The places that a plan changes, what it cuts off included: disjoint, rising, and none larger than
 * QCOW2_PLACE_MOST_BYTES. The caller frees *out with qcow2_free().
 */
int qcow2_plan_places(const struct qcow2_plan *plan, struct qcow2_place **out, size_t *count,
		      struct qcow2_error *err);

#endif
