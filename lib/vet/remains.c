/* SPDX-License-Identifier: MIT */
/*
 * What remains of tables that were freed. QEMU frees clusters without clearing them: the old L1
 * table of a disk that was made larger, the tables and the directory of bitmaps that were removed,
 * refcount blocks of another width. Nobody can hide more in such bytes than in the tables in use.
 */
#include "vet/remains.h"

#include "base/bytes.h"

#include <qcow2/entry.h>
#include <qcow2/format.h>
#include <qcow2/limits.h>

/* What no entry has of L1 tables, refcount tables and tables of bitmaps. */
#define NEVER_SET                                                                                  \
	(~(QCOW2_ENTRY_MASK(l1_entry, offset) | QCOW2_ENTRY_MASK(l1_entry, copied) |               \
	   QCOW2_ENTRY_MASK(bitmap_table_entry, all_ones)))

/* Whether an offset is that of a cluster of the file. */
static bool is_cluster(const struct q2_vet *vet, uint64_t offset)
{
	return offset % vet->geometry->cluster_size_bytes == 0 &&
	       offset < vet->result.file_size_bytes;
}

static bool is_entries(const struct q2_vet *vet, struct qcow2_bytes bytes)
{
	uint64_t entry;

	for (; bytes.size >= 8; bytes.data += 8, bytes.size -= 8) {
		entry = q2_load_be64(bytes.data);
		if ((entry & NEVER_SET) ||
		    !is_cluster(vet, entry & QCOW2_ENTRY_MASK(l1_entry, offset)))
			return false;
	}
	return bytes.size == 0;
}

/* Refcounts of 16 bits and more, none of which is over 255. */
static bool is_refcounts(struct qcow2_bytes bytes)
{
	for (size_t i = 0; i < bytes.size; i += 2)
		if (bytes.data[i] != 0)
			return false;
	return true;
}

static bool is_text(struct qcow2_bytes name)
{
	for (size_t i = 0; i < name.size; i++)
		if (name.data[i] < ' ' || name.data[i] == 0x7f)
			return false;
	return true;
}

/* An entry of the bitmap directory: its size without padding, or 0 if it is none. */
static size_t directory_entry(const struct q2_vet *vet, struct qcow2_bytes bytes)
{
	struct qcow2_bitmap_dir_entry entry;

	if (bytes.size <= sizeof(entry))
		return 0;
	qcow2_bitmap_dir_entry_decode(&entry, bytes.data, bytes.size);
	bytes.data += sizeof(entry);
	bytes.size -= sizeof(entry);
	/* While a bitmap is in use, QEMU writes no offset of its table. */
	if (entry.type != 1 || entry.extra_data_size != 0 ||
	    !is_cluster(vet, entry.bitmap_table_offset) || entry.name_size == 0 ||
	    entry.name_size > QCOW2_LIMIT_QEMU_BITMAP_NAME_BYTES || entry.name_size > bytes.size ||
	    !is_text((struct qcow2_bytes){bytes.data, entry.name_size}))
		return 0;
	return sizeof(entry) + entry.name_size;
}

static bool is_directory(const struct q2_vet *vet, struct qcow2_bytes bytes)
{
	size_t size;

	while (bytes.size > 0 && bytes.data[bytes.size - 1] == 0)
		bytes.size--;
	while (bytes.size > 0) {
		size = directory_entry(vet, bytes);
		if (size == 0)
			return false;
		for (; size < bytes.size && size % 8 != 0; size++)
			if (bytes.data[size] != 0)
				return false;
		bytes.data += size;
		bytes.size -= size;
	}
	return true;
}

bool q2_vet_is_old_table(const struct q2_vet *vet, struct qcow2_bytes cluster)
{
	return is_entries(vet, cluster) || is_refcounts(cluster) || is_directory(vet, cluster);
}
