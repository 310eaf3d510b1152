/* SPDX-License-Identifier: MIT */
/*
 * Selectors: which parts of the tree of structures a walk shows. The walk tells the selection each
 * step that it takes down the tree, and learns whether anything there is wanted.
 *
 * A selector is a path of segments (name, index, range, wildcard). Up to 64 of them are followed at
 * once, as bits of a mask, so that a step costs nothing when everything below is wanted anyway.
 */
#ifndef Q2_WALK_SELECT_H
#define Q2_WALK_SELECT_H

#include <qcow2/walk.h>

#define Q2_SELECTORS_MAX 64
#define Q2_SEGMENTS_MAX  12

/* One segment: a pattern for names, and if it is a number or a range, the indexes that it means. */
struct q2_segment {
	char *pattern; /* NUL terminated, escapes kept; owned */
	uint64_t first, last;
	bool numeric;   /* first and last count */
	bool name_only; /* written =NAME: never an index */
	bool deep;      /* "**" */
};

struct q2_selector {
	char *text; /* as the user wrote it; owned */
	struct q2_segment segments[Q2_SEGMENTS_MAX];
	size_t count;
	size_t best; /* most segments that matched anywhere so far */
};

/* What is known at one depth of the tree. */
struct q2_select_level {
	uint64_t alive; /* selectors whose first segments match the path down to here */
	bool inside;    /* something here was selected as a whole */
	bool deep;      /* with all bulk tables below it */
};

struct qcow2_selection {
	struct q2_selector *selectors;
	size_t count;
	uint64_t matched; /* selectors that named something */
	bool everything;  /* no selectors were given: all but the bulk */
	struct q2_select_level levels[Q2_SEGMENTS_MAX + 2];
	size_t depth;
};

/* A step down: how the child may be called. index may be QCOW2_NO_INDEX, name empty. */
struct q2_step {
	const char *key;
	struct qcow2_bytes name;
	uint64_t index;
	bool bulk; /* shown only if a selector asks for it */
};

/* Back to the root; forgets nothing about what matched. */
void q2_selection_start(struct qcow2_selection *selection);

/* Goes down one step if anything there is wanted; false and no change if not. */
bool q2_selection_enter(struct qcow2_selection *selection, const struct q2_step *step);

/* Goes back up. */
void q2_selection_leave(struct qcow2_selection *selection);

/* Whether a field of that name, here, is wanted. */
bool q2_selection_wants_field(struct qcow2_selection *selection, const char *name);

/*
 * Narrows [*first, *last) to the indexes of a list here that selectors may want, so that a walk
 * does not go through millions of entries for one.
 */
void q2_selection_narrow(const struct qcow2_selection *selection, uint64_t *first, uint64_t *last);

/* Whether every selector named something. */
bool q2_selection_satisfied(const struct qcow2_selection *selection);

/* Whether a child here would be the first thing that selector s misses. */
bool q2_selection_at_edge(const struct qcow2_selection *selection, size_t s);

#endif
