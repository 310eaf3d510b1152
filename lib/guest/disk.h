/* SPDX-License-Identifier: MIT */
/*
 * A disk as the files of this folder see it: one layer for each file of the chain. open.c asks the
 * gate and opens the layers. layer.c goes through one of them, extents.c through all. fetch.c gets
 * the bytes of an extent, read.c those of a range. readers.c lends the memory that a read needs,
 * cache.c keeps decompressed clusters.
 */
#ifndef Q2_GUEST_DISK_H
#define Q2_GUEST_DISK_H

#include <errno.h>

#include "guest/cache.h"
#include "guest/readers.h"
#include "guest/secret.h"

#include <qcow2/guest.h>

#define Q2_SECTOR_BYTES UINT64_C(512)

/* A file of the chain. */
struct q2_layer {
	const struct qcow2_image *image; /* NULL: a raw file, or one that is missing */
	struct qcow2_image *opened;      /* the image, if the disk closes it */
	struct qcow2_source *source;     /* of the image, or the raw file; NULL: it is missing */
	struct qcow2_source *data;       /* what host offsets lead into; NULL: it is missing */
	struct q2_secret *secret;        /* NULL: it is not encrypted */
	uint64_t size_bytes;             /* that it shows, whole sectors */
	/* The state of a machine: the layer begins at base_bytes of what its L1 table maps. */
	bool vm_state;
	uint64_t base_bytes;
	const struct qcow2_snapshot *snapshot; /* whose L1 table it is; NULL: the active one */
	bool zstd;                             /* compressed clusters are of zstd, not of deflate */
};

struct qcow2_disk {
	struct q2_layer *layers; /* [0] is the image of the disk */
	uint32_t depth;
	struct qcow2_snapshot snapshot; /* a copy; its views lead nowhere */
	struct q2_readers readers;
	struct q2_cache cache;
	uint64_t cluster_bytes_most; /* larger ones are not decompressed */
};

static inline bool q2_layer_is_missing(const struct q2_layer *layer)
{
	return !layer->source;
}

/*
 * Whether a failure is that of the machine or of the caller's limits, and not of a file or a range of
 * the disk: zeros in its place would be a lie.
 */
static inline bool q2_disk_must_fail(const struct qcow2_error *err)
{
	return err->code == QCOW2_ERROR_MEMORY || err->code == QCOW2_ERROR_LIMIT ||
	       (err->code == QCOW2_ERROR_IO && err->errnum == ETIMEDOUT);
}

static inline uint64_t q2_layer_cluster_bytes(const struct q2_layer *layer)
{
	return qcow2_image_geometry(layer->image)->cluster_size_bytes;
}

#endif
