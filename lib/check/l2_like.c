/* SPDX-License-Identifier: MIT */
/* See l2_like.h. */
#include "check/l2_like.h"

#include "format/l2_table.h"

/* What is read at first: most clusters that are no L2 tables show it at once. */
#define FIRST_BYTES ((size_t)4096)
/* What is wrong in a table at the most: so many entries, and one of so many that are not 0. */
#define FAULTS_MOST UINT64_C(8)
#define FAULT_SHARE UINT64_C(16)

/* Goes through the entries of a cluster. */
struct pass {
	struct q2_l2_like *like;
	uint64_t before; /* the cluster that the last entry led to, or UINT64_MAX */
	uint64_t index;
	bool content;          /* an entry is not 0 */
	bool faulty;           /* what was read is no L2 table */
	uint64_t seen, faults; /* entries that are not 0, and those that are none of a table */
	void (*visit)(void *opaque, uint64_t target);
	void *opaque;
};

static bool note_fault(void *opaque, enum qcow2_problem_id id)
{
	(void)id;
	*(bool *)opaque = true;
	return false;
}

/* Keeps a sample that is spread over all entries, however many there are. */
static void sample(struct q2_l2_like *like, uint64_t target)
{
	if (like->targets++ % like->stride != 0)
		return;
	if (like->sampled == Q2_L2_LIKE_SAMPLE) {
		for (unsigned i = 0; i < Q2_L2_LIKE_SAMPLE / 2; i++)
			like->sample[i] = like->sample[2 * i];
		like->sampled = Q2_L2_LIKE_SAMPLE / 2;
		like->stride *= 2;
		if ((like->targets - 1) % like->stride != 0)
			return;
	}
	like->sample[like->sampled++] = target;
}

/*
 * Whether there are too many faults for a table. One that leaks may have been damaged before it was
 * lost, but most of it has to be whole. Not all entries need be seen yet.
 */
static bool is_too_faulty(const struct pass *pass, bool all_seen)
{
	if (pass->faults == 0)
		return false;
	if (pass->like->of_free_clusters || pass->faults > FAULTS_MOST)
		return true;
	return all_seen && pass->faults * FAULT_SHARE > pass->seen;
}

/* An entry that is not 0. */
static void take_entry(struct pass *pass, uint64_t entry, uint64_t subclusters)
{
	const struct q2_check *check = pass->like->check;
	bool faulty = false;
	const struct q2_reporter silent = {.opaque = &faulty, .wanted = note_fault};
	const struct q2_entry_place place = {.owner = ""};
	const struct q2_l2_ref ref = {.weight = 1};
	struct qcow2_claim claim;
	uint64_t target;

	pass->content = true;
	pass->seen++;
	q2_rules_l2_entry(check->image, &place, entry, subclusters, &silent);
	if (!faulty && !q2_l2_claim(check->geometry, &ref, entry, &claim))
		return;
	target = faulty ? 0 : claim.offset_bytes >> check->geometry->cluster_bits;
	if (faulty || (claim.use != QCOW2_USE_COMPRESSED && target == pass->before)) {
		pass->faults++;
		pass->faulty = is_too_faulty(pass, false);
		return;
	}
	pass->before = target;
	pass->like->flagged += claim.use == QCOW2_USE_COMPRESSED ||
			       (entry & QCOW2_ENTRY_MASK(l2_entry, copied)) != 0;
	sample(pass->like, target);
	if (pass->visit)
		pass->visit(pass->opaque, target);
}

static void take_piece(struct pass *pass, size_t size)
{
	unsigned width = pass->like->check->geometry->l2_entry_bytes;

	for (size_t i = 0; (i + 1) * width <= size && !pass->faulty; i++) {
		uint64_t entry = q2_l2_entry_at(pass->like->buffer, i, width);
		uint64_t subclusters = q2_l2_subclusters_at(pass->like->buffer, i, width);

		if (entry != 0 || subclusters != 0)
			take_entry(pass, entry, subclusters);
	}
}

/*
 * Where to go on reading: holes are zeros, so that clusters of which little is stored are quickly
 * read. Entries stay whole.
 */
