/* SPDX-License-Identifier: MIT */
/*
 * What two disks of one image have in common, found without decoding it: L2 tables that both L1
 * tables lead to, and entries of different L2 tables that are equal. Both streams stand at the same
 * byte, m->at, and have been sought to the same range.
 */
#ifndef Q2_IMAGE_MAPPING_SHARED_H
#define Q2_IMAGE_MAPPING_SHARED_H

#include "image/mapping/mapping.h"

/*
 * Finds how far both L1 tables lead to the same L2 tables, or both to none: *to is the byte of the
 * guest up to which that is so, at most `end`, and m->at if they differ at once. Does not move the
 * streams. Returns 0; or -1 with *err filled and *blamed 0 or 1, the stream that could not be read.
 */
int q2_mapping_shared_tables(struct qcow2_mapping *const m[2], uint64_t end, uint64_t *to,
			     unsigned *blamed, struct qcow2_error *err);

/*
 * The same of the L2 entries that both streams have in memory and not looked at yet, which are
 * charged to the limit of both. end is not before m->at. Moves both streams behind them; returns
 * the new m->at.
 */
uint64_t q2_mapping_skip_equal(struct qcow2_mapping *const m[2], uint64_t end);

/* Lets a stream go on at a byte of its range. */
void q2_mapping_move(struct qcow2_mapping *m, uint64_t at);

#endif
