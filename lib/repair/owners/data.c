/* SPDX-License-Identifier: MIT */
/* Moves guest data, plain and compressed, and changes the L2 entries. See owners.h. */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "repair/owners/owners.h"

/* Neighbouring entries that are written at once. */
#define RUN_MOST 512

/* Where copies go. */
struct moving {
	struct q2_parting *owners;
	struct q2_party_entry *entries;
	size_t count;
	/* The last copy: of what, where, and for how many more users. */
	const struct q2_party *of;
	uint64_t to, room;
	/* Compressed clusters are packed: free bytes behind the last one, in its last cluster. */
	uint64_t free_at, free_end, free_room;
};

/*
 * Reads guest data: as the file has it now, since the guest reads these bytes, even if the plan has
 * mended a table in the same place meanwhile. A copy that an earlier round made is in the plan alone.
 */
static int read_data(const struct q2_repair *repair, uint64_t offset, uint8_t *bytes, size_t size)
{
	return q2_space_is_taken(repair, offset)
		       ? q2_plan_read(repair->plan, offset, bytes, size, repair->err)
		       : q2_plan_read_old(repair->plan, offset, bytes, size, repair->err);
}

static int copy(struct moving *m, const struct q2_party *party, uint64_t to)
{
	struct q2_repair *repair = m->owners->repair;
	uint8_t *buffer = m->owners->metadata.buffer;

	for (uint64_t at = 0; at < party->length_bytes; at += Q2_PIECE_BYTES) {
		uint64_t left = party->length_bytes - at;
		size_t piece = left < Q2_PIECE_BYTES ? (size_t)left : Q2_PIECE_BYTES;

		if (read_data(repair, party->offset_bytes + at, buffer, piece) ||
		    q2_repair_write(repair, QCOW2_PHASE_NEW, to + at,
				    (struct qcow2_bytes){buffer, piece}, "a copy of guest data"))
			return -1;
	}
	m->owners->moved = true;
	return 0;
}

static bool is_same_place(const struct q2_party *a, const struct q2_party *b)
{
	return a && a->offset_bytes == b->offset_bytes && a->length_bytes == b->length_bytes &&
	       (a->use == QCOW2_USE_COMPRESSED) == (b->use == QCOW2_USE_COMPRESSED);
}

/*
 * Finds a place for a compressed cluster: behind the last one, if both fit a cluster, and the
 * refcount of that cluster has room. It starts at the same byte of a sector as before, so that the
 * number of its sectors stays the same.
 */
static int place_compressed(struct moving *m, const struct q2_party *party, uint64_t *to)
{
	const uint64_t cluster = m->owners->geometry->cluster_size_bytes;
	const uint64_t inside = party->offset_bytes % 512, size = inside + party->length_bytes;
	const uint64_t most = q2_parting_refcount_most(m->owners);
	uint64_t count = q2_div_ceil_u64(size, cluster), start;

	if (m->free_end - m->free_at < size || m->free_room < party->weight) {
		if (q2_parting_take(m->owners, party->id, count, &start))
			return -1;
		*to = start;
		if (start == 0)
			return 0;
		m->free_at = start;
		m->free_end = start + count * cluster;
		m->free_room = most > party->weight ? most : party->weight;
	}
	*to = m->free_at + inside;
	m->free_at += size;
	m->free_room -= party->weight;
	return copy(m, party, *to);
}

/* *to: where the copy of what party uses is, or 0 if there is none. */
static int place(struct moving *m, const struct q2_party *party, uint64_t *to)
{
	const uint64_t most = q2_parting_refcount_most(m->owners);

	if (is_same_place(m->of, party) && m->room >= party->weight) {
		m->room -= party->weight;
		if (party->use == QCOW2_USE_COMPRESSED)
			m->free_room -= m->free_room < party->weight ? m->free_room : party->weight;
		*to = m->to;
		return 0;
	}
	m->of = NULL;
	if (party->use == QCOW2_USE_COMPRESSED ? place_compressed(m, party, to)
					       : q2_parting_take(m->owners, party->id, 1, to))
		return -1;
	if (*to == 0)
		return 0;
	m->of = party;
	m->to = *to;
	m->room = most > party->weight ? most - party->weight : 0;
	return party->use == QCOW2_USE_COMPRESSED ? 0 : copy(m, party, *to);
}

/* The entry with another place; *fits: whether that can be said. */
static uint64_t with_place(const struct q2_parting *owners, const struct q2_party *party,
			   uint64_t to, bool *fits)
{
	const unsigned bits = owners->geometry->cluster_bits;
	struct qcow2_l2_compressed fields;

	*fits = true;
	if (party->use != QCOW2_USE_COMPRESSED)
		return (party->word & ~QCOW2_ENTRY_MASK(l2_entry, offset)) | to;
	fields = qcow2_l2_compressed_decode(party->word, bits);
	fields.offset = to;
	*fits = to >> qcow2_compressed_bit_x(bits) == 0;
	return qcow2_l2_compressed_encode(&fields, bits);
}

static int move_one(struct moving *m, const struct q2_party *party)
{
	const uint64_t placeless =
		~(QCOW2_ENTRY_MASK(l2_entry, offset) | QCOW2_ENTRY_MASK(l2_entry, copied));
	uint64_t to, word = party->word & placeless;
	bool fits = true;

	if (q2_parting_is_word_shared(m->owners, party->at, party))
		return 0;
	if (!party->unread) {
		if (place(m, party, &to))
			return -1;
		if (to == 0)
			return 0;
		word = with_place(m->owners, party, to, &fits);
	}
	if (fits)
		m->entries[m->count++] = (struct q2_party_entry){party->at, word, party};
	return 0;
}

static int by_at(const void *left, const void *right)
{
	const struct q2_party_entry *a = left, *b = right;

	return a->at < b->at ? -1 : a->at > b->at;
}

/* Writes entries; those side by side at once. */
static int write_entries(struct q2_parting *owners, const struct q2_party_entry *entries,
			 size_t count)
{
	uint8_t bytes[RUN_MOST * 8];

	for (size_t i = 0, run; i < count; i += run) {
		for (run = 0; run < RUN_MOST && i + run < count; run++) {
			if (entries[i + run].at != entries[i].at + run * 8)
				break;
			q2_store_be64(bytes + run * 8, entries[i + run].word);
		}
		if (q2_repair_write(owners->repair, QCOW2_PHASE_POINT, entries[i].at,
				    (struct qcow2_bytes){bytes, run * 8},
				    "leads to the copy of the data"))
			return -1;
	}
	return 0;
}

int q2_parting_move_data(struct q2_parting *owners)
{
	struct moving m = {.owners = owners};
	int failed = 0;

	m.entries = q2_memory_get(&owners->memory, owners->mover_count, sizeof(*m.entries));
	if (!m.entries)
		return q2_memory_fail(&owners->memory, owners->repair->err);
	for (size_t i = 0; i < owners->mover_count && !failed; i++)
		failed = move_one(&m, owners->movers[i]);
	if (!failed && m.count > 0) {
		qsort(m.entries, m.count, sizeof(*m.entries), by_at);
		owners->moved = true;
		failed = write_entries(owners, m.entries, m.count) ||
			 q2_parting_tell(owners, m.entries, m.count);
	}
	q2_memory_put(&owners->memory, m.entries, owners->mover_count, sizeof(*m.entries));
	return failed ? -1 : 0;
}
