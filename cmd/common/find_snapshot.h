/* SPDX-License-Identifier: MIT */
/* Finds the snapshot that a command line names. */
#ifndef CMD_COMMON_FIND_SNAPSHOT_H
#define CMD_COMMON_FIND_SNAPSHOT_H

#include <stdint.h>

#include <qcow2/error.h>
#include <qcow2/image.h>

/*
 * Finds the snapshot whose ID is `wanted`, or else the first one of that name, as qemu-img does.
 *
 * *index: set to its place in the snapshot table, from 0.
 *
 * Returns 0, or -1 with *err filled. QCOW2_ERROR_NOT_FOUND: there is none; the text then says which
 * there are.
 */
int find_snapshot(const struct qcow2_image *image, const char *wanted, uint64_t *index,
		  struct qcow2_error *err);

#endif
