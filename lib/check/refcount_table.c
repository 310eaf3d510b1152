/* SPDX-License-Identifier: MIT */
/* The refcount table: its entries' rules, and where the refcount blocks are. */
#include "base/bytes.h"
#include "base/checked.h"
#include "check/internal.h"

#define ENTRY_RESERVED UINT64_C(0x1ff)

/* Remembers a block that counts clusters which the file has. */
static int note_block(struct qcow2_check *check, uint64_t index, uint64_t offset)
{
	uint64_t needed =
		q2_div_ceil_u64(check->file_clusters + 1, check->geometry->refcount_block_entries);

	if (check->naming || index >= needed)
		return 0;
	if (check->block_count == check->block_capacity &&
	    !q2_memory_grow(&check->memory, (void **)&check->blocks, &check->block_capacity,
			    sizeof(*check->blocks)))
		return q2_check_fail_memory(check, check->err);
	check->blocks[check->block_count++] = (struct q2_refcount_block){offset, index};
	return 0;
}

static int visit_entry(struct qcow2_check *check, uint64_t index, uint64_t entry)
{
	const struct qcow2_geometry *geometry = check->geometry;
	uint64_t offset = entry & ~ENTRY_RESERVED;
	const struct q2_entry_place place = {
		.owner = "refcount_table",
		.index = index,
		.offset_bytes = check->header->refcount_table_offset + index * 8,
	};

	q2_rules_refcount_table_entry(geometry, &place, entry, &check->reporter);
	if (offset == 0 || offset % geometry->cluster_size_bytes ||
	    offset >= geometry->file_size_bytes)
		return 0;
	if (note_block(check, index, offset))
		return -1;
	if (!check->claim(check, &(struct q2_claim){.offset_bytes = offset,
						    .length_bytes = geometry->cluster_size_bytes,
						    .use = Q2_USE_METADATA,
						    .weight = 1,
						    .part = Q2_PART_REFCOUNT_BLOCK,
						    .index = index}))
		return -1;
	return 0;
}

/* Visits the entries in [at, end) that are not 0 and not in holes. */
static int read_table(struct qcow2_check *check, uint64_t at, uint64_t end)
{
	struct qcow2_source *source = qcow2_image_source(check->image);
	uint64_t start = at;

	while (at < end) {
		uint64_t data = q2_check_past_hole(start, at, qcow2_source_hole_end(source, at));
		uint8_t *buffer = check->workers[0].buffer;
		size_t size;

		at = data > at ? data : at;
		if (at >= end)
			break;
		size = end - at < Q2_PIECE_BYTES ? (size_t)(end - at) : Q2_PIECE_BYTES;
		if (qcow2_source_read(source, at, buffer, size, check->err))
			return -1;
		q2_check_digest_sectors(&check->workers[0], at, buffer, size);
		for (size_t i = 0; i + 8 <= size; i += 8) {
			uint64_t entry = q2_load_be64(buffer + i);

			if (entry != 0 && visit_entry(check, (at + i - start) / 8, entry))
				return -1;
		}
		at += size;
	}
	return 0;
}

/*
 * A table that starts inside a cluster, which the rules of the header complain of, is read as if it
 * were right.
 */
int q2_check_refcount_table(struct qcow2_check *check)
{
	const struct qcow2_geometry *geometry = check->geometry;
	uint64_t start = check->header->refcount_table_offset;
	uint64_t size = check->header->refcount_table_clusters * geometry->cluster_size_bytes;

	if (start >= geometry->file_size_bytes || start == 0)
		return 0;
	if (size > geometry->file_size_bytes - start)
		size = geometry->file_size_bytes - start;
	return read_table(check, start, start + (size & ~UINT64_C(7)));
}
