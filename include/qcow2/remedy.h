/* SPDX-License-Identifier: MIT */
/*
 * Remedies: what mends a problem, with the commands that there are. The list is def/remedies.def;
 * each kind of problem (problem.h) names the row that is for it. A remedy that is lossless and has
 * a command is what struct qcow2_problem_kind calls repairable.
 *
 * Rows are replaced as commands come: an id is there for tests and for programs that show remedies
 * side by side, not to be stored.
 *
 *	char line[4096];
 *
 *	if (qcow2_remedy_command(problem->kind->remedy, "disk.qcow2", &problem,
 *				 1, line, sizeof(line)) > 0)
 *		puts(line);
 *
 * All functions here are pure and thread safe.
 */
#ifndef QCOW2_REMEDY_H
#define QCOW2_REMEDY_H

#include <qcow2/base.h>
#include <qcow2/problem.h>

QCOW2_BEGIN_DECLS

/* ---- remedies: what mends a problem, and what that costs ---- */

/* What becomes of the problem, and of what people care about. New values may be added. */
enum qcow2_remedy_effect {
	/* No command can do it alone: something has to be known, found or restored. */
	QCOW2_REMEDY_BY_HAND = 0,
	/* A command mends it. The guest's data and what backups rely on stay. */
	QCOW2_REMEDY_LOSSLESS = 1,
	QCOW2_REMEDY_COSTS = 2,      /* a command mends it, and something is given up */
	QCOW2_REMEDY_NOT_NEEDED = 3, /* it can stay as it is */
};

/*
 * A remedy, a row of def/remedies.def. The library owns it, and it lives as long as the program.
 * All texts are ASCII without control bytes, and never NULL; those that may be empty say so.
 */
struct qcow2_remedy {
	size_t size;    /* set by the library */
	const char *id; /* lower-case words with hyphens: "bitmap-repair" */
	enum qcow2_remedy_effect effect;
	/* A template of a command line, as def/remedies.def describes it; empty if there is none. */
	const char *command;
	const char *argument; /* what follows once for each problem; may be empty */
	const char *then;     /* a second command, to run after the first; may be empty */
	const char *does;     /* what the command does, or what to do without one: sentences */
	const char *cost;     /* what is given up: a sentence, or empty if nothing is */
	const char *qemu;     /* what "qemu-img check -r all" does about it: "mends it" */
};

/*
 * Goes through all remedies, in the order in which they are listed to people.
 *
 * before: the remedy that was returned last, or NULL to begin.
 *
 * Returns the remedy that follows, or NULL behind the last one.
 */
QCOW2_API const struct qcow2_remedy *qcow2_remedy_next(const struct qcow2_remedy *before);

/*
 * Finds a remedy by its id.
 *
 * id: NUL terminated. Upper and lower case differ.
 *
 * Returns the remedy, or NULL if this version of the library knows none of that id.
 */
QCOW2_API const struct qcow2_remedy *qcow2_remedy_find(const char *id);

/*
 * Writes the command of a remedy as a line for a shell (sh, bash, zsh). Names are quoted, so that
 * the line can be copied and run whatever they hold, and printed on a terminal.
 *
 * remedy: of the kind of the problems.
 * file: name of the image, as it was given by the user; NULL leaves the word IMAGE in its place.
 * problems: problems whose kinds have this remedy; those of several kinds may be mixed. NULL if
 *   count is 0: then words like WHERE stay in their places.
 * count: how many problems.
 * buffer: size bytes for the line, always NUL terminated if size is not 0. A line that does not fit
 *   is cut: do not show it. May be NULL if size is 0.
 *
 * Returns the length of the whole line in bytes without the NUL, as snprintf() does; it was cut if
 * that is not below size. 0 if the remedy has no command, or if a problem does not have the value
 * or the whole name that the command needs. Words in capitals that are left in the line of a remedy
 * QCOW2_REMEDY_BY_HAND have to be filled in by people.
 */
QCOW2_API size_t qcow2_remedy_command(const struct qcow2_remedy *remedy, const char *file,
				      const struct qcow2_problem *const *problems, size_t count,
				      char *buffer, size_t size);

/*
 * The name of an effect as all pages and documents of the command spell it.
 *
 * effect: any number.
 *
 * Returns "by-hand", "lossless", "costs" or "not-needed", and "unknown" for any other number; never
 * NULL.
 */
QCOW2_API const char *qcow2_remedy_effect_name(enum qcow2_remedy_effect effect);

QCOW2_END_DECLS

#endif
