/* SPDX-License-Identifier: MIT */
/* The files that a capture goes to: it, and its manifest. See run.h. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "capture/run.h"
#include "common/descriptors.h"
#include "common/limits.h"
#include "common/needed_file.h"
#include "common/report.h"

static int fail(const struct capture_run *run, const char *path, const char *what, int errnum)
{
	char text[256];

	snprintf(text, sizeof(text), "%s%s%s", what, errnum ? ": " : "",
		 errnum ? strerror(errnum) : "");
	return report_text(run->command, path, text);
}

static bool is_same(const struct stat *st, const struct stat *other)
{
	return st->st_dev == other->st_dev && st->st_ino == other->st_ino;
}

/* Nothing is replaced that a machine uses. */
static int refuse_used(const struct capture_run *run)
{
	struct qcow2_source *source;
	struct qcow2_error err;
	enum qcow2_in_use use;

	if (qcow2_source_open(run->to, &source, &err))
		return report_error(run->command, run->to, &err);
	use = qcow2_source_in_use(source);
	qcow2_source_close(source);
	if (use == QCOW2_IN_USE_YES)
		return fail(run, run->to, "in use: another program has it open for writing", 0);
	return EXIT_FINE;
}

static int refuse_existing(const struct capture_run *run)
{
	struct stat st, image;

	if (stat(run->to, &st))
		return errno == ENOENT ? EXIT_FINE : fail(run, run->to, "cannot make it", errno);
	if (stat(run->file, &image) == 0 && is_same(&st, &image))
		return fail(run, run->to, "it is the image that is captured", 0);
	if (!S_ISREG(st.st_mode))
		return fail(run, run->to, "a capture is a sparse file, and this is no file", 0);
	if (descriptors_lead_to(STDOUT_FILENO, run->to) ||
	    descriptors_lead_to(STDERR_FILENO, run->to))
		return fail(run, run->to, "standard output or standard error leads there, too", 0);
	if (!run->force)
		return fail(run, run->to, "it exists already: --force replaces it", 0);
	return refuse_used(run);
}

/* Nothing but a manifest is replaced by one. */
static int refuse_other(const struct capture_run *run)
{
	struct capture_facts facts;
	struct qcow2_error err;
	struct stat st;

	if (stat(run->manifest, &st))
		return EXIT_FINE;
	if (!S_ISREG(st.st_mode) || capture_manifest_read(run->manifest, &facts, &err))
		return fail(run, run->manifest,
			    "it exists already, and is no manifest: it is not replaced", 0);
	return run->force ? EXIT_FINE
			  : fail(run, run->manifest, "it exists already: --force replaces it", 0);
}

/* Gives the capture the size of the image, and opens it to be read. */
static int open_written(struct capture_run *run)
{
	const uint64_t size = qcow2_source_size_bytes(run->source);
	struct qcow2_error err;

	if (size > INT64_MAX || ftruncate(run->target.fd, (off_t)size))
		return fail(run, run->to, "no file can have the size of the image here",
			    size > INT64_MAX ? EFBIG : errno);
	if (qcow2_source_open(run->target.part, &run->written, &err))
		return report_error(run->command, run->to, &err);
	return EXIT_FINE;
}

int capture_open_target(struct capture_run *run)
{
	int errnum, code = refuse_existing(run);

	if (code != EXIT_FINE)
		return code;
	if (!capture_manifest_name(run, run->to))
		return fail(run, run->to, "cannot make its manifest", ENAMETOOLONG);
	code = refuse_other(run);
	if (code != EXIT_FINE)
		return code;
	errnum = new_name_make(&run->target, run->to);
	if (errnum)
		return fail(run, run->to, "cannot make a file beside it", errnum);
	limits_making(run->command, run->target.part);
	errnum = new_name_make(&run->record, run->manifest);
	if (errnum)
		return fail(run, run->manifest, "cannot make a file beside it", errnum);
	return open_written(run);
}

int capture_refuse_needed(const struct capture_run *run)
{
	struct stat st;

	if (stat(run->to, &st) == 0 && is_needed_file(&st, run->file, run->image))
		return fail(run, run->to, "the image needs this file", 0);
	return EXIT_FINE;
}

/*
 * The capture first: one without a manifest can be looked at, a manifest without a capture is of no
 * use.
 */
int capture_name_target(struct capture_run *run)
{
	int errnum = capture_manifest_write(&run->facts, run->record.fd);

	if (errnum)
		return fail(run, run->manifest, "cannot write it", errnum);
	errnum = new_name_give(&run->target, run->force, true);
	if (errnum)
		return fail(run, run->to, "cannot finish it", errnum);
	limits_making(run->command, NULL);
	errnum = new_name_give(&run->record, run->force, true);
	if (errnum)
		return fail(run, run->manifest, "cannot finish it", errnum);
	return EXIT_FINE;
}
