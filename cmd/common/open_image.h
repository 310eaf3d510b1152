/* SPDX-License-Identifier: MIT */
/* Opens images that other programs may use, too, and says what is known of that. */
#ifndef CMD_COMMON_OPEN_IMAGE_H
#define CMD_COMMON_OPEN_IMAGE_H

#include "common/command.h"

#include <qcow2/source.h>

/*
 * Says on standard error if another program has the image open for writing, or if that cannot be
 * told. source may be NULL.
 */
void warn_in_use(const struct command *command, const char *file,
		 const struct qcow2_source *source);

/* The flags of enum qcow2_edit_flags that --force stands for. */
#define EDIT_FORCED (QCOW2_EDIT_READ_ONLY_TOO | QCOW2_EDIT_WITHOUT_LOCKS)

/*
 * Opens an image for an edit, with flags of enum qcow2_edit_flags, and says on standard error if
 * nobody else is kept out. Returns EXIT_FINE, or EXIT_COULD_NOT when the error has been said.
 */
int open_for_edit(const struct command *command, const char *file, unsigned flags,
		  struct qcow2_source **out);

#endif
