/* SPDX-License-Identifier: MIT */
/* Judges an undo before anything is written. See judge.c. */
#ifndef Q2_UNDO_JUDGE_H
#define Q2_UNDO_JUDGE_H

#include "undo/undoing.h"

/*
 * Proves that the image can be put back, or fails; fills *u->result and u->patches. The caller sets
 * undo, image, options, result and err, and releases u in any case. Errors: those of
 * qcow2_undo_judge().
 */
int q2_undo_find_out(struct q2_undoing *u);

#endif
