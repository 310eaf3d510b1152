/* SPDX-License-Identifier: MIT */
/* Entries that are made anew: those that snapshots have, and what is told of all of them. */
#include "rescue/lost/l2.h"

#include <stdio.h>

#include "base/error.h"
#include "image/guest.h"

/* Words that are made anew in all. */
#define WORDS_MOST ((size_t)1 << 22)

/* ---- what snapshots have ---- */

int q2_rebuild_read_snapshots(struct q2_rebuild *rebuild)
{
	struct q2_lost_state *state = rebuild->state;
	const struct qcow2_snapshot *snapshot;
	struct qcow2_snapshots *snapshots;
	int more;

	if (qcow2_snapshots_open(state->image, &snapshots, state->err))
		return q2_is_fault(state->err) ? -1 : 0;
	while ((more = qcow2_snapshots_next(snapshots, &snapshot, state->err)) > 0) {
		const struct q2_snapshot_l1 l1 = {snapshot->header.l1_table_offset,
						  snapshot->header.l1_size,
						  (uint32_t)snapshot->index};

		if (q2_vector_push(&rebuild->snapshots, &l1) == QCOW2_ERROR_MEMORY)
			more = q2_fail_memory(state->err);
		if (more < 0)
			break;
	}
	qcow2_snapshots_close(snapshots);
	return more;
}

/* Reads the table that a snapshot has for the place into state->buffer. *is_there: it has one. */
static int read_of_snapshot(struct q2_rebuild *rebuild, const struct q2_snapshot_l1 *l1,
			    bool *is_there)
{
	struct q2_lost_state *state = rebuild->state;
	const struct qcow2_geometry *geometry = state->geometry;
	uint64_t entry;

	*is_there = false;
	if (qcow2_table_begin(state->words, l1->offset_bytes, l1->size) <= rebuild->slot)
		return 0;
	if (qcow2_table_entry(state->words, rebuild->slot, &entry, state->err))
		return -1;
	entry &= QCOW2_ENTRY_MASK(l1_entry, offset);
	if (entry == 0 || entry % geometry->cluster_size_bytes != 0 ||
	    entry >= geometry->file_size_bytes ||
	    entry >> geometry->cluster_bits == rebuild->cluster)
		return 0;
	*is_there = true;
	return q2_lost_read_cluster(state, entry >> geometry->cluster_bits);
}

/* Sets an entry of the table in memory. */
void q2_rebuild_set(struct q2_rebuild *rebuild, uint64_t index, uint64_t entry,
		    uint64_t subclusters)
{
	unsigned width = rebuild->state->geometry->l2_entry_bytes;

	q2_store_be64(rebuild->table + index * width, entry);
	if (width > 8)
		q2_store_be64(rebuild->table + index * width + width / 2, subclusters);
	rebuild->filled[index] = 1;
}

/* Takes entries of a snapshot's table, in state->buffer, whose clusters lack a reference. */
static int take_entries(struct q2_rebuild *rebuild, uint64_t *taken)
{
	struct q2_lost_state *state = rebuild->state;
	const struct qcow2_geometry *geometry = state->geometry;
	const unsigned width = geometry->l2_entry_bytes;

	for (uint64_t i = 0; i < rebuild->entries; i++) {
		uint64_t entry = q2_l2_entry_at(state->buffer, i, width);
		uint64_t begin, end;
		bool lacks;

		if (!q2_rebuild_is_zero(rebuild, i) ||
		    !q2_lost_target(geometry, entry, &begin, &end))
			continue;
		if (q2_lost_lacks(state, begin >> geometry->cluster_bits, &lacks))
			return -1;
		if (!lacks)
			continue;
		q2_rebuild_set(rebuild, i, entry & ~QCOW2_ENTRY_MASK(l2_entry, copied),
			       q2_l2_subclusters_at(state->buffer, i, width));
		++*taken;
	}
	return 0;
}

/* ---- what is told ---- */

static int push_words(struct q2_rebuild *rebuild, uint64_t index)
{
	struct q2_lost_state *state = rebuild->state;
	const unsigned width = state->geometry->l2_entry_bytes;

	for (unsigned i = 0; i < width; i += 8) {
		const uint8_t *word = rebuild->table + index * width + i;
		const struct q2_lost_entry entry = {
			(rebuild->cluster << state->geometry->cluster_bits) + index * width + i,
			q2_load_be64(word)};

		if (q2_vector_push(&state->lost->entries, &entry) == QCOW2_ERROR_MEMORY)
			return q2_fail_memory(state->err);
	}
	return 0;
}

/* Makes a place of the entries that were filled since the last time. */
int q2_rebuild_tell(struct q2_rebuild *rebuild, unsigned confidence, const char *text)
{
	struct q2_lost_state *state = rebuild->state;
	const struct qcow2_geometry *geometry = state->geometry;
	const unsigned least =
		state->how->confidence_least ? state->how->confidence_least : Q2_LOST_LIKELY;
	const struct q2_guest_range guest =
		q2_guest_l1(geometry, geometry->virtual_size_bytes, rebuild->slot, 1);
	struct q2_lost_place place = {
		.public =
			{
				.size = sizeof(place.public),
				.l1_index = rebuild->slot,
				.guest_byte = guest.byte,
				.guest_length_bytes = guest.length_bytes,
				.l2_table = {rebuild->cluster << geometry->cluster_bits},
				.confidence = confidence,
				.planned = confidence >= least,
			},
		.first_entry = state->lost->entries.count};

	if (state->lost->entries.count + rebuild->entries * 2 > WORDS_MOST)
		return 0;
	for (uint64_t i = 0; i < rebuild->entries; i++) {
		if (!rebuild->filled[i])
			continue;
		rebuild->filled[i] = 0;
		place.public.clusters++;
		if (push_words(rebuild, i))
			return -1;
	}
	place.new_entries = state->lost->entries.count - place.first_entry;
	if (place.public.planned) {
		state->lost->planned++;
		state->lost->mapped_clusters += place.public.clusters;
	}
	snprintf(place.public.text, sizeof(place.public.text), "%s", text);
	return q2_vector_push(&state->lost->places, &place) == QCOW2_ERROR_MEMORY
		       ? q2_fail_memory(state->err)
		       : 0;
}

int q2_rebuild_ask_snapshots(struct q2_rebuild *rebuild)
{
	for (size_t i = rebuild->snapshots.count; i-- > 0 && rebuild->lookups_left > 0;) {
		const struct q2_snapshot_l1 *l1 = q2_vector_at(&rebuild->snapshots, i);
		char text[QCOW2_RESCUE_TEXT_MAX];
		uint64_t taken = 0;
		bool is_there;

		rebuild->lookups_left--;
		if (read_of_snapshot(rebuild, l1, &is_there))
			return -1;
		if (is_there && take_entries(rebuild, &taken))
			return -1;
		snprintf(text, sizeof(text),
			 "snapshot #%u has these entries at this place, and refcounts of their "
			 "clusters say that one more led to them",
			 l1->index);
		if (taken > 0 && q2_rebuild_tell(rebuild, Q2_LOST_CERTAIN, text))
			return -1;
	}
	return 0;
}
