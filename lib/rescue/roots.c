/* SPDX-License-Identifier: MIT */
/*
 * Finds the clusters that L1 tables consist of: most of their entries lead to clusters that read as
 * L2 tables, and no other table leads to them. What a guest stores may look so, too. Then an L1
 * table of the image maps it, while nothing maps the tables of the image themselves.
 */
#include "rescue/l1.h"

#include "base/error.h"
#include "rescue/words.h"

/* The most clusters of L1 tables of a guess, and the most edges between them. */
#define L1_MOST    ((size_t)1 << 16)
#define EDGES_MOST ((size_t)1 << 20)
/* A chain of images in images is short. What is not settled then, the check judges. */
#define ROUNDS_MOST 64

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

void q2_guess_look_at_l1(const struct q2_guess *guess, const uint8_t *cluster,
			 struct q2_guess_l1 *l1)
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

int q2_guess_keep_l1(struct q2_guess *guess, const struct q2_guess_l1 *l1, struct qcow2_error *err)
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
		q2_guess_look_at_l1(guess, cluster, &l1);
		if (in_use && l1.hits * 2 > l1.entries && q2_guess_keep_l1(guess, &l1, err))
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

/* Claims all that the roots lead to. With edges, notes which root maps which other one. */
static int claim_all(struct q2_guess *guess, struct qcow2_error *err)
{
	q2_bits_release(&guess->claimed);
	guess->claimed = (struct q2_bits){.memory = guess->memory};
	q2_guess_claim_refcounts(guess);
	for (size_t i = 0; i < guess->l1_tables.count; i++) {
		const struct q2_guess_l1 *l1 = q2_vector_at(&guess->l1_tables, i);

		guess->edges_from = i;
		if (q2_guess_visit(guess, l1->offset_bytes, 1, q2_guess_claim_l2, err))
			return -1;
	}
	return 0;
}

static struct q2_guess_l1 *root(const struct q2_guess *guess, size_t index)
{
	return q2_vector_at(&guess->l1_tables, index);
}

/* Whether a root explains more than another one. */
static bool explains_more(const struct q2_guess_l1 *l1, const struct q2_guess_l1 *other)
{
	if (l1->copied != other->copied)
		return l1->copied > other->copied;
	return l1->maps > other->maps;
}

/*
 * Whether an edge counts. What explains less may lead by chance to what explains more: the bits of a
 * bitmap, or a table of an image that a guest stores.
 */
static bool counts(const struct q2_guess *guess, const struct q2_guess_edge *edge)
{
	const struct q2_guess_l1 *from = root(guess, edge->from), *to = root(guess, edge->to);

	return from == to || (!from->is_target && !explains_more(to, from));
}

/* Counts for each root how many others, that are not dropped, lead to it or map it. */
static void count_edges(struct q2_guess *guess, const struct q2_vector *edges)
{
	for (size_t i = 0; i < guess->l1_tables.count; i++)
		root(guess, i)->mapped_by = 0;
	for (size_t i = 0; i < edges->count; i++) {
		const struct q2_guess_edge *edge = q2_vector_at(edges, i);

		if (counts(guess, edge))
			root(guess, edge->to)->mapped_by++;
	}
}

/* Whether a root is one of the image: nothing maps it, or it was chosen of a circle. */
static bool is_top(const struct q2_guess_l1 *l1)
{
	return !l1->is_target && (l1->is_chosen || l1->mapped_by == 0);
}

/* Drops the roots that top ones lead to, and those that map themselves. True if there was one. */
static bool drop_mapped(struct q2_guess *guess, const struct q2_vector *edges)
{
	bool dropped = false;

	for (size_t i = 0; i < edges->count; i++) {
		const struct q2_guess_edge *edge = q2_vector_at(edges, i);
		struct q2_guess_l1 *from = root(guess, edge->from), *to = root(guess, edge->to);

		if (!to->is_target && !to->is_chosen && counts(guess, edge) &&
		    (from == to || is_top(from))) {
			to->is_target = true;
			dropped = true;
		}
	}
	return dropped;
}

/* Chooses the root that explains most of those that lead to one another. False: there is none. */
static bool choose_of_circle(struct q2_guess *guess)
{
	struct q2_guess_l1 *best = NULL;

	for (size_t i = 0; i < guess->l1_tables.count; i++) {
		struct q2_guess_l1 *l1 = root(guess, i);

		if (l1->is_target || is_top(l1) || (best && !explains_more(l1, best)))
			continue;
		best = l1;
	}
	if (best)
		best->is_chosen = true;
	return best != NULL;
}

/*
 * Drops what is data of a guest, or an L2 table: what a root maps or leads to that nothing leads to,
 * again and again, since what was dropped does not count any more.
 */
static void settle(struct q2_guess *guess, const struct q2_vector *edges)
{
	bool more = true;

	for (unsigned round = 0; more && round < ROUNDS_MOST; round++) {
		count_edges(guess, edges);
		more = drop_mapped(guess, edges) || choose_of_circle(guess);
	}
	drop_targets(guess);
}

int q2_guess_roots(struct q2_guess *guess, struct qcow2_error *err)
{
	struct q2_vector edges;
	int failed;

	q2_vector_init(&guess->l1_tables, sizeof(struct q2_guess_l1), L1_MOST);
	q2_vector_init(&edges, sizeof(struct q2_guess_edge), EDGES_MOST);
	q2_guess_claim_refcounts(guess);
	if (find_clusters(guess, err))
		return -1;
	guess->edges = &edges;
	failed = claim_all(guess, err);
	guess->edges = NULL;
	if (!failed && edges.count > 0) {
		settle(guess, &edges);
		failed = claim_all(guess, err);
	}
	q2_vector_release(&edges);
	return failed;
}
