/* SPDX-License-Identifier: MIT */
/* What a repair comes to. */
#include "repair/result.h"

#include <stdio.h>
#include <string.h>

#include <qcow2/remedy.h>

#include "base/alloc.h"
#include "base/error.h"

int q2_result_copy_before(struct q2_repair *repair)
{
	const struct q2_check_totals *before = &repair->result->before;
	struct q2_check_totals *after = &repair->result->after;
	size_t size = before->damage_count * sizeof(*before->damages);
	struct qcow2_damage_total *damages = NULL;

	if (size > 0) {
		damages = q2_alloc(size);
		if (!damages)
			return q2_fail_memory(repair->err);
		memcpy(damages, before->damages, size);
	}
	*after = *before;
	after->damages = damages;
	return 0;
}

/* Whether a kind is about the snapshot table or an entry of it. */
static bool is_of_snapshots(const struct qcow2_problem_kind *kind)
{
	return kind->number >= QCOW2_PROBLEM_SNAPSHOTS_OFFSET &&
	       kind->number <= QCOW2_PROBLEM_SNAPSHOT_DATE_NSEC;
}

static void fill_one(const struct q2_repair *repair, struct qcow2_repair_left *left,
		     const struct qcow2_problem_kind *kind, uint64_t count)
{
	const struct q2_repair_why *why = &repair->why[kind->number];

	*left = (struct qcow2_repair_left){
		.size = sizeof(*left),
		.kind = kind,
		.count = count,
		.wants_all = why->wants_all,
		.wants_free_lost = why->wants_free_lost,
		.wants_drop = why->wants_drop,
	};
	if (why->text[0]) {
		snprintf(left->why, sizeof(left->why), "%s", why->text);
	} else if (is_of_snapshots(kind)) {
		snprintf(left->why, sizeof(left->why),
			 "nothing tells what was there: dropping the snapshot gives it up");
		left->wants_drop = true;
	} else {
		snprintf(left->why, sizeof(left->why), "nothing here mends it");
	}
}

int q2_result_fill_left(struct q2_repair *repair)
{
	struct q2_repair_result *result = repair->result;
	const struct qcow2_problem_kind *kind = NULL;
	size_t count = 0;

	while ((kind = qcow2_problem_kind_next(kind)))
		count += result->after.by_kind[kind->number] > 0;
	if (count == 0)
		return 0;
	result->left = q2_alloc(count * sizeof(*result->left));
	result->pointers = q2_alloc(count * sizeof(*result->pointers));
	if (!result->left || !result->pointers)
		return q2_fail_memory(repair->err);
	while ((kind = qcow2_problem_kind_next(kind))) {
		struct qcow2_repair_left *left = &result->left[result->public.left_count];

		if (result->after.by_kind[kind->number] == 0)
			continue;
		fill_one(repair, left, kind, result->after.by_kind[kind->number]);
		result->pointers[result->public.left_count++] = left;
	}
	result->public.left = result->pointers;
	return 0;
}

void qcow2_repair_result_free(struct qcow2_repair_result *result)
{
	/* The library alone makes results. */
	struct q2_repair_result *mine = (void *)result;

	if (!mine)
		return;
	q2_check_totals_release(&mine->before);
	q2_check_totals_release(&mine->after);
	q2_free(mine->left);
	q2_free(mine->pointers);
	q2_free(mine);
}

const char *qcow2_reads_name(enum qcow2_reads reads)
{
	switch (reads) {
	case QCOW2_READS_SAME:
		return "same";
	case QCOW2_READS_DATA:
		return "data";
	case QCOW2_READS_ZEROS:
		return "zeros";
	case QCOW2_READS_BACKING:
		return "backing";
	case QCOW2_READS_ERROR:
		return "error";
	case QCOW2_READS_FOREIGN:
		return "foreign";
	}
	return "unknown";
}
