/* SPDX-License-Identifier: MIT */
/*
 * Parts of a disk go into an export of it, which begins as the disk does. A file that is an image, and
 * not the raw disk of one, was named by mistake: it would be neither afterwards.
 */
#include <string.h>
#include <sys/stat.h>

#include "common/report.h"
#include "export/run.h"

#define MAGIC_BYTES 4

static bool is_magic(const uint8_t *bytes)
{
	return memcmp(bytes, "QFI\xfb", MAGIC_BYTES) == 0;
}

/* Whether the disk itself begins so: an image may be on it. What cannot be read does not. */
static bool disk_is_image(const struct export_run *run)
{
	uint8_t bytes[MAGIC_BYTES];
	struct qcow2_error ignored;

	return run->size_bytes >= sizeof(bytes) &&
	       qcow2_disk_read(run->guest, (struct qcow2_guest){0}, bytes, sizeof(bytes),
			       &ignored) == 0 &&
	       is_magic(bytes);
}

/* Which is refused as well, with another reason. */
static bool is_of_the_disk(const struct export_run *run)
{
	struct stat st;

	if (fstat(run->target.fd, &st))
		return false;
	for (size_t i = 0; i < run->disk.file_count; i++) {
		const struct disk_file *file = &run->disk.files[i];

		if (file->has_identity && file->device == st.st_dev && file->inode == st.st_ino)
			return true;
	}
	return false;
}

int export_refuse_image(const struct export_run *run)
{
	struct qcow2_source *there = run->target.locks;
	uint8_t bytes[MAGIC_BYTES];
	struct qcow2_error err;

	if (run->target.kind != EXPORT_IN_PLACE || run->force ||
	    qcow2_source_size_bytes(there) < sizeof(bytes))
		return EXIT_FINE;
	if (qcow2_source_read(there, 0, bytes, sizeof(bytes), &err))
		return report_error(run->command, run->to, &err);
	if (!is_magic(bytes) || is_of_the_disk(run) || disk_is_image(run))
		return EXIT_FINE;
	return report_text(
		run->command, run->to,
		"it is a qcow2 image, and no raw export of this disk: --force writes the "
		"raw bytes into it");
}
