/* SPDX-License-Identifier: MIT */
/* A source that shows an image as an undo would put it back. */
#ifndef Q2_UNDO_VIEW_H
#define Q2_UNDO_VIEW_H

#include "undo/file.h"
#include "undo/patches.h"

/* The image with the old bytes of all pieces, then with the patches. */
struct q2_undo_view {
	const struct qcow2_undo *undo;
	struct qcow2_source *image;
	const struct q2_undo_patches *patches; /* NULL: none */
};

/*
 * Opens a read-only source over *view, which must stay where it is until the source is closed.
 * Errors: QCOW2_ERROR_MEMORY.
 */
int q2_undo_view_open(struct q2_undo_view *view, struct qcow2_source **out,
		      struct qcow2_error *err);

#endif
