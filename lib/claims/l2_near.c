/* SPDX-License-Identifier: MIT */
/*
 * The claims of L2 entries that touch some bytes of the file, out of all entries there are. Most of
 * them lead elsewhere: these are passed over in blocks, with one comparison each. Tables that follow
 * each other are read at once.
 */
#include <string.h>

#include "claims/metadata.h"
#include "format/l2_table.h"

#define OFFSET     QCOW2_ENTRY_MASK(l2_entry, offset)
#define COMPRESSED QCOW2_ENTRY_MASK(l2_entry, compressed)
/* Entries that are looked at before it is asked whether one of them matters. */
#define BLOCK 64

struct near {
	struct q2_metadata *metadata;
	const struct q2_listener *listener;
	uint64_t first, last; /* bytes of the file */
	uint64_t start,
		range; /* offsets from start on, range of them, are of clusters that touch */
};

static bool touches(const struct near *near, const struct qcow2_claim *claim)
{
	const uint64_t last = claim->offset_bytes + (claim->length_bytes - 1);

	return claim->offset_bytes <= near->last &&
	       (last >= near->first || last < claim->offset_bytes);
}

/* Tells the entries of a block that touch the bytes. */
static int tell_block(const struct near *near, const struct q2_l2_ref *ref, const uint8_t *table,
		      uint64_t from, uint64_t to)
{
	const struct qcow2_geometry *geometry = near->metadata->geometry;
	const uint64_t disk_bytes = q2_metadata_disk(near->metadata, ref->list).size_bytes;
	struct qcow2_claim claim;

	for (uint64_t i = from; i < to; i++) {
		const uint64_t entry = q2_l2_entry_at(table, i, geometry->l2_entry_bytes);

		if (entry == 0 || !q2_l2_claim(geometry, ref, entry, &claim) ||
		    !touches(near, &claim))
			continue;
		q2_l2_claim_name(geometry, ref, disk_bytes, i, &claim);
		if (near->listener->claim(near->listener->opaque, &claim))
			return -1;
	}
	return 0;
}

/* Whether an entry of a block may touch the bytes: each that is compressed, or leads near them. */
static bool may_touch(const struct near *near, const uint8_t *entries, uint64_t count,
		      unsigned entry_bytes)
{
	uint64_t compressed = 0;
	bool found = false;

	for (uint64_t i = 0; i < count; i++) {
		const uint64_t entry = q2_l2_entry_at(entries, i, entry_bytes);

		compressed |= entry;
		found |= (entry & OFFSET) - near->start < near->range;
	}
	return found || (compressed & COMPRESSED) != 0;
}

static int tell_table(const struct near *near, const struct q2_l2_ref *ref, const uint8_t *table,
		      uint64_t size)
{
	const unsigned entry_bytes = near->metadata->geometry->l2_entry_bytes;
	const uint64_t entries = size / entry_bytes + (size % entry_bytes != 0);

	for (uint64_t i = 0; i < entries; i += BLOCK) {
		const uint64_t end = entries - i < BLOCK ? entries : i + BLOCK;
		const uint8_t *block = table + i * entry_bytes;
		/* Most tables are sparse or in order, but the compiler needs one constant. */
		const bool may = entry_bytes == 8 ? may_touch(near, block, end - i, 8)
						  : may_touch(near, block, end - i, 16);

		if (may && tell_block(near, ref, table, i, end))
			return -1;
	}
	return 0;
}

/* How many of the tables from `first` on follow each other and fit the buffer. */
static size_t choose_batch(const struct q2_metadata *metadata, size_t first)
{
	const struct q2_l2_ref *tables = metadata->tables;
	const uint64_t cluster = metadata->geometry->cluster_size_bytes;
	const uint64_t most = cluster > Q2_PIECE_BYTES ? cluster : Q2_PIECE_BYTES;
	size_t i = first + 1;

	while (i < metadata->table_count &&
	       tables[i].offset_bytes - tables[i - 1].offset_bytes <= cluster &&
	       tables[i].offset_bytes + cluster - tables[first].offset_bytes <= most)
		i++;
	return i - first;
}

/* Tells of `count` tables that follow each other. */
static int tell_batch(const struct near *near, const struct q2_l2_ref *refs, size_t count)
{
	struct q2_metadata *metadata = near->metadata;
	struct qcow2_source *source = qcow2_image_source(metadata->image);
	const uint64_t start = refs[0].offset_bytes, last = refs[count - 1].offset_bytes;
	const uint64_t size = last - start + q2_metadata_l2_stored(metadata->geometry, last);

	/* A hole has no entries. */
	if (qcow2_source_hole_end(source, start) - start >= size)
		return 0;
	if (qcow2_source_read(source, start, metadata->buffer, (size_t)size, metadata->err))
		return -1;
	/* An entry cut by the end of the file is padded with zeros. */
	memset(metadata->buffer + size, 0, 2 * sizeof(uint64_t));
	for (size_t i = 0; i < count; i++)
		if (tell_table(near, &refs[i], metadata->buffer + (refs[i].offset_bytes - start),
			       q2_metadata_l2_stored(metadata->geometry, refs[i].offset_bytes)))
			return -1;
	return 0;
}

int q2_metadata_claim_l2_entries_near(struct q2_metadata *metadata,
				      const struct q2_listener *listener, uint64_t first,
				      uint64_t last)
{
	const uint64_t before = metadata->geometry->cluster_size_bytes - 1;
	struct near near = {
		.metadata = metadata, .listener = listener, .first = first, .last = last};
	size_t count;

	/* The offset 0 leads nowhere. */
	near.start = first > before ? first - before : 1;
	near.range = last >= near.start ? last - near.start + 1 : 0;
	for (size_t i = 0; i < metadata->table_count && !metadata->geometry->data_file;
	     i += count) {
		count = choose_batch(metadata, i);
		if (tell_batch(&near, &metadata->tables[i], count) ||
		    (listener->go_on && listener->go_on(listener->opaque)))
			return -1;
	}
	return 0;
}
