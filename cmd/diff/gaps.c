/* SPDX-License-Identifier: MIT */
/* What was not compared: kept while the page is made, and said behind it. */
#include <stdio.h>
#include <string.h>

#include "common/report.h"
#include "diff/run.h"

int diff_keep_gap(void *opaque, const struct qcow2_diff_gap *gap)
{
	struct diff_run *run = opaque;
	struct diff_gap *kept;

	if (run->gap_count == DIFF_GAPS_MAX)
		return 0;
	kept = &run->gaps[run->gap_count++];
	snprintf(kept->path, sizeof(kept->path), "%s", gap->path);
	snprintf(kept->reason, sizeof(kept->reason), "%s", gap->reason);
	return 0;
}

void diff_tell_gaps(const struct diff_run *run)
{
	struct qcow2_error message = {.offset_bytes = QCOW2_NO_OFFSET};

	for (size_t i = 0; i < run->gap_count;) {
		size_t first = i, at = 0;

		do
			at += (size_t)snprintf(message.text + at, sizeof(message.text) - at, "%s%s",
					       i > first ? ", " : "", run->gaps[i].path);
		while (++i < run->gap_count && at + 64 < sizeof(message.text) / 2 &&
		       strcmp(run->gaps[i].reason, run->gaps[first].reason) == 0);
		snprintf(message.text + at, sizeof(message.text) - at, ": not compared: %s",
			 run->gaps[first].reason);
		report_error(run->command, run->files[1], &message);
	}
}
