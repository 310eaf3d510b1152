/* SPDX-License-Identifier: MIT */
/*
 * Guards: what in an image says that something is wrong there, or that something is there at all,
 * and so is not given up by accident: the dirty and corrupt bits, refcounts, the flag in_use of a
 * bitmap, snapshots, header extensions. qcow2_plan_judge() (edit.h) asks all guards about a plan,
 * whatever made it, and lists the refusals.
 *
 * The list of all guards is def/guards.def. A guard has a number and an id that are never changed
 * or given to another guard. A later version of the library may know more of them.
 *
 * All functions here are pure and thread safe.
 */
#ifndef QCOW2_GUARD_H
#define QCOW2_GUARD_H

#include <qcow2/base.h>

QCOW2_BEGIN_DECLS

/* ---- guards: what no change gives up by accident ---- */

/* The number of a guard, as the rows of def/guards.def give it: QCOW2_GUARD_DIRTY, … */
enum qcow2_guard_id {
	QCOW2_GUARD_NONE = 0, /* no guard has this number */
#define QCOW2_GUARD(number, ID, id, section, what, says, unless, refusal, way_out)                 \
	QCOW2_GUARD_##ID = (number),
#include <qcow2/def/guards.def>
#undef QCOW2_GUARD
};

/*
 * A guard, a row of def/guards.def. The library owns it, and it lives as long as the program. All
 * texts are plain sentences or parts of sentences, in ASCII, and never NULL.
 */
struct qcow2_guard {
	size_t size;         /* set by the library */
	unsigned number;     /* a value of enum qcow2_guard_id, or a newer one */
	const char *id;      /* lower-case words with hyphens: "dirty" */
	const char *section; /* section of the specification */
	const char *what;    /* the bit, the flag or the structure that it watches */
	const char *says;    /* what that tells those who read the image */
	const char *unless;  /* when a plan may change it all the same */
	const char *refusal; /* what a refused plan would do, one sentence */
	const char *way_out; /* what to do instead */
};

/* Room for texts in struct qcow2_refusal, in bytes with the NUL. These never change. */
#define QCOW2_REFUSAL_WHERE 64
#define QCOW2_REFUSAL_TEXT  256
/* The most refusals of a plan that this version keeps; the others are counted. */
#define QCOW2_REFUSALS_MOST 16

/* A guard that refuses a plan. The library owns it, as a part of struct qcow2_plan_verdict. */
struct qcow2_refusal {
	size_t size; /* set by the library */
	const struct qcow2_guard *guard;
	char where[QCOW2_REFUSAL_WHERE]; /* a path, as in struct qcow2_problem, or empty */
	/* What the plan does there, one safe line that may be empty: "snapshot 1 'before'". */
	char text[QCOW2_REFUSAL_TEXT];
};

/*
 * Goes through all guards, in the order in which they are listed to people.
 *
 * before: the guard that was returned last, or NULL to begin.
 *
 * Returns the guard that follows, or NULL behind the last one. Example:
 *
 *         const struct qcow2_guard *guard = NULL;
 *
 *         while ((guard = qcow2_guard_next(guard)))
 *                 printf("%s watches %s\n", guard->id, guard->what);
 */
QCOW2_API const struct qcow2_guard *qcow2_guard_next(const struct qcow2_guard *before);

/*
 * Finds a guard by its number.
 *
 * number: a value of enum qcow2_guard_id; any other one is fine, too.
 *
 * Returns the guard, or NULL if this version of the library knows none of that number.
 */
QCOW2_API const struct qcow2_guard *qcow2_guard_get(unsigned number);

/*
 * Finds a guard by its id, as refusals on pages of the command and in docs/edit.md spell it.
 *
 * id: NUL terminated. Upper and lower case differ.
 *
 * Returns the guard, or NULL if this version of the library knows none of that id.
 */
QCOW2_API const struct qcow2_guard *qcow2_guard_find(const char *id);

QCOW2_END_DECLS

#endif
