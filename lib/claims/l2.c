/* SPDX-License-Identifier: MIT */
/* See l2.h. */
#include "claims/l2.h"

bool q2_l2_claim(const struct qcow2_geometry *geometry, const struct q2_l2_ref *ref, uint64_t entry,
		 struct qcow2_claim *claim)
{
	*claim = (struct qcow2_claim){.weight = ref->weight, .part = QCOW2_CLAIM_DATA};
	if (geometry->data_file)
		return false;
	if (qcow2_l2_is_compressed(entry)) {
		struct qcow2_compressed_extent extent =
			qcow2_compressed_split(entry, geometry->cluster_bits);

		claim->offset_bytes = extent.offset_bytes;
		claim->length_bytes = extent.length_bytes;
		claim->use = QCOW2_USE_COMPRESSED;
		return true;
	}
	claim->offset_bytes = entry & QCOW2_ENTRY_MASK(l2_entry, offset);
	claim->length_bytes = geometry->cluster_size_bytes;
	claim->use = q2_l2_use(ref, entry);
	return claim->offset_bytes != 0;
}

void q2_l2_claim_name(const struct qcow2_geometry *geometry, const struct q2_l2_ref *ref,
		      uint64_t disk_bytes, uint64_t index, struct qcow2_claim *claim)
{
	q2_claim_set_list(claim, ref->list);
	claim->index = ref->index;
	claim->entry = index;
	q2_claim_set_guest(claim, q2_guest_clusters(geometry, disk_bytes,
						    ref->index * geometry->l2_entries + index, 1));
}
