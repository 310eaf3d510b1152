/* SPDX-License-Identifier: MIT */
/*
 * See orphans.h. A cluster in a hole of the file is not read. Once an L2 table is found, the
 * clusters that it leads to are known to be its data, and are not read either: in an image that was
 * written in order, little more is read than the tables.
 */
#include "check/orphans.h"

#include "base/alloc.h"
#include "base/error.h"
#include "check/classify.h"
#include "image/extensions.h"
#include <qcow2/bitmap_directory.h>

/* What is read in all, with the tables that are found. */
#define ALL_BYTES_MOST (UINT64_C(1) << 30)
/* How often a deep check may read what the file stores, as tables may lead to one another. */
#define DEEP_FACTOR 16
/* What is read of clusters that turn out to be no tables, unless the check is deep. */
#define PROBES_MOST ((uint64_t)16384)
#define BYTES_MOST  (UINT64_C(256) << 20)
/* As QEMU, which takes no larger directory of bitmaps. */
#define DIRECTORY_MOST (UINT64_C(64) << 20)
/* Of so many clusters that a table leads to it is tried whether they are tables. */
#define L1_TRIALS ((unsigned)4)
/* The most tables that are found, deep or not. */
#define TABLES_MOST ((size_t)1 << 18)

/* 64 clusters, and the refcounts that the block has for them; NULL if there is no block. */
struct group {
	uint64_t first;
	const struct q2_refcount_block *block;
	uint64_t leaked, free; /* bits of clusters that nothing refers to */
};

static void mark_of_bitmap(struct q2_orphans *orphans, uint64_t offset, uint64_t length)
{
	const struct q2_check *check = orphans->check;
	unsigned bits = check->geometry->cluster_bits;

	if (length == 0 || offset >= check->geometry->file_size_bytes)
		return;
	if (length > check->geometry->file_size_bytes - offset)
		length = check->geometry->file_size_bytes - offset;
	for (uint64_t i = offset >> bits; i <= (offset + length - 1) >> bits; i++)
		q2_bits_add(&orphans->bitmaps, i);
}

/* The clusters of one bitmap. *left bounds the entries that are read of all bitmaps. */
static int mark_bitmap(struct q2_orphans *orphans, struct qcow2_table *table,
		       const struct qcow2_bitmap_dir_entry *bitmap, uint64_t *left)
{
	const struct q2_check *check = orphans->check;
	uint64_t entry, count = qcow2_table_begin(table, bitmap->bitmap_table_offset,
						  bitmap->bitmap_table_size);

	if (count > *left)
		count = *left;
	*left -= count;
	mark_of_bitmap(orphans, bitmap->bitmap_table_offset, count * 8);
	for (uint64_t i = 0; i < count; i++) {
		if (qcow2_table_entry(table, i, &entry, check->err))
			return -1;
		mark_of_bitmap(orphans, entry & QCOW2_ENTRY_MASK(bitmap_table_entry, offset),
			       (entry & QCOW2_ENTRY_MASK(bitmap_table_entry, offset)) != 0);
	}
	return 0;
}

/*
 * The clusters of bitmaps that nobody may use, as the autoclear bit is clear, leak. Their tables
 * read much as L2 tables do.
 */
static int mark_bitmaps(struct q2_orphans *orphans)
{
	const struct q2_check *check = orphans->check;
	uint64_t left =
		qcow2_source_allocated_bytes(qcow2_image_source(check->image)) / 8 + (1 << 17);
	const struct qcow2_bitmap *bitmap;
	struct qcow2_bitmaps *bitmaps;
	struct qcow2_table *table = NULL;
	uint64_t size;
	int more;

	if (check->header->autoclear_features & QCOW2_AUTOCLEAR_BITMAPS)
		return 0;
	if (qcow2_bitmaps_open(check->image, &bitmaps, check->err))
		return check->err->code == QCOW2_ERROR_MEMORY ? -1 : 0;
	more = qcow2_table_open(check->image, &table, check->err);
	size = qcow2_bitmaps_header(bitmaps)->bitmap_directory_size;
	if (more == 0)
		mark_of_bitmap(orphans, qcow2_bitmaps_header(bitmaps)->bitmap_directory_offset,
			       size < DIRECTORY_MOST ? size : DIRECTORY_MOST);
	while (more == 0 && left > 0 &&
	       (more = qcow2_bitmaps_next(bitmaps, &bitmap, check->err)) > 0) {
		left--;
		more = mark_bitmap(orphans, table, &bitmap->entry, &left);
	}
	qcow2_table_close(table);
	qcow2_bitmaps_close(bitmaps);
	return more < 0 ? -1 : 0;
}

static void mark_target(void *opaque, uint64_t target)
{
	struct q2_orphans *orphans = opaque;

	q2_bits_add(&orphans->mapped, target);
}

/*
 * Whether what was just found is an L1 table: most of the clusters that it leads to read as L2
 * tables themselves, which will be found by themselves.
 */
