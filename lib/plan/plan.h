/* SPDX-License-Identifier: MIT */
/*
 * A plan: an ordered list of writes over a file that is left alone. See edit.h for what it
 * promises.
 *
 * Two orders exist. `writes` has the order in which writes were added, which is what the verbs that
 * plan see: each reads the file as all writes so far leave it. The order in which they are made
 * goes by phase first. `planned` answers for the end of that order: which write has the last word
 * on each byte.
 */
#ifndef Q2_PLAN_PLAN_H
#define Q2_PLAN_PLAN_H

#include <qcow2/edit.h>

#include "check/check.h"
#include "plan/intents.h"
#include "plan/segments.h"
#include "plan/store.h"
#include "source/write.h"

#define Q2_PHASES (QCOW2_PHASE_CLEAN + 1)
/* The most writes of a plan. An undo file may have four times as many records. */
#define Q2_WRITES_MOST ((size_t)1 << 22)

/* One write; its bytes and its reason are in the plan's store. */
struct q2_planned_write {
	uint64_t offset_bytes;
	uint64_t size_bytes;
	uint64_t at; /* of the bytes in the store; the reason follows them */
	uint8_t why_size;
	uint8_t phase;
	bool shares; /* another write touches the same bytes */
};

/* The numbers of the writes of one phase, in the order in which they are made. */
struct q2_planned_phase {
	uint32_t *writes;
	size_t count, capacity;
};

/* Digests of all metadata, see struct qcow2_check_result and digests.h. */
struct q2_plan_digests {
	bool are_current;           /* the plan has not changed since */
	bool has_before, has_after; /* that image could be checked */
	uint64_t before[2], after[2];
	bool has_data_file; /* either image has: the guest's data may be written without a trace */
	/*
	 * The planned image has no problem at all, as a check found that asked for everything but
	 * inflating; this is what it and the check of the image before found, without damages.
	 */
	bool is_proved;
	struct q2_check_totals found_before, found_after;
};

struct qcow2_plan {
	struct qcow2_source *source;
	struct q2_source_identity identity; /* of the source when the plan began */
	struct q2_planned_write *writes;    /* in the order in which they were added */
	size_t count, capacity;
	struct q2_planned_phase phases[Q2_PHASES];
	struct q2_segments planned; /* the file as it will be */
	struct q2_segments replay;  /* the file before the write that was asked for last */
	size_t replayed;            /* writes that are in `replay` */
	struct q2_store store;
	uint64_t old_size_bytes, size_bytes;
	uint64_t end_bytes; /* of the write that goes farthest */
	uint8_t *now;       /* what a write is compared with: room of now_size bytes */
	size_t now_size;
	uint8_t *shown; /* of the write that was asked for last: new bytes, old bytes */
	char shown_why[QCOW2_WHY_MAX];
	struct qcow2_write shown_write;
	struct q2_plan_digests digests;
	bool is_broken; /* memory was short while a segment was laid */
	struct q2_intents intents;
};

/* Reads the file as it will be; past its planned end, zeros. Errors: QCOW2_ERROR_IO. */
int q2_plan_read(const struct qcow2_plan *plan, uint64_t offset_bytes, uint8_t *bytes, size_t size,
		 struct qcow2_error *err);

/*
 * Plans a write of the header's autoclear_features, as the value bits. Version 2 images have no
 * such field: the caller knows that the image has version 3. Errors: those of qcow2_plan_write().
 */
int q2_plan_autoclear(struct qcow2_plan *plan, enum qcow2_phase phase, uint64_t bits,
		      const char *why, struct qcow2_error *err);

/* Reads the file as it is; past its end, zeros. Errors: QCOW2_ERROR_IO. */
int q2_plan_read_old(const struct qcow2_plan *plan, uint64_t offset_bytes, uint8_t *bytes,
		     size_t size, struct qcow2_error *err);

/* Whether a write of the plan has bytes in [offset_bytes, offset_bytes + size_bytes). */
bool q2_plan_touches(const struct qcow2_plan *plan, uint64_t offset_bytes, uint64_t size_bytes);

/* The write that is made at that place in the order of writing; index is below plan->count. */
const struct q2_planned_write *q2_plan_write_at(const struct qcow2_plan *plan, size_t index);

#endif
