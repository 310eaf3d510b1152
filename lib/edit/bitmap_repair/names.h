/* SPDX-License-Identifier: MIT */
/* Names that cannot stay. See names.c. */
#ifndef Q2_EDIT_BITMAP_REPAIR_NAMES_H
#define Q2_EDIT_BITMAP_REPAIR_NAMES_H

#include "edit/bitmap_repair/run.h"

/* Gives other names to bitmaps of the list whose names QEMU refuses, and tells of each. */
int q2_bitmap_repair_names(struct q2_bitmap_repair_run *r);

#endif
