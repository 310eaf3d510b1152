/* SPDX-License-Identifier: MIT */
/* The places that a plan changes. See plan.h. */
#include <stdlib.h>

#include "base/alloc.h"
#include "base/error.h"
#include "edit/plan.h"

struct places {
	struct qcow2_place *items;
	size_t count, capacity;
};

static bool add(struct places *places, uint64_t offset, uint64_t size)
{
	if (places->count == places->capacity) {
		size_t capacity = places->capacity ? places->capacity * 2 : 16;
		void *grown = qcow2_realloc_array(places->items, capacity, sizeof(*places->items));

		if (!grown)
			return false;
		places->items = grown;
		places->capacity = capacity;
	}
	places->items[places->count++] = (struct qcow2_place){offset, size};
	return true;
}

/* In pieces that are not too large. */
static bool add_pieces(struct places *places, uint64_t offset, uint64_t size)
{
	while (size > QCOW2_PLACE_MOST_BYTES) {
		if (!add(places, offset, QCOW2_PLACE_MOST_BYTES))
			return false;
		offset += QCOW2_PLACE_MOST_BYTES;
		size -= QCOW2_PLACE_MOST_BYTES;
	}
	return size == 0 || add(places, offset, size);
}

/* What the plan cuts off; holes come back by themselves. */
static bool add_cut(struct places *places, const struct qcow2_plan *plan)
{
	uint64_t at = plan->size_bytes;

	while (at < plan->old_size_bytes) {
		uint64_t data = qcow2_source_hole_end(plan->source, at);
		uint64_t size = plan->old_size_bytes - data;

		if (size > QCOW2_PLACE_MOST_BYTES)
			size = QCOW2_PLACE_MOST_BYTES;
		if (!add_pieces(places, data, size))
			return false;
		at = data + size;
	}
	return true;
}

static int by_offset(const void *left, const void *right)
{
	const struct qcow2_place *a = left, *b = right;

	return a->offset_bytes < b->offset_bytes ? -1 : a->offset_bytes > b->offset_bytes;
}

/* Unites the writes' places that overlap or touch; splits what has become too large. */
static bool unite(const struct places *from, struct places *to)
{
	size_t i = 0;

	while (i < from->count) {
		uint64_t start = from->items[i].offset_bytes;
		uint64_t end = start + from->items[i].size_bytes;

		for (i++; i < from->count && from->items[i].offset_bytes <= end; i++)
			if (from->items[i].offset_bytes + from->items[i].size_bytes > end)
				end = from->items[i].offset_bytes + from->items[i].size_bytes;
		if (!add_pieces(to, start, end - start))
			return false;
	}
	return true;
}

int qcow2_plan_places(const struct qcow2_plan *plan, struct qcow2_place **out, size_t *count,
		      struct qcow2_error *err)
{
	struct places all = {0}, united = {0};
	bool done = true;

	for (size_t i = 0; i < plan->count && done; i++)
		done = add(&all, plan->writes[i]->offset_bytes, plan->writes[i]->size);
	if (done && all.count > 0)
		qsort(all.items, all.count, sizeof(*all.items), by_offset);
	/* All writes are before the planned end, so that what is cut off comes behind them. */
	done = done && unite(&all, &united) && add_cut(&united, plan);
	qcow2_free(all.items);
	if (!done) {
		qcow2_free(united.items);
		return qcow2_fail_memory(err);
	}
	*out = united.items;
	*count = united.count;
	return 0;
}
