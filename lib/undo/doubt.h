/* SPDX-License-Identifier: MIT */
/* What an undo may believe although a guest may have written in place since. See doubt.c. */
#ifndef Q2_UNDO_DOUBT_H
#define Q2_UNDO_DOUBT_H

#include "undo/undoing.h"

/*
 * Returns why nothing proves that no guest wrote to its data since the change; QCOW2_UNDO_NO_DOUBT
 * if something does. Sets u->is_untouched.
 */
enum qcow2_undo_doubt q2_undo_find_doubt(struct q2_undoing *u);

/*
 * Finds what must not come back as it was: fills u->patches and counts in the result. `restored`
 * shows the image as it would be put back. Errors: QCOW2_ERROR_MEMORY, QCOW2_ERROR_IO.
 */
int q2_undo_distrust(struct q2_undoing *u, struct qcow2_source *restored);

/*
 * Finds the bits that earlier undos, or programs that opened the image, may have set or cleared:
 * fills u->marks. Errors: QCOW2_ERROR_MEMORY, QCOW2_ERROR_IO.
 */
int q2_undo_find_marks(struct q2_undoing *u, struct qcow2_source *restored);

#endif
