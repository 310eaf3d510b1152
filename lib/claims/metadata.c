/* SPDX-License-Identifier: MIT */
/* The state of a walk, and the reads that several stages share. See metadata.h. */
#include "claims/metadata.h"

#include <string.h>

#include <qcow2/text.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/checked.h"
#include "base/search.h"

void q2_metadata_init(struct q2_metadata *metadata, const struct qcow2_image *image,
		      struct q2_memory *memory, struct qcow2_error *err)
{
	*metadata = (struct q2_metadata){
		.image = image,
		.header = qcow2_image_header(image),
		.geometry = qcow2_image_geometry(image),
		.memory = memory,
		.err = err,
	};
}

void q2_metadata_release(struct q2_metadata *metadata)
{
	q2_memory_put(metadata->memory, metadata->tables, metadata->table_capacity,
		      sizeof(*metadata->tables));
	q2_memory_put(metadata->memory, metadata->l1s, metadata->l1_capacity,
		      sizeof(*metadata->l1s));
	q2_memory_put(metadata->memory, metadata->disks, metadata->disk_capacity,
		      sizeof(*metadata->disks));
	metadata->tables = NULL;
	metadata->l1s = NULL;
	metadata->disks = NULL;
}

struct q2_disk q2_metadata_disk(const struct q2_metadata *metadata, uint32_t list)
{
	struct q2_disk disk = {.size_bytes = metadata->geometry->virtual_size_bytes};

	if (list == Q2_ACTIVE)
		return disk;
	disk.of_snapshot = true;
	disk.snapshot_index = list - 1;
	if (disk.snapshot_index < metadata->disk_count)
		disk.size_bytes = metadata->disks[disk.snapshot_index].size_bytes;
	return disk;
}

int q2_metadata_snapshot_name(const struct q2_metadata *metadata, uint64_t index, char *name,
			      size_t size)
{
	/* Escaping makes no text shorter: of what is not read, nothing would be shown. */
	uint8_t bytes[QCOW2_OWNER_NAME_MAX];
	uint64_t left = metadata->geometry->file_size_bytes, count = sizeof(bytes);
	const struct q2_snapshot_disk *disk;

	name[0] = '\0';
	if (index >= metadata->disk_count)
		return 0;
	disk = &metadata->disks[index];
	if (disk->name_offset_bytes >= left)
		return 0;
	left -= disk->name_offset_bytes;
	if (count > disk->name_size)
		count = disk->name_size;
	if (count > left)
		count = left;
	if (qcow2_source_read(qcow2_image_source(metadata->image), disk->name_offset_bytes, bytes,
			      (size_t)count, metadata->err))
		return -1;
	qcow2_text_escape((struct qcow2_bytes){bytes, (size_t)count}, name, size);
	return 0;
}

uint64_t q2_metadata_l2_stored(const struct qcow2_geometry *geometry, uint64_t offset_bytes)
{
	uint64_t left = geometry->file_size_bytes - offset_bytes;

	return left < geometry->cluster_size_bytes ? left : geometry->cluster_size_bytes;
}

bool q2_metadata_l2_is_hole(const struct q2_metadata *metadata, const struct q2_l2_ref *ref)
{
	return qcow2_source_hole_end(qcow2_image_source(metadata->image), ref->offset_bytes) -
		       ref->offset_bytes >=
	       q2_metadata_l2_stored(metadata->geometry, ref->offset_bytes);
}

int q2_metadata_read_l2(const struct q2_metadata *metadata, uint64_t offset_bytes, uint64_t *size)
{
	*size = q2_metadata_l2_stored(metadata->geometry, offset_bytes);
	if (qcow2_source_read(qcow2_image_source(metadata->image), offset_bytes, metadata->buffer,
			      (size_t)*size, metadata->err))
		return -1;
	for (; *size % metadata->geometry->l2_entry_bytes != 0; (*size)++)
		metadata->buffer[*size] = 0;
	return 0;
}

struct q2_guest_range q2_metadata_guest_in(const struct q2_metadata *metadata,
					   const struct qcow2_claim *claim, uint64_t start_bytes,
					   uint64_t length_bytes)
{
	const struct qcow2_geometry *geometry = metadata->geometry;
	const bool l1 = claim->part == QCOW2_CLAIM_L1_TABLE;
	const uint64_t disk_bytes = q2_metadata_disk(metadata, q2_claim_list(claim)).size_bytes;
	const uint64_t entry_bytes = l1 ? sizeof(uint64_t) : geometry->l2_entry_bytes;
	const uint64_t from =
		claim->offset_bytes < start_bytes ? start_bytes - claim->offset_bytes : 0;
	uint64_t to = start_bytes + length_bytes - claim->offset_bytes, first, count;

	if (to > claim->length_bytes)
		to = claim->length_bytes;
	first = from / entry_bytes;
	count = q2_div_ceil_u64(to, entry_bytes) - first;
	return l1 ? q2_guest_l1(geometry, disk_bytes, first, count)
		  : q2_guest_clusters(geometry, disk_bytes,
				      claim->index * geometry->l2_entries + first, count);
}

size_t q2_metadata_find_table(const struct q2_metadata *metadata, uint64_t offset_bytes)
{
	return q2_rising_lower(
		Q2_RISING(metadata->tables, metadata->table_count, struct q2_l2_ref, offset_bytes),
		offset_bytes);
}

/*
 * Where to go on behind a hole that ends at hole_end. Pieces start at multiples of 512 bytes from
 * the start of the table wherever holes happen to be, so that copies of an image with other holes
 * have the same digest.
 */
static uint64_t past_hole(uint64_t start, uint64_t at, uint64_t hole_end)
{
	uint64_t past = start + ((hole_end - start) & ~UINT64_C(511));

	return past > at ? past : at;
}

/* Reads size bytes; those past the end of the file are zeros. */
static int read_padded(const struct q2_metadata *metadata, uint64_t at, size_t size)
{
	uint64_t left = metadata->geometry->file_size_bytes - at;
	size_t stored = left < size ? (size_t)left : size;

	memset(metadata->buffer + stored, 0, size - stored);
	return qcow2_source_read(qcow2_image_source(metadata->image), at, metadata->buffer, stored,
				 metadata->err);
}

static int tell_words(const struct q2_words *words, uint64_t at, const uint8_t *bytes, size_t size)
{
	for (size_t i = 0; i + 8 <= size; i += 8) {
		uint64_t word = q2_load_be64(bytes + i);

		if (word != 0 && words->word(words->opaque, at + i, word))
			return -1;
	}
	return 0;
}

int q2_metadata_read_words(struct q2_metadata *metadata, const struct q2_listener *listener,
			   const struct q2_words *words)
{
	struct qcow2_source *source = qcow2_image_source(metadata->image);
	uint64_t at = words->start;

	while (at < words->end) {
		uint64_t data = qcow2_source_hole_end(source, at);
		size_t size;

		if (data >= words->end)
			break;
		at = past_hole(words->start, at, data);
		size = words->end - at < Q2_PIECE_BYTES ? (size_t)(words->end - at)
							: Q2_PIECE_BYTES;
		if (read_padded(metadata, at, size) ||
		    (listener->table_bytes &&
		     listener->table_bytes(listener->opaque, at, metadata->buffer, size)) ||
		    tell_words(words, at, metadata->buffer, size) ||
		    (listener->go_on && listener->go_on(listener->opaque)))
			return -1;
		at += size;
	}
	return 0;
}
