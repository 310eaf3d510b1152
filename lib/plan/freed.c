/* SPDX-License-Identifier: MIT */
/*
 * Finds the clusters that a plan frees, by comparing refcounts before and after ("Host cluster
 * management"). Only blocks that the plan changes, or that another block replaces, are read.
 */
#include "plan/freed.h"

#include <string.h>

#include <qcow2/entry.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/error.h"
#include "check/classify.h"

/* A refcount block and the table are compared in pieces of this size. */
#define PIECE_BYTES   ((size_t)65536)
#define PIECE_ENTRIES (PIECE_BYTES / 8)
/*
 * How much may be compared beyond what the file stores: a hostile table may name one block many
 * times.
 */
#define SLACK_BYTES (UINT64_C(64) << 20)
/* Of a directory entry: the byte that has QCOW2_BITMAP_IN_USE. */
#define FLAGS_LAST      (offsetof(struct qcow2_bitmap_dir_entry, flags) + 3)
#define TABLE_MOST_SIZE (UINT64_C(1) << 40)

/* The refcounts of the file as it is, or as it will be. */
struct counting {
	struct qcow2_source *source;
	struct qcow2_image *image;
	const struct qcow2_geometry *geometry;
	uint64_t table_offset, table_entries;
	uint8_t *bytes; /* PIECE_BYTES of a block */
	uint8_t *table; /* PIECE_BYTES of the table */
};

struct freeing {
	const struct qcow2_plan *plan;
	const struct q2_places *changed;
	struct q2_places *freed;
	struct counting before, after;
	q2_classify classify;
	uint64_t bytes_left; /* that may still be compared */
	size_t next;         /* of the changed places, the first that may matter */
	struct qcow2_error *err;
};

/* Opens a source. False if it is no image whose refcounts can be found. */
static bool open_counting(struct counting *counting, struct qcow2_source *source)
{
	const struct qcow2_header *header;
	struct qcow2_error ignored;
	uint64_t size;

	counting->source = source;
	if (qcow2_image_open(source, &counting->image, &ignored))
		return false;
	counting->geometry = qcow2_image_geometry(counting->image);
	if (!counting->geometry)
		return false;
	header = qcow2_image_header(counting->image);
	counting->table_offset = header->refcount_table_offset;
	size = qcow2_source_size_bytes(source);
	if (counting->table_offset == 0 || counting->table_offset >= size)
		return false;
	size -= counting->table_offset;
	if (size > TABLE_MOST_SIZE)
		size = TABLE_MOST_SIZE;
	counting->table_entries =
		header->refcount_table_clusters * counting->geometry->cluster_size_bytes / 8;
	if (counting->table_entries > size / 8)
		counting->table_entries = size / 8;
	return true;
}

/* Reads a piece of a block; bytes past the end of the source are zeros. */
static int read_padded(const struct counting *counting, uint64_t offset, size_t size,
		       struct qcow2_error *err)
{
	uint64_t end = qcow2_source_size_bytes(counting->source);
	size_t stored = offset >= end ? 0 : end - offset < size ? (size_t)(end - offset) : size;

	memset(counting->bytes + stored, 0, size - stored);
	return stored == 0
		       ? 0
		       : qcow2_source_read(counting->source, offset, counting->bytes, stored, err);
}

/* Reads a piece of the table, beginning with entry `first`; entries past its end are zeros. */
static int load_table(const struct counting *counting, uint64_t first, struct qcow2_error *err)
{
	uint64_t left = first < counting->table_entries ? counting->table_entries - first : 0;
	size_t size = (left < PIECE_ENTRIES ? (size_t)left : PIECE_ENTRIES) * 8;

	memset(counting->table + size, 0, PIECE_BYTES - size);
	return size == 0 ? 0
			 : qcow2_source_read(counting->source, counting->table_offset + first * 8,
					     counting->table, size, err);
}

/* Returns the host offset of the block that an entry of the piece leads to; 0 if there is none. */
static uint64_t find_block(const struct counting *counting, uint64_t entry)
{
	uint64_t word = q2_load_be64(counting->table + entry * 8);
	uint64_t offset = qcow2_refcount_table_entry_decode(word).offset;

	return offset % counting->geometry->cluster_size_bytes == 0 ? offset : 0;
}

/*
 * Adds a freed cluster, without the places that the plan changes itself: those are in the undo file
 * already.
 */
