/* SPDX-License-Identifier: MIT */
/*
 * Makes a capture. All files are opened, or made beside their names, before the sandbox; a byte of the
 * image is looked at behind it.
 */
#include "capture/run.h"
#include "common/crew.h"
#include "common/limits.h"
#include "common/open_image.h"
#include "common/report.h"
#include "common/sandbox.h"

static int fail(const struct capture_run *run, const struct qcow2_error *err)
{
	return report_error(run->command, run->file, err);
}

static int enter_sandbox(struct capture_run *run)
{
	char *names[] = {run->target.path, run->record.path};

	return sandbox_seal_naming(run->command,
				   &(struct sandbox_files){.names = names, .count = 2});
}

static int open_image(struct capture_run *run)
{
	struct qcow2_error err;

	if (qcow2_image_open(run->source, &run->image, &err) == 0)
		return EXIT_FINE;
	if (err.code == QCOW2_ERROR_NOT_QCOW2 || err.code == QCOW2_ERROR_BROKEN ||
	    err.code == QCOW2_ERROR_UNSUPPORTED)
		return report_text(run->command, run->file,
				   "it does not open, so that nothing says what its metadata is: "
				   "'qcow2 rescue' looks for an image in it");
	return fail(run, &err);
}

static int gather(struct capture_run *run, unsigned threads)
{
	const struct capture_wanted wanted = {
		.compressed = run->compressed,
		.leaks = !run->no_leaks,
		.plain_text = run->redact,
		.threads = threads,
		.memory_limit_bytes = limits_memory(run->command),
	};
	struct qcow2_error err;

	return capture_gather(run->image, &wanted, &run->content, &err) ? fail(run, &err)
									: EXIT_FINE;
}

static int capture(struct capture_run *run)
{
	const unsigned threads = crew_threads();
	struct qcow2_error err;
	int code;

	served_readers(run->command, threads);
	if (limits_open(run->command->common, run->file, &run->source, &err))
		return fail(run, &err);
	warn_in_use(run->command, run->file, run->source);
	code = capture_open_target(run);
	if (code == EXIT_FINE)
		code = enter_sandbox(run);
	if (code == EXIT_FINE)
		code = open_image(run);
	if (code == EXIT_FINE)
		code = capture_refuse_needed(run);
	if (code == EXIT_FINE)
		code = gather(run, threads);
	if (code == EXIT_FINE)
		code = capture_write(run);
	if (code == EXIT_FINE && limits_are_over(run->command))
		code = EXIT_COULD_NOT;
	if (code == EXIT_FINE)
		code = capture_name_target(run);
	return code == EXIT_FINE ? capture_show(run) : code;
}

int capture_make(struct capture_run *run)
{
	const int code = capture(run);

	limits_making(run->command, NULL);
	new_name_drop(&run->record);
	new_name_drop(&run->target);
	capture_content_release(&run->content);
	qcow2_source_close(run->written);
	qcow2_image_close(run->image);
	qcow2_source_close(run->source);
	return code;
}
