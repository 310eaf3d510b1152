/* SPDX-License-Identifier: MIT */
/*
 * What the files of this room share: the image itself, which never changes after it was opened, and
 * what a file's short last cluster means for those who read tables.
 */
#ifndef QCOW2_IMAGE_IMAGE_H
#define QCOW2_IMAGE_IMAGE_H

#include "base/checked.h"

#include <qcow2/image.h>

struct qcow2_image {
	struct qcow2_source *source;
	uint64_t file_size_bytes;
	struct qcow2_header header;
	struct qcow2_geometry geometry;
	bool sane; /* geometry is filled in */
	/*
	 * The first cluster as far as the file has it, and where it would end; the latter is beyond
	 * the former if the file is shorter or the cluster was too large to keep.
	 */
	uint8_t *first;
	size_t first_size;
	uint64_t first_end_bytes;
};

/*
 * Where reading ends: the file's size rounded up to a cluster, since a short last cluster reads as
 * if zeros followed. Without a geometry nothing can be rounded.
 */
static inline uint64_t qcow2_image_readable_end(const struct qcow2_image *image)
{
	uint64_t end;

	if (!image->sane || qcow2_round_up_u64(image->file_size_bytes,
					       image->geometry.cluster_size_bytes, &end))
		return image->file_size_bytes;
	return end;
}

/*
 * Reads size bytes at offset_bytes, zeros where the file has none. 0, or -1 with *err filled
 * (QCOW2_ERROR_IO, QCOW2_ERROR_LIMIT).
 */
int qcow2_image_read_padded(const struct qcow2_image *image, uint64_t offset_bytes, uint8_t *buffer,
			    size_t size, struct qcow2_error *err);

/*
 * qcow2_table_new() with a buffer of max_bytes (8 and up) instead of the usual size, for who knows
 * that the tables are small.
 */
int qcow2_table_new_sized(const struct qcow2_image *image, size_t max_bytes,
			  struct qcow2_table **out, struct qcow2_error *err);

#endif
