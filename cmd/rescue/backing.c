/* SPDX-License-Identifier: MIT */
/* Asks a backing file for its size: see run.h. */
#include <stdlib.h>

#include "common/chain.h"
#include "rescue/run.h"

/* The size of a disk: of an image as its header says, of another file as a raw disk. */
static uint64_t disk_size(const char *path)
{
	struct qcow2_source *source;
	struct qcow2_image *image;
	uint64_t size;

	if (qcow2_source_open(path, &source, NULL))
		return 0;
	size = qcow2_source_size_bytes(source);
	if (qcow2_image_open(source, &image, NULL) == 0) {
		size = qcow2_image_header(image)->size;
		qcow2_image_close(image);
	}
	qcow2_source_close(source);
	return size;
}

uint64_t rescue_backing_size(void *opaque, struct qcow2_bytes name)
{
	const struct rescue_run *run = opaque;
	uint64_t size;
	char *path;

	if (!run->how.backing_file && !run->how.look_at_guest)
		return 0;
	path = chain_full_name(run->change.report.file, name);
	size = path ? disk_size(path) : 0;
	free(path);
	return size;
}
