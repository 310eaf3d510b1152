/* SPDX-License-Identifier: MIT */
/*
 * Guards: what in an image says that something is wrong there, or that something is there at all,
 * and so is not given up by accident. qcow2_plan_judge() asks them about every plan, whatever made
 * it. The table of all is def/guards.def.
 */
#ifndef QCOW2_GUARD_H
#define QCOW2_GUARD_H

#include <qcow2/base.h>

QCOW2_BEGIN_DECLS

/* A guard, a row of def/guards.def. All texts are plain sentences or parts of them, in ASCII. */
struct qcow2_guard {
	const char *id;      /* "dirty" */
	const char *section; /* of the specification */
	const char *what;    /* the bit, the flag or the thing that it watches */
	const char *says;    /* what that tells those who read the image */
	const char *unless;  /* when a plan may change it all the same */
	const char *refusal; /* what a plan that is refused would do, one sentence */
	const char *way_out; /* what to do instead */
};

/* Identifies a row: QCOW2_GUARD_DIRTY, … */
enum qcow2_guard_id {
#define QCOW2_GUARD(ID, id, section, what, says, unless, refusal, way_out) QCOW2_GUARD_##ID,
#include <qcow2/def/guards.def>
#undef QCOW2_GUARD
	QCOW2_GUARD_COUNT
};

/* The table of all guards, indexed by enum qcow2_guard_id; *count is set. Thread safe. */
QCOW2_API const struct qcow2_guard *qcow2_guards(size_t *count);

#define QCOW2_REFUSALS_MOST 16
#define QCOW2_REFUSAL_WHERE 64
#define QCOW2_REFUSAL_TEXT  256

/* A guard that refuses a plan. */
struct qcow2_refusal {
	const struct qcow2_guard *guard;
	char where[QCOW2_REFUSAL_WHERE]; /* a path, as in struct qcow2_problem, or empty */
	/* What the plan does there, one safe line that may be empty: "snapshot 1 'before'". */
	char text[QCOW2_REFUSAL_TEXT];
};

QCOW2_END_DECLS

#endif
