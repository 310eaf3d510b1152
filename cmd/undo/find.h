/* SPDX-License-Identifier: MIT */
/*
 * Finds undo files in folders. A folder may be anybody's: only regular files are opened, and only
 * a limited number of them.
 */
#ifndef CMD_UNDO_FIND_H
#define CMD_UNDO_FIND_H

#include "undo/list.h"

/*
 * Adds the undo files of a folder and of its UNDO_FOLDER. Returns 0, or an errno value if the
 * folder cannot be opened.
 */
int undo_list_scan(struct undo_list *list, const char *folder, const struct undo_filter *filter);

/*
 * Adds the undo files of an image that are beside it and in the folder that QCOW2_UNDO_DIR names.
 */
void undo_list_of_image(struct undo_list *list, const char *image,
			const struct undo_filter *filter);

/*
 * Adds undo files that nobody asked for and that may have to be undone before those in the list.
 * They are beside the images and in the folder that QCOW2_UNDO_DIR names.
 */
void undo_list_extend(struct undo_list *list);

#endif
