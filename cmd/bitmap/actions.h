/* SPDX-License-Identifier: MIT */
/* The actions of qcow2 bitmap, a file each. bitmap.c has them in a table. */
#ifndef CMD_BITMAP_ACTIONS_H
#define CMD_BITMAP_ACTIONS_H

#include "bitmap/run.h"

/* The actions, in the order of the table. */
enum {
	ACTION_LIST,
	ACTION_EXTENTS,
	ACTION_EXPORT,
	ACTION_COMPARE,
	ACTION_ADD,
	ACTION_REMOVE,
	ACTION_CLEAR,
	ACTION_ENABLE,
	ACTION_DISABLE,
	ACTION_RENAME,
	ACTION_MERGE,
	ACTION_IMPORT,
	ACTION_SCRIPT,
	ACTION_REPAIR,
	ACTION_COUNT
};

/* Actions; each returns the exit code. */
int bitmap_list(struct bitmap_run *run);
int bitmap_extents(struct bitmap_run *run);
int bitmap_export(struct bitmap_run *run);
int bitmap_compare(struct bitmap_run *run);
int bitmap_change(struct bitmap_run *run);
int bitmap_repair(struct bitmap_run *run);

#endif
