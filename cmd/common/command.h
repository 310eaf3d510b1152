/* SPDX-License-Identifier: MIT */
/*
 * What a subcommand is: one description per command and per option, from which parsing, --help,
 * bash completion and the test of the man pages come.
 */
#ifndef CMD_COMMON_COMMAND_H
#define CMD_COMMON_COMMAND_H

#include <stdbool.h>
#include <stddef.h>

/* Exit codes. */
enum {
	EXIT_FINE = 0,
	EXIT_COULD_NOT = 1,
	EXIT_MALFORMED = 2,
	EXIT_LEAKS = 3,
	EXIT_STALE = 4, /* bitmap repair: done, but there are bitmaps that no backup can rely on */
	EXIT_NOT_QCOW2 = 63, /* check: no qcow2 image, as qemu-img check says it */
};

struct option_row {
	const char *name;     /* long name without dashes */
	char letter;          /* short name, or 0 */
	const char *argument; /* name of its argument, or NULL */
	const char *help;     /* one line */
	const char *values;   /* for completion: words with blanks between, or NULL */
};

struct command {
	const char *name;
	const char *operands; /* "IMAGE [SELECTOR...]" */
	const char *summary;  /* one line */
	const char *notes;    /* more lines for --help, or NULL */
	const struct option_row *options;
	size_t option_count;
	/* argv[0] is the command's name. Returns the exit code. */
	int (*run)(const struct command *command, int argc, char **argv);
};

#endif
