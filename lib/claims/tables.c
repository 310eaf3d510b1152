/* SPDX-License-Identifier: MIT */
/* The claims of the distinct L2 tables, and of their entries, by one thread and in order. */
#include "claims/metadata.h"
#include "format/l2_table.h"

int q2_metadata_claim_l2_tables(struct q2_metadata *metadata, const struct q2_listener *listener)
{
	for (size_t i = 0; i < metadata->table_count; i++) {
		const struct q2_l2_ref *ref = &metadata->tables[i];
		struct qcow2_claim claim = {.offset_bytes = ref->offset_bytes,
					    .length_bytes = metadata->geometry->cluster_size_bytes,
					    .use = QCOW2_USE_METADATA,
					    .weight = ref->weight,
					    .part = QCOW2_CLAIM_L2_TABLE,
					    .index = ref->index};

		q2_claim_set_list(&claim, ref->list);
		q2_claim_set_guest(&claim,
				   q2_guest_l1(metadata->geometry,
					       q2_metadata_disk(metadata, ref->list).size_bytes,
					       ref->index, 1));
		if (ref->active > 0)
			claim.use = ref->copied ? QCOW2_USE_L2_COPIED : QCOW2_USE_L2_SHARED;
		if (listener->claim(listener->opaque, &claim))
			return -1;
	}
	return 0;
}

/* The entries of the table in metadata->buffer. */
static int claim_entries(const struct q2_metadata *metadata, const struct q2_listener *listener,
			 const struct q2_l2_ref *ref, uint64_t size)
{
	const struct qcow2_geometry *geometry = metadata->geometry;
	uint64_t disk_bytes = q2_metadata_disk(metadata, ref->list).size_bytes;
	struct qcow2_claim claim;

	for (uint64_t i = 0; (i + 1) * geometry->l2_entry_bytes <= size; i++) {
		uint64_t entry = q2_l2_entry_at(metadata->buffer, i, geometry->l2_entry_bytes);

		if (entry == 0 || !q2_l2_claim(geometry, ref, entry, &claim))
			continue;
		q2_l2_claim_name(geometry, ref, disk_bytes, i, &claim);
		if (listener->claim(listener->opaque, &claim))
			return -1;
	}
	return 0;
}

int q2_metadata_claim_l2_entries(struct q2_metadata *metadata, const struct q2_listener *listener)
{
	for (size_t i = 0; i < metadata->table_count && !metadata->geometry->data_file; i++) {
		const struct q2_l2_ref *ref = &metadata->tables[i];
		uint64_t size;

		if (!q2_metadata_l2_is_hole(metadata, ref) &&
		    (q2_metadata_read_l2(metadata, ref->offset_bytes, &size) ||
		     claim_entries(metadata, listener, ref, size)))
			return -1;
		if (listener->go_on && listener->go_on(listener->opaque))
			return -1;
	}
	return 0;
}
