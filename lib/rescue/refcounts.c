/* SPDX-License-Identifier: MIT */
/*
 * Finds the refcount table of a guess. It vouches for itself: if the cluster size and the width of
 * refcounts are right, then the blocks that it leads to say 1 for the header, for the table and for
 * themselves. Hardly anything else does.
 */
#include "rescue/guess.h"

#include "base/alloc.h"
#include "base/error.h"
#include "rescue/words.h"

/* So many clusters behind the end of the file are asked for. */
#define BEYOND_ASKED 32
/* What a table loses by not counting its own clusters. */
#define NOT_OWN 1024
/* Blocks that are asked for themselves. */
#define ASKED_MOST ((size_t)64)

/* A table of one cluster that is tried, at one width. */
struct trial {
	struct q2_guess *guess;
	uint64_t offset;
	const uint8_t *cluster;
	unsigned order;
	uint32_t agree, asked;
};

static uint64_t entry_of(const uint8_t *cluster, uint64_t index)
{
	return q2_load_be64(cluster + index * 8);
}

/*
 * Refcount of a cluster by a table that is not loaded: 0 if no block counts it, and UINT64_MAX if
 * that is said in a later cluster of the table.
 */
static int count_of(const struct trial *trial, uint64_t cluster, uint64_t *refcount,
		    struct qcow2_error *err)
{
	struct q2_guess *guess = trial->guess;
	unsigned block_bits = guess->shape.cluster_bits + 3 - trial->order;
	uint64_t index = cluster >> block_bits,
		 within = cluster & ((UINT64_C(1) << block_bits) - 1);
	uint64_t bit = within << trial->order, block;
	const uint8_t *bytes;

	*refcount = UINT64_MAX;
	if (index >= (UINT64_C(1) << guess->shape.cluster_bits) / 8)
		return 0;
	block = entry_of(trial->cluster, index);
	*refcount = 0;
	if (block == 0)
		return 0;
	if (q2_pieces_read(&guess->refcounts.reader, block + bit / 64 * 8, 8, &bytes, err))
		return -1;
	*refcount = qcow2_refcount_get(bytes, (bit & 63) >> trial->order, 1U << trial->order);
	return 0;
}

static int ask(struct trial *trial, uint64_t offset, struct qcow2_error *err)
{
	uint64_t refcount;

	if (count_of(trial, offset >> trial->guess->shape.cluster_bits, &refcount, err))
		return -1;
	trial->asked += refcount != UINT64_MAX;
	trial->agree += refcount == 1;
	return 0;
}

/*
 * Clusters behind the end of the file are not in use. What is no block says all kinds of things of
 * them, also a block of refcounts that are wider than supposed.
 */
static int ask_beyond(struct trial *trial, struct qcow2_error *err)
{
	uint64_t end = q2_guess_clusters(trial->guess), refcount;

	for (uint64_t i = 0; i < BEYOND_ASKED; i++) {
		if (count_of(trial, end + i, &refcount, err))
			return -1;
		trial->asked += refcount != 0 && refcount != UINT64_MAX;
	}
	return 0;
}

/* Asks for the header, the table and its blocks. */
static int ask_all(struct trial *trial, struct qcow2_error *err)
{
	unsigned block_bits = trial->guess->shape.cluster_bits + 3 - trial->order;
	uint64_t count = (UINT64_C(1) << trial->guess->shape.cluster_bits) / 8;

	trial->agree = trial->asked = 0;
	if (ask(trial, 0, err) || ask(trial, trial->offset, err))
		return -1;
	for (uint64_t i = 0; i < count && trial->asked < ASKED_MOST; i++) {
		uint64_t block = entry_of(trial->cluster, i);

		if (block == 0)
			continue;
		/* No block is made for clusters behind the end of the file. */
		if (i << block_bits >= q2_guess_clusters(trial->guess))
			trial->asked++;
		else if (ask(trial, block, err))
			return -1;
		/* Nothing is lost by giving up early on what is none. */
		if (trial->asked >= 4 && trial->agree * 2 < trial->asked)
			break;
	}
	return ask_beyond(trial, err);
}

/* What disagrees counts more than what agrees: a table of something else may agree by chance. */
static int64_t score_of(uint32_t agree, uint32_t asked)
{
	return (int64_t)agree - 4 * (int64_t)(asked - agree);
}

