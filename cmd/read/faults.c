/* SPDX-License-Identifier: MIT */
/* What could not be read, on standard error. See run.h. */
#include <inttypes.h>
#include <stdio.h>

#include "common/report.h"
#include "read/run.h"

/* So many ranges have a line each, unless --verbose asks for all. */
#define TOLD_MOST 20

static void tell(struct read_run *run)
{
	const struct read_fault *last = &run->faults.last;
	struct qcow2_error err = last->error;

	if (last->length_bytes == 0)
		return;
	if (++run->faults.ranges > TOLD_MOST && !wants_all(run->command))
		return;
	snprintf(err.text, sizeof(err.text), "0x%" PRIx64 "+0x%" PRIx64 " is zeros here: %.180s",
		 last->start_bytes, last->length_bytes, last->error.text);
	report_error(run->command, disk_path(&run->disk, last->depth), &err);
}

static bool joins(const struct read_fault *last, const struct read_fault *next)
{
	return last->length_bytes > 0 &&
	       last->start_bytes + last->length_bytes == next->start_bytes &&
	       last->depth == next->depth && last->problem == next->problem &&
	       last->error.code == next->error.code;
}

void read_faults_add(struct read_run *run, const struct read_fault *fault)
{
	struct read_faults *faults = &run->faults;

	faults->bytes += fault->length_bytes;
	if (joins(&faults->last, fault)) {
		faults->last.length_bytes += fault->length_bytes;
		return;
	}
	tell(run);
	faults->last = *fault;
}

void read_faults_hear(struct read_run *run, const struct qcow2_disk_fault *fault)
{
	const struct read_fault mine = {
		.start_bytes = fault->start.byte,
		.length_bytes = fault->length_bytes,
		.depth = fault->depth,
		.problem = fault->problem,
		.error = fault->error,
	};

	read_faults_add(run, &mine);
}

int read_faults_end(struct read_run *run)
{
	struct read_faults *faults = &run->faults;
	char text[128];

	if (faults->bytes == 0)
		return EXIT_FINE;
	tell(run);
	faults->last.length_bytes = 0;
	snprintf(text, sizeof(text),
		 "%" PRIu64 " bytes in %" PRIu64 " range%s could not be read, and are zeros",
		 faults->bytes, faults->ranges, faults->ranges == 1 ? "" : "s");
	report_text(run->command, run->request.file, text);
	return EXIT_MALFORMED;
}
