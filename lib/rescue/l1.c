/* SPDX-License-Identifier: MIT */
/*
 * Makes L1 tables of the clusters that roots.c has found. What is left beside these, with no other
 * use, tells where a table begins and ends, since L1 tables may have clusters of zeros.
 */
#include "rescue/l1.h"

#include "base/error.h"
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

/* Whether a cluster is all zeros. */
static int is_zero(struct q2_guess *guess, uint64_t offset, bool *zero, struct qcow2_error *err)
{
	const uint8_t *bytes;

	*zero = false;
	if (q2_pieces_read(&guess->pieces, offset, cluster_size(guess), &bytes, err))
		return -1;
	*zero = true;
	for (size_t i = 0; i < cluster_size(guess) && *zero; i += 8)
		*zero = q2_load_be64(bytes + i) == 0;
	return 0;
}

/* An entry of what may be a part of an L1 table: it leads to an L2 table, or to an empty one. */
static int judge_entry(struct q2_guess *guess, uint64_t entry, uint64_t index,
		       struct qcow2_error *err)
{
	uint64_t offset = entry & QCOW2_ENTRY_MASK(l1_entry, offset);
	const struct q2_found_table *table = q2_found_table(&guess->tables, offset);
	bool empty = false;

	(void)index;
	if (!guess->part_fits || (table && table->is_l2))
		return 0;
	if (q2_guess_in_use(guess, offset, &empty, err) ||
	    (empty && is_zero(guess, offset, &empty, err)))
		return -1;
	guess->part_fits = empty;
	return 0;
}

/*
 * Whether a cluster beside an L1 table may be a part of it: it is in use once and for nothing else,
 * and holds zeros, or entries that lead to L2 tables, of which some may be empty.
 */
static int is_part(struct q2_guess *guess, uint64_t cluster, bool *part, struct qcow2_error *err)
{
	uint64_t offset = cluster << guess->shape.cluster_bits, refcount;
	const struct q2_found_table *table = q2_found_table(&guess->tables, offset);

	*part = false;
	if (guess->refcounts.table_bytes == 0 || cluster >= q2_guess_clusters(guess) ||
	    q2_bits_has(&guess->claimed, cluster))
		return 0;
	if (q2_guess_refcount(guess, cluster, &refcount, err))
		return -1;
	if (refcount != 1)
		return 0;
	if (!table)
		return is_zero(guess, offset, part, err);
	guess->part_fits = table->is_pointers;
	if (q2_guess_visit(guess, offset, 1, judge_entry, err))
		return -1;
	*part = guess->part_fits;
	return 0;
}

/* Counts the entries of a part that is added at an index of entries. */
static int count_part(struct q2_guess *guess, struct q2_guess_l1 *l1, uint64_t offset,
		      uint64_t index, struct qcow2_error *err)
{
	struct q2_guess_l1 more = {.entries = 0};
	const uint8_t *cluster;

	if (q2_pieces_read(&guess->pieces, offset, cluster_size(guess), &cluster, err))
		return -1;
	q2_guess_look_at_l1(guess, cluster, &more);
	l1->entries += more.entries;
	l1->hits += more.entries; /* as is_part() has found */
	l1->copied += more.copied;
	if (more.entries > 0 && index + more.entries_end > l1->entries_end)
		l1->entries_end = index + more.entries_end;
	return q2_guess_visit(guess, offset, 1, q2_guess_claim_l2, err);
}

/* Adds the clusters in front of the first one of a table that are a part of it. */
static int extend_down(struct q2_guess *guess, struct q2_guess_l1 *l1, struct qcow2_error *err)
{
	bool part = true;

	while (l1->offset_bytes > 0 && l1->clusters < QCOW2_LIMIT_QEMU_L1_ENTRIES) {
		if (is_part(guess, cluster_of(guess, l1->offset_bytes) - 1, &part, err))
			return -1;
		if (!part)
			break;
		l1->offset_bytes -= cluster_size(guess);
		l1->clusters++;
		if (l1->entries_end > 0)
			l1->entries_end += cluster_size(guess) / 8;
		if (count_part(guess, l1, l1->offset_bytes, 0, err))
			return -1;
	}
	return 0;
}

/*
 * Adds the clusters behind a table that go on with it. *next is the index of the next cluster that
 * reads as a part of an L1 table by itself.
 */
static int extend_up(struct q2_guess *guess, struct q2_guess_l1 *l1, size_t *next,
		     struct qcow2_error *err)
{
	uint64_t per_cluster = cluster_size(guess) / 8;

