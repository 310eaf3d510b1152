/* SPDX-License-Identifier: MIT */
/* What the parts of the header's doctor share. See header.h. */
#include "repair/header/header.h"

#include <stdio.h>

#include <qcow2/snapshot.h>
#include <qcow2/text.h>

#include "base/bytes.h"
#include "base/error.h"

int q2_head_open(struct q2_repair *repair, struct q2_head *head)
{
	*head = (struct q2_head){NULL, NULL, NULL, {NULL, 0}};
	if (qcow2_plan_view(repair->plan, &head->view, repair->err) ||
	    qcow2_image_open(head->view, &head->image, repair->err))
		return -1;
	head->header = qcow2_image_header(head->image);
	head->first = qcow2_image_first_cluster(head->image);
	return 0;
}

void q2_head_close(struct q2_head *head)
{
	qcow2_image_close(head->image);
	qcow2_source_close(head->view);
}

uint64_t q2_head_limit(const struct q2_head *head)
{
	const uint64_t backing = head->header->backing_file_offset;

	return backing != 0 && backing < head->first.size ? backing : head->first.size;
}

int q2_head_tell(struct q2_repair *repair, enum qcow2_problem_id id, const char *where,
		 const char *does, bool costs)
{
	struct qcow2_repair_step step = {
		.kind = qcow2_problem_kind_get(id), .does = does, .costs = costs};

	snprintf(step.where, sizeof(step.where), "%s", where);
	return q2_repair_tell(repair, &step);
}

int q2_head_tell_reads(struct q2_repair *repair, enum qcow2_problem_id id, const char *where,
		       const char *does, enum qcow2_reads before)
{
	struct qcow2_repair_step step = {
		.kind = qcow2_problem_kind_get(id),
		.does = does,
		.has_guest = repair->header->size > 0,
		.guest_length_bytes = repair->header->size,
		.before = before,
		.after = QCOW2_READS_DATA,
	};
	struct qcow2_snapshots *snapshots = NULL;
	const struct qcow2_snapshot *snapshot;
	struct qcow2_error err;
	struct q2_head head;
	int failed;

	snprintf(step.where, sizeof(step.where), "%s", where);
	failed = q2_repair_tell(repair, &step) || q2_head_open(repair, &head);
	if (failed)
		return -1;
	/* A table that cannot be read has no snapshots that could be read. */
	if (qcow2_snapshots_open(head.image, &snapshots, &err) == 0)
		while (!failed && qcow2_snapshots_next(snapshots, &snapshot, &err) > 0 &&
		       !snapshot->cut) {
			step.has_guest = true;
			step.guest_of = QCOW2_PART_OF_SNAPSHOT;
			step.guest_of_index = snapshot->index;
			step.guest_length_bytes = snapshot->disk_size_bytes;
			qcow2_text_escape(snapshot->name, step.guest_of_name,
					  sizeof(step.guest_of_name));
			failed = snapshot->disk_size_bytes > 0 && q2_repair_tell(repair, &step);
		}
	qcow2_snapshots_close(snapshots);
	q2_head_close(&head);
	return failed;
}

int q2_head_area(struct q2_repair *repair, struct q2_area *area, bool *usable)
{
	struct qcow2_error err;

	*usable = q2_area_open(area, repair->plan, &err) == 0;
	area->features_last = true;
	if (!*usable && q2_is_fault(&err)) {
		*repair->err = err;
		return -1;
	}
	*usable = *usable && !area->backing_lost;
	return 0;
}

int q2_head_intend(struct q2_repair *repair, uint32_t magic)
{
	uint8_t type[4];

	q2_store_be32(type, magic);
	/* With their extension, all bitmaps are found again. */
	return qcow2_plan_intend(repair->plan, QCOW2_INTENT_EXTENSION,
				 (struct qcow2_bytes){type, sizeof(type)}, repair->err) ||
			       (magic == QCOW2_EXTENSION_BITMAPS &&
				qcow2_plan_intend(repair->plan, QCOW2_INTENT_BITMAP_MENDED,
						  (struct qcow2_bytes){NULL, 0}, repair->err))
		       ? -1
		       : 0;
}
