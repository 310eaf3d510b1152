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

/*
 * Copies the options of a caller into *mine, and asks whether *result, which may be NULL, can be
 * filled. Returns 0, or -1 with *err filled: QCOW2_ERROR_ARGUMENT for a size that is not set and
 * for unknown flags.
 */
int q2_undo_take_options(struct qcow2_undo_options *mine, const struct qcow2_undo_options *options,
			 const struct qcow2_undo_result *result, struct qcow2_error *err);

#endif
