/* SPDX-License-Identifier: MIT */
/* See rows.h. */
#include "walk/rows.h"

#include <assert.h>

#include "base/alloc.h"
#include "base/error.h"

struct q2_walk_rows *q2_walk_rows_begin(struct q2_walk_state *w,
					const struct qcow2_column *const *columns,
					size_t column_count, uint64_t count)
{
	assert(column_count <= Q2_COLUMNS_MOST);
	if (w->probe || q2_walk_over(w) || !w->visitor->rows || count < Q2_ROWS_LEAST ||
	    !q2_selection_wants_all(w->selection))
		return NULL;
	if (!w->rows)
		w->rows = q2_alloc(sizeof(*w->rows));
	if (!w->rows) {
		q2_fail_memory(w->err);
		q2_walk_fail(w);
		return NULL;
	}
	w->rows->told = (struct qcow2_rows){.size = sizeof(w->rows->told),
					    .column_count = column_count,
					    .columns = columns,
					    .values = w->rows->values,
					    .repeats = w->rows->repeats};
	return w->rows;
}

void q2_walk_rows_tell(struct q2_walk_state *w, struct q2_walk_rows *rows)
{
	const size_t count = rows->told.count;

	/* What was read before a read failed is told, as rows are that are told one by one. */
	if (count > 0 && !(w->failed && w->err->code == QCOW2_ERROR_STOPPED) &&
	    w->visitor->rows(w->opaque, &rows->told)) {
		q2_fail(w->err, QCOW2_ERROR_STOPPED, QCOW2_NO_OFFSET, "stopped");
		q2_walk_fail(w);
	}
	rows->told.count = 0;
}

void q2_walk_rows_end(struct q2_walk_state *w, struct q2_walk_rows *rows)
{
	if (rows)
		q2_walk_rows_tell(w, rows);
}
