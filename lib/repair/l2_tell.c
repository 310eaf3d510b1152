/* SPDX-License-Identifier: MIT */
/* See l2_tell.h. */
#include "repair/l2_tell.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <qcow2/text.h>

#include "base/alloc.h"
#include "base/error.h"

static int add_disk(struct q2_teller *teller, uint64_t size_bytes, struct qcow2_bytes name)
{
	struct q2_mended_disk *disk;

	if (teller->disk_count == teller->disk_capacity) {
		size_t more = teller->disk_capacity ? teller->disk_capacity * 2 : 8;
		void *larger = q2_realloc_array(teller->disks, more, sizeof(*teller->disks));

		if (!larger)
			return q2_fail_memory(teller->repair->err);
		teller->disks = larger;
		teller->disk_capacity = more;
	}
	disk = &teller->disks[teller->disk_count++];
	disk->size_bytes = size_bytes;
	disk->name[0] = '\0';
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
		if (add_disk(teller, snapshot->disk_size_bytes, snapshot->name))
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
	if (add_disk(teller, repair->geometry->virtual_size_bytes, (struct qcow2_bytes){NULL, 0}))
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

uint64_t q2_teller_disk_bytes(const struct q2_teller *teller, uint32_t list)
{
	return teller->disks[list < teller->disk_count ? list : 0].size_bytes;
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

static void name_place(const struct q2_mended *told, char *where, size_t size)
{
	char list[32] = "";

	if (told->list > 0)
		snprintf(list, sizeof(list), "snapshots/%" PRIu32 "/", told->list - 1);
	if (told->entry == Q2_TOLD_L1)
		snprintf(where, size, "%sl1/%" PRIu64, list, told->l1_index);
	else
		snprintf(where, size, "%sl2/%" PRIu64 "/%" PRIu64, list, told->l1_index,
			 told->entry);
}

static struct qcow2_repair_step step_of(const struct q2_teller *teller,
					const struct q2_mended *told)
{
	struct qcow2_repair_step step = {
		.size = sizeof(step),
		.kind = qcow2_problem_kind_get(told->id),
		.count = !told->again,
		.does = told->does,
		.costs = told->costs,
		.has_guest = told->guest.length_bytes != 0,
		.guest_byte = told->guest.byte,
		.guest_length_bytes = told->guest.length_bytes,
		.guest_of = told->list > 0 ? QCOW2_PART_OF_SNAPSHOT : QCOW2_PART_OF_IMAGE,
		.guest_of_index = told->list > 0 ? told->list - 1 : 0,
		.before = told->before,
		.after = told->after,
	};

	/* What is read where nothing changes matters only where it might have been doubted. */
	if (told->before == told->after && told->before != QCOW2_READS_ERROR &&
	    step.kind->damage != QCOW2_DAMAGE_LOST)
		step.before = step.after = QCOW2_READS_SAME;
	if (told->list > 0 && told->list < teller->disk_count)
		memcpy(step.guest_of_name, teller->disks[told->list].name,
		       sizeof(step.guest_of_name));
	name_place(told, step.where, sizeof(step.where));
	return step;
}

static bool continues(const struct qcow2_repair_step *a, const struct qcow2_repair_step *b)
{
	return a->kind == b->kind && a->does == b->does && a->costs == b->costs && a->has_guest &&
	       b->has_guest && a->guest_byte + a->guest_length_bytes == b->guest_byte &&
	       a->guest_of == b->guest_of && a->guest_of_index == b->guest_of_index &&
	       a->before == b->before && a->after == b->after;
}

int q2_teller_add(struct q2_teller *teller, const struct q2_mended *told)
{
	struct qcow2_repair_step next = step_of(teller, told);
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
