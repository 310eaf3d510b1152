/* SPDX-License-Identifier: MIT */
/* See run.h. */
#include "edit/bitmap_repair/run.h"

const struct qcow2_problem_kind *q2_bitmap_repair_kind(enum qcow2_problem_id id)
{
	return qcow2_problem_kind_get(id);
}

void q2_bitmap_repair_tell_all(struct q2_bitmap_repair_run *r,
			       struct qcow2_bitmap_treatment treatment)
{
	if (treatment.remedy == QCOW2_BITMAP_REMEDY_NEEDED) {
		r->needed++;
		r->needed_dropped += !treatment.can_be_dirty;
	}
	if (!r->options->tell)
		return;
	if (r->bitmap) {
		treatment.has_bitmap = true;
		treatment.index = r->bitmap->index;
		treatment.name = r->bitmap->name;
	}
	treatment.size = sizeof(treatment);
	if (r->options->tell(r->options->opaque, &treatment))
		r->stopped = true;
}

void q2_bitmap_repair_tell(struct q2_bitmap_repair_run *r, const struct qcow2_problem_kind *kind,
			   enum qcow2_bitmap_remedy remedy, uint64_t dirty_bytes, const char *cost)
{
	q2_bitmap_repair_tell_all(r, (struct qcow2_bitmap_treatment){.kind = kind,
								     .remedy = remedy,
								     .dirty_bytes = dirty_bytes,
								     .cost = cost});
}
