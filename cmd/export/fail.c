/* SPDX-License-Identifier: MIT */
/* Says what failed. See run.h. */
#include <string.h>

#include "common/report.h"
#include "export/run.h"

int export_fail(const struct export_run *run, const struct qcow2_error *err)
{
	return report_error(run->command, run->file, err);
}

int export_fail_target(const struct export_run *run, int errnum)
{
	const bool to_output = run->target.kind == EXPORT_TO_OUTPUT;

	return report_text(run->command, to_output ? "standard output" : run->to, strerror(errnum));
}

int export_fail_manifest(const struct export_run *run, int errnum)
{
	return report_text(run->command, run->manifest, strerror(errnum));
}
