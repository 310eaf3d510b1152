/* SPDX-License-Identifier: MIT */
/* See report.h. */
#include <stdarg.h>
#include <stdio.h>

#include "rules/report.h"

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
		.has_guest = finding->has_guest,
		.guest_byte = finding->guest_byte,
		.guest_length_bytes = finding->guest_length_bytes,
		.has_cluster = finding->has_cluster,
		.cluster_offset_bytes = finding->cluster_offset_bytes,
	};

	va_start(arguments, where);
	vsnprintf(problem.where, sizeof(problem.where), where, arguments);
	va_end(arguments);
	reporter->problem(reporter->opaque, &problem);
}
