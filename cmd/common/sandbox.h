/* SPDX-License-Identifier: MIT */
/*
 * Gives up what a command that reads does not need, before it looks at the first byte of an image: so
 * that an image which took the process over could not get at anything else. Three things do it, as
 * far as there are: no new privileges, Landlock, and a filter of system calls.
 *
 * Call one of these functions before any thread is started. Each returns EXIT_FINE, or EXIT_COULD_NOT
 * when the error has been said: that happens if QCOW2_SANDBOX=require asks for a whole sandbox and
 * parts of it are missing (see docs/security.md).
 *
 * What is found out by opening files has to be found out before: qcow2_processors() reads files of
 * the control group, tzset() the rules of local time.
 */
#ifndef CMD_COMMON_SANDBOX_H
#define CMD_COMMON_SANDBOX_H

#include "common/command.h"

/* All files are open: no other one can be opened from here on. */
int sandbox_seal(const struct command *command);

/* Files that can still be opened, for reading. */
struct sandbox_files {
	char *const *names;
	int count;
	bool chains;       /* those that they are backed by, too, as they are now */
	bool undo_folders; /* and the folders beside them in which undo files are */
};

/*
 * Files are opened one after the other: these can be opened for reading, no other ones. Where there
 * is no Landlock, others can be opened, too, but only for reading.
 */
int sandbox_read_files(const struct command *command, const struct sandbox_files *files);

/*
 * Any file can be opened for reading. For commands that search folders, and for those that follow
 * a chain of backing files and are sealed then.
 */
int sandbox_read_any(const struct command *command);

/*
 * Any file can be opened for reading, and in the folder of `path` files can be made, written and
 * removed. For commands that write a new file beside what they read.
 */
int sandbox_write_new(const struct command *command, const char *path);

/*
 * As sandbox_seal() and sandbox_read_any(), but in the folders of `files` one can still give files
 * another name, and remove them; and what is open for writing can be allocated, get holes, and share
 * blocks with what is open for reading. For commands that give a file its name when it is whole.
 */
int sandbox_seal_naming(const struct command *command, const struct sandbox_files *files);
int sandbox_read_any_naming(const struct command *command, const struct sandbox_files *files);

#endif
