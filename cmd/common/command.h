/* SPDX-License-Identifier: MIT */
/*
 * What a subcommand is: one description per command, action and option, from which parsing, help,
 * usage errors, completion and the test of the man pages come.
 */
#ifndef CMD_COMMON_COMMAND_H
#define CMD_COMMON_COMMAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "common/system.h"

/* Exit codes. */
enum {
	EXIT_FINE = 0,
	EXIT_COULD_NOT = 1,
	EXIT_MALFORMED = 2,
	EXIT_LEAKS = 3,
	EXIT_DIFFERENT = 3, /* comparisons: they differ */
	EXIT_STALE = 4, /* bitmap repair: done, but there are bitmaps that no backup can rely on */
	EXIT_NOT_QCOW2 = 63, /* check: no qcow2 image, as qemu-img check says it */
};

struct option_row {
	const char *name;     /* long name without dashes */
	char letter;          /* short name, or 0 */
	const char *argument; /* its name, in brackets if it may be left out; or NULL */
	const char *help;     /* one line */
	const char *values;   /* for completion: words with blanks between, or NULL */
};

/* The most rows of options: action_row.options has a bit for each. */
#define OPTIONS_MOST 32

#define OPERANDS_ANY  UINT32_MAX
#define OPTIONS_EVERY UINT32_MAX

/* One action of a command, as "list" of qcow2 bitmap. */
struct action_row {
	const char *name;
	const char *operands;   /* behind the image; all of them if actions are options */
	uint32_t least, most;   /* how many of these operands */
	uint32_t options;       /* that it takes: bits by their rows */
	const char *summary;    /* what it does: a phrase in lower case */
	const char *notes;      /* more paragraphs for the help of this action, or NULL */
	const char *group;      /* a heading above it in the command's help, or NULL */
	bool prints_data : 1;   /* its standard output is no text, and -q does not silence it */
	bool changes_image : 1; /* it is undone by qcow2 undo */
};

/*
 * Where the action stands on the line: "ACTION IMAGE …", "IMAGE ACTION …", "--ACTION …", "ACTION".
 */
enum action_place { ACTION_FIRST, ACTION_AFTER_IMAGE, ACTION_IS_OPTION, ACTION_ALONE };

enum colour_choice { COLOUR_AUTO, COLOUR_ALWAYS, COLOUR_NEVER };

struct command_list;
struct served;

/* How much memory and time a command may take: see limits.h. */
struct limits {
	uint64_t memory_bytes, time_seconds; /* 0: no limit */
	bool memory_given, time_given;       /* not the defaults */
	uint64_t deadline_ns;                /* of CLOCK_MONOTONIC; 0: none */
	int over_code;                       /* the exit code when the time is over */
	bool has_timer;
	system_timer timer;
	const char *volatile making; /* a file that is half done, or NULL */
	char last_words[96];
};

/* What the options say that all commands have. options_next() fills it. */
struct common {
	const char *program; /* as it was called */
	const struct command_list *list;
	enum colour_choice colour;
	bool quiet;   /* nothing but errors, and data that were asked for */
	bool verbose; /* every write of a change */
	struct limits limits;
	bool has_data;         /* the output is for programs, which -q does not silence */
	struct served *served; /* images over NBD that are open before the sandbox: see served.h */
	size_t served_count;
	unsigned served_readers; /* how many threads will read one, or 0: one */
	bool served_all;         /* there will be no more of them */
};

struct command {
	const char *name;
	const char *operands; /* "IMAGE [SELECTOR...]" */
	const char *summary;  /* one line */
	const char *notes;    /* more paragraphs for --help, or NULL */
	const struct option_row *options;
	size_t option_count;
	const struct action_row *actions; /* NULL: it has none */
	size_t action_count;
	enum action_place action_place;
	const char *action_word; /* what its actions are called: "action", "verb" */
	bool is_plain;           /* of the options that all have, it has only --help */
	int could_not;           /* its exit code if it failed; 0: EXIT_COULD_NOT */
	struct common *common;   /* of this call; NULL in the tables */
	/* argv[0] is the command's name. Returns the exit code. */
	int (*run)(const struct command *command, int argc, char **argv);
};

/* Finds an action by its name. NULL if the command has none of that name. */
const struct action_row *command_action(const struct command *command, const char *name);

/*
 * Finds the action that a line names, wherever it stands. Words behind options may be mistaken for
 * it. NULL if there is none.
 */
const struct action_row *command_action_of(const struct command *command, int argc, char **argv);

#endif
