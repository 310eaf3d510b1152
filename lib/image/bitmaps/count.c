/* SPDX-License-Identifier: MIT */
/*
 * Adds a bitmap up. Goes through its table once, joins data clusters that lie side by side in the
 * file to runs, and reads and counts a run piece by piece, so that bits are counted while they are
 * in the processor's cache. Holes of the file are zeros and are not read.
 */
#include <qcow2/entry.h>
#include <qcow2/limits.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/error.h"
#include "base/ones.h"
#include "image/internal.h"

#define PIECE_BYTES (256 * 1024)
#define BLOCK_BYTES 4096 /* file systems store no less */

/* The state of one count. */
struct counting {
	const struct qcow2_image *image;
	struct qcow2_bitmap_totals *totals;
	uint8_t *buffer;
	unsigned granularity_bits;
	uint64_t
		run_host; /* a run of data not counted yet: where, which byte of the bitmap, size */
	uint64_t run_byte;
	uint64_t run_bytes;
	uint64_t budget;
};

uint64_t qcow2_bitmap_table_entries_needed(const struct qcow2_geometry *geometry,
					   unsigned granularity_bits)
{
	uint64_t bits;

	if (granularity_bits > QCOW2_LIMIT_BITMAP_GRANULARITY_BITS_MAX)
		return 0;
	bits = q2_div_ceil_u64(q2_tracked_bytes(geometry), UINT64_C(1) << granularity_bits);
	return q2_div_ceil_u64(q2_div_ceil_u64(bits, 8), geometry->cluster_size_bytes);
}

/*
 * The bytes that the last bit stands for: fewer than the others' if it reaches past the disk's end.
 */
static uint64_t last_bit_bytes(const struct counting *c)
{
	uint64_t size = q2_tracked_bytes(&c->image->geometry);
	uint64_t granularity = UINT64_C(1) << c->granularity_bits;

	return size % granularity ? size % granularity : granularity;
}

static void add_bits(struct counting *c, uint64_t count, bool with_last)
{
	c->totals->bits_set += count;
	c->totals->dirty_bytes += count << c->granularity_bits;
	if (with_last)
		c->totals->dirty_bytes -= (UINT64_C(1) << c->granularity_bits) - last_bit_bytes(c);
}

static void note_tail(struct counting *c, uint64_t host)
{
	if (c->totals->tail_set)
		return;
	c->totals->tail_set = true;
	c->totals->tail_offset_bytes = host;
}

/*
 * Counts the size bytes in the buffer. `byte` says which byte of the bitmap is the first of them,
 * and host where it lies in the file. Bits behind the last one that the bitmap has are its tail.
 */
static void count_bytes(struct counting *c, uint64_t byte, uint64_t host, size_t size)
{
	uint64_t bits = c->totals->bits;
	uint64_t whole = bits / 8; /* bytes of which the bitmap has all 8 bits */
	size_t inside = size;

	if (byte + size > whole)
		inside = byte < whole ? (size_t)(whole - byte) : 0;
	add_bits(c, q2_count_ones(c->buffer, inside),
		 bits % 8 == 0 && bits > 0 && byte < whole && byte + size >= whole &&
			 (c->buffer[whole - 1 - byte] & 0x80));
	for (size_t i = inside; i < size; i++) {
		uint8_t mask = (uint8_t)(byte + i == whole ? (1U << (bits % 8)) - 1 : 0);
		uint8_t counted = c->buffer[i] & mask;

		if (c->buffer[i] & (uint8_t)~mask)
			note_tail(c, host + i);
		if (mask)
			add_bits(c, (uint64_t)__builtin_popcount(counted),
				 counted >> (bits % 8 - 1) & 1);
	}
}

/*
 * Reads and counts the run. Past the end of the file and in holes there are only zeros to count.
 * Behind a hole the first read is short and the next ones grow, so that where holes are frequent,
 * not much more is read than is stored.
 */
static int count_run(struct counting *c, struct qcow2_error *err)
{
	uint64_t file_size = c->image->geometry.file_size_bytes;
	uint64_t done = 0;
	size_t piece = BLOCK_BYTES;

	while (done < c->run_bytes && c->run_host + done < file_size) {
		uint64_t host = c->run_host + done;
		uint64_t left = c->run_bytes - done;
		uint64_t data = qcow2_source_hole_end(c->image->source, host);
		size_t size;

		if (data > host) {
			done += data - host < left ? data - host : left;
			piece = BLOCK_BYTES;
			continue;
		}
		left = left < file_size - host ? left : file_size - host;
		size = left < piece ? (size_t)left : piece;
		piece = 2 * piece < PIECE_BYTES ? 2 * piece : PIECE_BYTES;
		if (size > c->budget)
			return q2_fail(err, QCOW2_ERROR_LIMIT, host,
				       "more data than the file stores");
		c->budget -= size;
		if (qcow2_source_read(c->image->source, host, c->buffer, size, err))
			return -1;
		count_bytes(c, c->run_byte + done, host, size);
		done += size;
	}
	c->run_bytes = 0;
	return 0;
}