static bool add_cluster(struct freeing *f, uint64_t cluster)
{
	uint64_t size = f->before.geometry->cluster_size_bytes;
	uint64_t at = cluster * size, end = at + size;

	if (end > f->plan->old_size_bytes)
		end = f->plan->old_size_bytes;
	while (at < end) {
		const struct q2_place *place =
			f->next < f->changed->count ? &f->changed->items[f->next] : NULL;
		uint64_t stop = place && place->offset_bytes < end ? place->offset_bytes : end;

		if (at < stop && !q2_places_add(f->freed, &(struct q2_place){at, stop - at, 0}))
			return false;
		if (stop == end)
			break;
		at = place->offset_bytes + place->size_bytes > at
			     ? place->offset_bytes + place->size_bytes
			     : at;
		if (at <= end)
			f->next++;
	}
	return true;
}

static int free_cluster(struct freeing *f, uint64_t cluster)
{
	if (!add_cluster(f, cluster))
		return q2_fail_memory(f->err);
	if (f->freed->count > Q2_WRITES_MOST)
		return q2_fail(f->err, QCOW2_ERROR_LIMIT, QCOW2_NO_OFFSET,
			       "the change frees over %zu places", Q2_WRITES_MOST);
	return 0;
}

/* Compares a piece of a block that was read from both files, 64 refcounts at a step. */
static int compare_piece(struct freeing *f, uint64_t first_cluster, size_t size)
{
	unsigned width = f->before.geometry->refcount_bits;
	uint64_t last = f->plan->old_size_bytes >> f->before.geometry->cluster_bits;

	if (memcmp(f->before.bytes, f->after.bytes, size) == 0)
		return 0;
	for (uint64_t i = 0; i < size * 8 / width && first_cluster + i <= last; i += 64) {
		uint64_t bits = ~f->classify(f->before.bytes + i * width / 8).zero &
				f->classify(f->after.bytes + i * width / 8).zero;

		for (; bits != 0; bits &= bits - 1) {
			uint64_t cluster = first_cluster + i + (unsigned)__builtin_ctzll(bits);

			if (cluster <= last && free_cluster(f, cluster))
				return -1;
		}
	}
	return 0;
}

static int compare_block(struct freeing *f, uint64_t index, uint64_t before, uint64_t after)
{
	const struct qcow2_geometry *geometry = f->before.geometry;
	uint64_t cluster = geometry->cluster_size_bytes;
	uint64_t first = index * geometry->refcount_block_entries;

	for (uint64_t at = 0; at < cluster; at += PIECE_BYTES) {
		size_t size = cluster - at < PIECE_BYTES ? (size_t)(cluster - at) : PIECE_BYTES;

		if (f->bytes_left < size)
			return q2_fail(f->err, QCOW2_ERROR_LIMIT, before,
				       "the refcount table leads to the same blocks too often");
		f->bytes_left -= size;
		if (read_padded(&f->before, before + at, size, f->err))
			return -1;
		memset(f->after.bytes, 0, size);
		if (after != 0 && read_padded(&f->after, after + at, size, f->err))
			return -1;
		if (compare_piece(f, first + at * 8 / geometry->refcount_bits, size))
			return -1;
	}
	return 0;
}

static bool is_changed(const struct freeing *f, uint64_t offset)
{
	struct q2_segment_at at;
	const struct q2_segment *segment = q2_segments_find(&f->plan->planned, offset, &at);

	return segment && segment->offset_bytes < offset + f->before.geometry->cluster_size_bytes;
}

/* Compares the blocks that a piece of the table leads to. */
static int compare_table(struct freeing *f, uint64_t first, uint64_t count)
{
	if (load_table(&f->before, first, f->err) || load_table(&f->after, first, f->err))
		return -1;
	for (uint64_t i = 0; i < count; i++) {
		uint64_t before = find_block(&f->before, i), after = find_block(&f->after, i);

		if (before == 0 || (before == after && !is_changed(f, before)))
			continue;
		if (compare_block(f, first + i, before, after))
			return -1;
	}
	return 0;
}

/* Compares all blocks that count clusters of the file as it is. */
static int compare_blocks(struct freeing *f)
{
	const struct qcow2_geometry *geometry = f->before.geometry;
	uint64_t clusters = (f->plan->old_size_bytes >> geometry->cluster_bits) + 1;
	uint64_t needed = clusters / geometry->refcount_block_entries + 1;
	uint64_t first = 0, end = f->before.table_entries;

	f->classify = q2_classify_choose((unsigned)__builtin_ctz(geometry->refcount_bits));
	if (end > needed)
		end = needed;
	while (first < end) {
		uint64_t count = end - first < PIECE_ENTRIES ? end - first : PIECE_ENTRIES;
		uint64_t at = f->before.table_offset + first * 8;
		uint64_t hole = (qcow2_source_hole_end(f->before.source, at) - at) / 8;

		if (hole < count && compare_table(f, first, count))
			return -1;
		first += hole < count ? count : hole;
	}
	return 0;
}

