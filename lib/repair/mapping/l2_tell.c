/* SPDX-License-Identifier: MIT */
/* See l2_tell.h. */
#include "repair/mapping/l2_tell.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <qcow2/text.h>

#include "base/alloc.h"
#include "base/error.h"
#include "repair/mapping/l2_entry.h"

static int add_disk(struct q2_teller *teller, const struct q2_teller_disk *new,
		    struct qcow2_bytes name)
{
	struct q2_teller_disk *disk;

	if (teller->disk_count == teller->disk_capacity) {
		size_t more = teller->disk_capacity ? teller->disk_capacity * 2 : 8;
		void *larger = q2_realloc_array(teller->disks, more, sizeof(*teller->disks));

		if (!larger)
			return q2_fail_memory(teller->repair->err);
		teller->disks = larger;
		teller->disk_capacity = more;
	}
	disk = &teller->disks[teller->disk_count++];
	*disk = *new;
	if (name.size > 0)
		qcow2_text_escape(name, disk->name, sizeof(disk->name));
	return 0;
}

/* A snapshot table that cannot be read has no disks: no entry is of them. */
static int add_snapshots(struct q2_teller *teller)
{
	struct q2_repair *repair = teller->repair;
	const struct qcow2_snapshot *snapshot;
	struct qcow2_snapshots *snapshots;
	struct qcow2_error err;
	int more = 0;

	if (repair->header->nb_snapshots == 0 ||
	    qcow2_snapshots_open(repair->image, &snapshots, &err))
		return 0;
	while ((more = qcow2_snapshots_next(snapshots, &snapshot, repair->err)) > 0)
		if (add_disk(teller,
			     &(struct q2_teller_disk){
				     .size_bytes = snapshot->disk_size_bytes,
				     .l1_offset = snapshot->header.l1_table_offset,
				     .l1_entries = snapshot->header.l1_size,
			     },
			     snapshot->name))
			break;
	qcow2_snapshots_close(snapshots);
	return more == 0 ? 0 : -1;
}

int q2_teller_init(struct q2_teller *teller, struct q2_repair *repair)
{
	*teller = (struct q2_teller){.repair = repair};
	teller->open = q2_alloc_array(Q2_PROBLEM_NUMBERS, sizeof(*teller->open));
	teller->shared_by = q2_alloc_array(Q2_PROBLEM_NUMBERS, sizeof(*teller->shared_by));
	if (!teller->open || !teller->shared_by)
		return q2_fail_memory(repair->err);
	if (add_disk(teller,
		     &(struct q2_teller_disk){
			     .size_bytes = repair->geometry->virtual_size_bytes,
			     .l1_offset = repair->header->l1_table_offset,
			     .l1_entries = repair->header->l1_size,
		     },
		     (struct qcow2_bytes){NULL, 0}))
		return -1;
	return add_snapshots(teller);
}

void q2_teller_release(struct q2_teller *teller)
{
	q2_free(teller->disks);
	q2_free(teller->open);
	q2_free(teller->shared_by);
	*teller = (struct q2_teller){.repair = NULL};
}

/* The part of the disk that is told of. */
static struct q2_guest_range range_of(const struct q2_teller *teller, struct q2_l1_user user,
				      const struct q2_entry_told *told)
{
	const struct qcow2_geometry *geometry = teller->repair->geometry;
	uint64_t disk = teller->disks[user.list < teller->disk_count ? user.list : 0].size_bytes;
	uint64_t size = geometry->cluster_size_bytes / Q2_SUBCLUSTERS;
	uint64_t first = told->first / Q2_SUBCLUSTERS,
		 skipped = told->first % Q2_SUBCLUSTERS * size;
	uint64_t entries = (told->end + Q2_SUBCLUSTERS - 1) / Q2_SUBCLUSTERS - first;
	uint64_t most = (told->end - told->first) * size;
	struct q2_guest_range range;

	if (told->is_l1)
		return q2_guest_l1(geometry, disk, user.l1_index, 1);
	range = q2_guest_clusters(geometry, disk, user.l1_index * geometry->l2_entries + first,
				  entries);
	if (range.length_bytes <= skipped)
		return (struct q2_guest_range){0, 0};
	range.byte += skipped;
	range.length_bytes -= skipped;
	if (range.length_bytes > most)
		range.length_bytes = most;
	return range;
}

