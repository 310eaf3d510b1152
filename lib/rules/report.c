/* SPDX-License-Identifier: MIT */
/* See report.h. */
#include <stdarg.h>
#include <stdio.h>

#include "rules/report.h"

#include "base/utf8.h"

void q2_set_guest(struct qcow2_problem *problem, const struct q2_disk *disk,
		  struct q2_guest_range guest, uint64_t shared_by)
{
	if (!disk || guest.length_bytes == 0)
		return;
	problem->has_guest = true;
	problem->guest_byte = guest.byte;
	problem->guest_length_bytes = guest.length_bytes;
	problem->guest_count = shared_by > 1 ? shared_by : 1;
	if (!disk->of_snapshot)
		return;
	problem->guest_of = QCOW2_PART_OF_SNAPSHOT;
	problem->guest_of_index = disk->snapshot_index;
	q2_text_escape_start(disk->snapshot_name, problem->guest_of_name,
			     sizeof(problem->guest_of_name));
}

void q2_concern_disk(struct q2_finding *finding, const struct q2_disk *disk)
{
	if (finding->disk || qcow2_problem_kind_get(finding->id)->damage == QCOW2_DAMAGE_NONE)
		return;
	finding->disk = disk;
	finding->guest = (struct q2_guest_range){0, disk->size_bytes};
}

void q2_report(const struct q2_reporter *reporter, const struct q2_finding *finding,
	       const char *where, ...)
{
	struct qcow2_problem problem;
	va_list arguments;

	if (reporter->wanted && !reporter->wanted(reporter->opaque, finding->id))
		return;
	problem = (struct qcow2_problem){
		.size = sizeof(problem),
		.kind = qcow2_problem_kind_get(finding->id),
		.offset_bytes = finding->offset_bytes,
		.has_found = finding->has_found,
		.found = finding->found,
		.expectation = finding->expectation,
		.expected = finding->expected,
		.has_cluster = finding->has_cluster,
		.cluster_offset_bytes = finding->cluster_offset_bytes,
	};
	if (finding->found_text.data)
		q2_text_escape_start(finding->found_text, problem.found_text,
				     sizeof(problem.found_text));
	q2_set_guest(&problem, finding->disk, finding->guest, finding->shared_by);
	va_start(arguments, where);
	vsnprintf(problem.where, sizeof(problem.where), where, arguments);
	va_end(arguments);
	reporter->problem(reporter->opaque, &problem);
}
