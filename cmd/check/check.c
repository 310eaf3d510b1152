/* SPDX-License-Identifier: MIT */
/* qcow2 check: proves an image sound, or says exactly what is wrong. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check/pages.h"
#include "commands.h"
#include "common/open_image.h"
#include "common/options.h"
#include "common/report.h"
#include "out/progress.h"

#include <qcow2/image.h>
#include <qcow2/number.h>
#include <qcow2/source.h>

/* The most problems of a kind that are kept and shown, unless all are asked for. */
#define SHOWN_TO_PEOPLE   5
#define SHOWN_TO_PROGRAMS 100

enum {
	OPTION_OUTPUT,
	OPTION_JSON,
	OPTION_ALL,
	OPTION_DEEP,
	OPTION_LIST,
	OPTION_PROGRESS,
	OPTION_THREADS,
	OPTION_RANGES
};

static const struct option_row options[] = {
	{"output", 0, "FORMAT", "human (default) or json", "human json"},
	{"json", 'j', NULL, "short for --output=json", NULL},
	{"all", 'a', NULL, "show all problems, not the first of each kind", NULL},
	{"deep", 'd', NULL, "inflate every compressed cluster, too", NULL},
	{"list", 'l', NULL, "list the problems that can be found, and exit", NULL},
	{"progress", 'p', NULL, "show how far it is on standard error", NULL},
	{"threads", 0, "N", "use at most N threads (default: one per usable processor)", NULL},
	{"ranges", 0, NULL, "show all damaged ranges of the disk, not the first ones", NULL},
};

/* One call of the command. */
struct run {
	const struct command *command;
	struct check_report report;
	struct progress progress;
	struct spool out;
	struct json json;
	bool as_json, all, deep, list, ranges;
	unsigned threads;
	int failed; /* exit code of what went wrong while the page was written, or 0 */
};

static int hear_problem(void *opaque, const struct qcow2_problem *problem)
{
	struct check_report *report = &((struct run *)opaque)->report;

	if (report->count == report->capacity) {
		size_t capacity = report->capacity ? report->capacity * 2 : 16;
		struct qcow2_problem **grown = realloc(report->problems, capacity * sizeof(*grown));

		if (!grown) {
			report->short_of_memory = true;
			return 1;
		}
		report->problems = grown;
		report->capacity = capacity;
	}
	report->problems[report->count] = qcow2_problem_copy(problem);
	if (!report->problems[report->count]) {
		report->short_of_memory = true;
		return 1;
	}
	report->count++;
	return 0;
}

static int hear_range(void *opaque, const struct qcow2_damage_range *range)
{
	return check_damage_hear(&((struct run *)opaque)->report.damage, range);
}

static int hear_progress(void *opaque, uint64_t done_bytes, uint64_t total_bytes)
{
	progress_share(&((struct run *)opaque)->progress, done_bytes, total_bytes);
	return 0;
}

static int exit_code(const struct qcow2_check_result *result)
{
	if (result->corruptions > 0)
		return EXIT_MALFORMED;
	return result->leaks > 0 ? EXIT_LEAKS : EXIT_FINE;
}

/*
 * See struct check_report. Problems that were not kept are found by another check, so that memory
 * stays small.
 */
static void tell_all(void *opaque, const struct qcow2_problem_kind *only,
		     qcow2_problem_callback hear, void *page)
{
	struct run *run = opaque;
	const struct qcow2_check_options how = {
		.size = sizeof(how),
		.threads = run->threads,
		.only = only,
		.deep = run->deep,
		.lost_mappings = true,
		.problem = hear,
		.opaque = page,
	};
	struct qcow2_error err;

	if (run->failed == 0 && qcow2_check(run->report.image, &how, NULL, &err))
		run->failed = report_error(run->command, run->report.file, &err);
}

/* As tell_all(), of damaged ranges. */
static void tell_ranges(void *opaque,
			int (*hear)(void *page, const struct qcow2_damage_range *range), void *page)
{
	struct run *run = opaque;
	const struct qcow2_check_options how = {
		.size = sizeof(how),
		.threads = run->threads,
		.deep = run->deep,
		.damage = true,
		.damage_range = hear,
		.opaque = page,
	};
	struct qcow2_error err;

	if (run->failed == 0 && qcow2_check(run->report.image, &how, NULL, &err))
		run->failed = report_error(run->command, run->report.file, &err);
}

