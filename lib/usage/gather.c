/* SPDX-License-Identifier: MIT */
/*
 * Hears the claims of structures, and marks what they are and whose. Those of L2 tables and of guest
 * data come from l2.c.
 */
#include "base/error.h"
#include "usage/usage.h"

/*
 * How many clusters structures may be marked on, as labels count steps. An image that is not made to
 * be slow needs far fewer; what claims beyond that is not marked.
 */
#define STEPS_MOST (UINT64_C(1) << 28)

static int fail_memory(struct qcow2_usage *usage)
{
	return q2_memory_fail(&usage->memory, usage->metadata.err);
}

int q2_usage_progress(struct qcow2_usage *usage)
{
	const struct qcow2_usage_options *options = &usage->options;
	const uint64_t done = usage->done_bytes;

	if (!options->progress ||
	    options->progress(options->opaque, done,
			      done > usage->total_bytes ? done : usage->total_bytes) == 0)
		return 0;
	usage->stopped = true;
	return q2_fail(usage->metadata.err, QCOW2_ERROR_STOPPED, QCOW2_NO_OFFSET, "stopped");
}

/* Whose the structure of a claim is. */
static uint32_t user_of(const struct qcow2_usage *usage, const struct qcow2_claim *claim)
{
	const bool apart = usage->options.users;

	if (claim->part_of == QCOW2_PART_OF_SNAPSHOT)
		return Q2_USER_SNAPSHOT + (apart ? (uint32_t)claim->part_of_index : 0);
	if (claim->part_of == QCOW2_PART_OF_BITMAP)
		return apart ? Q2_USER_SNAPSHOT +
				       (uint32_t)(usage->snapshot_count + claim->part_of_index)
			     : Q2_USER_ANY_BITMAP;
	return claim->part == QCOW2_CLAIM_L1_TABLE ? Q2_USER_ACTIVE : Q2_USER_PERMANENT;
}

/* Remembers a block that counts clusters which the file has. */
static int note_block(struct qcow2_usage *usage, const struct qcow2_claim *claim)
{
	if (claim->index > usage->file_clusters / usage->geometry->refcount_block_entries ||
	    q2_counted_add(&usage->counted, claim->index, claim->offset_bytes))
		return 0;
	return fail_memory(usage);
}

static int hear_claim(void *opaque, const struct qcow2_claim *claim)
{
	struct qcow2_usage *usage = opaque;
	struct q2_marker *marker = &usage->markers[0];
	uint32_t set;

	if (claim->part == QCOW2_CLAIM_REFCOUNT_BLOCK && note_block(usage, claim))
		return -1;
	if (marker->labels.steps > STEPS_MOST)
		return 0;
	set = q2_sets_single(&usage->states.sets, user_of(usage, claim));
	marker->order++;
	if (q2_marker_claim(marker, claim,
			    q2_joiner_state(&marker->joiner, Q2_WHAT_CLAIM + claim->part, set)))
		return 0;
	return fail_memory(usage);
}

static int add_user(struct qcow2_usage *usage, enum qcow2_part_of part_of, uint64_t index)
{
	/* Snapshots and bitmaps are told in the order of their tables; numbers of users fit. */
	if (!usage->options.users)
		return 0;
	if (usage->user_count == usage->user_capacity &&
	    !q2_memory_grow(&usage->memory, (void **)&usage->users, &usage->user_capacity,
			    sizeof(*usage->users)))
		return fail_memory(usage);
	usage->users[usage->user_count++] = (struct qcow2_usage_user){
		.size = sizeof(*usage->users), .part_of = part_of, .index = index};
	return 0;
}

static int hear_snapshot(void *opaque, const struct qcow2_snapshot *snapshot)
{
	struct qcow2_usage *usage = opaque;

	usage->snapshot_count++;
	return add_user(usage, QCOW2_PART_OF_SNAPSHOT, snapshot->index);
}

static int hear_bitmap(void *opaque, const struct qcow2_bitmap *bitmap)
{
	return add_user(opaque, QCOW2_PART_OF_BITMAP, bitmap->index);
}

static int hear_progress(void *opaque)
{
	return q2_usage_progress(opaque);
}

int q2_usage_gather(struct qcow2_usage *usage)
{
	const struct q2_listener listener = {
		.opaque = usage,
		.claim = hear_claim,
		.go_on = hear_progress,
		.snapshot = hear_snapshot,
		.bitmap = hear_bitmap,
	};

	if (add_user(usage, QCOW2_PART_OF_IMAGE, 0) ||
	    q2_metadata_visit_structures(&usage->metadata, &listener))
		return -1;
	return q2_metadata_follow_l1(&usage->metadata, &listener);
}