bool q2_entry_told_continues(const struct q2_entry_told *a, const struct q2_entry_told *b)
{
	return a->id == b->id && a->does == b->does && a->costs == b->costs && a->end == b->first &&
	       a->before == b->before && a->after == b->after;
}

static int tell(struct q2_teller *teller, unsigned number)
{
	struct qcow2_repair_step *step = &teller->open[number];
	char does[160];

	if (!step->kind)
		return 0;
	if (teller->shared_by[number] > 1) {
		snprintf(does, sizeof(does), "%s (%" PRIu64 " L1 entries share the L2 table)",
			 step->does, teller->shared_by[number]);
		step->does = does;
	}
	if (q2_repair_tell(teller->repair, step))
		return -1;
	step->kind = NULL;
	return 0;
}

static void name_place(struct q2_l1_user user, const struct q2_entry_told *told, char *where,
		       size_t size)
{
	char list[32] = "";

	if (user.list > 0)
		snprintf(list, sizeof(list), "snapshots/%" PRIu32 "/", user.list - 1);
	if (told->is_l1)
		snprintf(where, size, "%sl1/%" PRIu32, list, user.l1_index);
	else
		snprintf(where, size, "%sl2/%" PRIu32 "/%" PRIu64, list, user.l1_index,
			 told->first / Q2_SUBCLUSTERS);
}

static struct qcow2_repair_step step_of(const struct q2_teller *teller, struct q2_l1_user user,
					const struct q2_entry_told *told)
{
	const struct q2_guest_range guest = range_of(teller, user, told);
	struct qcow2_repair_step step = {
		.size = sizeof(step),
		.kind = qcow2_problem_kind_get(told->id),
		.count = told->count,
		.does = told->does,
		.costs = told->costs,
		.has_guest = guest.length_bytes != 0,
		.guest_byte = guest.byte,
		.guest_length_bytes = guest.length_bytes,
		.guest_of = user.list > 0 ? QCOW2_PART_OF_SNAPSHOT : QCOW2_PART_OF_IMAGE,
		.guest_of_index = user.list > 0 ? user.list - 1 : 0,
		.before = told->before,
		.after = told->after,
	};

	/* What is read where nothing changes matters only where it might have been doubted. */
	if (told->before == told->after && told->before != QCOW2_READS_ERROR &&
	    step.kind->damage != QCOW2_DAMAGE_LOST)
		step.before = step.after = QCOW2_READS_SAME;
	if (user.list > 0 && user.list < teller->disk_count)
		memcpy(step.guest_of_name, teller->disks[user.list].name,
		       sizeof(step.guest_of_name));
	name_place(user, told, step.where, sizeof(step.where));
	return step;
}

static bool continues(const struct qcow2_repair_step *a, const struct qcow2_repair_step *b)
{
	return a->kind == b->kind && a->does == b->does && a->costs == b->costs && a->has_guest &&
	       b->has_guest && a->guest_byte + a->guest_length_bytes == b->guest_byte &&
	       a->guest_of == b->guest_of && a->guest_of_index == b->guest_of_index &&
	       a->before == b->before && a->after == b->after;
}

int q2_teller_add(struct q2_teller *teller, struct q2_l1_user user,
		  const struct q2_entry_told *told)
{
	struct qcow2_repair_step next = step_of(teller, user, told);
	struct qcow2_repair_step *step = &teller->open[told->id];

	if (step->kind && teller->shared_by[told->id] == told->shared_by &&
	    continues(step, &next)) {
		step->guest_length_bytes += next.guest_length_bytes;
		step->count += next.count;
		return 0;
	}
	if (tell(teller, told->id))
		return -1;
	*step = next;
	teller->shared_by[told->id] = told->shared_by;
	return 0;
}

int q2_teller_flush(struct q2_teller *teller)
{
	for (unsigned i = 0; i < Q2_PROBLEM_NUMBERS; i++)
		if (tell(teller, i))
			return -1;
	return 0;
}