static int show(struct run *run)
{
	struct qcow2_error err = {.offset_bytes = QCOW2_NO_OFFSET, .text = "out of memory"};

	if (run->report.short_of_memory)
		return report_error(run->command, run->report.file, &err);
	if (run->as_json)
		check_show_json(&run->json, &run->report);
	else
		check_show_human(&run->out, &run->report, wants_colour());
	if (run->failed != 0)
		return run->failed;
	return finish_output(run->command, &run->out, exit_code(run->report.result));
}

static int check_image(struct run *run, const struct qcow2_image *image)
{
	const struct qcow2_check_options how = {
		.size = sizeof(how),
		.threads = run->threads,
		.max_per_kind = run->as_json || run->all ? SHOWN_TO_PROGRAMS : SHOWN_TO_PEOPLE,
		.deep = run->deep,
		.damage = true,
		.lost_mappings = true,
		.problem = hear_problem,
		.damage_range = hear_range,
		.progress = hear_progress,
		.opaque = run,
	};
	struct qcow2_error err;
	int failed = qcow2_check(image, &how, &run->report.result, &err);

	progress_end(&run->progress);
	if (failed && !run->report.short_of_memory)
		return report_error(run->command, run->report.file, &err);
	run->report.image = image;
	run->report.opaque = run;
	if (run->all)
		run->report.tell_all = tell_all;
	if (run->ranges)
		run->report.tell_ranges = tell_ranges;
	return show(run);
}

static int check_file(struct run *run)
{
	struct qcow2_source *source = NULL;
	struct qcow2_image *image = NULL;
	struct qcow2_error err;
	int code;

	if (qcow2_source_open(run->report.file, &source, &err) ||
	    qcow2_image_open(source, &image, &err)) {
		code = report_error(run->command, run->report.file, &err);
	} else {
		warn_in_use(run->command, run->report.file, source);
		code = check_image(run, image);
	}
	qcow2_image_close(image);
	qcow2_source_close(source);
	return code;
}

static int show_list(struct run *run)
{
	if (run->as_json)
		check_list_json(&run->json);
	else
		check_list_human(&run->out);
	return finish_output(run->command, &run->out, EXIT_FINE);
}

static bool parse_threads(struct run *run, const char *value)
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
static bool take_option(struct run *run, int option, const char *value)
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
	case OPTION_LIST:
		run->list = true;
		return true;
	case OPTION_PROGRESS:
		progress_force(&run->progress);
		return true;
	case OPTION_RANGES:
		run->ranges = true;
		return true;
	case OPTION_THREADS:
		return parse_threads(run, value);
	default:
		return options_output(run->command, value, &run->as_json);
	}
}

static int run_check(const struct command *command, int argc, char **argv)
{
	struct run run = {.command = command};
	const char *value;
	int code, option;

	progress_init(&run.progress);
	while ((option = options_next(command, argc, argv, &value, &code)) >= 0)
		if (!take_option(&run, option, value))
			return EXIT_COULD_NOT;
	if (option == OPTIONS_STOP)
		return code;
	if (!run.list && optind == argc)
		return usage_error(command, "no image given");
	if (optind + (run.list ? 0 : 1) < argc)
		return usage_error(command, "too many operands");
	spool_init(&run.out, STDOUT_FILENO);
	json_init(&run.json, &run.out, 4, false);
	run.report.file = argv[optind];
	code = run.list ? show_list(&run) : check_file(&run);
	spool_release(&run.out);
	for (size_t i = 0; i < run.report.count; i++)
		qcow2_problem_free(run.report.problems[i]);
	free(run.report.problems);
	qcow2_check_result_free(run.report.result);
	return code;
}

const struct command check_command = {
	.name = "check",
	.operands = "IMAGE",
	.summary = "Prove an image sound, or say exactly what is wrong.",
	.notes = "Reads only. Every refcount is compared with the references that there are, and "
		 "every\n"
		 "host cluster with what it is used for.\n"
		 "Exit codes: 0 sound, 1 could not, 2 corruption, 3 leaks only.\n",
	.options = options,
	.option_count = sizeof(options) / sizeof(options[0]),
	.run = run_check,
};
