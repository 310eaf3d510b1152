/* SPDX-License-Identifier: MIT */
/* qcow2 rescue: finds the structures of an image again that no longer opens. The command line. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <qcow2/text.h>

#include "commands.h"
#include "common/operands.h"
#include "common/options.h"
#include "common/report.h"
#include "rescue/run.h"

enum {
	OPTION_PLAN_TO,
	OPTION_APPLY,
	OPTION_COPY,
	OPTION_OVERLAY,
	OPTION_PLAN,
	OPTION_CANDIDATE,
	OPTION_CONFIDENCE,
	OPTION_CLUSTER_SIZE,
	OPTION_SIZE,
	OPTION_VERSION,
	OPTION_REFCOUNT_BITS,
	OPTION_BACKING,
	OPTION_BACKING_FORMAT,
	OPTION_DATA_FILE,
	OPTION_LIKE,
	OPTION_LOOK_INSIDE,
	OPTION_DRY_RUN,
	OPTION_HEX,
	OPTION_YES,
	OPTION_FORCE,
	OPTION_UNDO_FILE,
	OPTION_UNDO_DIR,
	OPTION_NO_UNDO,
	OPTION_THREADS,
	OPTION_PROGRESS,
	OPTION_OUTPUT,
	OPTION_JSON,
};

static const struct option_row options[] = {
	{"plan-to", 'o', "PLAN", "write the plan to a file; change nothing", NULL},
	{"apply", 0, NULL, "change the image; can be undone", NULL},
	{"copy", 0, "FILE", "copy the image to FILE, and rescue the copy", NULL},
	{"overlay", 0, "FILE", "write what changes to FILE, an image over this one", NULL},
	{"plan", 0, "PLAN", "with --apply: do what this file says, and no more", NULL},
	{"candidate", 0, "N", "take this candidate, not the first", NULL},
	{"confidence", 0, "N", "put tables back that are so sure, in % (default: 50)", NULL},
	{"cluster-size", 0, "SIZE", "the image has clusters of this size", NULL},
	{"size", 0, "SIZE", "the virtual disk has this size", NULL},
	{"version", 0, "N", "the image has this version, 2 or 3", "2 3"},
	{"refcount-bits", 0, "N", "the image has refcounts of so many bits", "1 2 4 8 16 32 64"},
	{"backing", 0, "NAME", "the backing file's name; '' for none", NULL},
	{"backing-format", 0, "FORMAT", "the format of the backing file", "qcow2 raw"},
	{"data-file", 0, "NAME", "the guest's data is in this other file", NULL},
	{"like", 0, "IMAGE", "take what is unknown from an image of the same make", NULL},
	{"look-inside", 0, NULL, "ask the guest's partition table and the backing file", NULL},
	{"dry-run", 'n', NULL, "show what was found; change nothing (the default)", NULL},
	{"hex", 'x', NULL, "every byte that would change, too", NULL},
	{"yes", 'y', NULL, "with --apply: do not ask before the image is changed", NULL},
	{"force", 'f', NULL, "even if the image is read-only", NULL},
	CHANGE_UNDO_ROWS,
	{"threads", 0, "N", "use at most N threads (default: one a processor)", NULL},
	{"progress", 'p', NULL, "show how far it is on standard error", NULL},
	{"output", 0, "FORMAT", "human (default) or json", "human json"},
	{"json", 'j', NULL, "short for --output=json", NULL},
};

static bool take_number(const struct rescue_run *run, int option, const char *value, uint64_t most,
			unsigned *number)
{
	uint64_t wide;

	if (!options_number(run->command, &options[option], value, most, &wide))
		return false;
	*number = (unsigned)wide;
	if (wide == 0)
		usage_error(run->command, "--%s cannot be 0", options[option].name);
	return wide != 0;
}

/* Only one thing can become of the plan. */
static bool take_way(struct rescue_run *run, enum rescue_way way, const char *target)
{
	if (run->way != RESCUE_SHOW) {
		usage_error(run->command,
			    "only one of --plan-to, --apply, --copy and --overlay at once");
		return false;
	}
	run->way = way;
	run->target = target;
	if (target && *target == '\0')
		usage_error(run->command, "a file needs a name");
	return !target || *target != '\0';
}

/* Takes what the user knows of the image. -1: the option is none of these. */
static int take_known(struct rescue_run *run, int option, const char *value)
{
	struct qcow2_rescue_options *how = &run->how;

	switch (option) {
	case OPTION_CLUSTER_SIZE:
		return options_number(run->command, &options[option], value, INT64_MAX,
				      &how->cluster_size_bytes);
	case OPTION_SIZE:
		return options_number(run->command, &options[option], value, INT64_MAX,
				      &how->virtual_size_bytes);
	case OPTION_VERSION:
		return take_number(run, option, value, 3, &how->version);
	case OPTION_REFCOUNT_BITS:
		return take_number(run, option, value, 64, &how->refcount_bits);
	case OPTION_CONFIDENCE:
		return take_number(run, option, value, 100, &how->confidence_least);
	case OPTION_BACKING:
		how->backing_file = value;
		return true;
	case OPTION_BACKING_FORMAT:
		how->backing_format = value;
		return true;
	case OPTION_DATA_FILE:
		how->data_file = value;
		return true;
	case OPTION_LIKE:
		run->like = value;
		return true;
	case OPTION_LOOK_INSIDE:
		how->look_at_guest = true;
		return true;
	default:
		return -1;
	}
}

