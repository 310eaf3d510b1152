/* SPDX-License-Identifier: MIT */
/* Judges a repair by what it leaves. See judge.c. */
#ifndef Q2_EDIT_BITMAP_REPAIR_JUDGE_H
#define Q2_EDIT_BITMAP_REPAIR_JUDGE_H

#include "edit/bitmap_repair/run.h"

/*
 * Reads the bitmaps of the planned image, and fails with QCOW2_ERROR_BROKEN if a bit of one that
 * can be relied on is clean and may have been dirty before. Call it when the editor has finished.
 */
int q2_bitmap_repair_judge(struct q2_bitmap_repair_run *r);

#endif
