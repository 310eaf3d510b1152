/* SPDX-License-Identifier: MIT */
/* Plans the places that were found: see lost.h. */
#include "rescue/lost/lost.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/bytes.h"
#include "base/error.h"

#include <qcow2/entry.h>

/* Words that are written at once. */
#define WORDS_MOST 512

static int plan_place(const struct q2_lost_place *found, const struct qcow2_header *header,
		      struct qcow2_plan *plan, struct qcow2_error *err)
{
	const struct qcow2_rescue_table *place = &found->public;
	const struct qcow2_l1_entry entry = {.offset = place->l2_table.byte,
					     .copied = found->copied};
	char why[QCOW2_WHY_MAX];
	uint8_t bytes[8];

	q2_store_be64(bytes, qcow2_l1_entry_encode(&entry));
	snprintf(why, sizeof(why),
		 "L1 entry %" PRIu64 " leads to the L2 table at 0x%" PRIx64 " again",
		 place->l1_index, place->l2_table.byte);
	return qcow2_plan_write(plan, QCOW2_PHASE_POINT,
				header->l1_table_offset + place->l1_index * sizeof(bytes),
				(struct qcow2_bytes){bytes, sizeof(bytes)}, why, err);
}

/* Plans entries [first, first + count) of the list, words that lie side by side in one write. */
static int plan_entries(const struct q2_lost *lost, const struct q2_lost_place *place,
			struct qcow2_plan *plan, struct qcow2_error *err)
{
	const struct q2_lost_entry *entries = q2_vector_at(&lost->entries, place->first_entry);
	uint8_t bytes[WORDS_MOST * 8];
	char why[QCOW2_WHY_MAX];
	uint64_t words;

	snprintf(why, sizeof(why), "entries of the L2 table of L1 entry %" PRIu64 ", made anew",
		 place->public.l1_index);
	for (uint64_t i = 0; i < place->new_entries; i += words) {
		for (words = 0; i + words < place->new_entries && words < WORDS_MOST; words++) {
			if (entries[i + words].offset_bytes != entries[i].offset_bytes + words * 8)
				break;
			q2_store_be64(bytes + words * 8, entries[i + words].entry);
		}
		if (qcow2_plan_write(plan, QCOW2_PHASE_POINT, entries[i].offset_bytes,
				     (struct qcow2_bytes){bytes, (size_t)words * 8}, why, err))
			return -1;
	}
	return 0;
}

int q2_lost_plan(const struct q2_lost *lost, const struct qcow2_header *header,
		 struct qcow2_plan *plan, struct qcow2_error *err)
{
	for (size_t i = 0; i < lost->places.count; i++) {
		const struct q2_lost_place *place = q2_vector_at(&lost->places, i);

		if (!place->public.planned)
			continue;
		if (place->new_entries > 0 ? plan_entries(lost, place, plan, err)
					   : plan_place(place, header, plan, err))
			return -1;
	}
	return 0;
}
