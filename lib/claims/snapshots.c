/* SPDX-License-Identifier: MIT */
/* The snapshot table, and where the L1 tables of snapshots are. */
#include "base/error.h"
#include "claims/metadata.h"

/* What holes may add to what a table stores before the rest of it is not looked at. */
#define SLACK_BYTES (UINT64_C(1) << 20)

/* Remembers the snapshot's disk. Snapshots come in the order of their indexes. */
static int note_disk(struct q2_metadata *metadata, const struct qcow2_snapshot *snapshot)
{
	if (metadata->followed)
		return 0;
	if (metadata->disk_count == metadata->disk_capacity &&
	    !q2_memory_grow(metadata->memory, (void **)&metadata->disks, &metadata->disk_capacity,
			    sizeof(*metadata->disks)))
		return q2_memory_fail(metadata->memory, metadata->err);
	metadata->disks[metadata->disk_count++] = (struct q2_snapshot_disk){
		.size_bytes = snapshot->disk_size_bytes,
		.name_offset_bytes = snapshot->offset_bytes + sizeof(struct qcow2_snapshot_header) +
				     snapshot->header.extra_data_size +
				     snapshot->header.id_str_size,
		.name_size = snapshot->header.name_size,
	};
	return 0;
}

/* Remembers the snapshot's L1 table, to be followed later. */
static int note_l1(struct q2_metadata *metadata, const struct qcow2_snapshot *snapshot)
{
	if (metadata->followed || snapshot->header.l1_size == 0)
		return 0;
	if (metadata->l1_count == metadata->l1_capacity &&
	    !q2_memory_grow(metadata->memory, (void **)&metadata->l1s, &metadata->l1_capacity,
			    sizeof(*metadata->l1s)))
		return q2_memory_fail(metadata->memory, metadata->err);
	metadata->l1s[metadata->l1_count++] = (struct q2_l1_table){
		.offset_bytes = snapshot->header.l1_table_offset,
		.entries = snapshot->header.l1_size,
		.list = (uint32_t)snapshot->index + 1,
		.weight = 1,
	};
	return 0;
}

static int visit_snapshot(struct q2_metadata *metadata, const struct q2_listener *listener,
			  const struct qcow2_snapshot *snapshot)
{
	struct qcow2_claim claim = {
		.offset_bytes = snapshot->header.l1_table_offset,
		.length_bytes = snapshot->header.l1_size * UINT64_C(8),
		.use = QCOW2_USE_METADATA,
		.weight = 1,
		.part = QCOW2_CLAIM_L1_TABLE,
		.part_of = QCOW2_PART_OF_SNAPSHOT,
		.part_of_index = snapshot->index,
	};

	if (listener->snapshot && listener->snapshot(listener->opaque, snapshot))
		return -1;
	if (snapshot->raw.size < qcow2_snapshot_structure.size_bytes)
		return 0; /* it ends before it says where its L1 table is */
	if (note_l1(metadata, snapshot))
		return -1;
	q2_claim_set_guest(&claim, q2_guest_l1(metadata->geometry, snapshot->disk_size_bytes, 0,
					       snapshot->header.l1_size));
	return listener->claim(listener->opaque, &claim);
}

/* Visits the entries; *used_bytes is how much of the file they take. */
static int visit_entries(struct q2_metadata *metadata, const struct q2_listener *listener,
			 struct qcow2_snapshots *snapshots, uint64_t *used_bytes)
{
	uint64_t most =
		qcow2_source_allocated_bytes(qcow2_image_source(metadata->image)) + SLACK_BYTES;
	const struct qcow2_snapshot *snapshot;
	int more = 1;

	while (*used_bytes <= most) {
		more = qcow2_snapshots_next(snapshots, &snapshot, metadata->err);
		if (more <= 0)
			break;
		if (!snapshot->cut)
			*used_bytes = snapshot->offset_bytes + snapshot->size_bytes -
				      metadata->header->snapshot_offset;
		if (note_disk(metadata, snapshot) || visit_snapshot(metadata, listener, snapshot))
			return -1;
	}
	if (more > 0 && listener->cut)
		listener->cut(listener->opaque);
	return more < 0 ? -1 : 0;
}

int q2_metadata_visit_snapshots(struct q2_metadata *metadata, const struct q2_listener *listener)
{
	struct qcow2_snapshots *snapshots = NULL;
	uint64_t used_bytes = 0;
	int result;

	if (metadata->header->nb_snapshots == 0)
		return 0;
	if (qcow2_snapshots_open(metadata->image, &snapshots, metadata->err))
		return q2_is_fault(metadata->err) ? -1 : 0; /* the rules say why */
	result = visit_entries(metadata, listener, snapshots, &used_bytes);
	qcow2_snapshots_close(snapshots);
	if (result)
		return result;
	return listener->claim(listener->opaque,
			       &(struct qcow2_claim){
				       .offset_bytes = metadata->header->snapshot_offset,
				       .length_bytes = used_bytes,
				       .use = QCOW2_USE_METADATA,
				       .weight = 1,
				       .part = QCOW2_CLAIM_SNAPSHOT_TABLE,
			       });
}
