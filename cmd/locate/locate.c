/* SPDX-License-Identifier: MIT */
/* qcow2 locate: where a byte of the guest is in the file, and what a byte of the file is for. */
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "commands.h"
#include "common/find_snapshot.h"
#include "common/limits.h"
#include "common/open_image.h"
#include "common/operands.h"
#include "common/options.h"
#include "common/report.h"
#include "common/sandbox.h"
#include "locate/run.h"
#include "out/wrap.h"

enum {
	OPTION_GUEST,
	OPTION_HOST,
	OPTION_SNAPSHOT,
	OPTION_ALL_SNAPSHOTS,
	OPTION_JSON,
	OPTION_OUTPUT,
};

static const struct option_row options[] = {
	{"guest", 0, "RANGE", "where bytes of the virtual disk are in the file", NULL},
	{"host", 0, "RANGE", "what bytes of the file are for, and whose", NULL},
	{"snapshot", 0, "SNAPSHOT", "look at the disk of a snapshot, not at the active one", NULL},
	{"all-snapshots", 0, NULL, "with --guest: show the range in every snapshot, too", NULL},
	{"json", 'j', NULL, "the same as --output=json", NULL},
	{"output", 0, "FORMAT", "human (default) or json", "human json"},
};

static int answer(struct locate_run *run, struct qcow2_error *err)
{
	int result;

	if (run->snapshot && find_snapshot(run->image, run->snapshot, &run->snapshot_index, err))
		return -1;
	json_init(&run->json, &run->out, 2, false);
	run->fields_left = LOCATE_FIELDS_MOST;
	run->parts_left = LOCATE_PARTS_MOST;
	run->owners_left = LOCATE_OWNERS_MOST;
	result = run->guest ? locate_guest(run, err) : locate_host(run, err);
	if (run->as_json)
		spool_text(&run->out, "\n");
	if (result == 0 && run->names.failed) {
		*err = run->names.error;
		return -1;
	}
	return result;
}

static int locate_file(struct locate_run *run)
{
	struct qcow2_source *source = NULL;
	struct qcow2_image *image = NULL;
	struct qcow2_error err;
	int code;

	if (limits_open(run->command->common, run->file, &source, &err))
		return report_error(run->command, run->file, &err);
	spool_init(&run->out, STDOUT_FILENO);
	spool_init(&run->line, -1);
	run->columns = isatty(STDOUT_FILENO) ? terminal_columns() : UINT_MAX;
	code = sandbox_seal(run->command);
	if (code == EXIT_FINE && qcow2_image_open(source, &image, &err)) {
		code = report_error(run->command, run->file, &err);
	} else if (code == EXIT_FINE) {
		warn_in_use(run->command, run->file, source);
		run->image = image;
		if (answer(run, &err))
			code = report_error(run->command, run->file, &err);
		else
			code = finish_output(run->command, &run->out, EXIT_FINE);
	}
	names_release(&run->names);
	spool_release(&run->line);
	spool_release(&run->out);
	qcow2_image_close(image);
	qcow2_source_close(source);
	return code;
}

/* Checks what belongs together. EXIT_FINE, or EXIT_COULD_NOT when the error has been said. */
static int check_options(struct locate_run *run)
{
	const char *text = run->guest ? run->guest : run->host;
	struct qcow2_error err;

	if (!text || (run->guest && run->host))
		return usage_error(run->command, "%s --guest=OFFSET or --host=OFFSET",
				   text ? "give one of both:" : "what to locate? Give");
	if (range_parse(text, &run->range, &err))
		return usage_error(run->command, "--%s: %s", run->guest ? "guest" : "host",
				   err.text);
	if (run->snapshot && run->all_snapshots)
		return usage_error(run->command,
				   "--snapshot and --all-snapshots exclude each other");
	return EXIT_FINE;
}

/* Takes an option. False, with a message, if its value makes no sense. */
static bool take_option(struct locate_run *run, int option, const char *value)
{
	switch (option) {
	case OPTION_GUEST:
		run->guest = value;
		return true;
	case OPTION_HOST:
		run->host = value;
		return true;
	case OPTION_SNAPSHOT:
		run->snapshot = value;
		return true;
	case OPTION_ALL_SNAPSHOTS:
		run->all_snapshots = true;
		return true;
	case OPTION_JSON:
		run->as_json = true;
		return true;
	default:
		return options_output(run->command, value, &run->as_json);
	}
}

static int run_locate(const struct command *command, int argc, char **argv)
{
	struct locate_run run = {.command = command};
	const char *value;
	int code, option;

	while ((option = options_next(command, argc, argv, &value, &code)) >= 0)
		if (!take_option(&run, option, value))
			return EXIT_COULD_NOT;
	if (option == OPTIONS_STOP)
		return code;
	code = operands_one_image(command, argc, argv, &run.file);
	if (code == EXIT_FINE)
		code = check_options(&run);
	return code == EXIT_FINE ? locate_file(&run) : code;
}

const struct command locate_command = {
	.name = "locate",
	.operands = "IMAGE",
	.summary = "Say where a guest byte is, or what a byte of the file is for.",
	.notes = "Offsets are numbers as 65536, 64k or 0x10000, or sectors as 128s. A range is\n"
		 "OFFSET+LENGTH, as 1M+64k.\n"
		 "Exit codes: 0 done, 1 failed.\n",
	.options = options,
	.option_count = sizeof(options) / sizeof(options[0]),
	.run = run_locate,
};
