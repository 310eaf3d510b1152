/* SPDX-License-Identifier: MIT */
/*
 * See run.h. All files are opened, or made beside their names, before the sandbox; a byte of the
 * image is looked at behind it. The target is written when all is known that can be known before.
 */
#include "export/run.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/crew.h"
#include "common/limits.h"
#include "common/read_file.h"
#include "common/report.h"
#include "common/sandbox.h"
#include "export/manifest.h"
#include "export/show.h"

/* What a list of ranges may have. */
#define LIST_BYTES_MOST ((size_t)256 << 20)

/* ---- opening ---- */

static int read_list(struct export_run *run)
{
	struct qcow2_error err;

	if (read_whole_file(run->ranges_file, LIST_BYTES_MOST, &run->list, &run->list_bytes, &err))
		return report_error(run->command, "--ranges", &err);
	return EXIT_FINE;
}

/* Opens what is written. */
static int open_outputs(struct export_run *run)
{
	const struct export_wanted wanted = {
		.path = run->to,
		.image = run->file,
		.in_place = run->what != EXPORT_WHOLE && strcmp(run->to, "-") != 0,
		.force = run->force,
		.preallocate = run->preallocate,
		.no_sync = run->no_sync,
	};
	int code = export_target_open(&run->target, run->command, &wanted);

	run->output = (struct export_stream){.fd = STDOUT_FILENO, .has_records = run->stream};
	if (code != EXIT_FINE || !run->manifest)
		return code;
	run->records = calloc(1, sizeof(*run->records));
	if (!run->records)
		return report_text(run->command, run->manifest, "out of memory");
	return export_manifest_open(run->records, run);
}

/* The files that get another name at the end, or are removed. */
static int enter_sandbox(const struct export_run *run, bool seal)
{
	char *names[2];
	struct sandbox_files files = {.names = names};

	if (run->target.kind == EXPORT_TO_NEW)
		names[files.count++] = (char *)(uintptr_t)run->target.name.path;
	if (run->records)
		names[files.count++] = (char *)(uintptr_t)run->records->whole.path;
	return (seal ? sandbox_seal_naming : sandbox_read_any_naming)(run->command, &files);
}

static int open_disk(struct export_run *run)
{
	const struct disk_request request = {
		.file = run->file,
		.format = run->image_format,
		.snapshot = run->snapshot,
		.key_files = run->key_files,
		.chain = run->chain,
		.salvage = run->salvage,
		.locked = run->target.locks ? run->to : NULL,
	};
	int code = disks_take(run->command, &request, &run->disk, 1);

	if (code == EXIT_FINE)
		code = enter_sandbox(run, !run->chain);
	if (code == EXIT_FINE)
		code = disks_open(&run->disk, 1);
	/* A damaged image may look like it. */
	if (code == EXIT_FINE && !run->image_format && !run->disk.image)
		(void)report_text(run->command, run->file,
				  "read as a raw disk, as it is no qcow2 image: "
				  "--image-format=raw says that it is one");
	if (code == EXIT_FINE && run->chain)
		code = enter_sandbox(run, true);
	if (code != EXIT_FINE)
		return code;
	run->guest = run->disk.disk;
	run->size_bytes = qcow2_disk_size_bytes(run->guest);
	return EXIT_FINE;
}

/* A disabled bitmap is as sound as it was, but nobody can tell what was written since. */
static void warn_disabled(const struct export_run *run)
{
	const char *name = run->ranges.disabled;
	struct qcow2_error err = {
		.code = QCOW2_ERROR_ARGUMENT,
		.offset_bytes = QCOW2_NO_OFFSET,
		.text = "disabled: what was written since then is not in it",
	};

	if (!name || wants_silence(run->command))
		return;
	qcow2_bitmap_error(&err, (struct qcow2_bytes){(const uint8_t *)name, strlen(name)});
	(void)report_error(run->command, run->file, &err);
}

static int open_ranges(struct export_run *run)
{
	const struct qcow2_bytes list = {run->list, run->list_bytes};
	struct qcow2_error err;

	if (run->what == EXPORT_WHOLE) {
		export_ranges_whole(&run->ranges, run->size_bytes);
		return EXIT_FINE;
	}
	if (run->what == EXPORT_RANGES)
		return export_ranges_parse(&run->ranges, list, run->size_bytes, &err)
			       ? report_error(run->command, run->ranges_file, &err)
			       : EXIT_FINE;
	if (!run->disk.image)
		return report_text(run->command, run->file, "a raw file has no bitmaps");
	if (export_ranges_bitmaps(&run->ranges, &run->disk, run->bitmaps, run->bitmap_count, &err))
		return report_error(run->command, run->ranges.blamed, &err);
	warn_disabled(run);
	return EXIT_FINE;
}

/* ---- the export ---- */

/* What is written before the first byte of the disk. */
static int begin(struct export_run *run)
{
	int code = export_refuse_image(run), errnum = 0;

	if (code == EXIT_FINE)
		code = export_target_prepare(&run->target, &run->disk, run->size_bytes);
	if (code != EXIT_FINE)
		return code;
	if (run->records)
		errnum = export_manifest_begin(run->records, run);
	if (errnum)
		return export_fail_manifest(run, errnum);
	if (run->target.kind == EXPORT_TO_OUTPUT)
		errnum = export_stream_begin(&run->output, run->size_bytes);
	return errnum ? export_fail_target(run, errnum) : EXIT_FINE;
}

/* The target is whole before the manifest says so. */
static int finish(struct export_run *run)
{
	int code = EXIT_FINE, errnum = 0;

	if (limits_are_over(run->command))
		return EXIT_COULD_NOT;
	if (run->target.kind == EXPORT_TO_OUTPUT)
		errnum = export_stream_end(&run->output, run->size_bytes);
	else
		code = export_target_finish(&run->target);
	if (errnum)
		code = export_fail_target(run, errnum);
	if (code == EXIT_FINE && run->records)
		errnum = export_manifest_finish(run->records, run);
	return code == EXIT_FINE && errnum ? export_fail_manifest(run, errnum) : code;
}

static int export_all(struct export_run *run)
{
	int code = begin(run);

	if (code != EXIT_FINE)
		return code;
	progress_init(&run->progress);
	run->progress.word = "exported";
	code = export_copy(run);
	progress_end(&run->progress);
	if (code == EXIT_FINE)
		code = finish(run);
	return code == EXIT_FINE ? export_show(run) : code;
}

static void close_all(struct export_run *run)
{
	export_ranges_close(&run->ranges);
	export_target_close(&run->target);
	if (run->records)
		export_manifest_close(run->records);
	free(run->records);
	disks_close(&run->disk, 1);
	export_faults_release(&run->faults);
	free(run->list);
}

int export_run(struct export_run *run)
{
	int code = run->ranges_file ? read_list(run) : EXIT_FINE;

	/* A large disk takes as long as it takes, unless the user says otherwise. */
	if (run->command->common && !run->command->common->limits.time_given)
		limits_end_time(run->command, NULL);
	run->threads = crew_threads();
	if (code == EXIT_FINE)
		code = open_outputs(run);
	if (code == EXIT_FINE)
		code = open_disk(run);
	if (code == EXIT_FINE)
		code = open_ranges(run);
	/* Nobody has written what the target lacks yet: the disk has grown. */
	if (code == EXIT_FINE && run->target.kind == EXPORT_IN_PLACE && !run->target.is_device)
		export_ranges_add_tail(&run->ranges, run->records ? run->records->target_bytes
								  : run->target.size_bytes);
	if (code == EXIT_FINE)
		code = export_all(run);
	close_all(run);
	return code;
}
