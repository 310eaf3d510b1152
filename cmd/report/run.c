/* SPDX-License-Identifier: MIT */
/* qcow2 report: one page of HTML that shows an image to people who do not have it. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "check/undo_files.h"
#include "commands.h"
#include "common/limits.h"
#include "common/open_image.h"
#include "common/operands.h"
#include "common/options.h"
#include "common/report.h"
#include "common/sandbox.h"
#include "report/page.h"
#include "report/target.h"

#include <qcow2/number.h>

/* What stands for the name of the image where names are removed. */
#define NO_NAME "IMAGE"

enum { OPTION_TO, OPTION_FORCE, OPTION_REDACT };

static const struct option_row options[] = {
	{"to", 'o', "FILE", "write the page to this new file; - is standard output", NULL},
	{"force", 0, NULL, "replace a file of that name, unless it is an image", NULL},
	{"redact", 0, NULL, "put stand-ins in the place of all names", NULL},
};

static int fail(const struct report *report, const struct qcow2_error *err)
{
	return report_error(report->command, report->path, err);
}

/* Reproducible pages have the time that the environment says. */
static time_t now(void)
{
	const char *fixed = getenv("SOURCE_DATE_EPOCH");
	struct qcow2_error err;
	uint64_t seconds;

	if (fixed && *fixed && qcow2_number_parse(fixed, UINT32_MAX, &seconds, &err) == 0)
		return (time_t)seconds;
	return time(NULL);
}

static int seal(const struct report *report, const struct report_target *target)
{
	char *names[] = {(char *)(uintptr_t)target->name.path};

	if (!target->is_file)
		return sandbox_seal(report->command);
	return sandbox_seal_naming(report->command,
				   &(struct sandbox_files){.names = names, .count = 1});
}

static int make_page(struct report *report, struct report_target *target)
{
	struct qcow2_error err;
	struct spool page;
	int code, failed;

	if (report_look(report, &err)) {
		progress_end(&report->progress);
		return fail(report, &err);
	}
	progress_end(&report->progress);
	code = report_target_refuse_named(target, report->path, report->image);
	if (code != EXIT_FINE)
		return code;
	spool_init(&page, -1);
	failed = report_page(&page, report, &err);
	if (failed)
		code = fail(report, &err);
	else if (limits_are_over(report->command))
		code = EXIT_COULD_NOT;
	else
		code = report_target_finish(target, &page, report_exit_code(report));
	spool_release(&page);
	return code;
}

/* What is found out by opening files is found out before the sandbox. */
static int prepare(struct report *report, struct qcow2_error *err)
{
	struct stat status;
	bool short_of_memory = false;

	report->layout.is_file = stat(report->path, &status) == 0 && S_ISREG(status.st_mode);
	report->has_modified = report->layout.is_file && status.st_mtime >= 0;
	report->modified = report->has_modified ? status.st_mtime : 0;
	report->threads = qcow2_processors();
	report->made = now();
	served_readers(report->command, report->threads);
	report->check.undo_known = true;
	report->check.has_undo = check_has_undo_files(report->path, &short_of_memory);
	if (!short_of_memory)
		return limits_open(report->command->common, report->path, &report->source, err);
	*err = (struct qcow2_error){.code = QCOW2_ERROR_MEMORY,
				    .offset_bytes = QCOW2_NO_OFFSET,
				    .text = "out of memory"};
	return -1;
}

static void release(struct report *report)
{
	report_release_lists(&report->lists);
	qcow2_usage_close(report->layout.usage);
	check_report_release(&report->check);
	problem_log_release(&report->info.problems);
	qcow2_rescue_close(report->rescue);
	redaction_release(&report->redaction);
	qcow2_image_close(report->image);
	qcow2_source_close(report->source);
}

static int run_report(struct report *report)
{
	struct report_target target = {
		.command = report->command, .path = report->to, .force = report->force};
	struct qcow2_error err;
	int code;

	progress_init(&report->progress);
	if (prepare(report, &err)) {
		code = fail(report, &err);
	} else {
		code = report_target_open(&target, report->path);
		if (code == EXIT_FINE)
			code = seal(report, &target);
		if (code == EXIT_FINE) {
			warn_in_use(report->command, report->path, report->source);
			code = make_page(report, &target);
		}
		report_target_close(&target);
	}
	release(report);
	return code;
}

static void take_option(struct report *report, int option, const char *value)
{
	switch (option) {
	case OPTION_TO:
		report->to = value;
		if (report->command->common && strcmp(value, "-") == 0)
			report->command->common->has_data = true;
		break;
	case OPTION_FORCE:
		report->force = true;
		break;
	default:
		report->redacts = true;
		break;
	}
}

static int run(const struct command *command, int argc, char **argv)
{
	struct report *report = calloc(1, sizeof(*report));
	const char *value;
	int code, option;

	if (!report)
		return report_text(command, "", "out of memory");
	report->command = command;
	while ((option = options_next(command, argc, argv, &value, &code)) >= 0)
		take_option(report, option, value);
	if (option != OPTIONS_STOP)
		code = operands_one_image(command, argc, argv, &report->path);
	if (option != OPTIONS_STOP && code == EXIT_FINE && !report->to)
		code = usage_error(command, "no file given for the page: --to=FILE, or --to=-");
	else if (option != OPTIONS_STOP && code == EXIT_FINE) {
		report->file = report->redacts ? NO_NAME : report->path;
		code = run_report(report);
	}
	free(report);
	return code;
}

const struct command report_command = {
	.name = "report",
	.operands = "IMAGE",
	.summary = "Make one page of HTML that shows an image to others.",
	.notes = "The page loads nothing and runs nothing, and has at most 2 MiB. It holds no data "
		 "of the guest.\n"
		 "Exit codes: 0 done, 1 failed and there is no page, 2 done, but the image is "
		 "malformed.\n",
	.options = options,
	.option_count = sizeof(options) / sizeof(options[0]),
	.run = run,
};