/* Whether most of the entries lead to L2 tables: then this is an L1 table. */
static bool leads_to_l2(const struct q2_guess *guess, const uint8_t *cluster)
{
	uint64_t count = (UINT64_C(1) << guess->shape.cluster_bits) / 8, entries = 0, hits = 0;

	for (uint64_t i = 0; i < count; i++) {
		const struct q2_found_table *table =
			q2_found_table(&guess->tables, entry_of(cluster, i));

		entries += entry_of(cluster, i) != 0;
		/* Offsets into a data file are not bounded, so that much reads as an entry. */
		hits += table && table->is_l2 &&
			(guess->shape.data_file ? table->copied : table->data) > 0;
	}
	return hits * 2 > entries;
}

/* Whether so much agrees that this is a refcount table: all but one in four, as some may be wrong. */
static bool is_likely(const struct trial *trial)
{
	return trial->agree >= 2 && trial->agree * 4 >= trial->asked * 3;
}

/* Adds the blocks of one cluster of the table. */
static int load_cluster(struct q2_guess *guess, const uint8_t *cluster, struct qcow2_error *err)
{
	struct q2_guess_refcounts *refcounts = &guess->refcounts;
	size_t count = ((size_t)1 << guess->shape.cluster_bits) / 8;
	uint64_t *blocks = q2_realloc_array(refcounts->blocks, refcounts->block_count + count,
					    sizeof(*blocks));

	if (!blocks)
		return q2_fail_memory(err);
	refcounts->blocks = blocks;
	for (size_t i = 0; i < count; i++) {
		uint64_t block =
			entry_of(cluster, i) & QCOW2_ENTRY_MASK(refcount_table_entry, offset);

		blocks[refcounts->block_count++] = block;
		refcounts->blocks_there += block != 0;
	}
	refcounts->clusters++;
	return 0;
}

/* Whether a cluster is in use once, or a cluster of the table that is not loaded yet says so. */
static int may_be_once(struct q2_guess *guess, uint64_t offset, bool *once, struct qcow2_error *err)
{
	unsigned block_bits = guess->shape.cluster_bits + 3 - guess->shape.refcount_order;
	uint64_t cluster = offset >> guess->shape.cluster_bits, refcount;

	if (q2_guess_refcount(guess, cluster, &refcount, err))
		return -1;
	*once = refcount == 1 || cluster >> block_bits >= guess->refcounts.block_count;
	return 0;
}

/*
 * Whether the cluster of the table that was loaded last belongs to it: it is counted as in use once,
 * and so is all that it leads to, which are no L2 tables.
 */
static int is_of_table(struct q2_guess *guess, uint64_t offset, bool *is, struct qcow2_error *err)
{
	const struct q2_guess_refcounts *refcounts = &guess->refcounts;
	size_t count = ((size_t)1 << guess->shape.cluster_bits) / 8;

	if (may_be_once(guess, offset, is, err))
		return -1;
	for (size_t i = refcounts->block_count - count; i < refcounts->block_count && *is; i++) {
		uint64_t block = refcounts->blocks[i];
		const struct q2_found_table *table = q2_found_table(&guess->tables, block);

		if (block == 0)
			continue;
		if (may_be_once(guess, block, is, err))
			return -1;
		*is &= !(table && table->copied > 0);
	}
	return 0;
}

static void unload_cluster(struct q2_guess *guess)
{
	struct q2_guess_refcounts *refcounts = &guess->refcounts;
	size_t count = ((size_t)1 << guess->shape.cluster_bits) / 8;

	for (size_t i = refcounts->block_count - count; i < refcounts->block_count; i++)
		refcounts->blocks_there -= refcounts->blocks[i] != 0;
	refcounts->block_count -= count;
	refcounts->clusters--;
}

/* Loads the cluster of the table at an offset. *more: whether it is one, if it is not the first. */
static int load_next(struct q2_guess *guess, uint64_t offset, bool *more, struct qcow2_error *err)
{
	const struct q2_found_table *table = q2_found_table(&guess->tables, offset);
	bool first = guess->refcounts.clusters == 0;
	const uint8_t *cluster;

	*more = first || (table && table->is_pointers && table->words_flagged == 0);
	if (!*more)
		return 0;
	if (q2_pieces_read(&guess->pieces, offset, (size_t)1 << guess->shape.cluster_bits, &cluster,
			   err) ||
	    load_cluster(guess, cluster, err))
		return -1;
	if (first)
		return 0;
	if (is_of_table(guess, offset, more, err))
		return -1;
	if (!*more)
		unload_cluster(guess);
	return 0;
}