static uint64_t past_hole(struct qcow2_source *source, uint64_t at, uint64_t end)
{
	uint64_t hole = qcow2_source_hole_end(source, at);

	hole -= (hole - at) % FIRST_BYTES;
	return hole < end ? hole : end;
}

/* A cluster that the end of the file cuts is no table that could have been whole. */
static int read_cluster(struct pass *pass, uint64_t cluster)
{
	struct q2_l2_like *like = pass->like;
	const struct q2_check *check = like->check;
	struct qcow2_source *source = qcow2_image_source(check->image);
	uint64_t start = cluster << check->geometry->cluster_bits;
	uint64_t at = start, end = start + q2_metadata_l2_stored(check->geometry, start);

	like->flagged = 0;
	like->targets = 0;
	like->sampled = 0;
	like->stride = 1;
	while (at < end && !pass->faulty) {
		size_t size = at == start ? FIRST_BYTES : Q2_PIECE_BYTES;

		if (end - at < size)
			size = (size_t)(end - at);
		if (qcow2_source_read(source, at, like->buffer, size, check->err))
			return -1;
		like->read_bytes += size;
		take_piece(pass, size);
		at = past_hole(source, at + size, end);
	}
	return 0;
}

/* The refcount of a cluster. One is read at a time: they are of places all over the file. */
static int read_refcount(const struct q2_check *check, uint64_t cluster, uint64_t *refcount)
{
	const struct qcow2_geometry *geometry = check->geometry;
	const struct q2_refcount_block *block =
		q2_check_block(check, cluster / geometry->refcount_block_entries);
	const uint64_t index = cluster % geometry->refcount_block_entries;
	const uint64_t at = index * geometry->refcount_bits / 64 * 8;
	uint64_t stored;
	uint8_t word[8] = {0};

	*refcount = 0;
	if (!block || block->hole)
		return 0;
	stored = q2_metadata_l2_stored(geometry, block->offset_bytes);
	if (at >= stored)
		return 0;
	if (qcow2_source_read(qcow2_image_source(check->image), block->offset_bytes + at, word,
			      stored - at < sizeof(word) ? (size_t)(stored - at) : sizeof(word),
			      check->err))
		return -1;
	*refcount = qcow2_refcount_get(word, index % (64 / geometry->refcount_bits),
				       geometry->refcount_bits);
	return 0;
}

int q2_l2_like_lacks(const struct q2_l2_like *like, uint64_t cluster, bool *lacks)
{
	uint64_t count = q2_clusters_get(&like->check->workers[0].clusters, cluster).count;
	uint64_t refcount;

	if (read_refcount(like->check, cluster, &refcount))
		return -1;
	*lacks = refcount > count || (like->of_free_clusters && count == 0) ||
		 q2_is_presumed(like->check, cluster);
	return 0;
}

static int judge_sample(const struct q2_l2_like *like, bool *is_table)
{
	unsigned lacking = 0;

	for (unsigned i = 0; i < like->sampled; i++) {
		bool lacks;

		if (q2_l2_like_lacks(like, like->sample[i], &lacks))
			return -1;
		lacking += lacks;
	}
	/* If refcounts are lost, nothing tells of references to clusters that snapshots use as well. */
	*is_table = lacking > 0 && (like->check->presumed || lacking * 2 >= like->sampled);
	return 0;
}

int q2_l2_like_read(struct q2_l2_like *like, uint64_t cluster, enum q2_content *content)
{
	struct pass pass = {.like = like, .before = UINT64_MAX};
	bool is_table = false;

	if (read_cluster(&pass, cluster))
		return -1;
	if (!pass.faulty && !is_too_faulty(&pass, true) &&
	    like->flagged >= (like->needs_flags ? 1 : 0) && judge_sample(like, &is_table))
		return -1;
	*content = is_table       ? Q2_CONTENT_L2_TABLE
		   : pass.content ? Q2_CONTENT_DATA
				  : Q2_CONTENT_ZEROS;
	return 0;
}

int q2_l2_like_targets(struct q2_l2_like *like, uint64_t cluster,
		       void (*visit)(void *opaque, uint64_t target), void *opaque)
{
	struct pass pass = {.like = like, .before = UINT64_MAX, .visit = visit, .opaque = opaque};

	return read_cluster(&pass, cluster);
}
