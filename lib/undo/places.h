/* SPDX-License-Identifier: MIT */
/*
 * Proof that the image holds what the state of the undo file allows. Both functions fail with
 * QCOW2_ERROR_MISMATCH if it does not; other errors: QCOW2_ERROR_MEMORY, QCOW2_ERROR_IO.
 */
#ifndef Q2_UNDO_PLACES_H
#define Q2_UNDO_PLACES_H

#include "undo/undoing.h"

/* Each byte of each piece is an old one or a new one, as the state allows; u->marks excepted. */
int q2_undo_check_places(struct q2_undoing *u);

/* What the change freed holds what it held then; u->marks excepted. */
int q2_undo_check_freed(struct q2_undoing *u);

#endif
