/* SPDX-License-Identifier: MIT */
/* See target.h. */
#include "export/target.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/descriptors.h"
#include "common/disk.h"
#include "common/limits.h"
#include "common/needed_file.h"
#include "common/open_image.h"
#include "common/report.h"
#include "common/system.h"

/* Zeros that are written where nothing else makes them. */
#define ZEROS_BYTES ((size_t)256 << 10)

static int fail(const struct export_target *target, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static int fail(const struct export_target *target, const char *format, ...)
{
	char text[256];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	return report_text(target->command, target->wanted.path, text);
}

static int fail_same(const struct export_target *target)
{
	return fail(target, "it is a file of the disk that is exported");
}

static bool is_same(const struct stat *st, const struct stat *other)
{
	if (S_ISBLK(st->st_mode) && S_ISBLK(other->st_mode))
		return st->st_rdev == other->st_rdev;
	return st->st_dev == other->st_dev && st->st_ino == other->st_ino;
}

/* ---- opening ---- */

static int open_output(struct export_target *target)
{
	target->kind = EXPORT_TO_OUTPUT;
	target->fd = STDOUT_FILENO;
	if (isatty(STDOUT_FILENO))
		return usage_error(target->command,
				   "a disk is not for a terminal: use --to=FILE or a pipe");
	return EXIT_FINE;
}

/* Opens what is there, with the locks of QEMU, so that no machine and no other export uses it. */
static int open_in_place(struct export_target *target)
{
	struct qcow2_error err;

	target->kind = EXPORT_IN_PLACE;
	if (qcow2_source_open_for_edit(target->wanted.path, 0, &target->locks, &err))
		return report_error(target->command, target->wanted.path, &err);
	target->fd = descriptors_open(target->wanted.path, O_RDWR, 0);
	if (target->fd < 0)
		return fail(target, "cannot open it to write: %s", strerror(errno));
	target->size_bytes = qcow2_source_size_bytes(target->locks);
	return EXIT_FINE;
}

/* Nothing is replaced that a machine uses. */
static int refuse_used(const struct export_target *target)
{
	struct qcow2_source *source;
	struct qcow2_error err;
	enum qcow2_in_use use;

	if (qcow2_source_open(target->wanted.path, &source, &err))
		return report_error(target->command, target->wanted.path, &err);
	use = qcow2_source_in_use(source);
	qcow2_source_close(source);
	return use == QCOW2_IN_USE_YES
		       ? fail(target, "in use: another program has it open for writing")
		       : EXIT_FINE;
}

static int open_new(struct export_target *target)
{
	int errnum;

	target->kind = EXPORT_TO_NEW;
	errnum = new_name_make(&target->name, target->wanted.path);
	if (errnum)
		return fail(target, "cannot make a file beside it: %s", strerror(errnum));
	target->fd = target->name.fd;
	limits_making(target->command, target->name.part);
	return EXIT_FINE;
}

/* What the command says must not be in the disk: neither the report nor this error. */
static int refuse_report(const struct export_target *target)
{
	const bool has_errors = descriptors_lead_to(STDERR_FILENO, target->wanted.path);

	if (has_errors)
		descriptors_silence(STDERR_FILENO);
	return has_errors || descriptors_lead_to(STDOUT_FILENO, target->wanted.path)
		       ? fail(target, "standard output or standard error leads there, too")
		       : EXIT_FINE;
}

/* Opens what has that name already. */
static int open_existing(struct export_target *target, const struct stat *st)
{
	const struct export_wanted *wanted = &target->wanted;
	const mode_t mode = st->st_mode;
	struct stat image;
	int code;

	if (stat(wanted->image, &image) == 0 && is_same(st, &image))
		return fail_same(target);
	target->is_device = S_ISBLK(mode);
	if (!S_ISREG(mode) && !S_ISBLK(mode))
		return fail(target,
			    "no file and no block device: --to=- writes to standard output, "
			    "which can lead there");
	code = refuse_report(target);
	if (code != EXIT_FINE)
		return code;
	if (wanted->in_place && target->is_device && !wanted->force)
		return fail(target,
			    "a device does not show how large the disk was that it has: if that "
			    "has grown since, a full export is needed; --force says it has not");
	if (wanted->in_place)
		return open_in_place(target);
	if (!wanted->force)
		return fail(target, "it exists already: --force %s",
			    target->is_device ? "writes to the device" : "replaces it");
	if (target->is_device)
		return open_in_place(target);
	code = refuse_used(target);
	return code == EXIT_FINE ? open_new(target) : code;
}

int export_target_open(struct export_target *target, const struct command *command,
		       const struct export_wanted *wanted)
{
	struct stat st;

	*target = (struct export_target){.command = command, .wanted = *wanted, .fd = -1};
	target->tail_bytes = UINT64_MAX;
	if (strcmp(wanted->path, "-") == 0)
		return open_output(target);
	if (stat(wanted->path, &st) == 0)
		return open_existing(target, &st);
	if (errno != ENOENT)
		return fail(target, "%s", strerror(errno));
	if (wanted->in_place)
		return fail(target,
			    "it does not exist: what is dirty goes into a full export, which "
			    "is made without --bitmap and --ranges");
	return open_new(target);
}

/* ---- the disk is known ---- */

/* Whether an image needs this file, though it may not have been opened: for --salvage. */
static bool is_needed(const struct stat *st, const struct disk *disk,
		      const struct qcow2_image *image)
{
	const struct disk_file *file = image ? disk_file_of(disk, qcow2_image_source(image)) : NULL;

	return file && !qcow2_source_is_nbd(file->path) && is_needed_file(st, file->path, image);
}

/* Nothing is written to what is read or should have been, nor put in its place. */
static int refuse_files(const struct export_target *target, const struct disk *disk)
{
	struct stat mine, theirs;

	if (target->kind == EXPORT_TO_OUTPUT ? fstat(target->fd, &mine)
					     : stat(target->wanted.path, &mine))
		return EXIT_FINE;
	for (size_t i = 0; i < disk->file_count; i++)
		if (stat(disk->files[i].path, &theirs) == 0 && is_same(&mine, &theirs))
			return fail_same(target);
	if (is_needed(&mine, disk, disk->image) || is_needed(&mine, disk, disk->above))
		return fail_same(target);
	return EXIT_FINE;
}

static int prepare_in_place(struct export_target *target, uint64_t size_bytes)
{
	if (target->is_device && target->size_bytes < size_bytes)
		return fail(target, "the device has %" PRIu64 " bytes, and the disk has %" PRIu64,
			    target->size_bytes, size_bytes);
	if (target->is_device)
		return EXIT_FINE;
	if (target->size_bytes > size_bytes)
		return fail(target,
			    "it has %" PRIu64 " bytes, and the disk has only %" PRIu64
			    ": it is no export of this disk",
			    target->size_bytes, size_bytes);
	if (target->size_bytes < size_bytes)
		target->tail_bytes = target->size_bytes;
	return EXIT_FINE;
}

static int prepare_new(struct export_target *target, uint64_t size_bytes)
{
	int errnum = 0;

	if (size_bytes > INT64_MAX || ftruncate(target->fd, (off_t)size_bytes))
		return fail(target, "no file can have the %" PRIu64 " bytes of the disk here: %s",
			    size_bytes, strerror(size_bytes > INT64_MAX ? EFBIG : errno));
	if (target->wanted.preallocate && size_bytes > 0)
		errnum = system_allocate(target->fd, size_bytes);
	if (errnum)
		return fail(target, "cannot allocate %" PRIu64 " bytes: %s", size_bytes,
			    strerror(errnum));
	return EXIT_FINE;
}

int export_target_prepare(struct export_target *target, const struct disk *disk,
			  uint64_t size_bytes)
{
	int code = refuse_files(target, disk);

	if (code != EXIT_FINE || target->kind == EXPORT_TO_OUTPUT)
		return code;
	return target->kind == EXPORT_TO_NEW ? prepare_new(target, size_bytes)
					     : prepare_in_place(target, size_bytes);
}

/* ---- writing ---- */

bool export_target_grows(const struct export_target *target, uint64_t offset_bytes)
{
	return offset_bytes >= target->tail_bytes;
}

int export_target_write(const struct export_target *target, uint64_t offset_bytes,
			const uint8_t *bytes, size_t size)
{
	while (size > 0) {
		ssize_t done = pwrite(target->fd, bytes, size, (off_t)offset_bytes);

		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return done < 0 ? errno : ENOSPC;
		bytes += done;
		offset_bytes += (uint64_t)done;
		size -= (size_t)done;
	}
	return 0;
}

static int write_zeros(const struct export_target *target, uint64_t offset_bytes,
		       uint64_t length_bytes)
{
	uint8_t *zeros = calloc(1, ZEROS_BYTES);
	int errnum = zeros ? 0 : ENOMEM;

	while (length_bytes > 0 && errnum == 0) {
		const size_t size = length_bytes < ZEROS_BYTES ? (size_t)length_bytes : ZEROS_BYTES;

		errnum = export_target_write(target, offset_bytes, zeros, size);
		offset_bytes += size;
		length_bytes -= size;
	}
	free(zeros);
	return errnum;
}

int export_target_zero(const struct export_target *target, uint64_t offset_bytes,
		       uint64_t length_bytes)
{
	if (target->kind == EXPORT_TO_NEW)
		return 0;
	if (export_target_grows(target, offset_bytes))
		return ftruncate(target->fd, (off_t)(offset_bytes + length_bytes)) ? errno : 0;
	if (system_punch(target->fd, offset_bytes, length_bytes))
		return 0;
	return write_zeros(target, offset_bytes, length_bytes);
}

bool export_target_share(const struct export_target *target, const struct qcow2_source *source,
			 uint64_t source_offset, uint64_t offset_bytes, uint64_t length_bytes)
{
	return !target->wanted.preallocate && !target->is_device &&
	       !export_target_grows(target, offset_bytes) &&
	       qcow2_source_share(source, source_offset, length_bytes, target->fd, offset_bytes);
}

/* ---- the end ---- */

static int finish_in_place(struct export_target *target)
{
	if (!target->wanted.no_sync && system_sync(target->fd))
		return fail(target, "cannot bring it to the medium: %s", strerror(errno));
	return EXIT_FINE;
}

static int finish_new(struct export_target *target)
{
	const int errnum =
		new_name_give(&target->name, target->wanted.force, !target->wanted.no_sync);

	if (errnum)
		return fail(target, "cannot finish it: %s", strerror(errnum));
	limits_making(target->command, NULL);
	return EXIT_FINE;
}

int export_target_finish(struct export_target *target)
{
	if (target->kind == EXPORT_TO_OUTPUT)
		return EXIT_FINE;
	return target->kind == EXPORT_TO_NEW ? finish_new(target) : finish_in_place(target);
}

void export_target_close(struct export_target *target)
{
	if (target->kind == EXPORT_TO_NEW) {
		limits_making(target->command, NULL);
		new_name_drop(&target->name);
	} else if (target->kind == EXPORT_IN_PLACE && target->fd >= 0) {
		(void)close(target->fd);
	}
	qcow2_source_close(target->locks);
	target->locks = NULL;
}
