/* SPDX-License-Identifier: MIT */
/* The rule of a bitmap's last cluster of data ("Bitmap data"). */
#ifndef Q2_RULES_BITMAP_TAIL_H
#define Q2_RULES_BITMAP_TAIL_H

#include "rules/report.h"

#include <qcow2/image.h>

#define Q2_TAIL_PIECE_BYTES 65536

/*
 * Reports that bits past the end of a bitmap are set: finding has the host offset of the first byte
 * with such a bit, and its value if that is known. The one place of this problem's path.
 */
void q2_report_bitmap_tail(const struct q2_reporter *reporter, uint64_t bitmap_index,
			   struct q2_finding finding);

/*
 * Reports bits past the end that are set. data is the host offset of the bitmap's last cluster,
 * which lies in the file; piece is memory of Q2_TAIL_PIECE_BYTES. 0, or -1 with *err filled.
 */
int q2_rule_bitmap_tail(const struct qcow2_image *image, const struct qcow2_bitmap *bitmap,
			uint64_t data, uint8_t *piece, const struct q2_reporter *reporter,
			struct qcow2_error *err);

#endif
