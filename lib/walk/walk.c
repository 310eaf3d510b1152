/* SPDX-License-Identifier: MIT */
/*
 * Drives a walk. If there are selectors, a probe goes first: it walks without telling the visitor
 * anything, and ends as soon as each selector has named something. So a selector that names nothing
 * is an error before anything was told. Then comes the walk itself.
 */
#include <stdio.h>
#include <string.h>

#include <qcow2/text.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/sized.h"
#include "walk/lost.h"

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

/* Tells people of each of several selectors that there is nothing to show for it. */
static void tell_empty(struct q2_walk_state *w)
{
	const struct qcow2_selection *selection = w->selection;
	char name[160];
	struct qcow2_value value = {.name = name,
				    .kind = QCOW2_VALUE_TEXT,
				    .audience = QCOW2_FOR_PEOPLE,
				    .style = QCOW2_STYLE_TEXT,
				    .bytes = {(const uint8_t *)"none", 4},
				    .offset_bytes = QCOW2_NO_OFFSET};

	if (w->probe || selection->count < 2)
		return;
	for (size_t s = 0; s < selection->count; s++) {
		const char *text = selection->selectors[s].text;

		if (!(w->empty >> s & 1))
			continue;
		qcow2_text_escape((struct qcow2_bytes){(const uint8_t *)text, strlen(text)}, name,
				  sizeof(name));
		q2_walk_value_always(w, &value);
	}
}

/* Without a sane header no table can be found. */
static void say_no_tables(struct q2_walk_state *w)
{
	static const char *const keys[] = {"l1", "l2", "refcount_table", "refcounts"};

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		q2_walk_lost_key(w, keys[i],
				 "the header makes no sense, so that no table can be found");
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
	if (!w->geometry)
		say_no_tables(w);
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]) && !q2_walk_over(w); i++)
		parts[i](w);
	tell_empty(w);
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
 * Walks without telling the visitor, and fails if a selector names nothing. It is no error to ask
 * for all elements of a list that has none.
 */
static int probe(struct q2_walk_state *w)
{
	uint64_t matched;

	w->probe = true;
	walk_image(w);
	if (w->failed)
		return -1;
	w->done = false;
	matched = w->selection->matched;
	for (size_t s = 0; s < w->selection->count; s++)
		if (!(matched >> s & 1)) {
			if (q2_walk_lost(w, s, walk_image))
				return -1;
			w->empty |= UINT64_C(1) << s;
		}
	w->probe = false;
	return 0;
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
		.lost.selector = SIZE_MAX,
	};

	if (q2_sized_take(&mine, sizeof(mine), visitor, err) ||
	    q2_flags_check(flags, QCOW2_WALK_NO_TABLES, err))
		return -1;
	if (!selection && qcow2_selection_new(NULL, 0, &own, err))
		return -1;
	w.selection = selection ? selection : own;
	q2_selection_forget(w.selection);
	w.reporter = (struct q2_reporter){.problem = hear_problem, .opaque = &w};
	q2_hash_key_make(&w.hash_key);
	if (w.selection->count == 0 || probe(&w) == 0)
		walk_image(&w);
	else
		w.failed = true;
	qcow2_table_close(w.table);
	q2_free(w.rows);
	q2_walk_l2_release(&w);
	qcow2_selection_free(own);
	return w.failed ? -1 : 0;
}