/* Adds the bits of entry `index`, which reads as ones, as far as the bitmap has them. */
static void count_ones_entry(struct counting *c, uint64_t index)
{
	uint64_t per_entry = c->image->geometry.cluster_size_bytes * 8;
	uint64_t bits = c->totals->bits;
	uint64_t first;

	/* Divides, since index * per_entry overflows for the longest tables. */
	if (index >= q2_div_ceil_u64(bits, per_entry))
		return;
	first = index * per_entry;
	add_bits(c, bits - first < per_entry ? bits - first : per_entry, bits - first <= per_entry);
}

static int count_entry(struct counting *c, uint64_t index, uint64_t entry, struct qcow2_error *err)
{
	const struct qcow2_bitmap_table_entry fields = qcow2_bitmap_table_entry_decode(entry);
	uint64_t offset = fields.offset;
	uint64_t cluster = c->image->geometry.cluster_size_bytes;

	if (offset == 0) {
		if (fields.all_ones) {
			c->totals->all_ones_entries++;
			count_ones_entry(c, index);
		} else {
			c->totals->all_zeroes_entries++;
		}
		return 0;
	}
	c->totals->serialized_entries++;
	if (c->run_bytes > 0 && offset == c->run_host + c->run_bytes &&
	    index * cluster == c->run_byte + c->run_bytes) {
		c->run_bytes += cluster;
		return 0;
	}
	if (c->run_bytes > 0 && count_run(c, err))
		return -1;
	c->run_host = offset;
	c->run_byte = index * cluster;
	c->run_bytes = cluster;
	return 0;
}

static int count_table(struct counting *c, struct qcow2_table *table, uint64_t entries,
		       struct qcow2_error *err)
{
	for (uint64_t i = 0; i < entries; i++) {
		uint64_t entry;

		if (qcow2_table_entry(table, i, &entry, err) || count_entry(c, i, entry, err))
			return -1;
	}
	return c->run_bytes > 0 ? count_run(c, err) : 0;
}

int qcow2_bitmap_count(const struct qcow2_image *image, const struct qcow2_bitmap_dir_entry *entry,
		       uint64_t max_read_bytes, struct qcow2_bitmap_totals *out,
		       struct qcow2_error *err)
{
	struct counting c = {.image = image,
			     .totals = out,
			     .granularity_bits = entry->granularity_bits,
			     .budget = max_read_bytes};
	struct qcow2_table *table = NULL;
	uint64_t entries, cluster = image->geometry.cluster_size_bytes;
	int result = -1;

	*out = (struct qcow2_bitmap_totals){0};
	if (!image->sane || entry->granularity_bits > QCOW2_LIMIT_BITMAP_GRANULARITY_BITS_MAX)
		return q2_fail(err, QCOW2_ERROR_BROKEN, QCOW2_NO_OFFSET,
			       "the cluster size or the granularity is not known");
	out->bits = q2_div_ceil_u64(q2_tracked_bytes(&image->geometry),
				    UINT64_C(1) << entry->granularity_bits);
	if (qcow2_table_open(image, &table, err))
		return -1;
	c.buffer = q2_alloc_buffer(PIECE_BYTES);
	entries = qcow2_table_begin(table, entry->bitmap_table_offset, entry->bitmap_table_size);
	if (!c.buffer)
		q2_fail_memory(err);
	else if (entries < entry->bitmap_table_size)
		q2_fail(err, QCOW2_ERROR_BROKEN, entry->bitmap_table_offset,
			"the bitmap table passes the end of the file");
	else if (entries * 8 > max_read_bytes)
		q2_fail(err, QCOW2_ERROR_LIMIT, entry->bitmap_table_offset,
			"the bitmap table claims more than the file stores");
	else
		result = count_table(&c, table, entries, err);
	out->disk_bytes =
		out->serialized_entries * cluster + q2_div_ceil_u64(entries * 8, cluster) * cluster;
	q2_free(c.buffer);
	qcow2_table_close(table);
	return result;
}
