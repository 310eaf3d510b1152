/* SPDX-License-Identifier: MIT */
/* Remembers what was done to bitmaps, and says what that means when the plan is complete. */
#ifndef CMD_BITMAP_TOLD_H
#define CMD_BITMAP_TOLD_H

#include "common/change.h"

/* What one action did to one bitmap. */
struct told {
	const char *verb; /* a constant */
	char *name;       /* that it has afterwards, or had */
	char *other;      /* its former name, or its sources as they are shown */
};

struct told_list {
	struct told *list;
	size_t count, capacity;
};

/* Remembers an action. other: NULL if there is none. Out of memory, it is forgotten. */
void told_add(struct told_list *told, const char *verb, const char *name, const char *other);

/* Adds a line to the effects of a change for each action that changed something. */
void told_explain(const struct told_list *told, struct change *change);

void told_release(struct told_list *told);

#endif