static int is_l1_table(struct q2_orphans *orphans, bool *is_l1)
{
	struct q2_l2_like *like = &orphans->like;
	uint64_t targets[L1_TRIALS];
	unsigned count = like->sampled < L1_TRIALS ? like->sampled : L1_TRIALS, tables = 0;
	bool needs_flags = like->needs_flags;
	int result = 0;

	for (unsigned i = 0; i < count; i++)
		targets[i] = like->sample[i * like->sampled / count];
	like->needs_flags = false; /* which tables of snapshots do not have */
	for (unsigned i = 0; i < count && result == 0; i++) {
		enum q2_content content = Q2_CONTENT_DATA;

		result = q2_l2_like_read(like, targets[i], &content);
		tables += content == Q2_CONTENT_L2_TABLE;
	}
	like->needs_flags = needs_flags;
	*is_l1 = tables * 2 > count;
	return result;
}

/* Whether enough was read. A deep check is bounded by what the file stores alone. */
static bool read_enough(const struct q2_orphans *orphans)
{
	const struct q2_check *check = orphans->check;
	uint64_t stored = qcow2_source_allocated_bytes(qcow2_image_source(check->image));

	if (check->options->deep)
		return orphans->like.read_bytes > ALL_BYTES_MOST &&
		       orphans->like.read_bytes / DEEP_FACTOR > stored;
	return orphans->probes >= PROBES_MOST || orphans->probed_bytes >= BYTES_MOST ||
	       orphans->like.read_bytes >= ALL_BYTES_MOST;
}

/* Keeps a table that was found. */
static int keep(struct q2_orphans *orphans, const struct group *group, uint64_t cluster,
		bool leaked)
{
	struct q2_check *check = orphans->check;
	const struct qcow2_geometry *geometry = check->geometry;
	struct q2_orphan orphan = {
		.cluster = cluster, .leaked = leaked, .refcount_offset_bytes = QCOW2_NO_OFFSET};

	if (group->block)
		orphan.refcount_offset_bytes =
			group->block->offset_bytes +
			cluster % geometry->refcount_block_entries * geometry->refcount_bits / 8;
	if (orphans->count == orphans->capacity &&
	    !q2_memory_grow(&check->memory, (void **)&orphans->items, &orphans->capacity,
			    sizeof(*orphans->items)))
		return q2_memory_fail(&check->memory, check->err);
	orphans->items[orphans->count++] = orphan;
	orphans->stopped |= orphans->count == TABLES_MOST || read_enough(orphans);
	return q2_l2_like_targets(&orphans->like, cluster, mark_target, orphans);
}

/* Reads a cluster that nothing refers to. */
static int probe(struct q2_orphans *orphans, const struct group *group, uint64_t cluster,
		 bool leaked)
{
	uint64_t before = orphans->like.read_bytes;
	enum q2_content content;
	bool is_l1 = false;

	if (q2_bits_has(&orphans->bitmaps, cluster))
		return 0;
	if (q2_bits_has(&orphans->mapped, cluster)) {
		orphans->with_content += leaked;
		return 0;
	}
	orphans->like.of_free_clusters = !leaked;
	/* Refcount tables of old read as L2 tables, too, of clusters that are free as well. */
	orphans->like.needs_flags =
		orphans->has_bitmaps || !leaked ||
		(q2_is_presumed(orphans->check, cluster) && orphans->check->presumed->needs_flags);
	if (q2_l2_like_read(&orphans->like, cluster, &content))
		return -1;
	orphans->with_content += leaked && content != Q2_CONTENT_ZEROS;
	if (content == Q2_CONTENT_L2_TABLE && is_l1_table(orphans, &is_l1))
		return -1;
	if (content == Q2_CONTENT_L2_TABLE && !is_l1)
		return keep(orphans, group, cluster, leaked);
	if (leaked && content != Q2_CONTENT_ZEROS)
		q2_bits_add(&orphans->content, cluster);
	orphans->probes++;
	orphans->probed_bytes += orphans->like.read_bytes - before;
	orphans->stopped |= read_enough(orphans);
	return 0;
}

/* The cluster that follows the hole in which a cluster lies as a whole; itself if it does not. */
static uint64_t past_hole(const struct q2_check *check, uint64_t cluster)
{
	unsigned bits = check->geometry->cluster_bits;
	uint64_t end = qcow2_source_hole_end(qcow2_image_source(check->image), cluster << bits);

	if (end >= check->geometry->file_size_bytes)
		return end > cluster << bits ? check->file_clusters : cluster;
	return end >> bits > cluster ? end >> bits : cluster;
}

/* Probes the clusters of a group. *next is set to the first cluster behind it that is no hole. */
static int visit_group(struct q2_orphans *orphans, const struct group *group, uint64_t *next)
{
	uint64_t bits = group->leaked | group->free;

	*next = group->first + 64;
	for (; bits != 0 && !orphans->stopped; bits &= bits - 1) {
		unsigned i = (unsigned)__builtin_ctzll(bits);
		uint64_t cluster = group->first + i, past = past_hole(orphans->check, cluster);

		if (past >= group->first + 64) {
			*next = past;
			return 0;
		}
		if (past > cluster)
			continue;
		if (probe(orphans, group, cluster, group->leaked >> i & 1))
			return -1;
	}
	return 0;
}

