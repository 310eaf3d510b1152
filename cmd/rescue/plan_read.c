/* SPDX-License-Identifier: MIT */
/* Reads the file of --plan. */
#include <stdlib.h>

#include "common/read_file.h"
#include "common/report.h"
#include "rescue/files.h"
#include "rescue/plan_parse.h"

#define PLAN_MOST ((size_t)1 << 31)

int rescue_read_plan(struct rescue_run *run, struct qcow2_plan *plan)
{
	struct rescue_plan_fault fault;
	struct qcow2_error err;
	uint8_t *bytes;
	size_t size;
	bool fine;

	if (read_whole_file(run->plan_file, PLAN_MOST, &bytes, &size, &err))
		return report_error(run->command, run->plan_file, &err);
	fine = rescue_parse_plan((struct qcow2_bytes){bytes, size}, plan, &fault);
	free(bytes);
	if (fine)
		return EXIT_FINE;
	return fault.text ? report_text(run->command, run->plan_file, fault.text)
			  : report_error(run->command, run->plan_file, &fault.err);
}
