/* SPDX-License-Identifier: MIT */
/* qcow2 map: what each byte of a virtual disk is, and where it is kept. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "commands.h"
#include "common/open_image.h"
#include "common/operands.h"
#include "common/options.h"
#include "common/report.h"
#include "common/served.h"
#include "map/run.h"

enum {
	OPTION_START_OFFSET,
	OPTION_MAX_LENGTH,
	OPTION_SNAPSHOT,
	OPTION_CHAIN,
	OPTION_BINARY,
	OPTION_OUTPUT,
	OPTION_JSON
};

static const struct option_row options[] = {
	{"start-offset", 's', "OFFSET", "begin there (default 0)", NULL},
	{"max-length", 'l', "LENGTH", "show so many bytes (default all)", NULL},
	{"snapshot", 0, "SNAPSHOT", "the disk of a snapshot, by its ID or name", NULL},
	{"chain", 0, NULL, "backing files as well, as qemu-img map does", NULL},
	{"binary", 0, NULL, "records of 32 bytes, for programs", NULL},
	{"output", 0, "FORMAT", "human (default), json, or ndjson", "human json ndjson"},
	{"json", 'j', NULL, "short for --output=json", NULL},
};

/* ---- the command line ---- */

/* Takes an option. False, with a message, if its value makes no sense. */
static bool take_option(struct map_run *run, int option, const char *value)
{
	const struct option_row *row = &options[option];
	int word;

	switch (option) {
	case OPTION_START_OFFSET:
		return options_number(run->command, row, value, UINT64_MAX, &run->start_bytes);
	case OPTION_MAX_LENGTH:
		return options_number(run->command, row, value, UINT64_MAX, &run->length_bytes);
	case OPTION_SNAPSHOT:
		run->snapshot = value;
		return true;
	case OPTION_CHAIN:
		run->chain = true;
		return true;
	case OPTION_BINARY:
		run->binary = true;
		return true;
	case OPTION_JSON:
		run->format = MAP_JSON;
		return true;
	default:
		word = options_word(run->command, row, value);
		run->format = (enum map_format)word;
		return word >= 0;
	}
}

/* Takes the operand, and looks at what the options come to together. */
static int take_operands(struct map_run *run, int argc, char **argv)
{
	const int code = operands_one_image(run->command, argc, argv, &run->file);

	if (code != EXIT_FINE || !run->binary)
		return code;
	if (run->format != MAP_HUMAN)
		return usage_error(run->command, "--binary is a format by itself: leave out %s",
				   run->format == MAP_JSON ? "json" : "ndjson");
	if (isatty(STDOUT_FILENO))
		return usage_error(run->command,
				   "records are not for a terminal: use a pipe or a file");
	run->format = MAP_BINARY;
	return EXIT_FINE;
}

/* ---- the run ---- */

/* Says what cannot be read. Returns the exit code. */
static int judge(const struct map_run *run)
{
	const struct map_extent *first = &run->first_invalid;
	char text[256];

	if (run->invalid.extents == 0)
		return EXIT_FINE;
	snprintf(text, sizeof(text),
		 "%" PRIu64 " bytes cannot be read, first at 0x%" PRIx64
		 " of the disk: %s; see 'qcow2 check'",
		 run->invalid.bytes, first->start_bytes,
		 qcow2_problem_kind_get(first->problem)->id);
	report_text(run->command, run->stack.layers[first->depth].file, text);
	return EXIT_MALFORMED;
}

static int run_stack(struct map_run *run)
{
	struct qcow2_error err;
	int code;

	for (size_t i = 0; i < run->stack.count; i++)
		warn_in_use(run->command, run->stack.layers[i].file, run->stack.layers[i].source);
	progress_init(&run->progress);
	spool_init(&run->out, STDOUT_FILENO);
	map_stack_seek(&run->stack, run->start_bytes, run->length_bytes);
	code = run->format == MAP_HUMAN ? map_show_human(run, &err) : map_show_data(run, &err);
	progress_end(&run->progress);
	/* After a failure nothing is printed, unless the output streams already. */
	if (code == EXIT_FINE)
		code = finish_output(run->command, &run->out, judge(run));
	else
		report_error(run->command, run->file, &err);
	spool_release(&run->out);
	return code;
}

static int run_map(const struct command *command, int argc, char **argv)
{
	struct map_run *run = calloc(1, sizeof(*run));
	const char *value;
	int code = EXIT_COULD_NOT, option;

	if (!run)
		return report_text(command, "", "out of memory");
	run->command = command;
	run->length_bytes = UINT64_MAX;
	while ((option = options_next(command, argc, argv, &value, &code)) >= 0)
		if (!take_option(run, option, value))
			break;
	if (option >= 0)
		code = EXIT_COULD_NOT;
	else if (option == OPTIONS_END)
		code = take_operands(run, argc, argv);
	run->processors = qcow2_processors();
	served_readers(command, run->processors);
	if (option == OPTIONS_END && code == EXIT_FINE)
		code = map_stack_open_said(&run->stack, command, run->file, run->snapshot,
					   run->chain);
	if (option == OPTIONS_END && code == EXIT_FINE)
		code = run_stack(run);
	map_stack_close(&run->stack);
	free(run);
	return code;
}

const struct command map_command = {
	.name = "map",
	.operands = "IMAGE",
	.summary = "Show what each part of the virtual disk is, and where it is kept.",
	.notes = "Numbers take 0x and units: 64k, 1.5G. Without --chain the image alone is shown,\n"
		 "and no other file is opened. Long output is printed while it is made.\n"
		 "Exit codes: 0 done, 1 failed, 2 done, but parts of the disk cannot be read.\n",
	.options = options,
	.option_count = sizeof(options) / sizeof(options[0]),
	.run = run_map,
};
