/* SPDX-License-Identifier: MIT */
/* Answers where the disk has data, and where it reads as zeros ("base:allocation"). */
#ifndef NBDKIT_EXTENTS_H
#define NBDKIT_EXTENTS_H

#include "nbdkit/report.h"
#include "nbdkit/served.h"

/*
 * Adds the extents of [start, start + length) to the list, or the first of them.
 *
 * Without bitmaps, what reads as zeros is a hole, as with qemu-nbd. With bitmaps, a hole is what is
 * clean; it is not said to read as zeros, as a client could take that for its content.
 *
 * one_is_enough: the client has asked for one extent.
 * Returns 0, or -1 after nbdkit_error(), with errno set.
 */
int extents_tell(struct served *served, uint64_t start, uint64_t length, bool one_is_enough,
		 struct nbdkit_extents *list);

#endif
