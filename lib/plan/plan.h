/* SPDX-License-Identifier: MIT */
/* A plan as the files of this room see it. */
#ifndef Q2_PLAN_PLAN_H
#define Q2_PLAN_PLAN_H

#include <qcow2/edit.h>

#include "check/check.h"
#include "plan/intents.h"
#include "plan/segments.h"
#include "plan/store.h"
#include "source/write.h"

#define Q2_PHASES (QCOW2_PHASE_CLEAN + 1)

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

/* Digests of all metadata, see struct qcow2_check_result. */
struct q2_plan_digests {
	bool are_current;           /* the plan has not changed since */
	bool has_before, has_after; /* that image could be checked */
	uint64_t before[2], after[2];
	bool has_data_file; /* either image has: the guest's data may be written without a trace */
};

struct qcow2_plan {
	struct qcow2_source *source;
	struct q2_source_identity identity; /* of the source when the plan began */
	struct q2_planned_write *writes;    /* as they were added */
	size_t count, capacity;
	struct q2_planned_phase phases[Q2_PHASES];
	struct q2_segments planned; /* the file as it will be */
	struct q2_segments replay;  /* the file before the write that was asked for last */
	size_t replayed;            /* so many writes are in it */
	struct q2_store store;
	uint64_t old_size_bytes, size_bytes;
	uint64_t end_bytes; /* of the write that goes farthest */
	uint8_t *now;       /* what a write is compared with: room of now_size bytes */
	size_t now_size;
	uint8_t *shown; /* of the write that was asked for last: new bytes, old bytes */
	char shown_why[QCOW2_WHY_MAX];
	struct qcow2_write shown_write;
	struct q2_plan_digests digests; /* of the plan as it is now, if they are known */
	bool is_broken;                 /* memory was short: it does not hold what it should */
	struct q2_intents intents;
};

/* Reads the file as it will be; past its planned end, zeros. */
int q2_plan_read(const struct qcow2_plan *plan, uint64_t offset_bytes, uint8_t *bytes, size_t size,
		 struct qcow2_error *err);

/*
 * Plans a write of the header's autoclear_features, as the value bits. Version 2 images have no
 * such field: the caller knows that the image has version 3. Errors: those of qcow2_plan_write().
 */
int q2_plan_autoclear(struct qcow2_plan *plan, enum qcow2_phase phase, uint64_t bits,
		      const char *why, struct qcow2_error *err);

/* Reads the file as it is; past its end, zeros. */
int q2_plan_read_old(const struct qcow2_plan *plan, uint64_t offset_bytes, uint8_t *bytes,
		     size_t size, struct qcow2_error *err);

/*
 * Makes sure that plan->digests are those of the plan as it is; qcow2_plan_judge() finds them on
 * its way. What cannot be checked has none, which is no error.
 */
int q2_plan_find_digests(struct qcow2_plan *plan, struct qcow2_error *err);
/* Takes them from two checks that were asked for digests. */
void q2_plan_note_digests(struct qcow2_plan *plan, const struct q2_check_totals *before,
			  const struct q2_check_totals *after);
/*
 * Checks a source for its digest; totals->sum.has_digest says whether there is one. Errors:
 * QCOW2_ERROR_MEMORY, QCOW2_ERROR_IO; what is no image, or one too odd to be checked, has none.
 */
int q2_metadata_digest(struct qcow2_source *source, struct q2_check_totals *totals,
		       struct qcow2_error *err);

/* The write that comes at that place, below plan->count, in the order in which they are made. */
const struct q2_planned_write *q2_plan_write_at(const struct qcow2_plan *plan, size_t index);

/* A place that a plan changes. */
struct q2_place {
	uint64_t offset_bytes;
	uint64_t size_bytes;
	uint32_t phase; /* of the writes that have the last word there */
};

#define Q2_PLACE_MOST_BYTES ((uint64_t)1 << 20)
/* So many writes a plan may have. An undo file may have four times as many records. */
#define Q2_WRITES_MOST ((size_t)1 << 22)

/* Places in the order of the file. */
struct q2_places {
	struct q2_place *items;
	size_t count, capacity;
};

/* In pieces of at most Q2_PLACE_MOST_BYTES; what touches the last place of its phase joins it.
 */
bool q2_places_add(struct q2_places *places, const struct q2_place *place);
void q2_places_release(struct q2_places *places);

/*
 * The places that a plan changes, what it cuts off included: disjoint, rising, and none larger than
 * Q2_PLACE_MOST_BYTES. The caller releases *places.
 */
int q2_plan_places(const struct qcow2_plan *plan, struct q2_places *places,
		   struct qcow2_error *err);

/*
 * The clusters that the plan frees: counted in the file as it is, not counted as it will be, and
 * no part of the places that it changes; and the flags of bitmaps that stay where they are. Rising;
 * empty if either is no image. The caller releases *freed.
 */
int q2_plan_freed(struct qcow2_plan *plan, const struct q2_places *changed, struct q2_places *freed,
		  struct qcow2_error *err);

#endif