/* Loads the table that was found, and the clusters that it goes on with. */
static int load(struct q2_guess *guess, struct qcow2_error *err)
{
	uint64_t size = UINT64_C(1) << guess->shape.cluster_bits;
	uint64_t most = QCOW2_LIMIT_QEMU_REFCOUNT_TABLE_BYTES / size;
	bool more = true;

	while (more && guess->refcounts.clusters < most) {
		uint64_t offset = guess->refcounts.table_bytes + guess->refcounts.clusters * size;

		if (load_next(guess, offset, &more, err))
			return -1;
	}
	return 0;
}

/*
 * Loads the table of a trial, and keeps it if it is better than the one that was found before. A
 * table that was given up when it grew still counts all but itself.
 */
static int consider(const struct trial *trial, struct qcow2_error *err)
{
	struct q2_guess *guess = trial->guess;
	struct q2_guess_refcounts old = guess->refcounts, *mine = &guess->refcounts;
	unsigned old_order = guess->shape.refcount_order;
	uint64_t own;

	*mine = (struct q2_guess_refcounts){.table_bytes = trial->offset,
					    .agree = trial->agree,
					    .asked = trial->asked,
					    .reader = old.reader};
	guess->shape.refcount_order = trial->order;
	if (load(guess, err) ||
	    q2_guess_refcount(guess, trial->offset >> guess->shape.cluster_bits, &own, err)) {
		q2_free(old.blocks);
		return -1;
	}
	mine->score = score_of(mine->agree, mine->asked) + (int64_t)mine->blocks_there -
		      (own == 1 ? 0 : NOT_OWN);
	if (old.table_bytes == 0 || mine->score > old.score) {
		q2_free(old.blocks);
		return 0;
	}
	q2_free(mine->blocks);
	old.reader = mine->reader;
	*mine = old;
	guess->shape.refcount_order = old_order;
	return 0;
}

/* Tries a cluster of offsets as refcount table, at each width. */
static int try_table(struct q2_guess *guess, uint64_t offset, struct qcow2_error *err)
{
	struct trial trial = {.guess = guess, .offset = offset};
	unsigned wanted = guess->options->refcount_bits;

	for (unsigned order = 0; order <= QCOW2_LIMIT_REFCOUNT_ORDER_MAX; order++) {
		if (wanted != 0 && 1U << order != wanted)
			continue;
		trial.order = order;
		if (q2_pieces_read(&guess->pieces, offset, (size_t)1 << guess->shape.cluster_bits,
				   &trial.cluster, err) ||
		    ask_all(&trial, err))
			return -1;
		if (is_likely(&trial) && !leads_to_l2(guess, trial.cluster) &&
		    consider(&trial, err))
			return -1;
	}
	return 0;
}

int q2_guess_refcounts(struct q2_guess *guess, struct qcow2_error *err)
{
	for (size_t i = 0; i < guess->tables.count; i++) {
		const struct q2_found_table *table = q2_vector_at(&guess->tables, i);

		if (!table->is_pointers || table->first_word == 0 ||
		    (table->first_word & qcow2_refcount_table_entry_reserved) ||
		    table->first_word >= guess->scan->file_size_bytes)
			continue;
		if (try_table(guess, table->offset_bytes, err))
			return -1;
	}
	return 0;
}

int q2_guess_refcount(struct q2_guess *guess, uint64_t cluster, uint64_t *refcount,
		      struct qcow2_error *err)
{
	struct q2_guess_refcounts *refcounts = &guess->refcounts;
	unsigned order = guess->shape.refcount_order;
	unsigned block_bits = guess->shape.cluster_bits + 3 - order;
	uint64_t index = cluster >> block_bits;
	uint64_t bit = (cluster & ((UINT64_C(1) << block_bits) - 1)) << order;
	const uint8_t *bytes;

	*refcount = 0;
	if (index >= refcounts->block_count || refcounts->blocks[index] == 0)
		return 0;
	if (q2_pieces_read(&refcounts->reader, refcounts->blocks[index] + bit / 64 * 8, 8, &bytes,
			   err))
		return -1;
	*refcount = qcow2_refcount_get(bytes, (bit & 63) >> order, 1U << order);
	return 0;
}

int q2_guess_in_use(struct q2_guess *guess, uint64_t offset_bytes, bool *in_use,
		    struct qcow2_error *err)
{
	uint64_t refcount = 1;

	if (guess->refcounts.table_bytes != 0 &&
	    q2_guess_refcount(guess, offset_bytes >> guess->shape.cluster_bits, &refcount, err))
		return -1;
	*in_use = refcount > 0;
	return 0;
}
