/* SPDX-License-Identifier: MIT */
/* The refcount table: its entries, and the refcount blocks that they lead to. */
#include "claims/metadata.h"

/* The table that is read. */
struct reading {
	const struct q2_metadata *metadata;
	const struct q2_listener *listener;
};

static int visit_entry(void *opaque, uint64_t at, uint64_t entry)
{
	const struct reading *r = opaque;
	const struct qcow2_geometry *geometry = r->metadata->geometry;
	uint64_t offset = entry & QCOW2_ENTRY_MASK(refcount_table_entry, offset);
	const struct q2_entry_place place = {
		.owner = "refcount_table",
		.index = (at - r->metadata->header->refcount_table_offset) / 8,
		.offset_bytes = at,
	};

	if (r->listener->refcount_table_entry &&
	    r->listener->refcount_table_entry(r->listener->opaque, &place, entry))
		return -1;
	if (offset == 0 || offset % geometry->cluster_size_bytes ||
	    offset >= geometry->file_size_bytes)
		return 0;
	return r->listener->claim(
		r->listener->opaque,
		&(struct qcow2_claim){.offset_bytes = offset,
				      .length_bytes = geometry->cluster_size_bytes,
				      .use = QCOW2_USE_METADATA,
				      .weight = 1,
				      .part = QCOW2_CLAIM_REFCOUNT_BLOCK,
				      .index = place.index});
}

/*
 * A table that starts inside a cluster, which the rules of the header complain of, is read as if it
 * were right. An entry that the end of the file cuts is padded with zeros.
 */
int q2_metadata_visit_refcount_table(struct q2_metadata *metadata,
				     const struct q2_listener *listener)
{
	const struct qcow2_geometry *geometry = metadata->geometry;
	struct reading r = {metadata, listener};
	uint64_t start = metadata->header->refcount_table_offset;
	uint64_t size = metadata->header->refcount_table_clusters * geometry->cluster_size_bytes;

	if (start >= geometry->file_size_bytes || start == 0)
		return 0;
	if (size > geometry->file_size_bytes - start)
		size = (geometry->file_size_bytes - start + 7) & ~UINT64_C(7);
	return q2_metadata_read_words(
		metadata, listener,
		&(struct q2_words){
			.start = start, .end = start + size, .word = visit_entry, .opaque = &r});
}
