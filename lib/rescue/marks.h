/* SPDX-License-Identifier: MIT */
/* Structures that say themselves what they are, by a magic or by fields that must fit together. */
#ifndef Q2_RESCUE_MARKS_H
#define Q2_RESCUE_MARKS_H

#include "rescue/scan.h"

/* Whether a sector starts a structure, and which. */
bool q2_mark_kind(const uint8_t *sector, uint64_t file_size_bytes, enum q2_scan_mark_kind *kind);

/* Whether a sector starts an entry of a snapshot table, or of a directory of bitmaps. */
bool q2_is_snapshot(const uint8_t *sector, uint64_t file_size_bytes);
bool q2_is_bitmap(const uint8_t *sector, uint64_t file_size_bytes);

#endif