	while (l1->clusters * per_cluster < QCOW2_LIMIT_QEMU_L1_ENTRIES) {
		uint64_t end = l1->offset_bytes + l1->clusters * cluster_size(guess);
		const struct q2_guess_l1 *more = q2_vector_at(&guess->l1_tables, *next);
		bool part;

		if (more && more->offset_bytes == end && !more->of_snapshot) {
			l1->entries += more->entries;
			l1->hits += more->hits;
			l1->copied += more->copied;
			l1->entries_end = l1->clusters * per_cluster + more->entries_end;
			l1->clusters++;
			++*next;
			continue;
		}
		if (is_part(guess, cluster_of(guess, end), &part, err))
			return -1;
		if (!part)
			break;
		if (count_part(guess, l1, end, l1->clusters * per_cluster, err))
			return -1;
		l1->clusters++;
	}
	return 0;
}

/* Joins clusters to tables. Those of snapshots stay as they are. */
static int join(struct q2_guess *guess, struct qcow2_error *err)
{
	size_t kept = 0, next = 0;

	while (next < guess->l1_tables.count) {
		struct q2_guess_l1 l1 =
			*(const struct q2_guess_l1 *)q2_vector_at(&guess->l1_tables, next++);
		struct q2_guess_l1 *to = q2_vector_at(&guess->l1_tables, kept++);

		if (!l1.of_snapshot &&
		    (extend_down(guess, &l1, err) || extend_up(guess, &l1, &next, err)))
			return -1;
		*to = l1;
	}
	guess->l1_tables.count = kept;
	return 0;
}

/*
 * If no table has an entry, the disk may be empty: its table is the first run of clusters
 * that can be a part of one.
 */
static int find_empty(struct q2_guess *guess, struct qcow2_error *err)
{
	uint64_t end = guess->refcounts.block_count
		       << (guess->shape.cluster_bits + 3 - guess->shape.refcount_order);
	uint64_t clusters = q2_guess_clusters(guess);

	for (uint64_t i = 1; i < end && i < clusters; i++) {
		struct q2_guess_l1 l1 = {.offset_bytes = i << guess->shape.cluster_bits,
					 .clusters = 1};
		size_t none = guess->l1_tables.count;
		bool part;

		if (is_part(guess, i, &part, err))
			return -1;
		if (!part)
			continue;
		return count_part(guess, &l1, l1.offset_bytes, 0, err) ||
				       extend_up(guess, &l1, &none, err) ||
				       q2_guess_keep_l1(guess, &l1, err)
			       ? -1
			       : 0;
	}
	return 0;
}

/* Chooses the active one: that with most copied flags, then that with most tables. */
static void choose(struct q2_guess *guess)
{
	const struct q2_guess_l1 *best = NULL;

	guess->active = SIZE_MAX;
	for (size_t i = 0; i < guess->l1_tables.count; i++) {
		const struct q2_guess_l1 *l1 = q2_vector_at(&guess->l1_tables, i);

		if (l1->of_snapshot ||
		    (best && (best->copied > l1->copied ||
			      (best->copied == l1->copied && best->hits >= l1->hits))))
			continue;
		best = l1;
		guess->active = i;
	}
}

/* Counts what an L2 table of the active disk maps. */
static int count_l2(struct q2_guess *guess, uint64_t entry, uint64_t index, struct qcow2_error *err)
{
	uint64_t offset = entry & QCOW2_ENTRY_MASK(l1_entry, offset);
	const struct q2_found_table *table = q2_found_table(&guess->tables, offset);
	uint64_t end;

	(void)err;

	guess->l2_tables++;
	if (!table || !table->is_l2) {
		guess->l2_missing++;
		return 0;
	}
	guess->mapped_clusters += table->data + table->compressed;
	guess->compressed_clusters += table->compressed;
	guess->zero_clusters += table->zeros;
	guess->l2_entries += table->entries;
	guess->odd_words += table->odd_words;
	end = (index << q2_guess_l2_bits(&guess->shape)) +
	      ((table->last_index + UINT64_C(1)) << guess->shape.cluster_bits);
	if (end > guess->mapped_end_bytes)
		guess->mapped_end_bytes = end;
	return 0;
}

int q2_guess_l1(struct q2_guess *guess, struct qcow2_error *err)
{
	const struct q2_guess_l1 *active;

	if (q2_guess_roots(guess, err) || q2_guess_find_snapshots(guess, err) ||
	    q2_guess_mark_snapshots(guess, err) || q2_guess_find_named(guess, err) ||
	    join(guess, err))
		return -1;
	choose(guess);
	if (guess->active == SIZE_MAX && guess->refcounts.table_bytes != 0) {
		if (find_empty(guess, err))
			return -1;
		choose(guess);
	}
	if (guess->active == SIZE_MAX)
		return 0;
	active = q2_vector_at(&guess->l1_tables, guess->active);
	return q2_guess_visit(guess, active->offset_bytes, active->clusters, count_l2, err);
}
