/* SPDX-License-Identifier: MIT */
/*
 * Prints the name, granularity and flags of each dirty bitmap of an image. Shows how to open an
 * image, how to walk one of its lists, and how to print a name that nobody vouches for.
 */
#include <inttypes.h>
#include <stdio.h>

#include <qcow2/image.h>
#include <qcow2/text.h>

/* A name is bytes of the image: escape it before it reaches a terminal. */
static void print_name(struct qcow2_bytes name)
{
	char line[4096];

	qcow2_text_escape(name, line, sizeof(line));
	printf("%s", line);
}

static void print_bitmap(const struct qcow2_bitmap *bitmap)
{
	const unsigned bits = bitmap->entry.granularity_bits;

	print_name(bitmap->name);
	/* A damaged entry may claim any number; the format allows shifts below 64. */
	if (bits < 64)
		printf(": granularity %" PRIu64, UINT64_C(1) << bits);
	else
		printf(": granularity 2^%u", bits);
	if (bitmap->entry.flags & QCOW2_BITMAP_IN_USE)
		printf(" in-use");
	if (bitmap->entry.flags & QCOW2_BITMAP_AUTO)
		printf(" auto");
	printf("\n");
}

static int list(const struct qcow2_image *image, struct qcow2_error *err)
{
	struct qcow2_bitmaps *bitmaps = NULL;
	const struct qcow2_bitmap *bitmap;
	int more;

	if (qcow2_bitmaps_open(image, &bitmaps, err) != 0) {
		if (err->code != QCOW2_ERROR_NOT_FOUND)
			return -1;
		printf("no bitmaps\n");
		return 0;
	}
	while ((more = qcow2_bitmaps_next(bitmaps, &bitmap, err)) > 0)
		print_bitmap(bitmap);
	qcow2_bitmaps_close(bitmaps);
	return more;
}

int main(int argc, char **argv)
{
	struct qcow2_source *source = NULL;
	struct qcow2_image *image = NULL;
	struct qcow2_error err;
	int status = 1;

	if (argc != 2) {
		fprintf(stderr, "usage: list_bitmaps IMAGE\n");
		return 1;
	}
	if (qcow2_source_open(argv[1], &source, &err) == 0 &&
	    qcow2_image_open(source, &image, &err) == 0 && list(image, &err) == 0)
		status = 0;
	else
		fprintf(stderr, "list_bitmaps: %s: %s\n", argv[1], err.text);
	/* Closing what was never opened is fine. The image uses the source, so it goes first. */
	qcow2_image_close(image);
	qcow2_source_close(source);
	return status;
}
