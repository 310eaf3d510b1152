/* SPDX-License-Identifier: MIT */
/* Whether changes of an image left undo files behind. */
#ifndef CMD_CHECK_UNDO_FILES_H
#define CMD_CHECK_UNDO_FILES_H

#include <stdbool.h>

/*
 * Whether there are files with the names of undo files of this image in the folder for them beside
 * it. No file is opened, and only so many names are looked at. *short_of_memory: set to true if
 * there is no memory to look, else left alone.
 */
bool check_has_undo_files(const char *image, bool *short_of_memory);

#endif
