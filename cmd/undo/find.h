/* SPDX-License-Identifier: MIT */
/*
 * Finds undo files in folders. A folder may be anybody's: nothing but regular files is opened, and
 * only so many of them.
 */
#ifndef CMD_UNDO_FIND_H
#define CMD_UNDO_FIND_H

#include "undo/list.h"

/* Adds those in a folder and in its UNDO_FOLDER. 0, or an errno value of opening the folder. */
int undo_list_scan(struct undo_list *list, const char *folder, const struct undo_filter *filter);

/* Adds those of an image that are beside it and in the folder that QCOW2_UNDO_DIR names. */
void undo_list_of_image(struct undo_list *list, const char *image,
			const struct undo_filter *filter);

/*
 * Adds those that nobody asked for, but that may have to be undone before those in the list: they
 * are where their images are, and in the folder that QCOW2_UNDO_DIR names.
 */
void undo_list_extend(struct undo_list *list);

#endif
