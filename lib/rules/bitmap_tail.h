/* SPDX-License-Identifier: MIT */
/* The rule of a bitmap's last cluster of data ("Bitmap data"). */
#ifndef Q2_RULES_BITMAP_TAIL_H
#define Q2_RULES_BITMAP_TAIL_H

#include "rules/report.h"

#include <qcow2/image.h>

#define Q2_TAIL_PIECE_BYTES 65536

/*
 * Bits past the end must be zero; data is where the last cluster is, which lies in the file. piece
 * is memory of Q2_TAIL_PIECE_BYTES. 0, or -1 with *err filled.
 */
int q2_rule_bitmap_tail(const struct qcow2_image *image, const struct qcow2_bitmap *bitmap,
			uint64_t data, uint8_t *piece, const struct q2_reporter *reporter,
			struct qcow2_error *err);

#endif
