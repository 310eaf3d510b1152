/* SPDX-License-Identifier: MIT */
/* See run.h. */
#include "bitmap/run.h"

#include <stdio.h>
#include <string.h>

#include "common/existing.h"
#include "common/report.h"

#include <qcow2/limits.h>
#include <qcow2/number.h>
#include <qcow2/source.h>

struct qcow2_bytes bitmap_bytes(const char *text)
{
	return (struct qcow2_bytes){(const uint8_t *)text, strlen(text)};
}

int bitmap_fail(const struct bitmap_run *run, const struct qcow2_error *err)
{
	return report_error(run->command, run->file, err);
}

int bitmap_fail_name(const struct bitmap_run *run, const struct qcow2_image *image,
		     const char *name, const struct qcow2_error *err)
{
	struct qcow2_error named = *err;

	qcow2_bitmap_error(&named, bitmap_bytes(name));
	existing_bitmaps(image, &named);
	return bitmap_fail(run, &named);
}

int bitmap_fail_change(const struct change *change, struct qcow2_error *err)
{
	struct qcow2_image *image = NULL;
	struct qcow2_error ignored;

	if (err->code == QCOW2_ERROR_NOT_FOUND &&
	    qcow2_image_open(change->source, &image, &ignored) == 0)
		existing_bitmaps(image, err);
	qcow2_image_close(image);
	return change_fail(change, err);
}

int bitmap_find_usable(const struct qcow2_image *image, const char *name, bool force,
		       struct qcow2_bitmap_dir_entry *entry, struct qcow2_error *err)
{
	const char *why = NULL;

	if (qcow2_bitmap_find(image, bitmap_bytes(name), entry, err))
		return -1;
	if (!(qcow2_image_header(image)->autoclear_features & QCOW2_AUTOCLEAR_BITMAPS))
		why = "the image's bitmaps bit is not set: they are stale";
	else if (entry->flags & QCOW2_BITMAP_IN_USE)
		why = qcow2_source_in_use(qcow2_image_source(image)) == QCOW2_IN_USE_YES
			      ? "it is in use: another program has the image open, and stores it "
				"when it is done"
			      : "it is in use: it was not saved properly, and what it says may be "
				"stale";
	else if (entry->type != 1)
		why = "its type is not known";
	else if (entry->extra_data_size > 0 && !(entry->flags & QCOW2_BITMAP_EXTRA_DATA_COMPATIBLE))
		why = "it has extra data of an unknown kind and must not be used";
	if (force || !why)
		return 0;
	*err = (struct qcow2_error){.code = QCOW2_ERROR_ARGUMENT, .offset_bytes = QCOW2_NO_OFFSET};
	snprintf(err->text, sizeof(err->text), "%s (--force reads it)", why);
	return -1;
}

int bitmap_open_extents(const struct bitmap_run *run, const struct qcow2_image *image,
			const char *name, struct qcow2_dirty_extents **out)
{
	struct qcow2_bitmap_dir_entry entry;
	struct qcow2_error err;

	if (bitmap_find_usable(image, name, run->force, &entry, &err) ||
	    qcow2_dirty_extents_open(image, &entry, run->force ? QCOW2_DIRTY_EXTENTS_LENIENT : 0,
				     out, &err))
		return bitmap_fail_name(run, image, name, &err);
	return EXIT_FINE;
}

int bitmap_granularity(const char *text, uint64_t *bytes, struct qcow2_error *err)
{
	struct qcow2_error why = {.code = QCOW2_ERROR_NONE};

	if (qcow2_number_parse(text, UINT64_C(1) << QCOW2_LIMIT_QEMU_BITMAP_GRANULARITY_BITS_MAX,
			       bytes, &why) == 0 &&
	    *bytes > 0)
		return 0;
	*err = (struct qcow2_error){.code = QCOW2_ERROR_ARGUMENT, .offset_bytes = QCOW2_NO_OFFSET};
	snprintf(err->text, sizeof(err->text), "--granularity: %.180s",
		 why.code ? why.text : "0 is none: it is a power of two, as 65536 or 64k");
	return -1;
}
