/* SPDX-License-Identifier: MIT */
/*
 * Prints where the image keeps each part of its virtual disk, or of the disk of a snapshot. Shows
 * how to open a stream of guest extents and what its members mean.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include <qcow2/image.h>
#include <qcow2/mapping.h>
#include <qcow2/problem.h>
#include <qcow2/source.h>

static void print_extent(const struct qcow2_mapping_extent *extent)
{
	printf("0x%010" PRIx64 " %12" PRIu64 " %s", extent->start.byte, extent->length_bytes,
	       qcow2_l2_kind_name(extent->kind));
	/* Compressed data takes other bytes than the guest sees; all else is as long as the extent. */
	if (extent->kind == QCOW2_L2_COMPRESSED)
		printf(" at 0x%" PRIx64 ", at most %" PRIu64 " bytes", extent->host.byte,
		       extent->host_bytes);
	else if (extent->kind == QCOW2_L2_INVALID)
		printf(": %s", qcow2_problem_kind_get(extent->problem)->text);
	else if (extent->host.byte != QCOW2_NO_OFFSET)
		printf(" at 0x%" PRIx64, extent->host.byte);
	printf("\n");
}

static int map(struct qcow2_mapping *mapping, struct qcow2_error *err)
{
	const struct qcow2_mapping_extent *extent;
	int more;

	while ((more = qcow2_mapping_next(mapping, &extent, err)) > 0)
		print_extent(extent);
	return more;
}

int main(int argc, char **argv)
{
	struct qcow2_source *source = NULL;
	struct qcow2_image *image = NULL;
	struct qcow2_mapping *mapping = NULL;
	struct qcow2_error err;
	int opened = -1;

	if (argc != 2 && argc != 3) {
		fprintf(stderr, "usage: map_image IMAGE [INDEX-OF-SNAPSHOT]\n");
		return 1;
	}
	if (qcow2_source_open(argv[1], &source, &err) == 0 &&
	    qcow2_image_open(source, &image, &err) == 0)
		opened = argc == 2 ? qcow2_mapping_open(image, &mapping, &err)
				   : qcow2_mapping_open_snapshot(image, strtoull(argv[2], NULL, 10),
								 &mapping, &err);
	if (opened == 0)
		opened = map(mapping, &err);
	if (opened != 0)
		fprintf(stderr, "map_image: %s: %s\n", argv[1], err.text);
	/* What was not opened is NULL, which is fine. The image goes before its source. */
	qcow2_mapping_close(mapping);
	qcow2_image_close(image);
	qcow2_source_close(source);
	return opened != 0;
}
