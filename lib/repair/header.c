/* SPDX-License-Identifier: MIT */
/* The header's doctor: its parts one after another, and what they share. See header.h. */
#include "repair/header.h"

#include <stdio.h>

#include "base/bytes.h"

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

int q2_head_area(struct q2_repair *repair, struct q2_area *area, bool *usable)
{
	struct qcow2_error err;

	*usable = q2_area_open(area, repair->plan, &err) == 0;
	area->features_last = true;
	if (!*usable && (err.code == QCOW2_ERROR_IO || err.code == QCOW2_ERROR_MEMORY)) {
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

/*
 * The order matters: what tells where extensions are comes before what reads them, and the types of
 * extensions before the bits that depend on them.
 */
static int (*const parts[])(struct q2_repair *repair) = {
	q2_header_mend_geometry, q2_header_mend_refcount_order, q2_header_mend_length,
	q2_header_mend_overrun,  q2_header_mend_types,          q2_header_mend_extensions,
	q2_header_mend_backing,  q2_header_mend_data_file,      q2_header_mend_luks,
	q2_header_mend_crypt,    q2_header_mend_codec,          q2_header_mend_features,
};

/* All other doctors stand on the header: they work when a check has seen it as it will be. */
static int mend(struct q2_repair *repair)
{
	const size_t before = qcow2_plan_count(repair->plan);

	/* What the first part mends gives all numbers another meaning: a new check comes first. */
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		if (parts[i](repair))
			return -1;
		if (i == 0 && qcow2_plan_count(repair->plan) != before)
			break;
	}
	repair->begin_again = qcow2_plan_count(repair->plan) != before;
	return 0;
}

const struct q2_doctor q2_doctor_header = {NULL, mend, NULL};
