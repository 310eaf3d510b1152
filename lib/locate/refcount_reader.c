/* SPDX-License-Identifier: MIT */
/* See refcount_reader.h. */
#include "locate/refcount_reader.h"

#include <qcow2/entry.h>

/* Entries that the header claims for the refcount table. */
static uint64_t claimed_entries(const struct qcow2_image *image)
{
	return qcow2_image_header(image)->refcount_table_clusters *
	       (qcow2_image_geometry(image)->cluster_size_bytes / sizeof(uint64_t));
}

int q2_refcount_reader_init(struct q2_refcount_reader *refcounts, const struct qcow2_image *image,
			    struct qcow2_error *err)
{
	const uint64_t table_offset = qcow2_image_header(image)->refcount_table_offset;

	*refcounts = (struct q2_refcount_reader){.image = image};
	if (qcow2_table_open(image, &refcounts->table, err) ||
	    qcow2_table_open(image, &refcounts->block, err))
		return -1;
	if (table_offset != 0)
		refcounts->table_entries =
			qcow2_table_begin(refcounts->table, table_offset, claimed_entries(image));
	return 0;
}

void q2_refcount_reader_release(struct q2_refcount_reader *refcounts)
{
	qcow2_table_close(refcounts->table);
	qcow2_table_close(refcounts->block);
}

/* Reads a refcount of the block that the table's entry leads to. */
static int find_in_block(struct q2_refcount_reader *refcounts, struct qcow2_refcount_path *path,
			 struct qcow2_error *err)
{
	const struct qcow2_geometry *geometry = qcow2_image_geometry(refcounts->image);
	const uint64_t block = path->table_entry & QCOW2_ENTRY_MASK(refcount_table_entry, offset);
	const uint64_t bit = path->block_index * geometry->refcount_bits;

	if (block % geometry->cluster_size_bytes != 0 || block >= geometry->file_size_bytes)
		return 0; /* there is no block where the entry says */
	if (block != refcounts->shown_block) {
		refcounts->block_words = qcow2_table_begin(
			refcounts->block, block, geometry->cluster_size_bytes / sizeof(uint64_t));
		refcounts->shown_block = block;
	}
	if (bit / 64 >= refcounts->block_words)
		return 0;
	path->refcount_at.byte = block + bit / 8;
	path->known = true;
	return qcow2_table_refcount(refcounts->block, path->block_index, &path->refcount, err);
}

int q2_refcount_reader_find(struct q2_refcount_reader *refcounts, struct qcow2_host byte,
			    struct qcow2_refcount_path *path, struct qcow2_error *err)
{
	const struct qcow2_geometry *geometry = qcow2_image_geometry(refcounts->image);
	const uint64_t cluster = byte.byte >> geometry->cluster_bits;
	const uint64_t table_offset = qcow2_image_header(refcounts->image)->refcount_table_offset;

	*path = (struct qcow2_refcount_path){
		.size = sizeof(*path),
		.table_index = cluster / geometry->refcount_block_entries,
		.table_entry_at.byte = QCOW2_NO_OFFSET,
		.block_index = cluster % geometry->refcount_block_entries,
		.refcount_at.byte = QCOW2_NO_OFFSET,
	};
	if (path->table_index >= refcounts->table_entries) {
		path->known = path->table_index >= claimed_entries(refcounts->image);
		return 0;
	}
	path->table_entry_at.byte = table_offset + path->table_index * sizeof(uint64_t);
	if (qcow2_table_entry(refcounts->table, path->table_index, &path->table_entry, err))
		return -1;
	if ((path->table_entry & QCOW2_ENTRY_MASK(refcount_table_entry, offset)) == 0) {
		path->known = true;
		return 0;
	}
	return find_in_block(refcounts, path, err);
}
