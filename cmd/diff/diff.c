/* SPDX-License-Identifier: MIT */
/* qcow2 diff: which structures of two images differ. */
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "commands.h"
#include "common/limits.h"
#include "common/open_image.h"
#include "common/options.h"
#include "common/report.h"
#include "common/sandbox.h"
#include "diff/run.h"
#include "out/wrap.h"

#include <qcow2/source.h>

/* What programs that compare return if there are differences; not 1, which is a failure here. */
#define EXIT_DIFFERENT 3

enum { OPTION_JSON, OPTION_OUTPUT };

static const struct option_row options[] = {
	{"json", 'j', NULL, "the same as --output=json", NULL},
	{"output", 0, "FORMAT", "human (default) or json", "human json"},
};

/* Whether both names lead to one file, so that what was not compared is the same, too. */
static bool is_one_file(const struct diff_run *run)
{
	struct stat a, b;

	return stat(run->files[0], &a) == 0 && stat(run->files[1], &b) == 0 &&
	       a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

/* If nothing is printed, the first difference is enough. */
static int stop_at_field(void *opaque, const struct qcow2_diff_field *field)
{
	(void)opaque;
	(void)field;
	return 1;
}

static int stop_at_range(void *opaque, const struct qcow2_diff_range *range)
{
	(void)opaque;
	(void)range;
	return 1;
}

static int stop_at_element(void *opaque, const struct qcow2_diff_element *element)
{
	(void)opaque;
	(void)element;
	return 1;
}

static const struct qcow2_diff_visitor quiet = {
	.size = sizeof(quiet),
	.field = stop_at_field,
	.range = stop_at_range,
	.begin_element = stop_at_element,
	.gap = diff_keep_gap,
};

/* Ends a comparison that was done: says what was left out, and writes the page. */
static int finish(struct diff_run *run)
{
	bool silent = wants_silence(run->command) && !run->as_json;
	int code = EXIT_DIFFERENT;

	if (run->result.differences == 0)
		code = run->result.may_differ && !is_one_file(run) ? EXIT_COULD_NOT : EXIT_FINE;
	if (!silent || code == EXIT_COULD_NOT)
		diff_tell_gaps(run);
	if (silent || code == EXIT_COULD_NOT)
		return code;
	if (run->as_json)
		diff_json_end(run);
	else
		diff_text_end(run);
	return finish_output(run->command, &run->out, code);
}

static int compare(struct diff_run *run)
{
	const struct qcow2_diff_visitor *visitor = run->as_json                  ? &diff_json
						   : wants_silence(run->command) ? &quiet
										 : &diff_text;
	struct qcow2_error err;
	int failed;

	run->result.size = sizeof(run->result);
	json_init(&run->json, &run->out, 2, false);
	if (run->as_json)
		diff_json_begin(run);
	failed = qcow2_diff(run->images, visitor, run, &run->result, &err);
	if (failed && run->out.errnum)
		return finish_output(run->command, &run->out, EXIT_COULD_NOT);
	if (failed && visitor == &quiet && err.code == QCOW2_ERROR_STOPPED)
		return EXIT_DIFFERENT;
	if (failed && err.code == QCOW2_ERROR_STOPPED) /* a page had no memory */
		return report_text(run->command, run->files[0], "out of memory");
	if (failed)
		return report_error(run->command,
				    run->files[run->result.failed == QCOW2_DIFF_B ? 1 : 0], &err);
	return finish(run);
}

static int open_and_compare(struct diff_run *run)
{
	struct qcow2_source *sources[2] = {NULL, NULL};
	struct qcow2_image *images[2] = {NULL, NULL};
	struct qcow2_error err;
	int code = EXIT_FINE;

	for (size_t i = 0; i < 2 && code == EXIT_FINE; i++)
		if (limits_open(run->command->common, run->files[i], &sources[i], &err))
			code = report_error(run->command, run->files[i], &err);
	if (code == EXIT_FINE)
		code = sandbox_seal(run->command);
	for (size_t i = 0; i < 2 && code == EXIT_FINE; i++) {
		if (qcow2_image_open(sources[i], &images[i], &err))
			code = report_error(run->command, run->files[i], &err);
		else
			warn_in_use(run->command, run->files[i], sources[i]);
		run->images[i] = images[i];
	}
	if (code == EXIT_FINE)
		code = compare(run);
	for (size_t i = 0; i < 2; i++) {
		qcow2_image_close(images[i]);
		qcow2_source_close(sources[i]);
	}
	return code;
}

static int run_diff(const struct command *command, int argc, char **argv)
{
	struct diff_run run = {.command = command};
	const char *value;
	int code, option;

	while ((option = options_next(command, argc, argv, &value, &code)) >= 0) {
		if (option == OPTION_JSON)
			run.as_json = true;
		else if (!options_output(command, value, &run.as_json))
			return EXIT_COULD_NOT;
	}
	if (option == OPTIONS_STOP)
		return code;
	if (argc - optind < 2)
		return usage_error(command, optind == argc ? "no image given"
							   : "one image given: two are compared");
	if (argc - optind > 2)
		return usage_error(command, "too many arguments: two images are compared");
	run.files[0] = argv[optind];
	run.files[1] = argv[optind + 1];
	run.colour = wants_colour(command);
	run.columns = isatty(STDOUT_FILENO) ? terminal_columns() : 0;
	spool_init(&run.out, STDOUT_FILENO);
	spool_init(&run.line, -1);
	code = open_and_compare(&run);
	spool_release(&run.line);
	spool_release(&run.out);
	return code;
}

const struct command diff_command = {
	.name = "diff",
	.operands = "IMAGE IMAGE",
	.summary = "Compare the structures of two images.",
	.notes = "Each line is a value that differs: PATH: FIRST → SECOND. Below '- PATH' stand\n"
		 "the fields of what only the first image has, below '+ PATH' of the second.\n"
		 "Paths are selectors of 'qcow2 dump'. Guest data is not compared.\n"
		 "Exit codes: 0 same, 1 failed, 3 different.\n",
	.options = options,
	.option_count = sizeof(options) / sizeof(options[0]),
	.run = run_diff,
};
