/* SPDX-License-Identifier: MIT */
/*
 * Finds the L1 tables of a guess. A cluster belongs to one if most of its entries lead to clusters
 * that read as L2 tables. Then the clusters that such tables lead to are known, and what is left
 * beside them tells where a table begins and ends, since L1 tables may have clusters of zeros.
 */
#include "rescue/guess.h"

#include "base/error.h"
#include "format/l2_table.h"
#include "rescue/words.h"

/* The most L1 tables of a guess. */
#define L1_MOST ((size_t)1 << 16)

static uint64_t cluster_of(const struct q2_guess *guess, uint64_t offset)
{
	return offset >> guess->shape.cluster_bits;
}

static size_t cluster_size(const struct q2_guess *guess)
{
	return (size_t)1 << guess->shape.cluster_bits;
}

/* Whether a cluster is one of the refcount structures. */
static bool is_of_refcounts(const struct q2_guess *guess, uint64_t offset)
{
	const struct q2_guess_refcounts *refcounts = &guess->refcounts;

	if (refcounts->table_bytes == 0)
		return false;
	if (offset >= refcounts->table_bytes &&
	    offset - refcounts->table_bytes < (uint64_t)refcounts->clusters
						      << guess->shape.cluster_bits)
		return true;
	return q2_bits_has(&guess->claimed, cluster_of(guess, offset));
}

/* Counts where the entries of a cluster lead. */
static void look_at(const struct q2_guess *guess, const uint8_t *cluster, struct q2_guess_l1 *l1)
{
	uint64_t count = cluster_size(guess) / 8;

	for (uint64_t i = 0; i < count; i++) {
		uint64_t entry = q2_load_be64(cluster + i * 8);
		const struct q2_found_table *table;

		if (entry == 0)
			continue;
		table = q2_found_table(&guess->tables, entry & QCOW2_ENTRY_MASK(l1_entry, offset));
		l1->entries++;
		l1->hits += table && table->is_l2;
		l1->copied += (entry & QCOW2_ENTRY_MASK(l1_entry, copied)) != 0;
		l1->entries_end = i + 1;
	}
}

static int keep(struct q2_guess *guess, const struct q2_guess_l1 *l1, struct qcow2_error *err)
{
	return q2_vector_push(&guess->l1_tables, l1) == QCOW2_ERROR_MEMORY ? q2_fail_memory(err)
									   : 0;
}

/* Keeps the clusters that read as parts of L1 tables, in the order of the file. */
static int find_clusters(struct q2_guess *guess, struct qcow2_error *err)
{
	for (size_t i = 0; i < guess->tables.count; i++) {
		const struct q2_found_table *table = q2_vector_at(&guess->tables, i);
		struct q2_guess_l1 l1 = {.offset_bytes = table->offset_bytes, .clusters = 1};
		const uint8_t *cluster;
		bool in_use;

		if (!table->is_pointers || is_of_refcounts(guess, table->offset_bytes))
			continue;
		if (q2_guess_in_use(guess, table->offset_bytes, &in_use, err) ||
		    q2_pieces_read(&guess->pieces, table->offset_bytes, cluster_size(guess),
				   &cluster, err))
			return -1;
		look_at(guess, cluster, &l1);
		if (in_use && l1.hits * 2 > l1.entries && keep(guess, &l1, err))
			return -1;
	}
	return 0;
}

static struct q2_guess_l1 *l1_at(const struct q2_guess *guess, uint64_t offset)
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

/* What a pass over all entries of the tables does with each that is not 0. */
typedef int (*visitor)(struct q2_guess *guess, uint64_t entry, uint64_t index,
		       struct qcow2_error *err);

static int visit_words(struct q2_guess *guess, uint64_t offset, uint64_t clusters, visitor visit,
		       struct qcow2_error *err)
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

/* An entry of an L1 table: if it leads to another one, that is none. */
static int mark_target(struct q2_guess *guess, uint64_t entry, uint64_t index,
		       struct qcow2_error *err)
{
	struct q2_guess_l1 *l1 = l1_at(guess, entry & QCOW2_ENTRY_MASK(l1_entry, offset));

