/* SPDX-License-Identifier: MIT */
/*
 * See preallocated.h. QEMU counts clusters in use from the start of the file until there are clearly
 * more of them than the file system stores: a ninth more, and two at least. Only then does it look
 * for holes below data, since that costs it a system call for each extent.
 */
#include "map/preallocated.h"

#include <qcow2/entry.h>
#include <qcow2/geometry.h>
#include <qcow2/source.h>
#include <qcow2/table.h>

/* QEMU opens no image with a larger refcount table. */
#define TABLE_MOST_BYTES (UINT64_C(8) << 20)
/* What is decoded at most, beyond twice the bytes that the file stores. */
#define SLACK_BYTES (UINT64_C(64) << 20)

struct count {
	const struct qcow2_image *image;
	const struct qcow2_geometry *geometry;
	struct qcow2_table *block;
	uint64_t clusters;    /* of the file */
	uint64_t used;        /* counted so far */
	uint64_t wanted;      /* when to stop */
	uint64_t limit_bytes; /* of blocks that may still be decoded */
};

/* Whether a refcount block can be read at all; otherwise QEMU gives up. */
static bool is_sound(struct count *count, uint64_t offset)
{
	const uint64_t size = count->geometry->cluster_size_bytes;

	return offset % size == 0 && size <= count->limit_bytes &&
	       qcow2_table_begin(count->block, offset, size / 8) * 8 == size;
}

/*
 * Counts the clusters of one refcount block, of which the first is `first`. Returns 1; 0 if the block
 * is not sound; or -1 with *err filled.
 */
static int count_block(struct count *count, uint64_t offset, uint64_t first,
		       struct qcow2_error *err)
{
	const struct qcow2_geometry *geometry = count->geometry;
	uint64_t last = count->clusters - first, refcount;

	if (!is_sound(count, offset))
		return 0;
	/* In a hole all refcounts are 0. */
	if (qcow2_source_hole_end(qcow2_image_source(count->image), offset) >=
	    offset + geometry->cluster_size_bytes)
		return 1;
	count->limit_bytes -= geometry->cluster_size_bytes;
	if (last > geometry->refcount_block_entries)
		last = geometry->refcount_block_entries;
	for (uint64_t i = 0; i < last && count->used < count->wanted; i++) {
		if (qcow2_table_refcount(count->block, i, &refcount, err))
			return -1;
		count->used += refcount != 0;
	}
	return 1;
}

/* Goes through the refcount table, until enough were found. Returns as count_block(). */
static int count_all(struct count *count, struct qcow2_table *table, struct qcow2_error *err)
{
	const struct qcow2_header *header = qcow2_image_header(count->image);
	const uint64_t per_block = count->geometry->refcount_block_entries;
	uint64_t entries, entry, offset;
	int more = 1;

	entries = header->refcount_table_clusters * count->geometry->cluster_size_bytes;
	if (entries > TABLE_MOST_BYTES)
		return 0;
	entries = qcow2_table_begin(table, header->refcount_table_offset, entries / 8);
	for (uint64_t i = 0; more > 0 && i < entries && i * per_block < count->clusters &&
			     count->used < count->wanted;
	     i++) {
		if (qcow2_table_entry(table, i, &entry, err))
			return -1;
		offset = entry & QCOW2_ENTRY_MASK(refcount_table_entry, offset);
		if (offset != 0)
			more = count_block(count, offset, i * per_block, err);
	}
	return more;
}

static int count_with_readers(struct count *count, bool *is, struct qcow2_error *err)
{
	struct qcow2_table *table = NULL;
	int more = -1;

	if (qcow2_table_open(count->image, &count->block, err) == 0 &&
	    qcow2_table_open(count->image, &table, err) == 0)
		more = count_all(count, table, err);
	*is = more > 0 && count->used >= count->wanted;
	qcow2_table_close(count->block);
	qcow2_table_close(table);
	return more < 0 ? -1 : 0;
}

int map_is_preallocated(const struct qcow2_image *image, bool *is, struct qcow2_error *err)
{
	const struct qcow2_geometry *geometry = qcow2_image_geometry(image);
	const uint64_t stored = qcow2_source_allocated_bytes(qcow2_image_source(image));
	const uint64_t size = geometry->cluster_size_bytes;
	const uint64_t real = stored / size;
	struct count count = {
		.image = image,
		.geometry = geometry,
		.clusters =
			geometry->file_size_bytes / size + (geometry->file_size_bytes % size != 0),
		.wanted = real / 9 > 2 ? real + real / 9 : real + 2,
		.limit_bytes = stored * 2 + SLACK_BYTES,
	};

	*is = false;
	/* A file without holes to speak of cannot be: no refcount is read. */
	if (count.wanted > count.clusters)
		return 0;
	return count_with_readers(&count, is, err);
}
