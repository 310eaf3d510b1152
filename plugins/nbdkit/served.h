/* SPDX-License-Identifier: MIT */
/* The disk that is served: one for all connections, so that its memory is bounded whoever connects. */
#ifndef NBDKIT_SERVED_H
#define NBDKIT_SERVED_H

#include <pthread.h>

#include "nbdkit/dirty.h"
#include "nbdkit/files.h"
#include "nbdkit/settings.h"

#include <qcow2/guest.h>
#include <qcow2/image.h>

/* All zeros before it is opened. */
struct served {
	struct files files;
	struct qcow2_image *image; /* NULL: a raw disk */
	struct qcow2_disk *disk;
	bool has_dirty; /* extents tell of bitmaps */
	struct dirty dirty;
	/* A stream has tables in memory: there is one, which requests for extents take in turns. */
	pthread_mutex_t extents_lock;
	struct qcow2_disk_extents *extents;
};

/*
 * Opens all files, and reads the bitmaps. settings: their passphrases are forgotten.
 *
 * Returns 0, or -1 after nbdkit_error(). Either way it has to be closed.
 */
int served_open(struct served *served, struct settings *settings);

/* Closes all, and leaves zeros. */
void served_close(struct served *served);

/* Of the clusters of the image, in bytes; 0 for a raw disk. */
uint64_t served_cluster_bytes(const struct served *served);

#endif
