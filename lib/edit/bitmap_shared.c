/* SPDX-License-Identifier: MIT */
/*
 * Bitmaps whose clusters the guest or other metadata use, too. Each looks well by itself, but its
 * bits are what somebody else has written. Only a check of the whole image knows. Where two bitmaps
 * share a cluster nobody knows whose it is: the sound one must not suffer for the other.
 */
#include <string.h>

#include <qcow2/check.h>

#include "base/alloc.h"
#include "base/error.h"
#include "edit/bitmap_repair.h"

/* So many problems of a kind are looked at; an image may be all faults. */
#define LOOKED_AT_MOST (UINT64_C(1) << 16)
#define INDEX_MOST     ((uint64_t)1 << 20)

struct search {
	struct qcow2_repair *r;
	bool short_of_memory;
};

static void mark(struct search *search, uint64_t index)
{
	struct qcow2_repair *r = search->r;
	size_t count = (size_t)(index + 1) * 2;
	bool *grown;

	if (index >= INDEX_MOST)
		return;
	if (index >= r->shared_count) {
		grown = qcow2_realloc_array(r->shared, count, sizeof(*grown));
		if (!grown) {
			search->short_of_memory = true;
			return;
		}
		memset(grown + r->shared_count, 0, count - r->shared_count);
		r->shared = grown;
		r->shared_count = count;
	}
	r->shared[index] = true;
}

static void hear(void *opaque, const struct qcow2_problem *problem)
{
	struct search *search = opaque;
	bool low = problem->kind == qcow2_repair_kind(QCOW2_PROBLEM_REFCOUNT_LOW);
	unsigned others = 0;

	if (!low && problem->kind != qcow2_repair_kind(QCOW2_PROBLEM_CLUSTER_OWNERS))
		return;
	/* What is not counted may be in use: new clusters come from behind all others. */
	search->r->editor->careful |= low;
	for (unsigned i = 0; i < problem->owner_count; i++)
		others += problem->owners[i].part_of != QCOW2_PART_OF_BITMAP;
	for (unsigned i = 0; others > 0 && i < problem->owner_count; i++)
		if (problem->owners[i].part_of == QCOW2_PART_OF_BITMAP)
			mark(search, problem->owners[i].part_of_index);
}

int qcow2_repair_find_shared(struct qcow2_repair *r)
{
	struct search search = {.r = r};
	const struct qcow2_check_options how = {
		.max_per_kind = LOOKED_AT_MOST, .problem = hear, .opaque = &search};
	struct qcow2_check_result result;

	if (qcow2_check(r->editor->image, &how, &result, r->err))
		return -1;
	return search.short_of_memory ? qcow2_fail_memory(r->err) : 0;
}