/* Which of 64 clusters from first on nothing refers to. */
static uint64_t unreferenced(const struct q2_check *check, uint64_t first)
{
	const struct q2_cluster_chunk *chunk =
		q2_clusters_chunk(&check->workers[0].clusters, first);
	uint64_t left = check->file_clusters - first, bits = UINT64_MAX;
	const uint64_t *uses;

	if (left < 64)
		bits >>= 64 - left;
	if (!chunk)
		return bits;
	uses = chunk->uses[first / 64 % Q2_CHUNK_GROUPS];
	return bits & ~(uses[0] | uses[1] | uses[2]);
}

/*
 * The clusters [first, end), of which block, which is in the buffer of worker 0, counts all. Without
 * a block, all count as free. first need not start a group.
 */
static int visit_range(struct q2_orphans *orphans, const struct q2_refcount_block *block,
		       uint64_t first, uint64_t end)
{
	struct q2_check *check = orphans->check;
	const struct qcow2_geometry *geometry = check->geometry;
	q2_classify classify = q2_classify_choose(check->header->refcount_order);
	uint64_t next;

	for (uint64_t at = first & ~UINT64_C(63); at < end && !orphans->stopped; at = next) {
		struct group group = {.first = at, .block = block};
		uint64_t bits = unreferenced(check, at), zero = UINT64_MAX;

		if (block)
			zero = classify(check->workers[0].buffer +
					at % geometry->refcount_block_entries *
						geometry->refcount_bits / 8)
				       .zero;
		group.leaked = bits & ~zero;
		if (check->presumed)
			group.leaked |= bits & q2_bits_word(&check->presumed->clusters, at);
		group.free = check->options->deep ? bits & zero : 0;
		if (visit_group(orphans, &group, &next))
			return -1;
		next &= ~UINT64_C(63);
	}
	return q2_check_progress(check);
}

static int read_block(const struct q2_check *check, const struct q2_refcount_block *block)
{
	uint64_t size = q2_metadata_l2_stored(check->geometry, block->offset_bytes);
	uint8_t *buffer = check->workers[0].buffer;

	for (uint64_t i = size; i < check->geometry->cluster_size_bytes; i++)
		buffer[i] = 0;
	return qcow2_source_read(qcow2_image_source(check->image), block->offset_bytes, buffer,
				 (size_t)size, check->err);
}

static int visit_clusters(struct q2_orphans *orphans)
{
	struct q2_check *check = orphans->check;
	uint64_t per_block = check->geometry->refcount_block_entries, end;

	for (uint64_t at = 0; at < check->file_clusters && !orphans->stopped; at = end) {
		const struct q2_refcount_block *block;

		at = past_hole(check, at);
		if (at >= check->file_clusters)
			break;
		end = (at / per_block + 1) * per_block;
		if (end > check->file_clusters)
			end = check->file_clusters;
		block = q2_check_block(check, at / per_block);
		if (block && block->hole)
			block = NULL;
		if (!block && !check->options->deep && !check->presumed)
			continue;
		if (block && read_block(check, block))
			return -1;
		if (visit_range(orphans, block, at, end))
			return -1;
	}
	return 0;
}

int q2_orphans_find(struct q2_orphans *orphans)
{
	struct q2_check *check = orphans->check;
	struct qcow2_extension extension;
	int result = -1;

	orphans->bitmaps.memory = &check->memory;
	orphans->mapped.memory = &check->memory;
	orphans->content.memory = &check->memory;
	orphans->like.check = check;
	orphans->has_bitmaps = q2_find_extension(check->image, QCOW2_EXTENSION_BITMAPS, &extension);
	orphans->like.buffer = q2_memory_get(&check->memory, Q2_PIECE_BYTES, 1);
	if (!orphans->like.buffer)
		return q2_memory_fail(&check->memory, check->err);
	if (mark_bitmaps(orphans) == 0)
		result = visit_clusters(orphans);
	/* A set that the limit has cut makes the check read more, and think more of what leaks. */
	if (result == 0 &&
	    (orphans->bitmaps.failed || orphans->mapped.failed || orphans->content.failed) &&
	    !atomic_load(&check->memory.limited))
		return q2_memory_fail(&check->memory, check->err);
	return result;
}

void q2_orphans_release(struct q2_orphans *orphans)
{
	struct q2_memory *memory = &orphans->check->memory;

	q2_memory_put(memory, orphans->like.buffer, Q2_PIECE_BYTES, 1);
	q2_memory_put(memory, orphans->items, orphans->capacity, sizeof(*orphans->items));
	q2_bits_release(&orphans->bitmaps);
	q2_bits_release(&orphans->mapped);
	q2_bits_release(&orphans->content);
}
