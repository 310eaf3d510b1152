/* SPDX-License-Identifier: MIT */
/* Moves whole tables: L1 tables, the snapshot table, L2 tables. See owners.h. */
#include <stdlib.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "repair/owners/owners.h"

/* Larger tables are claims of a damaged header: an L1 table of QEMU has at most 32 MiB. */
#define TABLE_MOST_BYTES (UINT64_C(32) << 20)

/* Copies bytes of the planned file to a new place. */
static int copy(struct q2_parting *owners, uint64_t from, uint64_t to, uint64_t size)
{
	struct q2_repair *repair = owners->repair;
	uint8_t *buffer = owners->metadata.buffer;

	for (uint64_t at = 0; at < size; at += Q2_PIECE_BYTES) {
		size_t piece = size - at < Q2_PIECE_BYTES ? (size_t)(size - at) : Q2_PIECE_BYTES;

		if (q2_plan_read(repair->plan, from + at, buffer, piece, repair->err) ||
		    q2_repair_write(repair, QCOW2_PHASE_NEW, to + at,
				    (struct qcow2_bytes){buffer, piece},
				    "a table in a place of its own"))
			return -1;
	}
	return 0;
}

static int move_structure(struct q2_parting *owners, const struct q2_party *party)
{
	struct q2_repair *repair = owners->repair;
	uint64_t size, to;

	if (q2_parting_is_word_shared(owners, party->at, party))
		return 0;
	if (party->length_bytes > TABLE_MOST_BYTES) {
		q2_repair_leave(repair, party->id, "a table there is too large to be real");
		return 0;
	}
	size = q2_div_ceil_u64(party->length_bytes, owners->geometry->cluster_size_bytes);
	if (q2_parting_take(owners, party->id, size, &to))
		return -1;
	if (to == 0)
		return 0;
	owners->moved = true;
	return copy(owners, party->offset_bytes, to, size * owners->geometry->cluster_size_bytes) ||
			       q2_repair_write_number(repair, QCOW2_PHASE_POINT, party->at, to, 8,
						      "leads to the table's new place") ||
			       q2_parting_tell_one(owners, party)
		       ? -1
		       : 0;
}

int q2_parting_move_structures(struct q2_parting *owners)
{
	for (size_t i = 0; i < owners->mover_count; i++)
		if (move_structure(owners, owners->movers[i]))
			return -1;
	return 0;
}

/* An L1 entry that leads to an L2 table that moves. */
struct leading {
	uint64_t table, at, word;
	uint64_t weight; /* L1 tables that have it */
};

/* The L1 entries that lead to tables that move. */
struct search {
	struct q2_parting *owners;
	struct leading *found;
	size_t count, capacity;
};

static const struct q2_party *find_mover(const struct q2_parting *owners, uint64_t offset_bytes)
{
	size_t low = 0, high = owners->mover_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (owners->movers[middle]->offset_bytes < offset_bytes)
			low = middle + 1;
		else
			high = middle;
	}
	return low < owners->mover_count && owners->movers[low]->offset_bytes == offset_bytes
		       ? owners->movers[low]
		       : NULL;
}

static int visit_entry(void *opaque, uint64_t at, uint64_t word)
{
	struct search *search = opaque;
	struct q2_parting *owners = search->owners;
	const uint64_t offset = word & QCOW2_ENTRY_MASK(l1_entry, offset);

	if (!find_mover(owners, offset))
		return 0;
	if (search->count == search->capacity &&
	    !q2_memory_grow(&owners->memory, (void **)&search->found, &search->capacity,
			    sizeof(*search->found)))
		return q2_memory_fail(&owners->memory, owners->repair->err);
	search->found[search->count++] =
		(struct leading){.table = offset, .at = at, .word = word, .weight = 1};
	return 0;
}

static int search_l1(struct search *search, uint64_t offset_bytes, uint64_t entries)
{
	struct q2_parting *owners = search->owners;
	static const struct q2_listener nobody = {0};
	const uint64_t size = owners->geometry->file_size_bytes;
	uint64_t stored;

	if (offset_bytes >= size)
		return 0;
	stored = (size - offset_bytes) / 8;
	return q2_metadata_read_words(
		&owners->metadata, &nobody,
		&(struct q2_words){.start = offset_bytes,
				   .end = offset_bytes + (stored < entries ? stored : entries) * 8,
				   .word = visit_entry,
				   .opaque = search});
}

static int by_table(const void *left, const void *right)
{
	const struct leading *a = left, *b = right;

	if (a->table != b->table)
		return a->table < b->table ? -1 : 1;
	return a->at < b->at ? -1 : a->at > b->at;
}

/*
 * L1 tables at one place are read once each, so that an entry that n of them have is found n times;
 * these become one with its weight.
 */
static int search_all(struct search *search)
{
	const struct q2_metadata *metadata = &search->owners->metadata;
	size_t kept = 0;

	if (search_l1(search, metadata->header->l1_table_offset, metadata->header->l1_size))
		return -1;
	for (size_t i = 0; i < metadata->l1_count; i++)
		if (search_l1(search, metadata->l1s[i].offset_bytes, metadata->l1s[i].entries))
			return -1;
	if (search->count == 0)
		return 0;
	qsort(search->found, search->count, sizeof(*search->found), by_table);
	for (size_t i = 1; i < search->count; i++) {
		if (search->found[i].at == search->found[kept].at)
			search->found[kept].weight++;
		else
			search->found[++kept] = search->found[i];
	}
	search->count = kept + 1;
	return 0;
}

/*
 * Moves one L2 table, to which found[0, count) lead: all of them if another thing keeps the place;
 * else those for whom the refcount has no room. *to is the copy that has `room` left.
 */
static int move_l2(struct q2_parting *owners, const struct q2_party *party,
		   const struct leading *found, size_t count)
{
	const uint64_t most = q2_parting_refcount_most(owners);
	uint64_t room = party->id == QCOW2_PROBLEM_REFCOUNT_OVERFLOW ? most : 0, to = 0;
	bool moved = false;

	for (size_t i = 0; i < count; i++) {
		uint64_t word = found[i].word & ~QCOW2_ENTRY_MASK(l1_entry, offset);

		if (q2_parting_is_word_shared(owners, found[i].at, party))
			continue;
		if (found[i].weight > room) {
			if (q2_parting_take(owners, party->id, 1, &to))
				return -1;
			if (to == 0)
				break;
			if (copy(owners, party->offset_bytes, to,
				 owners->geometry->cluster_size_bytes))
				return -1;
			room = most > found[i].weight ? most : found[i].weight;
			moved = true;
		}
		room -= found[i].weight;
		if (to != 0 &&
		    q2_repair_write_number(owners->repair, QCOW2_PHASE_POINT, found[i].at,
					   word | to, 8, "leads to the copy of the L2 table"))
			return -1;
	}
	owners->moved |= moved;
	return moved ? q2_parting_tell_one(owners, party) : 0;
}

int q2_parting_move_l2_tables(struct q2_parting *owners)
{
	struct search search = {.owners = owners};
	int failed = search_all(&search);

	for (size_t i = 0, end; i < search.count && !failed; i = end) {
		const struct q2_party *party = find_mover(owners, search.found[i].table);

		for (end = i + 1; end < search.count; end++)
			if (search.found[end].table != search.found[i].table)
				break;
		failed = move_l2(owners, party, search.found + i, end - i);
	}
	q2_memory_put(&owners->memory, search.found, search.capacity, sizeof(*search.found));
	return failed ? -1 : 0;
}
