/* SPDX-License-Identifier: MIT */
/* An editor without bitmaps, for a repair that reads the directory by itself. */
#ifndef Q2_EDIT_BITMAP_OPEN_H
#define Q2_EDIT_BITMAP_OPEN_H

#include "edit/bitmap/editor.h"

/*
 * Opens the image that `plan` leaves so far. The list of bitmaps is empty. Close *out with
 * qcow2_bitmap_editor_close(). Errors: those of qcow2_image_open(), QCOW2_ERROR_BROKEN (no
 * geometry), QCOW2_ERROR_ARGUMENT (version 2).
 */
int q2_bitmap_editor_new(struct qcow2_plan *plan, struct qcow2_bitmap_editor **out,
			 struct qcow2_error *err);

#endif
