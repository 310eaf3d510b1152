/* SPDX-License-Identifier: MIT */
/* qcow2 undo with one undo file. */
#ifndef CMD_UNDO_ONE_H
#define CMD_UNDO_ONE_H

#include "undo/run.h"

/* The first operand is an undo file: shows what it holds, or undoes. Returns the exit code. */
int undo_one(struct undo_run *run);

#endif
