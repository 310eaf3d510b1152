/* SPDX-License-Identifier: MIT */
/*
 * Selectors say which parts of the tree of structures a walk shows. The walk tells the selection
 * each step that it takes down the tree, and learns whether anything there is wanted.
 *
 * A selector is a path of segments (name, index, range, wildcard). Up to 64 selectors are followed
 * at once, each as a bit of a mask. A selector is alive at a place if its first segments match the
 * path from the root to there; where all its segments match, everything below is wanted.
 */
#ifndef Q2_WALK_SELECT_H
#define Q2_WALK_SELECT_H

#include <qcow2/walk.h>

#define Q2_SELECTORS_MAX 64
#define Q2_SEGMENTS_MAX  12

/* A segment: a pattern for names, and the indexes that it means if it is a number or a range. */
struct q2_segment {
	char *pattern; /* NUL terminated, escapes kept; owned */
	uint64_t first, last;
	bool numeric;   /* first and last are set */
	bool name_only; /* written =NAME: never an index */
	bool deep;      /* "**" */
	bool any;       /* "*" */
	bool literal;   /* has no star, and is no range */
	bool by_id;     /* means the ID of a snapshot: see q2_walk_snapshots() */
};

struct q2_selector {
	char *text; /* as the user wrote it; owned */
	struct q2_segment segments[Q2_SEGMENTS_MAX];
	size_t count;
	size_t best;       /* most segments that matched at any place so far */
	bool bitmaps_form; /* written bitmaps/...: its first segments are those of the extension */
};

/* The state at one depth of the path that the walk is at. */
struct q2_select_level {
	uint64_t alive; /* selectors whose first segments match the path down to here */
	bool inside;    /* a selector has matched here or above: all is wanted but bulk tables */
	bool deep;      /* by "**": bulk tables are wanted, too */
};

struct qcow2_selection {
	struct q2_selector *selectors;
	size_t count;
	uint64_t matched; /* selectors that have named something */
	size_t only;      /* follow this selector alone, or SIZE_MAX: all */
	bool everything;  /* no selectors were given: all is wanted but bulk tables */
	struct q2_select_level levels[Q2_SEGMENTS_MAX + 2];
	size_t depth;
};

/*
 * A step down. A selector may call the child by key, index (or QCOW2_NO_INDEX) or name (or empty).
 * Of a snapshot, id is its ID, else NULL.
 */
struct q2_step {
	const char *key;
	struct qcow2_bytes name;
	uint64_t index;
	bool bulk; /* shown only if a selector asks for it */
	const struct qcow2_bytes *id;
};

/*
 * Whether two bytes are the same in a key. Keys are written with hyphens if they are ours, and with
 * underscores if the specification spells them so. A selector may use either.
 */
static inline bool q2_same_in_key(char a, char b)
{
	return a == b || ((a == '-' || a == '_') && (b == '-' || b == '_'));
}

/* Forgets what earlier walks matched, so that a selection can be used again. */
void q2_selection_forget(struct qcow2_selection *selection);

/* Goes back to the root. Keeps which selectors have matched. */
void q2_selection_start(struct qcow2_selection *selection);

/* Goes down one step if anything there is wanted. Returns false, and does not move, if not. */
bool q2_selection_enter(struct qcow2_selection *selection, const struct q2_step *step);

/* Goes up one step. */
void q2_selection_leave(struct qcow2_selection *selection);

/* Whether the field `name` of the current place is wanted; notes that a selector has matched. */
bool q2_selection_wants_field(struct qcow2_selection *selection, const char *name);

/* Whether all fields of all elements of the current list are wanted, but bulk tables in them. */
static inline bool q2_selection_wants_all(const struct qcow2_selection *selection)
{
	return selection->levels[selection->depth].inside;
}

/*
 * Narrows the indexes [*first, *last) of a list at the current place to those that selectors may
 * want, so that a walk does not go through millions of entries for one.
 */
void q2_selection_narrow(const struct qcow2_selection *selection, uint64_t *first, uint64_t *last);

/* Whether a name is one that the segment may call. Stars and backslashes are understood. */
bool q2_segment_calls(const struct q2_segment *segment, struct qcow2_bytes name);

/* Whether the segment is for this key of a structure, and not for any. */
bool q2_segment_means(const struct q2_segment *segment, const char *key);

/*
 * The segment of selector s that the next step down has to match; NULL if s is not alive here, or
 * ends here.
 */
struct q2_segment *q2_selection_next(struct qcow2_selection *selection, size_t s);

/* Whether every selector has named something. */
bool q2_selection_satisfied(const struct qcow2_selection *selection);

/* Whether selector s matches down to here, and has nowhere matched further. */
bool q2_selection_at_edge(const struct qcow2_selection *selection, size_t s);

#endif
