/* SPDX-License-Identifier: MIT */
/*
 * Prints the ranges of the virtual disk that a bitmap calls dirty: what an incremental backup has
 * to copy. Refuses a bitmap that may miss writes, as a backup has to.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <qcow2/bitmap.h>
#include <qcow2/source.h>

/* A bitmap that is in use, or in an image whose bitmaps bit is clear, was not saved properly. */
static int is_saved(const struct qcow2_image *image, const struct qcow2_bitmap_dir_entry *entry)
{
	const struct qcow2_header *header = qcow2_image_header(image);

	return (header->autoclear_features & QCOW2_AUTOCLEAR_BITMAPS) != 0 &&
	       (entry->flags & QCOW2_BITMAP_IN_USE) == 0;
}

static int print_dirty(struct qcow2_dirty_extents *extents, struct qcow2_error *err)
{
	struct qcow2_dirty_extent extent;
	int more;

	while ((more = qcow2_dirty_extents_next(extents, &extent, err)) > 0)
		if (extent.dirty)
			printf("%" PRIu64 " %" PRIu64 "\n", extent.start_bytes,
			       extent.length_bytes);
	return more;
}

static int list(const struct qcow2_image *image, const char *name, struct qcow2_error *err)
{
	const struct qcow2_bytes bytes = {(const uint8_t *)name, strlen(name)};
	struct qcow2_dirty_extents *extents = NULL;
	struct qcow2_bitmap_dir_entry entry;
	int failed;

	if (qcow2_bitmap_find(image, bytes, &entry, err) != 0)
		return -1;
	if (!is_saved(image, &entry)) {
		snprintf(err->text, sizeof(err->text), "the bitmap was not saved properly");
		return -1;
	}
	if (qcow2_dirty_extents_open(image, &entry, 0, &extents, err) != 0)
		return -1;
	failed = print_dirty(extents, err);
	qcow2_dirty_extents_close(extents);
	return failed;
}

int main(int argc, char **argv)
{
	struct qcow2_source *source = NULL;
	struct qcow2_image *image = NULL;
	struct qcow2_error err;
	int status = 1;

	if (argc != 3) {
		fprintf(stderr, "usage: dirty_extents IMAGE BITMAP\n");
		return 1;
	}
	if (qcow2_source_open(argv[1], &source, &err) == 0 &&
	    qcow2_image_open(source, &image, &err) == 0 && list(image, argv[2], &err) == 0)
		status = 0;
	else
		fprintf(stderr, "dirty_extents: %s: %s\n", argv[1], err.text);
	qcow2_image_close(image);
	qcow2_source_close(source);
	return status;
}
