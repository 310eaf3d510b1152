/* SPDX-License-Identifier: MIT */
/* The entry of a bitmap in the directory ("Bitmap directory"). */
#ifndef Q2_EDIT_BITMAP_ENTRY_H
#define Q2_EDIT_BITMAP_ENTRY_H

#include "edit/bitmap/editor.h"

/* Its size in bytes, padding to a multiple of eight included. */
uint64_t q2_edited_entry_size(const struct q2_edited_bitmap *bitmap);

/* Writes it to `to`; padding stays as it is. */
void q2_edited_put_entry(uint8_t *to, const struct q2_edited_bitmap *bitmap);

#endif
