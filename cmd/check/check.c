/* SPDX-License-Identifier: MIT */
/* qcow2 check: proves an image sound, or says exactly what is wrong. */
#include <unistd.h>

#include "check/pages.h"
#include "check/repair.h"
#include "check/run.h"
#include "commands.h"
#include "common/options.h"
#include "common/report.h"
#include "out/wrap.h"

#include <qcow2/number.h>

enum {
	OPTION_OUTPUT,
	OPTION_JSON,
	OPTION_ALL,
	OPTION_DEEP,
	OPTION_LIST,
	OPTION_PROGRESS,
	OPTION_THREADS,
	OPTION_RANGES,
	OPTION_CHAIN,
	OPTION_REPAIR
};

static const struct option_row options[] = {
	{"output", 0, "FORMAT", "human (default) or json", "human json"},
	{"json", 'j', NULL, "short for --output=json", NULL},
	{"all", 'a', NULL, "show all problems, not the first of each kind", NULL},
	{"deep", 'd', NULL, "inflate every compressed cluster, too", NULL},
	{"list", 'l', NULL, "list the problems that can be found, and exit", NULL},
	{"progress", 'p', NULL, "show how far it is on standard error", NULL},
	{"threads", 0, "N", "use at most N threads (default: one a processor)", NULL},
	{"ranges", 0, NULL, "show all damaged ranges of the disk, not the first", NULL},
	{"chain", 0, NULL, "check the backing files, too, local files only", NULL},
	{"repair", 'r', "[HOW]", "mend it as 'qcow2 repair' does; HOW: all, leaks", "all leaks"},
};

static int show_list(struct check_run *run)
{
	int code;

	spool_init(&run->out, STDOUT_FILENO);
	json_init(&run->json, &run->out, 4, false);
	if (run->as_json)
		check_list_json(&run->json);
	else
		check_list_human(&run->out, terminal_columns());
	code = finish_output(run->command, &run->out, EXIT_FINE);
	spool_release(&run->out);
	return code;
}

static bool parse_threads(struct check_run *run, const char *value)
{
	struct qcow2_error err;
	uint64_t number;

	if (qcow2_number_parse(value, QCOW2_CHECK_THREADS_MAX, &number, &err)) {
		usage_error(run->command, "--threads: %s", err.text);
		return false;
	}
	run->threads = (unsigned)number;
	if (number > 0)
		return true;
	usage_error(run->command, "--threads is a number from 1 to %d, not '%s'",
		    QCOW2_CHECK_THREADS_MAX, value);
	return false;
}

/* Takes an option. False, with a message, if its value makes no sense. */
static bool take_option(struct check_run *run, int option, const char *value)
{
	switch (option) {
	case OPTION_JSON:
		run->as_json = true;
		return true;
	case OPTION_ALL:
		run->all = true;
		return true;
	case OPTION_DEEP:
		run->deep = true;
		return true;
	case OPTION_PROGRESS:
		run->progress = true;
		return true;
	case OPTION_RANGES:
		run->ranges = true;
		return true;
	case OPTION_CHAIN:
		run->chain = true;
		return true;
	case OPTION_THREADS:
		return parse_threads(run, value);
	default:
		return options_output(run->command, value, &run->as_json);
	}
}

static int run_check(const struct command *command, int argc, char **argv)
{
	struct check_run run = {.command = command};
	bool list = false;
	const char *value;
	int code, option;

	if (check_repair_asked(command, argc, argv))
		return check_repair(command, argc, argv);
	while ((option = options_next(command, argc, argv, &value, &code)) >= 0) {
		if (option == OPTION_LIST)
			list = true;
		else if (!take_option(&run, option, value))
			return EXIT_COULD_NOT;
	}
	if (option == OPTIONS_STOP)
		return code;
	run.quiet = wants_silence(command);
	run.verbose = wants_all(command);
	if (list && optind < argc)
		return usage_error(command, "too many operands");
	if (list)
		return show_list(&run);
	if (optind == argc)
		return usage_error(command, "no image given");
	return check_run(&run, argv + optind, argc - optind);
}

const struct command check_command = {
	.name = "check",
	.operands = "IMAGE...",
	.summary = "Prove an image sound, or say exactly what is wrong.",
	.notes = "Reads only, without --repair. Every refcount is compared with the references "
		 "that there are, and "
		 "every host cluster with what it is used for. With --verbose it shows more "
		 "problems of each kind, and their rules. --repair makes it 'qcow2 repair', with "
		 "all "
		 "options of that.\n"
		 "Exit codes: 0 sound, 1 failed, 2 corruption, 3 leaks only, 63 no qcow2 image; "
		 "of several images that of the worst, in the order 1, 2, 3, 63, 0.\n",
	.options = options,
	.option_count = sizeof(options) / sizeof(options[0]),
	.run = run_check,
};
