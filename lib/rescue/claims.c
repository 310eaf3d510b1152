/* SPDX-License-Identifier: MIT */
/* Which clusters the L1 tables of a guess lead to: see l1.h. */
#include "rescue/l1.h"

#include "format/l2_table.h"
#include "rescue/words.h"

static uint64_t cluster_of(const struct q2_guess *guess, uint64_t offset)
{
	return offset >> guess->shape.cluster_bits;
}

static size_t cluster_size(const struct q2_guess *guess)
{
	return (size_t)1 << guess->shape.cluster_bits;
}

struct q2_guess_l1 *q2_guess_l1_at(const struct q2_guess *guess, uint64_t offset)
{
	size_t low = 0, high = guess->l1_tables.count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		struct q2_guess_l1 *l1 = q2_vector_at(&guess->l1_tables, middle);

		if (l1->offset_bytes == offset)
			return l1;
		if (l1->offset_bytes < offset)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

int q2_guess_visit(struct q2_guess *guess, uint64_t offset, uint64_t clusters,
		   q2_guess_visitor visit, struct qcow2_error *err)
{
	uint64_t per_cluster = cluster_size(guess) / 8;
	struct q2_pieces pieces;
	const uint8_t *cluster;
	int result = 0;

	if (q2_pieces_open(&pieces, guess->scan, cluster_size(guess), err))
		return -1;
	for (uint64_t i = 0; i < clusters * per_cluster && result == 0; i++) {
		uint64_t entry;

		if (i % per_cluster == 0) {
			result = q2_pieces_read(&pieces, offset + (i << 3), cluster_size(guess),
						&cluster, err);
			if (result)
				break;
		}
		entry = q2_load_be64(cluster + i % per_cluster * 8);
		if (entry != 0)
			result = visit(guess, entry, i, err);
	}
	q2_pieces_close(&pieces);
	return result;
}

void q2_guess_claim(struct q2_guess *guess, uint64_t offset, uint64_t length)
{
	uint64_t last;

	if (length == 0 || offset >= guess->scan->file_size_bytes)
		return;
	if (length > guess->scan->file_size_bytes - offset)
		length = guess->scan->file_size_bytes - offset;
	last = cluster_of(guess, offset + length - 1);
	for (uint64_t i = cluster_of(guess, offset); i <= last; i++)
		q2_bits_add(&guess->claimed, i);
}

/* Notes that a table leads to what may be an L1 table, which then is data of a guest, or an L2 table. */
static void note_edge(struct q2_guess *guess, uint64_t offset)
{
	const struct q2_guess_l1 *l1 = guess->edges ? q2_guess_l1_at(guess, offset) : NULL;
	struct q2_guess_edge edge = {.from = guess->edges_from};

	if (!l1)
		return;
	edge.to = ((size_t)((const uint8_t *)l1 - guess->l1_tables.data)) / sizeof(*l1);
	/* Over the bound, or without memory, an edge is missing: the check judges in the end. */
	(void)q2_vector_push(guess->edges, &edge);
}

static void claim_target(struct q2_guess *guess, uint64_t entry)
{
	struct qcow2_compressed_extent extent;

	if (guess->edges)
		((struct q2_guess_l1 *)q2_vector_at(&guess->l1_tables, guess->edges_from))->maps +=
			entry != 0;

	if (qcow2_l2_is_compressed(entry)) {
		guess->a_compressed = entry;
		extent = qcow2_compressed_split(entry, guess->shape.cluster_bits);
		q2_guess_claim(guess, extent.offset_bytes, extent.length_bytes);
	} else if (!guess->shape.data_file) {
		note_edge(guess, entry & QCOW2_ENTRY_MASK(l2_entry, offset));
		q2_guess_claim(guess, entry & QCOW2_ENTRY_MASK(l2_entry, offset),
			       (entry & QCOW2_ENTRY_MASK(l2_entry, offset)) != 0);
	}
}

int q2_guess_claim_l2(struct q2_guess *guess, uint64_t entry, uint64_t index,
		      struct qcow2_error *err)
{
	uint64_t offset = entry & QCOW2_ENTRY_MASK(l1_entry, offset);
	unsigned entry_bytes = guess->shape.extended_l2 ? 16 : 8;
	const struct q2_found_table *table = q2_found_table(&guess->tables, offset);
	const uint8_t *cluster;

	(void)index;
	note_edge(guess, offset);
	if (q2_bits_has(&guess->claimed, cluster_of(guess, offset)))
		return 0;
	q2_guess_claim(guess, offset, cluster_size(guess));
	if (!table || !table->is_l2)
		return 0;
	if (q2_pieces_read(&guess->pieces, offset, cluster_size(guess), &cluster, err))
		return -1;
	for (uint64_t i = table->first_index; i <= table->last_index; i++)
		claim_target(guess, q2_l2_entry_at(cluster, i, entry_bytes));
	return 0;
}

void q2_guess_claim_refcounts(struct q2_guess *guess)
{
	const struct q2_guess_refcounts *refcounts = &guess->refcounts;

	q2_guess_claim(guess, 0, 1);
	q2_guess_claim(guess, refcounts->table_bytes,
		       refcounts->clusters * (uint64_t)cluster_size(guess));
	for (size_t i = 0; i < refcounts->block_count; i++)
		if (refcounts->blocks[i] != 0)
			q2_guess_claim(guess, refcounts->blocks[i], 1);
}