/*
 * Whether a byte is in one of the places. Offsets rise from call to call: *next is the first place
 * that may have the byte.
 */
static bool is_within(const struct q2_places *places, uint64_t offset, size_t *next)
{
	while (*next < places->count &&
	       places->items[*next].offset_bytes + places->items[*next].size_bytes <= offset)
		(*next)++;
	return *next < places->count && places->items[*next].offset_bytes <= offset;
}

/* Moves the places of f->freed that begin before `offset` to the end of `all`. */
static bool move_before(const struct freeing *f, uint64_t offset, size_t *next,
			struct q2_places *all)
{
	for (; *next < f->freed->count && f->freed->items[*next].offset_bytes < offset; (*next)++)
		if (!q2_places_add(all, &f->freed->items[*next]))
			return false;
	return true;
}

/*
 * Adds the flags of bitmaps whose entries stay where they are. An undo in doubt marks such bitmaps
 * as in use; an undo that insists on the saved bytes has to know what the flags were.
 */
static int add_flags(struct freeing *f)
{
	struct q2_places all = {.items = NULL};
	struct qcow2_bitmaps *bitmaps = NULL;
	const struct qcow2_bitmap *bitmap;
	size_t changed = 0, freed = 0, moved = 0;
	int more = 0;

	if (qcow2_bitmaps_open(f->before.image, &bitmaps, f->err))
		return q2_is_fault(f->err) ? -1 : 0;
	while ((more = qcow2_bitmaps_next(bitmaps, &bitmap, f->err)) > 0 && !bitmap->cut) {
		uint64_t offset = bitmap->offset_bytes + FLAGS_LAST;

		if (is_within(f->changed, offset, &changed) ||
		    is_within(f->freed, offset, &freed) ||
		    all.count + f->freed->count > Q2_WRITES_MOST)
			continue;
		if (!move_before(f, offset, &moved, &all) ||
		    !q2_places_add(&all, &(struct q2_place){offset, 1, 0}))
			more = q2_fail_memory(f->err);
		if (more < 0)
			break;
	}
	qcow2_bitmaps_close(bitmaps);
	if (more >= 0 && !move_before(f, UINT64_MAX, &moved, &all))
		more = q2_fail_memory(f->err);
	q2_places_release(more < 0 ? &all : f->freed);
	if (more >= 0)
		*f->freed = all;
	return more < 0 ? -1 : 0;
}

static bool is_comparable(struct freeing *f, struct qcow2_source *view)
{
	return open_counting(&f->before, f->plan->source) && open_counting(&f->after, view) &&
	       f->before.geometry->cluster_bits == f->after.geometry->cluster_bits &&
	       f->before.geometry->refcount_bits == f->after.geometry->refcount_bits;
}

int q2_plan_freed(struct qcow2_plan *plan, const struct q2_places *changed, struct q2_places *freed,
		  struct qcow2_error *err)
{
	struct freeing f = {
		.plan = plan,
		.changed = changed,
		.freed = freed,
		.bytes_left =
			2 * (qcow2_source_allocated_bytes(plan->source) + plan->store.end_bytes) +
			SLACK_BYTES,
		.err = err,
	};
	struct qcow2_source *view = NULL;
	uint8_t *bytes = q2_alloc_buffer(4 * PIECE_BYTES);
	int failed = -1;

	*freed = (struct q2_places){.items = NULL};
	if (!bytes)
		return q2_fail_memory(err);
	f.before.bytes = bytes;
	f.after.bytes = bytes + PIECE_BYTES;
	f.before.table = bytes + 2 * PIECE_BYTES;
	f.after.table = bytes + 3 * PIECE_BYTES;
	if (qcow2_plan_view(plan, &view, err) == 0)
		failed = is_comparable(&f, view) && (compare_blocks(&f) || add_flags(&f)) ? -1 : 0;
	qcow2_image_close(f.before.image);
	qcow2_image_close(f.after.image);
	qcow2_source_close(view);
	q2_free(bytes);
	if (failed)
		q2_places_release(freed);
	return failed;
}
