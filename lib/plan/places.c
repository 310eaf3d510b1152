/* SPDX-License-Identifier: MIT */
/* See places.h. */
#include "plan/places.h"

#include "base/alloc.h"
#include "base/error.h"

#define FIRST_CAPACITY 16

static bool push(struct q2_places *places, uint64_t offset, uint64_t size, uint32_t phase)
{
	if (places->count == places->capacity) {
		size_t capacity = places->capacity ? places->capacity * 2 : FIRST_CAPACITY;
		void *grown = q2_realloc_array(places->items, capacity, sizeof(*places->items));

		if (!grown)
			return false;
		places->items = grown;
		places->capacity = capacity;
	}
	places->items[places->count++] = (struct q2_place){offset, size, phase};
	return true;
}

bool q2_places_add(struct q2_places *places, const struct q2_place *place)
{
	uint64_t offset = place->offset_bytes, size = place->size_bytes;
	struct q2_place *last = places->count ? &places->items[places->count - 1] : NULL;

	if (last && last->phase == place->phase &&
	    last->offset_bytes + last->size_bytes == offset &&
	    last->size_bytes < Q2_PLACE_MOST_BYTES) {
		uint64_t more = Q2_PLACE_MOST_BYTES - last->size_bytes;

		if (more > size)
			more = size;
		last->size_bytes += more;
		offset += more;
		size -= more;
	}
	while (size > 0) {
		uint64_t part = size < Q2_PLACE_MOST_BYTES ? size : Q2_PLACE_MOST_BYTES;

		if (!push(places, offset, part, place->phase))
			return false;
		offset += part;
		size -= part;
	}
	return true;
}

void q2_places_release(struct q2_places *places)
{
	q2_free(places->items);
	*places = (struct q2_places){.items = NULL};
}

/* Adds what the plan cuts off. Holes are left out: growing the file again brings them back. */
static bool add_cut(struct q2_places *places, const struct qcow2_plan *plan)
{
	uint64_t at = plan->size_bytes;

	while (at < plan->old_size_bytes) {
		uint64_t data = qcow2_source_hole_end(plan->source, at);
		struct q2_place place = {data, plan->old_size_bytes - data, QCOW2_PHASE_CLEAN};

		if (place.size_bytes > Q2_PLACE_MOST_BYTES)
			place.size_bytes = Q2_PLACE_MOST_BYTES;
		if (place.size_bytes > 0 && !q2_places_add(places, &place))
			return false;
		at = data + place.size_bytes;
	}
	return true;
}

int q2_plan_places(const struct qcow2_plan *plan, struct q2_places *places, struct qcow2_error *err)
{
	struct q2_segment_at at;
	const struct q2_segment *segment = q2_segments_find(&plan->planned, 0, &at);
	bool done = true;

	*places = (struct q2_places){.items = NULL};
	for (; segment && done; segment = q2_segments_next(&plan->planned, &at))
		done = q2_places_add(places,
				     &(struct q2_place){segment->offset_bytes, segment->size_bytes,
							segment->phase});
	/* All writes are before the planned end, so that what is cut off comes behind them. */
	if (done && add_cut(places, plan))
		return 0;
	q2_places_release(places);
	return q2_fail_memory(err);
}
