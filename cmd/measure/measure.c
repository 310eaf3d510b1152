/* SPDX-License-Identifier: MIT */
/* qcow2 measure: how large the file of an image is, will be and can be. */
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
#include "measure/run.h"

enum {
	OPTION_SIZE,
	OPTION_FORMAT,
	OPTION_OPTIONS,
	OPTION_SNAPSHOT,
	OPTION_CHAIN,
	OPTION_OUTPUT,
	OPTION_JSON
};

static const struct option_row options[] = {
	{"size", 0, "SIZE", "a new image with a disk of this size, no file", NULL},
	{"target", 'O', "FORMAT", "of the new image: qcow2 (default) or raw", "qcow2 raw"},
	{"options", 'o', "OPTIONS", "of the new image, as for qemu-img create -o", NULL},
	{"snapshot", 'l', "SNAPSHOT", "the disk of a snapshot, by its ID or name", NULL},
	{"chain", 0, NULL, "backing files as well, as qemu-img measure does", NULL},
	{"output", 0, "FORMAT", "human (default) or json", "human json"},
	{"json", 'j', NULL, "short for --output=json", NULL},
};

/* ---- the command line ---- */

/* Takes an option. False, with a message, if its value makes no sense. */
static bool take_option(struct measure_run *run, int option, const char *value)
{
	const struct option_row *row = &options[option];
	struct qcow2_error err;
	int word;

	switch (option) {
	case OPTION_SIZE:
		run->has_size = true;
		return options_number(run->command, row, value, INT64_MAX, &run->size_bytes);
	case OPTION_FORMAT:
		word = options_word(run->command, row, value);
		run->target.raw = word == 1;
		return word >= 0;
	case OPTION_OPTIONS:
		if (measure_target_take(&run->target, value, &err) == 0)
			return true;
		usage_error(run->command, "--options: %s", err.text);
		return false;
	case OPTION_SNAPSHOT:
		run->snapshot = value;
		return true;
	case OPTION_CHAIN:
		run->chain = true;
		return true;
	case OPTION_JSON:
		run->json = true;
		return true;
	default:
		return options_output(run->command, value, &run->json);
	}
}

/* Takes the operand, and looks at what the options come to together. */
static int take_operands(struct measure_run *run, int argc, char **argv)
{
	struct qcow2_measure_tally tally = {.size = sizeof(tally)};
	struct qcow2_error err;

	measure_target_end(&run->target);
	if (!run->target.raw && qcow2_measure_tally_begin(&tally, &run->target.numbers, &err))
		return usage_error(run->command, "--options: %s", err.text);
	if (run->has_size && optind < argc)
		return usage_error(run->command, "either --size or an image, not both");
	if (run->has_size && (run->snapshot || run->chain))
		return usage_error(run->command, "a new image has no snapshot and no chain");
	if (run->has_size)
		return EXIT_FINE;
	if (optind == argc)
		return usage_error(run->command, "no image given, and no --size");
	return operands_one_image(run->command, argc, argv, &run->file);
}

/* ---- the run ---- */

/* Says what cannot be read. Returns the exit code. */
static int judge(const struct measure_run *run)
{
	const struct map_extent *first = &run->first_invalid;
	char text[256];

	if (run->invalid_bytes == 0)
		return EXIT_FINE;
	snprintf(text, sizeof(text),
		 "%" PRIu64 " bytes cannot be read and count as data, first at 0x%" PRIx64
		 " of the disk: %s; see 'qcow2 check'",
		 run->invalid_bytes, first->start_bytes,
		 qcow2_problem_kind_get(first->problem)->id);
	report_text(run->command, run->stack.layers[first->depth].file, text);
	return EXIT_MALFORMED;
}

static int measure(struct measure_run *run)
{
	struct qcow2_error err;
	int code;

	for (size_t i = 0; i < run->stack.count; i++)
		warn_in_use(run->command, run->stack.layers[i].file, run->stack.layers[i].source);
	if (measure_all(run, &err))
		return report_error(run->command, run->file ? run->file : "", &err);
	spool_init(&run->out, STDOUT_FILENO);
	if (run->json)
		measure_show_json(run);
	else
		measure_show_human(run);
	if (run->failed)
		code = report_error(run->command, run->file ? run->file : "", &run->err);
	else
		code = finish_output(run->command, &run->out, judge(run));
	spool_release(&run->out);
	return code;
}

static int run_measure(const struct command *command, int argc, char **argv)
{
	struct measure_run *run = calloc(1, sizeof(*run));
	const char *value;
	int code = EXIT_COULD_NOT, option;

	if (!run)
		return report_text(command, "", "out of memory");
	run->command = command;
	measure_target_init(&run->target);
	while ((option = options_next(command, argc, argv, &value, &code)) >= 0)
		if (!take_option(run, option, value))
			break;
	if (option >= 0)
		code = EXIT_COULD_NOT;
	else if (option == OPTIONS_END)
		code = take_operands(run, argc, argv);
	run->threads = qcow2_processors();
	served_readers(command, run->threads);
	if (option == OPTIONS_END && code == EXIT_FINE && run->file)
		code = map_stack_open_said(&run->stack, command, run->file, run->snapshot,
					   run->chain);
	if (option == OPTIONS_END && code == EXIT_FINE)
		code = measure(run);
	qcow2_usage_close(run->usage);
	map_stack_close(&run->stack);
	free(run);
	return code;
}

const struct command measure_command = {
	.name = "measure",
	.operands = "[IMAGE]",
	.summary = "Tell which size the file of an image has, needs, and can grow to.",
	.notes = "Numbers take 0x and units: 64k, 1.5G. Without --chain the image alone is\n"
		 "measured, and no other file is opened. No guest data is read.\n"
		 "Exit codes: 0 done, 1 failed, 2 done, but parts of the disk cannot be read.\n",
	.options = options,
	.option_count = sizeof(options) / sizeof(options[0]),
	.run = run_measure,
};
