/* SPDX-License-Identifier: MIT */
/* Whether a guest still sees what it may have written in place since the change. See guest.c. */
#ifndef Q2_UNDO_GUEST_H
#define Q2_UNDO_GUEST_H

#include "undo/undoing.h"

/*
 * Proves that all data that a guest may have written in place are mapped by the restored image as
 * well. Errors: QCOW2_ERROR_MISMATCH (they are not), QCOW2_ERROR_MEMORY, QCOW2_ERROR_IO.
 */
int q2_undo_check_guest(struct q2_undoing *u, struct qcow2_source *restored);

#endif