/* What is to be done with the plan. -1: the option is none of these. */
static int take_target(struct rescue_run *run, int option, const char *value)
{
	switch (option) {
	case OPTION_PLAN_TO:
		return take_way(run, RESCUE_PLAN, value);
	case OPTION_APPLY:
		return take_way(run, RESCUE_APPLY, NULL);
	case OPTION_COPY:
		return take_way(run, RESCUE_COPY, value);
	case OPTION_OVERLAY:
		return take_way(run, RESCUE_OVERLAY, value);
	case OPTION_PLAN:
		run->plan_file = value;
		return true;
	case OPTION_CANDIDATE:
		if (!options_number(run->command, &options[option], value, UINT32_MAX,
				    &run->candidate))
			return false;
		if (run->candidate == 0)
			usage_error(run->command, "candidates count from 1");
		return run->candidate != 0;
	default:
		return -1;
	}
}

/* Keeps an option that decides what is found, so that the next command can have it, too. */
static void remember(struct rescue_run *run, int option, const char *value)
{
	char word[8192];

	if (option < OPTION_CANDIDATE || option > OPTION_LOOK_INSIDE || option == OPTION_CONFIDENCE)
		return;
	spool_print(&run->said, " --%s", options[option].name);
	if (!options[option].argument)
		return;
	qcow2_text_shell((struct qcow2_bytes){(const uint8_t *)value, strlen(value)}, word,
			 sizeof(word));
	spool_print(&run->said, "=%s", word);
}

/* Takes an option. False, with a message, if its value makes no sense. */
static bool take_option(struct rescue_run *run, int option, const char *value)
{
	int taken = take_known(run, option, value);

	if (taken < 0)
		taken = take_target(run, option, value);
	if (taken >= 0)
		return taken;
	if (change_take_option(&run->change, &options[option], value))
		return true;
	switch (option) {
	case OPTION_HEX:
		run->hex = true;
		return true;
	case OPTION_YES:
		run->yes = true;
		return true;
	case OPTION_FORCE:
		run->change.force = true;
		return true;
	case OPTION_THREADS:
		return take_number(run, option, value, QCOW2_CHECK_THREADS_MAX, &run->how.threads);
	case OPTION_PROGRESS:
		run->progress_wanted = true;
		return true;
	case OPTION_JSON:
		run->change.as_json = true;
		return true;
	default:
		return options_output(run->command, value, &run->change.as_json);
	}
}

/* Options that make no sense together. Returns EXIT_FINE, or EXIT_COULD_NOT with a message. */
static int refuse_mix(const struct rescue_run *run)
{
	bool undo = run->change.undo.file || run->change.undo.dir || run->change.undo.none;

	if (run->plan_file && run->way != RESCUE_APPLY)
		return usage_error(run->command, "--plan is for --apply");
	if (run->plan_file && run->candidate)
		return usage_error(run->command, "--plan and --candidate at once");
	if (run->change.report.dry_run && run->way != RESCUE_SHOW)
		return usage_error(run->command, "--dry-run and an option that writes at once");
	if (undo && run->way != RESCUE_APPLY)
		return usage_error(run->command, "undo files are for --apply");
	return EXIT_FINE;
}

static int run_rescue(const struct command *command, int argc, char **argv)
{
	struct rescue_run run = {.command = command,
				 .change = {.command = command},
				 .how = {.size = sizeof(run.how)}};
	const char *value;
	int code = EXIT_COULD_NOT, option;

	spool_init(&run.said, -1);
	while ((option = options_next(command, argc, argv, &value, &code)) >= 0) {
		if (!take_option(&run, option, value)) {
			spool_release(&run.said);
			return EXIT_COULD_NOT;
		}
		remember(&run, option, value);
	}
	if (option != OPTIONS_STOP)
		code = refuse_mix(&run);
	if (option != OPTIONS_STOP && code == EXIT_FINE)
		code = operands_one_image(command, argc, argv, &run.change.report.file);
	if (option != OPTIONS_STOP && code == EXIT_FINE)
		code = rescue_run(&run);
	spool_release(&run.said);
	return code;
}

const struct command rescue_command = {
	.name = "rescue",
	.operands = "IMAGE",
	.summary = "Find an image again whose header or tables are lost.",
	.notes =
		"Reads the whole file, and shows which image it can have been, with the evidence. "
		"Nothing is written without --apply, --plan-to, --copy or --overlay. What is still "
		"wrong then is for 'qcow2 repair'.\n"
		"Exit codes: 0 the image is sound then, 1 failed or nothing found, 2 corruptions "
		"are left, 3 leaks are left.\n",
	.options = options,
	.option_count = sizeof(options) / sizeof(options[0]),
	.run = run_rescue,
};
