/* SPDX-License-Identifier: MIT */
/*
 * What every subcommand is made of: one description per command and per option, from which parsing,
 * --help, bash completion and the test of the man pages come.
 */
#ifndef CMD_COMMON_COMMAND_H
#define CMD_COMMON_COMMAND_H

#include <stdbool.h>
#include <stddef.h>

#include <qcow2/error.h>

struct spool;
struct qcow2_source;

/* Exit codes. */
enum {
	EXIT_FINE = 0,
	EXIT_COULD_NOT = 1,
	EXIT_MALFORMED = 2,
	EXIT_LEAKS = 3,
	EXIT_STALE = 4, /* bitmap repair: done, but there are bitmaps that no backup can rely on */
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

extern const struct command dump_command;
extern const struct command check_command;
extern const struct command info_command;
extern const struct command explain_command;
extern const struct command edit_command;
extern const struct command undo_command;
extern const struct command bitmap_command;
extern const struct command compat_command;

/* All commands, in the order in which help shows them. */
const struct command *const *commands_all(size_t *count);

/* What options_next() returns besides the index of an option's row. */
enum { OPTIONS_END = -1, OPTIONS_STOP = -2 };

/*
 * The next option of a command line: its row's index with *value set to its argument; OPTIONS_END
 * when only operands follow (optind is the first); OPTIONS_STOP with *exit_code set when the
 * command is done, because help was asked for or the line is wrong.
 */
int options_next(const struct command *command, int argc, char **argv, const char **value,
		 int *exit_code);

/* "human" or "json": false, with a message, for anything else. */
bool options_output(const struct command *command, const char *value, bool *json);

/* One line of what is wrong and one that points at --help, on stderr. Returns EXIT_COULD_NOT. */
int usage_error(const struct command *command, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* One line on stderr: command, file, text, offset. Returns EXIT_COULD_NOT. */
int report_error(const struct command *command, const char *file, const struct qcow2_error *err);

/*
 * Says on stderr if another program has the image open for writing, or if that cannot be told.
 * source may be NULL.
 */
void warn_in_use(const struct command *command, const char *file,
		 const struct qcow2_source *source);

/*
 * Opens an image for an edit, and says on stderr if nobody else is kept out. flags are of
 * enum qcow2_edit_flags; EDIT_FORCED are those of --force. EXIT_FINE, or the error has been said.
 */
#define EDIT_FORCED (QCOW2_EDIT_READ_ONLY_TOO | QCOW2_EDIT_WITHOUT_LOCKS)
int open_for_edit(const struct command *command, const char *file, unsigned flags,
		  struct qcow2_source **out);

/* Whether standard output is a terminal that shows colours, of a person who has not said no. */
bool wants_colour(void);

/*
 * Writes what is spooled; if that fails, says so and returns EXIT_COULD_NOT, else code. command is
 * NULL when no subcommand was asked for.
 */
int finish_output(const struct command *command, struct spool *spool, int code);

/* Prints the help of a command on standard output. */
int print_help(const struct command *command);

/* Prints a bash completion script on standard output. */
int print_completion(void);

#endif
