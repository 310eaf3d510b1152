/* SPDX-License-Identifier: MIT */
/*
 * How much memory and time a command may take: --memory-limit and --time-limit, or QCOW2_MEMORY_LIMIT
 * and QCOW2_TIME_LIMIT, or the defaults.
 *
 * Memory is limited by the system: where it is used up, an allocation fails, which is an error as
 * any other. The time that is left goes into each source: a read behind it fails. What does not read
 * for a second, as a loop over memory or a write to a full pipe, is ended by a timer.
 */
#ifndef CMD_COMMON_LIMITS_H
#define CMD_COMMON_LIMITS_H

#include "common/command.h"
#include "common/served.h"

#include <qcow2/error.h>
#include <qcow2/source.h>

/* Takes a common option, if it is one of these. False, with a message, if its value makes no sense. */
bool limits_take(const struct command *command, const struct option_row *row, const char *value);

/*
 * Puts the limits up, before the sandbox and before any thread is started. EXIT_FINE, or
 * EXIT_COULD_NOT when the error has been said: a variable of the environment has no sense.
 */
int limits_begin(const struct command *command);

/* What limits_begin() does when it knows the limits. */
void limits_start(const struct command *command);

/* Reads of a source are within the time that is left. common may be NULL: then there is no limit. */
static inline void limits_watch(const struct common *common, struct qcow2_source *source)
{
	if (common)
		qcow2_source_set_deadline(source, common->limits.deadline_ns);
}

/*
 * Opens a file for reading, as qcow2_source_open() does, and watches it: a file that an image names,
 * which has to be one.
 */
static inline int limits_open_file(const struct common *common, const char *path,
				   struct qcow2_source **out, struct qcow2_error *err)
{
	int failed = qcow2_source_open(path, out, err);

	if (!failed)
		limits_watch(common, *out);
	return failed;
}

/*
 * Opens the image that the user names, for reading, and watches it: a file, or an image over NBD
 * (served.h). Never for a name that an image gives.
 */
static inline int limits_open(const struct common *common, const char *name,
			      struct qcow2_source **out, struct qcow2_error *err)
{
	int failed;

	if (!qcow2_source_is_nbd(name))
		return limits_open_file(common, name, out, err);
	failed = served_open(common, name, out, err);
	if (!failed)
		limits_watch(common, *out);
	return failed;
}

/*
 * Whether the time is over; says so. Whatever could not be read in time may have been left out, so
 * nothing is printed then.
 */
bool limits_are_over(const struct command *command);

/*
 * There is no limit of time any more: a change of an image begins, and is not cut off. source: the
 * image, or NULL.
 */
void limits_end_time(const struct command *command, struct qcow2_source *source);

/*
 * The default limit of time begins anew: for a command that answers to a list as it arrives. One that
 * was given stays as it is.
 */
void limits_renew_time(const struct command *command);

/* The file at `path` is removed if time runs out: half of it is there. NULL: there is none. */
void limits_making(const struct command *command, const char *path);

/* What a task of the library may take of the memory; 0, its own default, if no limit was given. */
uint64_t limits_memory(const struct command *command);

/*
 * Changes the text of an error to the limit that it comes from: whatever fails when the time is over,
 * and memory that is short if there is a limit for it.
 */
void limits_explain(const struct command *command, struct qcow2_error *err);

#endif
