/* SPDX-License-Identifier: MIT */
/* Whether the clusters of an image were allocated without being written. */
#ifndef CMD_MAP_PREALLOCATED_H
#define CMD_MAP_PREALLOCATED_H

#include <stdbool.h>

#include <qcow2/image.h>

/*
 * Decides as QEMU does: more clusters are in use, by their refcounts, than the file system stores.
 * Then data clusters may lie in holes of the file. Reads refcounts, at most in proportion to what
 * the file stores. Tables that break a rule, or claim too much, count as none.
 *
 * Returns 0 with *is set, or -1 with *err filled.
 */
int map_is_preallocated(const struct qcow2_image *image, bool *is, struct qcow2_error *err);

#endif
