/* SPDX-License-Identifier: MIT */
/* The snapshot table: the rules of its entries, its own clusters and those of their L1 tables. */
#include "base/error.h"
#include "check/internal.h"

#define FIXED_BYTES sizeof(struct qcow2_snapshot_header)
/* How many different IDs duplicates are looked for among: QEMU's limit, with room to spare. */
#define NAMES_MAX 1000000
/* What holes may add to what a table stores before the rest of it is not looked at. */
#define SLACK_BYTES (UINT64_C(1) << 20)

/* Remembers the snapshot's L1 table, to be followed later. */
static bool note_l1(struct qcow2_check *check, const struct qcow2_snapshot *snapshot)
{
	if (check->naming || snapshot->header.l1_size == 0)
		return true;
	if (check->l1_count == check->l1_capacity &&
	    !q2_memory_grow(&check->memory, (void **)&check->l1s, &check->l1_capacity,
			    sizeof(*check->l1s))) {
		q2_check_fail_memory(check, check->err);
		return false;
	}
	check->l1s[check->l1_count++] = (struct q2_l1_table){
		.offset_bytes = snapshot->header.l1_table_offset,
		.entries = snapshot->header.l1_size,
		.list = (uint32_t)snapshot->index + 1,
		.weight = 1,
	};
	return true;
}

static bool claim_l1(struct qcow2_check *check, const struct qcow2_snapshot *snapshot)
{
	if (snapshot->raw.size < FIXED_BYTES)
		return true;
	if (!note_l1(check, snapshot))
		return false;
	return check->claim(check, &(struct q2_claim){
					   .offset_bytes = snapshot->header.l1_table_offset,
					   .length_bytes = snapshot->header.l1_size * UINT64_C(8),
					   .use = Q2_USE_METADATA,
					   .weight = 1,
					   .part = Q2_PART_L1,
					   .list = snapshot->index + 1,
				   });
}

/* Visits the entries; *used_bytes is how much of the file they take. */
static int visit_entries(struct qcow2_check *check, struct qcow2_snapshots *snapshots,
			 struct q2_names_seen *seen, uint64_t *used_bytes)
{
	uint64_t most =
		qcow2_source_allocated_bytes(qcow2_image_source(check->image)) + SLACK_BYTES;
	struct qcow2_snapshot snapshot;
	int more = 1;

	while (*used_bytes <= most) {
		more = qcow2_snapshots_next(snapshots, &snapshot, check->err);
		if (more <= 0)
			break;
		q2_check_digest_snapshot(&check->workers[0], &snapshot);
		q2_rules_snapshot(check->image, &snapshot, seen, &check->reporter);
		if (!snapshot.cut)
			*used_bytes = snapshot.offset_bytes + snapshot.size_bytes -
				      check->header->snapshot_offset;
		if (!claim_l1(check, &snapshot))
			return -1;
	}
	check->digest_is_cut |= more > 0;
	if (seen->short_of_memory)
		return q2_fail_memory(check->err);
	return more < 0 ? -1 : 0;
}

int q2_check_snapshots(struct qcow2_check *check)
{
	struct q2_names_seen seen = {.key = check->hash_key};
	struct qcow2_snapshots *snapshots = NULL;
	uint64_t used_bytes = 0;
	int result;

	if (check->header->nb_snapshots == 0)
		return 0;
	if (qcow2_snapshots_open(check->image, &snapshots, check->err))
		return check->err->code == QCOW2_ERROR_MEMORY ? -1 : 0; /* the rules said why */
	q2_name_set_init(&seen.set, NAMES_MAX);
	result = visit_entries(check, snapshots, &seen, &used_bytes);
	q2_name_set_release(&seen.set);
	qcow2_snapshots_close(snapshots);
	if (result == 0 &&
	    !check->claim(check, &(struct q2_claim){.offset_bytes = check->header->snapshot_offset,
						    .length_bytes = used_bytes,
						    .use = Q2_USE_METADATA,
						    .weight = 1,
						    .part = Q2_PART_SNAPSHOTS}))
		return -1;
	return result;
}
