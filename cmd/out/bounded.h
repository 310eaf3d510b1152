/* SPDX-License-Identifier: MIT */
/*
 * A visitor between a walk and pages that must not grow: it passes on the first elements of each list
 * and the first bytes of each text, counts the others, and tells two pages the same.
 *
 * Of a list that is cut, the pages get a number KEY-omitted behind it, and of a value that is cut a
 * number NAME-omitted-bytes. Each page decides by itself what it shows of these.
 */
#ifndef CMD_OUT_BOUNDED_H
#define CMD_OUT_BOUNDED_H

#include <stdbool.h>

#include <qcow2/walk.h>

#define BOUNDED_PAGES 2
/* Walks do not nest deeper. */
#define BOUNDED_DEPTH 32

struct bounded_level {
	bool is_list;
	char key[64];
	uint64_t passed, omitted;
};

/* How many entries a list has of which the walk shows only the first ones. */
struct bounded_total {
	const char *key;
	uint64_t entries;
};

struct bounded {
	/* Set by the caller. */
	const struct qcow2_visitor *visitor[BOUNDED_PAGES];
	void *opaque[BOUNDED_PAGES];
	uint64_t rows_most;   /* of each list of rows */
	uint64_t blocks_most; /* of each list of other structures */
	size_t bytes_most;    /* of each value */
	const struct bounded_total *totals;
	size_t total_count;
	/* Zeros at first. */
	struct bounded_level levels[BOUNDED_DEPTH];
	unsigned depth;
	unsigned muted; /* elements and lists that are open and not passed on */
};

extern const struct qcow2_visitor bounded_visitor;

/* Whether a name ends as those that tell what was left out. */
bool bounded_is_omitted(const char *name);

#endif
