/* SPDX-License-Identifier: MIT */
/*
 * The dirty extents of a stored bitmap. The table is read once. Entries without data (all zeros,
 * all ones) are joined without reading anything, and data is searched for changes 64 bits at a
 * step. The first bit is the least significant one of the first byte ("Bitmap data").
 */
#include <qcow2/entry.h>
#include <qcow2/limits.h>

#include <inttypes.h>
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/error.h"
#include "base/sized.h"
#include "image/bitmaps/dirty_extents.h"
#include "image/internal.h"

#define PIECE_BYTES ((size_t)256 * 1024)
/* File systems may report fewer bytes than a file stores, as they compress or delay. */
#define SLACK_BYTES (UINT64_C(16) << 20)

struct bitmap_extents {
	struct qcow2_dirty_extents common;
	const struct qcow2_image *image;
	struct qcow2_table *table;
	uint64_t table_offset;
	uint64_t entries; /* of the table, as far as the file has it */
	unsigned granularity_bits;
	uint64_t bits; /* of the bitmap */
	uint64_t bit;  /* the first one that has not been told */
	/* The bits [first, end) are in the buffer, from its start on. first is a multiple of 8.
	 * bit goes from first to end in steps of 64, but for the last step. */
	uint64_t first, end;
	uint8_t *buffer;
	bool lenient;
	uint64_t budget; /* bytes of data that may still be read: entries may share it */
};

static uint64_t bits_per_entry(const struct bitmap_extents *b)
{
	return b->image->geometry.cluster_size_bytes * 8;
}

/* Reports the bits [b->bit, end) as `dirty`, and moves b->bit to end. */
static void tell(struct bitmap_extents *b, uint64_t end, bool dirty)
{
	q2_dirty_extents_turn(&b->common, b->bit << b->granularity_bits, dirty);
	b->bit = end < b->bits ? end : b->bits;
}

static int load_entry(struct bitmap_extents *b, uint64_t index, uint64_t *entry,
		      struct qcow2_error *err)
{
	uint64_t offset;

	*entry = 0;
	if (index >= b->entries)
		return 0;
	if (qcow2_table_entry(b->table, index, entry, err))
		return -1;
	if ((*entry & qcow2_bitmap_table_entry_reserved) ||
	    qcow2_bitmap_entry_classify(*entry) == QCOW2_BITMAP_ENTRY_INVALID)
		return q2_fail(err, QCOW2_ERROR_BROKEN, b->table_offset + index * 8,
			       "an entry of the bitmap's table cannot be understood");
	offset = qcow2_bitmap_table_entry_decode(*entry).offset;
	if (!b->lenient && (offset >= b->image->geometry.file_size_bytes ||
			    offset % b->image->geometry.cluster_size_bytes != 0))
		return q2_fail(err, QCOW2_ERROR_BROKEN, b->table_offset + index * 8,
			       "an entry of the bitmap's table leads to no cluster of the file");
	return 0;
}

/* Reports the entry `index`, which has no data, together with those after it that are equal. */
static int tell_entries(struct bitmap_extents *b, uint64_t index, uint64_t entry,
			struct qcow2_error *err)
{
	uint64_t needed = q2_div_ceil_u64(b->bits, bits_per_entry(b));
	uint64_t next = index + 1, other;

	for (; next < needed && next < b->entries; next++) {
		if (load_entry(b, next, &other, err))
			return -1;
		if (other != entry)
			break;
	}
	/* Entries that the table lacks read as zeros. */
	if (next >= b->entries && entry == 0)
		next = needed;
	tell(b, next >= needed ? b->bits : next * bits_per_entry(b),
	     qcow2_bitmap_table_entry_decode(entry).all_ones);
	return 0;
}

/*
 * Reads data from the byte of b->bit on, or reports zeros where the file has a hole or has ended.
 */
