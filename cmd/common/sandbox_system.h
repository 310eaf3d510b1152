/* SPDX-License-Identifier: MIT */
/* What the system has to keep a command from doing more than it has to. */
#ifndef CMD_COMMON_SANDBOX_SYSTEM_H
#define CMD_COMMON_SANDBOX_SYSTEM_H

#include "common/sandbox.h"

/* What may still be done: nothing but to go on reading what is open, or more. */
enum sandbox_kind { SEALED, READ_FILES, READ_ANY, WRITE_NEW, SEALED_NAMING, READ_ANY_NAMING };

/* Why a part of it is not there, as errno values; 0: it is. */
struct sandbox_missing {
	int landlock, filter;
};

/*
 * Gives up what is not needed any more. files: what may be opened, or NULL. Returns 0, or an errno
 * value if not even new privileges could be given up.
 */
int sandbox_system_enter(enum sandbox_kind kind, const struct sandbox_files *files,
			 struct sandbox_missing *missing);

#endif
