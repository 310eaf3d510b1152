/* SPDX-License-Identifier: MIT */
/*
 * One repair, which all doctors share. The driver (repair.c) goes in rounds: it checks the image as
 * planned so far, tells each doctor of the problems that are its own, and lets the doctors plan
 * what they can mend, in the order of the table. A doctor sees one class of structures:
 *
 *	header/      header fields, feature bits, extensions, LUKS pointers, names of other files
 *	bitmaps.c    bitmaps, as qcow2_bitmap_repair()
 *	snapshots/   the snapshot table, its entries, and where L1 tables of snapshots are
 *	owners/      clusters that are used for two things, or too often for their refcounts
 *	mapping/     L1 tables and L2 tables with their entries, once each has a place of its own
 *
 * When a round plans nothing, refcounts.c counts the references of the planned image and makes
 * refcounts and copied flags fit, and bits.c clears the corrupt and dirty bits.
 *
 * Doctors take host clusters from space.h and never look at refcounts. They plan what nothing
 * points to yet in QCOW2_PHASE_NEW, and all that changes in place in QCOW2_PHASE_POINT.
 */
#ifndef Q2_REPAIR_REPAIR_H
#define Q2_REPAIR_REPAIR_H

#include "base/vector.h"
#include "check/references.h"
#include "plan/plan.h"
#include "repair/space.h"
#include "repair/told.h"

#include <qcow2/repair.h>

/* Doctors in the order of their work. */
enum q2_doctor_number {
	Q2_DOCTOR_HEADER,
	Q2_DOCTOR_BITMAPS,
	Q2_DOCTOR_SNAPSHOTS,
	Q2_DOCTOR_OWNERS,
	Q2_DOCTOR_L1,
	Q2_DOCTOR_L2,
	Q2_DOCTORS,
};

/* When the doctor of bitmaps works. */
enum q2_bitmaps_turn {
	Q2_BITMAPS_FIRST = 0, /* before others, while what speaks against a bitmap can be seen */
	Q2_BITMAPS_WAIT,      /* other faults reach into them: once nobody else has work left */
	Q2_BITMAPS_LAST,      /* now, for the last time */
	Q2_BITMAPS_FAILED,    /* never again: they stay stale */
};

/* Why a kind of problem is left: what is said if the planned image still has it. */
struct q2_repair_why {
	char text[QCOW2_REPAIR_WHY_MAX]; /* empty: nobody said anything */
	bool wants_all, wants_free_lost, wants_drop;
};

/* Clusters side by side. */
struct q2_repair_run {
	uint64_t first, count;
};

struct q2_repair {
	struct qcow2_plan *plan;
	const struct qcow2_repair_options *options;
	struct qcow2_error *err; /* not NULL */
	/*
	 * The image as planned when the round began. Doctors may read it while they plan: what they
	 * wrote is what they read, but the size of the file and what the image keeps of its header
	 * are those of then.
	 */
	struct qcow2_source *view;
	struct qcow2_image *image;
	const struct qcow2_header *header;
	const struct qcow2_geometry
		*geometry;             /* not NULL where doctors other than the header's work */
	struct q2_check_totals *found; /* in this round */
	/*
	 * What that check counted, before anything was planned in this round; NULL if clusters
	 * could not be looked at. `counted_first` is that of the first round where they could.
	 */
	struct q2_references *counted, *counted_first;
	unsigned counted_first_bits;  /* of a cluster in the first round */
	size_t counted_writes;        /* of the plan, when that was */
	struct q2_check_totals later; /* that of rounds after the first */
	struct q2_space *space;
	void *notes[Q2_DOCTORS]; /* what each doctor keeps of a round; freed by its forget() */
	struct q2_repair_why why[Q2_PROBLEM_NUMBERS];
	struct q2_repair_result *result;
	/*
	 * Some entry of a mapping, or a table, which said that there was data, is given up, or
	 * leads elsewhere than it did.
	 */
	bool gave_up;
	struct q2_told told;    /* by steps, for the proof */
	unsigned round;         /* from 0 */
	bool failed;            /* a hear() has filled err */
	bool snapshots_dropped; /* those that the options name, in an earlier round */
	/* The indexes that these had, rising, and the round: what comes later has moved up. */
	struct q2_vector dropped;
	unsigned dropped_in;
	struct q2_vector bitmap_clusters; /* runs that bitmaps took: nothing counts them yet */
	struct q2_vector bitmap_steps;    /* until it is known that the bitmaps can be written */
	size_t bitmap_steps_count;
	uint64_t bitmap_problems; /* of which the doctor of bitmaps knew last */
	enum q2_bitmaps_turn bitmaps;
	bool is_settled;    /* refcounts are right: what is found now, another repair would find */
	bool spared;        /* leaks were spared that may be lost data */
	bool is_free_known; /* what nothing refers to is no lost data, although refcounts are lost */
	bool refcounts_moved; /* the refcount table, or blocks, got another place */
	bool begin_again;     /* the doctor wants a new check before others work */
	/*
	 * A table of snapshots claims to be where the header is, and is left. What it seems to map
	 * is nonsense, which nobody else may part, count or move anything for.
	 */
	bool is_header_claimed;
};

/*
 * A doctor. hear() is told each problem of the check of a round, and keeps what it needs; errors go
 * to repair->err, with repair->failed set. mend() plans; it returns 0, or -1 with repair->err
 * filled. forget() frees the notes; it is called at the end of each round, also after errors. Any
 * of them may be NULL.
 */
struct q2_doctor {
	void (*hear)(struct q2_repair *repair, const struct qcow2_problem *problem);
	int (*mend)(struct q2_repair *repair);
	void (*forget)(struct q2_repair *repair);
};

extern const struct q2_doctor q2_doctor_header, q2_doctor_snapshots, q2_doctor_l1, q2_doctor_l2,
	q2_doctor_owners, q2_doctor_bitmaps;

/* The last two, which run once. 0, or -1 with repair->err filled. */
int q2_repair_refcounts(struct q2_repair *repair);
int q2_repair_bits(struct q2_repair *repair);

/*
 * Whether a kind of problem may be mended: at no cost, or at the cost of something. If not, and it
 * would be mended with another option, that is noted as the reason why it is left.
 */
bool q2_repair_may(struct q2_repair *repair, enum qcow2_problem_id id, bool costs);

/*
 * Notes why a kind of problem is left, one safe line without a full stop: the first reason of the
 * last round that has one stands. It is said only if the planned image still has such a problem.
 */
void q2_repair_leave(struct q2_repair *repair, enum qcow2_problem_id id, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/*
 * Tells the caller of a step; count 0 means 1. Call it once for what is planned, when it is
 * planned. 0, or -1 with repair->err filled.
 */
int q2_repair_tell(struct q2_repair *repair, const struct qcow2_repair_step *step);

/* The same, for a step whose snapshot has the index that it had before the repair. */
int q2_repair_tell_first(struct q2_repair *repair, const struct qcow2_repair_step *step);

/* A step for a problem: kind, place and guest range are those of the problem. */
struct qcow2_repair_step q2_repair_step_of(const struct qcow2_problem *problem, const char *does);

/* Plans a write as qcow2_plan_write(), with repair->err. */
int q2_repair_write(struct q2_repair *repair, enum qcow2_phase phase, uint64_t offset_bytes,
		    struct qcow2_bytes bytes, const char *why);

/* The same for a big-endian number of size bytes: 1, 2, 4 or 8. */
int q2_repair_write_number(struct q2_repair *repair, enum qcow2_phase phase, uint64_t offset_bytes,
			   uint64_t value, unsigned size, const char *why);

#endif
