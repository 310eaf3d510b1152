/* SPDX-License-Identifier: MIT */
/*
 * Drives a walk. If there are selectors, a probe goes first: it walks without telling the visitor
 * anything, and ends as soon as each selector has named something. So a selector that names nothing
 * is an error before anything was told. Then comes the walk itself.
 */
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/sized.h"
#include "walk/internal.h"

/*
 * Bounds what is listed by what the file stores, however many structures claim to share the same
 * bytes and however large its holes are. Tables of a good image may lie in holes, so each budget
 * has something on top: for tables it is 32 MiB, the largest L1 table that QEMU takes.
 */
static void set_budgets(struct q2_walk_state *w)
{
	uint64_t stored = qcow2_source_allocated_bytes(qcow2_image_source(w->image));
	const uint64_t mib = UINT64_C(1) << 20;

	w->left = (struct q2_walk_budgets){
		.counted = stored + mib,
		.directories = stored + mib,
		.bitmap_tables = stored + 16 * mib,
		.followed = stored + mib,
		.bitmap_data = stored + 16 * mib,
		.tables = stored + 32 * mib,
		.refcount_bits = (stored + 2 * mib) * 8,
	};
}

static void walk_image(struct q2_walk_state *w)
{
	struct qcow2_node root = q2_walk_node(NULL, NULL);
	void (*const parts[])(struct q2_walk_state *) = {
		q2_walk_header,         q2_walk_features,  q2_walk_extensions, q2_walk_backing,
		q2_walk_luks,           q2_walk_l1,        q2_walk_l2,         q2_walk_snapshots,
		q2_walk_refcount_table, q2_walk_refcounts,
	};

	q2_selection_start(w->selection);
	set_budgets(w);
	q2_walk_l2_forget(w);
	if (!w->probe) {
		q2_rules_header(w->image, &w->reporter);
		q2_rules_extensions(w->image, &w->reporter);
	}
	q2_walk_begin(w, &root);
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]) && !q2_walk_over(w); i++)
		parts[i](w);
	q2_walk_end(w, &root);
}

static void hear_problem(void *opaque, const struct qcow2_problem *problem)
{
	struct q2_walk_state *w = opaque;

	if (q2_walk_over(w) || w->probe || !w->visitor->problem)
		return;
	if (w->visitor->problem(w->opaque, problem)) {
		q2_fail(w->err, QCOW2_ERROR_STOPPED, QCOW2_NO_OFFSET, "stopped");
		q2_walk_fail(w);
	}
}

/*
 * Fails with the segment of the lost selector that nothing matched, and the names that are there.
 */
static int fail_not_found(struct q2_walk_state *w)
{
	const struct q2_selector *selector = &w->selection->selectors[w->lost_selector];
	size_t best = selector->best;
	const char *missing = selector->segments[best].pattern;
	const char *above = best > 0 ? selector->segments[best - 1].pattern : "the image";

	if (w->choices_size == 0)
		return q2_fail(w->err, QCOW2_ERROR_NOT_FOUND, QCOW2_NO_OFFSET,
			       "selector '%.60s' names nothing: there is nothing below '%.40s'",
			       selector->text, above);
	return q2_fail(w->err, QCOW2_ERROR_NOT_FOUND, QCOW2_NO_OFFSET,
		       "selector '%.50s' names nothing: no '%.40s' among %s", selector->text,
		       missing, w->choices);
}

/*
 * Walks without telling the visitor. If a selector names nothing, walks once more to collect the
 * names at the place where it failed, and fails with them.
 */
static int probe(struct q2_walk_state *w)
{
	w->probe = true;
	walk_image(w);
	if (w->failed)
		return -1;
	w->done = false;
	if (q2_selection_satisfied(w->selection)) {
		w->probe = false;
		return 0;
	}
	for (size_t s = 0; s < w->selection->count; s++) {
		if (w->selection->matched >> s & 1)
			continue;
		w->lost_selector = s;
		break;
	}
	walk_image(w);
	return w->failed ? -1 : fail_not_found(w);
}

int qcow2_walk(const struct qcow2_image *image, struct qcow2_selection *selection, unsigned flags,
	       const struct qcow2_visitor *visitor, void *opaque, struct qcow2_error *err)
{
	struct qcow2_selection *own = NULL;
	struct qcow2_visitor mine;
	struct qcow2_error ignored;
	struct q2_walk_state w = {
		.image = image,
		.header = qcow2_image_header(image),
		.geometry = qcow2_image_geometry(image),
		.visitor = &mine,
		.opaque = opaque,
		.err = err ? err : &ignored,
		.flags = flags,
		.lost_selector = SIZE_MAX,
	};

	if (q2_sized_take(&mine, sizeof(mine), visitor, err) ||
	    q2_flags_check(flags, QCOW2_WALK_NO_TABLES, err))
		return -1;
	if (!selection && qcow2_selection_new(NULL, 0, &own, err))
		return -1;
	w.selection = selection ? selection : own;
	w.selection->matched = 0;
	w.reporter = (struct q2_reporter){.problem = hear_problem, .opaque = &w};
	q2_hash_key_make(&w.hash_key);
	if (w.selection->count == 0 || probe(&w) == 0)
		walk_image(&w);
	else
		w.failed = true;
	qcow2_table_close(w.table);
	q2_walk_l2_release(&w);
	qcow2_selection_free(own);
	return w.failed ? -1 : 0;
}
