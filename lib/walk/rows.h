/* SPDX-License-Identifier: MIT */
/*
 * Rows of a table that are told many at once: a part adds the values of one row after the other, and
 * the visitor is told whenever there are as many as are kept. A part begins, adds, and ends.
 */
#ifndef Q2_WALK_ROWS_H
#define Q2_WALK_ROWS_H

#include "walk/internal.h"

#define Q2_ROWS_MOST    512
#define Q2_COLUMNS_MOST 8
/* A table with fewer rows is told row by row. */
#define Q2_ROWS_LEAST 16

struct q2_walk_rows {
	struct qcow2_rows told;
	uint64_t values[Q2_ROWS_MOST * Q2_COLUMNS_MOST];
	bool repeats[Q2_ROWS_MOST];
};

#define Q2_NUMBER_COLUMN(name_, style_)                                                            \
	{                                                                                          \
		.size = sizeof(struct qcow2_column), .name = (name_), .style = (style_)            \
	}

/*
 * Begins rows of the current list, which has `count` of them. Returns NULL if they are to be told
 * one by one: nobody wants them at once, a selector may want some fields only, or they are few; or
 * after a failure, which is noted.
 */
struct q2_walk_rows *q2_walk_rows_begin(struct q2_walk_state *w,
					const struct qcow2_column *const *columns,
					size_t column_count, uint64_t count);

/* Tells the visitor of the rows that were added. Nothing after it asked to stop. */
void q2_walk_rows_tell(struct q2_walk_state *w, struct q2_walk_rows *rows);

/* Adds row `index`, right behind the one before. Returns where its values go. */
static inline uint64_t *q2_walk_rows_add(struct q2_walk_state *w, struct q2_walk_rows *rows,
					 uint64_t index, bool repeats)
{
	struct qcow2_rows *told = &rows->told;

	if (told->count == Q2_ROWS_MOST)
		q2_walk_rows_tell(w, rows);
	if (told->count == 0)
		told->index = index;
	rows->repeats[told->count] = repeats;
	return &rows->values[told->count++ * told->column_count];
}

/* Tells what is left. rows: may be NULL. */
void q2_walk_rows_end(struct q2_walk_state *w, struct q2_walk_rows *rows);

#endif