	(void)index;
	(void)err;
	if (l1)
		l1->is_target = true;
	return 0;
}

/*
 * Tables with less hits are looked at first: an L2 table may look as if it led to L2 tables because
 * of what the guest stores, but then less often than a table that does.
 */
static int mark_targets(struct q2_guess *guess, struct qcow2_error *err)
{
	for (size_t i = 0; i < guess->l1_tables.count; i++) {
		const struct q2_guess_l1 *l1 = q2_vector_at(&guess->l1_tables, i);

		if (visit_words(guess, l1->offset_bytes, 1, mark_target, err))
			return -1;
	}
	return 0;
}

static void drop_targets(struct q2_guess *guess)
{
	size_t kept = 0;

	for (size_t i = 0; i < guess->l1_tables.count; i++) {
		struct q2_guess_l1 *l1 = q2_vector_at(&guess->l1_tables, i);
		struct q2_guess_l1 *to = q2_vector_at(&guess->l1_tables, kept);

		if (l1->is_target)
			continue;
		*to = *l1;
		kept++;
	}
	guess->l1_tables.count = kept;
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

static void claim_target(struct q2_guess *guess, uint64_t entry)
{
	struct qcow2_compressed_extent extent;

	if (qcow2_l2_is_compressed(entry)) {
		guess->a_compressed = entry;
		extent = qcow2_compressed_split(entry, guess->shape.cluster_bits);
		q2_guess_claim(guess, extent.offset_bytes, extent.length_bytes);
	} else if (!guess->shape.data_file) {
		q2_guess_claim(guess, entry & QCOW2_ENTRY_MASK(l2_entry, offset),
			       (entry & QCOW2_ENTRY_MASK(l2_entry, offset)) != 0);
	}
}

/* Claims an L2 table, and what it leads to. */
static int claim_l2(struct q2_guess *guess, uint64_t entry, uint64_t index, struct qcow2_error *err)
{
	uint64_t offset = entry & QCOW2_ENTRY_MASK(l1_entry, offset);
	unsigned entry_bytes = guess->shape.extended_l2 ? 16 : 8;
	const struct q2_found_table *table = q2_found_table(&guess->tables, offset);
	const uint8_t *cluster;

	(void)index;
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

static void claim_refcounts(struct q2_guess *guess)
{
	const struct q2_guess_refcounts *refcounts = &guess->refcounts;

	q2_guess_claim(guess, 0, 1);
	q2_guess_claim(guess, refcounts->table_bytes,
		       refcounts->clusters * (uint64_t)cluster_size(guess));
	for (size_t i = 0; i < refcounts->block_count; i++)
		if (refcounts->blocks[i] != 0)
			q2_guess_claim(guess, refcounts->blocks[i], 1);
}

/* Claims all that L1 tables lead to, and then the tables of snapshots. */
static int claim_all(struct q2_guess *guess, struct qcow2_error *err)
{
	for (size_t i = 0; i < guess->l1_tables.count; i++) {
		const struct q2_guess_l1 *l1 = q2_vector_at(&guess->l1_tables, i);

		if (visit_words(guess, l1->offset_bytes, 1, claim_l2, err))
			return -1;
	}
	return 0;
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
	if (visit_words(guess, offset, 1, judge_entry, err))
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
	look_at(guess, cluster, &more);
	l1->entries += more.entries;
	l1->hits += more.entries; /* as is_part() has found */
	l1->copied += more.copied;
	if (more.entries > 0 && index + more.entries_end > l1->entries_end)
		l1->entries_end = index + more.entries_end;
	return visit_words(guess, offset, 1, claim_l2, err);
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
				       extend_up(guess, &l1, &none, err) || keep(guess, &l1, err)
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

	q2_vector_init(&guess->l1_tables, sizeof(struct q2_guess_l1), L1_MOST);
	claim_refcounts(guess);
	if (find_clusters(guess, err) || mark_targets(guess, err))
		return -1;
	drop_targets(guess);
	if (q2_guess_mark_snapshots(guess, err) || claim_all(guess, err) || join(guess, err))
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
	return visit_words(guess, active->offset_bytes, active->clusters, count_l2, err);
}
