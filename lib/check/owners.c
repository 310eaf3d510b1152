/* SPDX-License-Identifier: MIT */
/*
 * Finds the owners of clusters that are wrong, by going through all metadata once more: only if
 * there is something to name, and only for the clusters that will be told.
 */
#include <stdlib.h>

#include "base/bytes.h"
#include "check/l2.h"

static void add_owner(struct q2_bad_cluster *item, const struct q2_claim *claim)
{
	item->owners_total += claim->weight;
	if (item->owner_count == QCOW2_PROBLEM_OWNERS_MAX)
		return;
	item->owners[item->owner_count++] = (struct q2_bad_owner){
		.list = claim->list,
		.index = claim->index,
		.entry = claim->entry,
		.guest_byte = claim->guest_byte,
		.part = claim->part,
		.has_guest = claim->has_guest,
	};
}

/* The first item that is not below a cluster. */
static size_t find(const struct qcow2_check *check, uint64_t cluster)
{
	size_t low = 0, high = check->named_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (check->named[middle]->cluster < cluster)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static bool name_claim(struct qcow2_check *check, const struct q2_claim *claim)
{
	unsigned bits = check->geometry->cluster_bits;
	uint64_t last = claim->offset_bytes + (claim->length_bytes - 1);

	if (claim->length_bytes == 0)
		return true;
	if (last < claim->offset_bytes)
		last = UINT64_MAX;
	/* Most claims are far from the few clusters that are named at once. */
	if (last >> bits < check->named[0]->cluster ||
	    claim->offset_bytes >> bits > check->named[check->named_count - 1]->cluster)
		return true;
	for (size_t i = find(check, claim->offset_bytes >> bits); i < check->named_count; i++) {
		if (check->named[i]->cluster > last >> bits)
			break;
		add_owner(check->named[i], claim);
	}
	return true;
}

static void name_table(struct qcow2_check *check, const struct q2_l2_ref *ref, const uint8_t *bytes,
		       uint64_t size)
{
	const struct qcow2_geometry *geometry = check->geometry;
	struct q2_claim claim;

	for (uint64_t i = 0; (i + 1) * geometry->l2_entry_bytes <= size; i++) {
		uint64_t entry = q2_load_be64(bytes + i * geometry->l2_entry_bytes);

		if (entry == 0 || !q2_l2_claim(check->image, ref, entry, &claim))
			continue;
		claim.list = ref->list;
		claim.index = ref->index;
		claim.entry = i;
		claim.has_guest = true;
		claim.guest_byte = (ref->index * geometry->l2_entries + i)
				   << geometry->cluster_bits;
		name_claim(check, &claim);
	}
}

int q2_check_read_l2(struct qcow2_check *check, const struct q2_l2_ref *ref, uint64_t *size)
{
	uint64_t left = check->geometry->file_size_bytes - ref->offset_bytes;

	*size = left < check->geometry->cluster_size_bytes ? left
							   : check->geometry->cluster_size_bytes;
	if (qcow2_source_read(qcow2_image_source(check->image), ref->offset_bytes,
			      check->workers[0].buffer, (size_t)*size, check->err))
		return -1;
	/* What the end of the file cuts off an entry reads as zeros. */
	for (; *size % check->geometry->l2_entry_bytes != 0; (*size)++)
		check->workers[0].buffer[*size] = 0;
	return 0;
}

static int name_tables(struct qcow2_check *check)
{
	for (size_t i = 0; i < check->table_count; i++) {
		uint64_t size;

		if (q2_check_read_l2(check, &check->tables[i], &size))
			return -1;
		name_table(check, &check->tables[i], check->workers[0].buffer, size);
		if (!q2_check_progress(check))
			return -1;
	}
	return 0;
}

int q2_check_find_owners(struct qcow2_check *check)
{
	check->naming = true;
	check->claim = name_claim;
	if (q2_check_metadata(check) || !q2_check_claim_l2_tables(check))
		return -1;
	return check->geometry->data_file ? 0 : name_tables(check);
}