static int load_data(struct bitmap_extents *b, uint64_t offset, struct qcow2_error *err)
{
	uint64_t cluster = b->image->geometry.cluster_size_bytes;
	uint64_t skipped = b->bit % bits_per_entry(b) / 8, at = offset + skipped;
	uint64_t file_size = b->image->geometry.file_size_bytes, left = cluster - skipped;
	uint64_t hole = at < file_size ? qcow2_source_hole_end(b->image->source, at) - at : left;

	if (hole > 0) {
		tell(b, b->bit + (hole < left ? hole : left) * 8, false);
		return 0;
	}
	if (left > file_size - at)
		left = file_size - at;
	if (left > PIECE_BYTES)
		left = PIECE_BYTES;
	if (left > b->budget)
		return q2_fail(err, QCOW2_ERROR_LIMIT, at, "more data than the file stores");
	b->budget -= left;
	if (qcow2_source_read(b->image->source, at, b->buffer, (size_t)left, err))
		return -1;
	memset(b->buffer + left, 0, 8);
	b->first = b->bit;
	b->end = b->first + left * 8;
	if (b->end > b->bits)
		b->end = b->bits;
	q2_dirty_extents_turn(&b->common, b->bit << b->granularity_bits, b->buffer[0] & 1);
	return 0;
}

/* Loads 64 bits. May read up to 8 bytes past the data, for which the buffer has room. */
static uint64_t load_bits(const uint8_t *bytes)
{
	uint64_t word = 0;

	for (unsigned i = 0; i < 8; i++)
		word |= (uint64_t)bytes[i] << (8 * i);
	return word;
}

/* Counts, in steps of four, how many of the `words` words at bytes equal `like`. */
static uint64_t count_alike(const uint8_t *bytes, uint64_t words, uint64_t like)
{
	uint64_t count = 0;

	for (; count + 4 <= words; count += 4, bytes += 32)
		if (((load_bits(bytes) ^ like) | (load_bits(bytes + 8) ^ like) |
		     (load_bits(bytes + 16) ^ like) | (load_bits(bytes + 24) ^ like)) != 0)
			break;
	return count;
}

/*
 * Puts where the changes of a word are into the queue, from entry n on, as starts of extents. Two
 * places are stored whether or not there are so many changes: few bits change in most words, and no
 * branch can be predicted that depends on random bits. Returns the number of the next entry.
 */
static inline size_t put_changes(struct qcow2_dirty_extent *queue, size_t n, uint64_t changes,
				 uint64_t bit)
{
	const uint64_t last = (uint64_t)INT64_MIN; /* so that there is a bit to be found */

	for (unsigned i = 0; i < 2; i++) {
		queue[n].start_bytes = bit + (uint64_t)__builtin_ctzll(changes | last);
		n += changes != 0;
		changes &= changes - 1;
	}
	for (; changes != 0; changes &= changes - 1)
		queue[n++].start_bytes = bit + (uint64_t)__builtin_ctzll(changes);
	return n;
}

/* Makes extents of the places where the state flips that entries from `count` to n hold. */
static void finish_flips(struct bitmap_extents *b, size_t n)
{
	struct qcow2_dirty_extents *extents = &b->common;
	uint64_t start = extents->start_bytes;
	bool dirty = extents->dirty;

	for (size_t i = extents->count; i < n; i++) {
		const uint64_t end = extents->queue[i].start_bytes << b->granularity_bits;

		extents->queue[i].start_bytes = start;
		extents->queue[i].length_bytes = end - start;
		extents->queue[i].dirty = dirty;
		start = end;
		dirty = !dirty;
	}
	extents->start_bytes = start;
	extents->dirty = dirty;
	extents->count = n;
}

/*
 * Reports the changes among the bits in the buffer, as far as the queue has room. A change is a bit
 * that differs from the one before it, so that the exclusive or of a word with itself, shifted by
 * one and with the state before it, has a bit for each change.
 */
static void tell_data(struct bitmap_extents *b)
{
	struct qcow2_dirty_extents *extents = &b->common;
	size_t n = extents->count;
	uint64_t dirty = extents->dirty; /* of the bit before the word */

	while (b->bit < b->end && n <= Q2_DIRTY_EXTENTS_QUEUED - Q2_DIRTY_EXTENTS_STEP) {
		uint64_t left = b->end - b->bit, word, changes;
		const uint8_t *at = b->buffer + (b->bit - b->first) / 8;

		/* Where nothing changes, that is seen four words at a time. */
		if ((b->bit - b->first) % 256 == 0)
			at += count_alike(at, left / 64, 0 - dirty) * 8;
		b->bit = b->first + (uint64_t)(at - b->buffer) * 8;
		if (b->bit == b->end)
			break;
		left = b->end - b->bit;
		word = load_bits(at);
		changes = word ^ (word << 1 | dirty);
		if (left < 64)
			changes &= (UINT64_C(1) << left) - 1;
		n = put_changes(extents->queue, n, changes, b->bit);
		dirty = (int64_t)word < 0;
		b->bit += left < 64 ? left : 64;
	}
	finish_flips(b, n);
}

