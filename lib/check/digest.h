/* SPDX-License-Identifier: MIT */
/*
 * What a check adds to the digest of the metadata, if it makes one. Pieces are cut at places that
 * depend on the structure alone, never on where a hole happens to be, so that a copy of an image
 * has the same digest.
 */
#ifndef Q2_CHECK_DIGEST_H
#define Q2_CHECK_DIGEST_H

#include "check/worker.h"

#include <qcow2/image.h>

/* Bytes of a table: at is a multiple of 512 from the table's start. */
void q2_digest_sectors(struct q2_worker *worker, uint64_t at, const uint8_t *bytes, size_t size);
/* A directory entry, without the flag that says that the bitmap is in use. */
void q2_digest_bitmap(struct q2_worker *worker, const struct qcow2_bitmap *bitmap);
void q2_digest_snapshot(struct q2_worker *worker, const struct qcow2_snapshot *snapshot);
/* An entry of a table, as the file stores it. */
void q2_digest_word(struct q2_worker *worker, uint64_t at, uint64_t word);

#endif
