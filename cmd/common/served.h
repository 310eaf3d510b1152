/* SPDX-License-Identifier: MIT */
/*
 * Images that the user names by an NBD server: "nbd://…", "nbd+unix://…". They are opened for reading
 * wherever a command opens the file that the user names, and nowhere else. Once a command is in its
 * sandbox it can make no connection, so a sandbox that comes before the files are opened connects to
 * all that are named first, and limits_open() takes what is there.
 */
#ifndef CMD_COMMON_SERVED_H
#define CMD_COMMON_SERVED_H

#include "common/command.h"

#include <qcow2/error.h>
#include <qcow2/source.h>

/*
 * Connects to the servers among some names. What fails is an error when the name is opened. No more
 * connections are made after this, also if there is no such name. EXIT_FINE, or EXIT_COULD_NOT when
 * the error has been said: memory is short.
 */
int served_connect(const struct command *command, char *const *names, int count);

/* No more connections are made: what is in the sandbox could not. */
void served_seal(const struct command *command);

/*
 * Tells how many threads will read the image, before it is opened: they may have a connection each.
 * One, if nothing is said.
 */
static inline void served_readers(const struct command *command, unsigned threads)
{
	if (command->common)
		command->common->served_readers = threads;
}

/* Opens an image by such a name. common may be NULL. */
int served_open(const struct common *common, const char *name, struct qcow2_source **out,
		struct qcow2_error *err);

/* Closes what was connected and never opened. */
void served_release(struct common *common);

#endif