static int bitmap_fill(struct qcow2_dirty_extents *extents, struct qcow2_error *err)
{
	struct bitmap_extents *b = (struct bitmap_extents *)extents;

	while (b->bit < b->bits && q2_dirty_extents_have_room(extents)) {
		uint64_t index = b->bit / bits_per_entry(b), entry, offset;

		if (b->bit < b->end) {
			tell_data(b);
			continue;
		}
		if (load_entry(b, index, &entry, err))
			return -1;
		offset = qcow2_bitmap_table_entry_decode(entry).offset;
		if (offset == 0 ? tell_entries(b, index, entry, err) : load_data(b, offset, err))
			return -1;
	}
	return b->bit < b->bits;
}

static void bitmap_close(struct qcow2_dirty_extents *extents)
{
	struct bitmap_extents *b = (struct bitmap_extents *)extents;

	qcow2_table_close(b->table);
	q2_free(b->buffer);
	q2_free(b);
}

static const struct q2_dirty_extents_kind bitmap_kind = {bitmap_fill, bitmap_close};

/*
 * Fails if the table is longer than what the file stores, or (unless lenient) not what the disk
 * needs.
 */
static int judge_table(const struct bitmap_extents *b, const struct qcow2_bitmap_dir_entry *entry,
		       struct qcow2_error *err)
{
	uint64_t needed = q2_div_ceil_u64(b->bits, bits_per_entry(b));

	if (b->entries > b->budget / 8)
		return q2_fail(err, QCOW2_ERROR_LIMIT, entry->bitmap_table_offset,
			       "the bitmap table claims more than the file stores");
	if (b->lenient)
		return 0;
	if (entry->bitmap_table_size != needed)
		return q2_fail(err, QCOW2_ERROR_BROKEN, entry->bitmap_table_offset,
			       "the bitmap's table has %" PRIu32 " entries, and the disk needs "
			       "%" PRIu64,
			       entry->bitmap_table_size, needed);
	if (b->entries < needed)
		return q2_fail(err, QCOW2_ERROR_BROKEN, entry->bitmap_table_offset,
			       "the bitmap's table passes the end of the file");
	return 0;
}

int qcow2_dirty_extents_open(const struct qcow2_image *image,
			     const struct qcow2_bitmap_dir_entry *entry, unsigned flags,
			     struct qcow2_dirty_extents **out, struct qcow2_error *err)
{
	struct bitmap_extents *b;

	if (q2_flags_check(flags, QCOW2_DIRTY_EXTENTS_LENIENT, err))
		return -1;
	if (!image->sane || entry->granularity_bits > QCOW2_LIMIT_BITMAP_GRANULARITY_BITS_MAX)
		return q2_fail(err, QCOW2_ERROR_BROKEN, QCOW2_NO_OFFSET,
			       "the cluster size or the granularity is not known");
	b = q2_alloc(sizeof(*b));
	if (!b)
		return q2_fail_memory(err);
	b->common.kind = &bitmap_kind;
	b->common.size_bytes = q2_tracked_bytes(&image->geometry);
	b->image = image;
	b->lenient = (flags & QCOW2_DIRTY_EXTENTS_LENIENT) != 0;
	b->granularity_bits = entry->granularity_bits;
	b->bits = q2_div_ceil_u64(b->common.size_bytes, UINT64_C(1) << b->granularity_bits);
	b->buffer = q2_alloc_buffer(PIECE_BYTES + 8);
	if (!b->buffer || qcow2_table_open(image, &b->table, err)) {
		bitmap_close(&b->common);
		return q2_fail_memory(err);
	}
	b->budget = qcow2_source_allocated_bytes(image->source) + SLACK_BYTES;
	b->table_offset = entry->bitmap_table_offset;
	b->entries = qcow2_table_begin(b->table, b->table_offset, entry->bitmap_table_size);
	if (judge_table(b, entry, err)) {
		bitmap_close(&b->common);
		return -1;
	}
	*out = &b->common;
	return 0;
}
