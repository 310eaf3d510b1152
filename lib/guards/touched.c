/* SPDX-License-Identifier: MIT */
/* See touched.h. */
#include "guards/touched.h"

#include <qcow2/entry.h>

#include "base/checked.h"
#include "base/error.h"
#include "base/hash.h"
#include "plan/plan.h"

#define TABLES_MOST ((size_t)1 << 22)
/* A file system may report fewer allocated bytes than the file stores. */
#define SLACK_BYTES (UINT64_C(16) << 20)

struct survey {
	const struct qcow2_image *image;
	const struct qcow2_plan *plan;
	const struct q2_touched_tables *told;
	uint64_t cluster_size_bytes;
	struct qcow2_table *l1;
	struct q2_name_set seen; /* L1 tables, by offset */
	uint64_t left_entries;   /* that may still be read: L1 tables may overlap */
	struct qcow2_error *err;
};

static int see_l1(struct survey *survey, uint64_t offset, uint64_t size)
{
	const struct q2_touched_tables *told = survey->told;
	uint64_t there = qcow2_table_begin(survey->l1, offset, size), entry;
	int stop = 0;

	if (there > survey->left_entries)
		there = survey->left_entries;
	survey->left_entries -= there;
	if (told->l1 && q2_plan_touches(survey->plan, offset, there * 8))
		stop = told->l1(told->opaque, offset, there);
	for (uint64_t i = 0; i < there && !stop; i++) {
		if (qcow2_table_entry(survey->l1, i, &entry, survey->err))
			return -1;
		entry = qcow2_l1_entry_decode(entry).offset;
		if (told->l2 && entry != 0 &&
		    q2_plan_touches(survey->plan, entry, survey->cluster_size_bytes))
			stop = told->l2(told->opaque, entry);
	}
	return stop;
}

static int see_snapshots(struct survey *survey)
{
	struct qcow2_snapshots *snapshots;
	const struct qcow2_snapshot *snapshot;
	struct qcow2_error *err = survey->err;
	uint64_t earlier;
	int more = 0, stop = 0;

	if (qcow2_snapshots_open(survey->image, &snapshots, err))
		return q2_is_fault(err) ? -1 : 0;
	while (!stop && (more = qcow2_snapshots_next(snapshots, &snapshot, err)) > 0 &&
	       !snapshot->cut) {
		if (q2_name_set_insert(&survey->seen, snapshot->header.l1_table_offset, 0,
				       &earlier) == QCOW2_ERROR_MEMORY)
			stop = q2_fail_memory(err);
		else if (earlier == Q2_NAME_SET_NEW)
			stop = see_l1(survey, snapshot->header.l1_table_offset,
				      snapshot->header.l1_size);
	}
	qcow2_snapshots_close(snapshots);
	return more < 0 ? -1 : stop;
}

int q2_each_touched_table(const struct qcow2_image *image, const struct qcow2_plan *plan,
			  const struct q2_touched_tables *told, struct qcow2_error *err)
{
	const struct qcow2_header *header = qcow2_image_header(image);
	struct survey survey = {
		.image = image,
		.plan = plan,
		.told = told,
		.cluster_size_bytes = qcow2_image_geometry(image)->cluster_size_bytes,
		.err = err,
	};
	int stop;

	survey.left_entries =
		(qcow2_source_allocated_bytes(qcow2_image_source(image)) + SLACK_BYTES) / 8;
	if (qcow2_table_open(image, &survey.l1, err))
		return -1;
	q2_name_set_init(&survey.seen, TABLES_MOST);
	stop = see_l1(&survey, header->l1_table_offset, header->l1_size);
	if (!stop)
		stop = see_snapshots(&survey);
	qcow2_table_close(survey.l1);
	q2_name_set_release(&survey.seen);
	return stop;
}

bool q2_next_touched_words(const struct qcow2_plan *plan, uint64_t offset_bytes, uint64_t count,
			   struct q2_touched_words *words)
{
	struct q2_segment_at at;
	const struct q2_segment *segment =
		q2_segments_find(&plan->planned, offset_bytes + words->end * 8, &at);
	uint64_t end;

	if (!segment || words->end >= count)
		return false;
	if (segment->offset_bytes > offset_bytes + words->end * 8)
		words->first = (segment->offset_bytes - offset_bytes) / 8;
	else
		words->first = words->end;
	end = q2_div_ceil_u64(segment->offset_bytes + segment->size_bytes - offset_bytes, 8);
	words->end = end < count ? end : count;
	return words->first < words->end;
}
