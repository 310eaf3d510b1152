/* SPDX-License-Identifier: MIT */
/* qcow2 repair: makes a damaged image sound again, and leaves a way back. The command line. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "commands.h"
#include "common/limits.h"
#include "common/option_rows.h"
#include "common/options.h"
#include "common/report.h"
#include "repair/only.h"
#include "repair/run.h"

enum {
	OPTION_ALL,
	OPTION_LEAKS,
	OPTION_ONLY,
	OPTION_DROP_SNAPSHOT,
	OPTION_FREE_LOST,
	OPTION_DROP_BAD_BITMAPS,
	OPTION_DEEP,
	OPTION_DRY_RUN,
	OPTION_HEX,
	OPTION_DUMP,
	OPTION_YES,
	OPTION_FORCE,
	OPTION_RANGES,
	OPTION_UNDO_FILE,
	OPTION_UNDO_DIR,
	OPTION_NO_UNDO,
	OPTION_THREADS,
	OPTION_PROGRESS,
	OPTION_OUTPUT,
	OPTION_JSON,
};

static const struct option_row options[] = {
	{"all", 'a', NULL, "give up as well what nobody can read any more", NULL},
	{"leaks", 0, NULL, "free leaked clusters, and do nothing else", NULL},
	{"only", 0, "KINDS", "mend these alone, whatever it costs: id,id,...", NULL},
	{"drop-snapshot", 0, "ID", "drop a snapshot: its ID, its name, or #N", NULL},
	{"free-lost", 0, NULL, "free leaks that may be lost data of the guest", NULL},
	{"drop-bad-bitmaps", 0, NULL, "drop bitmaps that nothing mends, not all dirty", NULL},
	{"deep", 'd', NULL, "inflate every compressed cluster, too", NULL},
	{"dry-run", 'n', NULL, "show what would be done; change nothing", NULL},
	{"hex", 'x', NULL, "with --dry-run: every byte that would change, too", NULL},
	{"dump", 0, "SELECTOR", "with --dry-run: show this of the planned image, too", NULL},
	{"yes", 'y', NULL, "do not ask before the image is changed", NULL},
	{"force", 'f', NULL, "even if the image is read-only, or a guard refuses", NULL},
	{"ranges", 0, NULL, "show all steps and ranges, not the first of each kind", NULL},
	CHANGE_UNDO_ROWS,
	{"threads", 0, "N", "use at most N threads (default: one a processor)", NULL},
	{"progress", 'p', NULL, "show how far it is on standard error", NULL},
	{"output", 0, "FORMAT", "human (default) or json", "human json"},
	{"json", 'j', NULL, "short for --output=json", NULL},
};

static bool take_snapshot(struct repair_run *run, const char *value)
{
	void *grown = realloc(run->drop, (run->how.drop_count + 1) * sizeof(*run->drop));

	if (!grown) {
		report_text(run->command, "", "out of memory");
		return false;
	}
	run->drop = grown;
	run->drop[run->how.drop_count++] = value;
	return true;
}

static bool take_threads(struct repair_run *run, const char *value)
{
	uint64_t number;

	if (!options_number(run->command, &options[OPTION_THREADS], value, QCOW2_CHECK_THREADS_MAX,
			    &number))
		return false;
	run->how.threads = (unsigned)number;
	if (number == 0)
		usage_error(run->command, "--threads is a number from 1 to %d, not '%s'",
			    QCOW2_CHECK_THREADS_MAX, value);
	return number > 0;
}

/* Takes an option that says what to mend. False: it is none of these. */
static bool take_extent(struct repair_run *run, int option)
{
	if (option == OPTION_ALL)
		run->how.extent = QCOW2_REPAIR_ALL;
	else if (option == OPTION_LEAKS)
		run->how.extent = QCOW2_REPAIR_LEAKS;
	else if (option == OPTION_FREE_LOST)
		run->how.free_lost = true;
	else if (option == OPTION_DROP_BAD_BITMAPS)
		run->how.drop_bad_bitmaps = true;
	else if (option == OPTION_DEEP)
		run->how.deep = true;
	else
		return false;
	return true;
}

/* Takes an option. False, with a message, if its value makes no sense. */
static bool take_option(struct repair_run *run, int option, const char *value)
{
	if (change_take_option(&run->change, &options[option], value) || take_extent(run, option))
		return true;
	switch (option) {
	case OPTION_ONLY:
		return repair_take_only(run, value);
	case OPTION_DROP_SNAPSHOT:
		return take_snapshot(run, value);
	case OPTION_HEX:
		run->hex = true;
		return true;
	case OPTION_YES:
		run->yes = true;
		return true;
	case OPTION_FORCE:
		run->change.force = true;
		return true;
	case OPTION_RANGES:
		run->ranges = true;
		return true;
	case OPTION_THREADS:
		return take_threads(run, value);
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

/* Options that contradict each other. Returns EXIT_FINE, or EXIT_COULD_NOT with a message. */
static int refuse_mix(const struct repair_run *run, uint32_t given)
{
	static const int extents[] = {OPTION_ALL, OPTION_LEAKS, OPTION_ONLY};
	const char *first = NULL;

	for (size_t i = 0; i < sizeof(extents) / sizeof(extents[0]); i++) {
		if (!(given & UINT32_C(1) << extents[i]))
			continue;
		if (first)
			return usage_error(run->command, "--%s and --%s at once", first,
					   options[extents[i]].name);
		first = options[extents[i]].name;
	}
	if (run->how.drop_bad_bitmaps && run->how.extent != QCOW2_REPAIR_ALL &&
	    run->how.only_count == 0)
		return usage_error(run->command, "--drop-bad-bitmaps is for --all, or for --only");
	if (run->hex && !run->change.report.dry_run)
		return usage_error(run->command, "--hex is for --dry-run");
	return EXIT_FINE;
}

/* What the undo file says was done. */
static void describe(struct repair_run *run)
{
	char *text = run->change.description;
	size_t size = sizeof(run->change.description);

	if (run->how.only_count == 1)
		snprintf(text, size, "repair --only=%s", run->only[0]->id);
	else
		snprintf(text, size, "repair%s",
			 run->how.only_count > 1                 ? " --only"
			 : run->how.extent == QCOW2_REPAIR_ALL   ? " --all"
			 : run->how.extent == QCOW2_REPAIR_LEAKS ? " --leaks"
								 : "");
}

static int parse(struct repair_run *run, int argc, char **argv, int *code)
{
	uint32_t given = 0;
	const char *value;
	int option;

	*code = EXIT_COULD_NOT;
	while ((option = options_next(run->command, argc, argv, &value, code)) >= 0) {
		*code = EXIT_COULD_NOT;
		if (!take_option(run, option, value))
			return -1;
		given |= UINT32_C(1) << option;
	}
	if (option == OPTIONS_STOP)
		return -1;
	*code = refuse_mix(run, given);
	if (*code != EXIT_FINE)
		return -1;
	*code = EXIT_COULD_NOT;
	if (optind == argc) {
		usage_error(run->command, "no image given");
		return -1;
	}
	if (argc - optind > 1) {
		usage_error(run->command, "too many operands");
		return -1;
	}
	run->change.report.file = argv[optind];
	return 0;
}

static int run_repair(const struct command *command, int argc, char **argv)
{
	struct repair_run run = {.command = command,
				 .change = {.command = command},
				 .how = {.size = sizeof(run.how)}};
	int code;

	if (parse(&run, argc, argv, &code) == 0) {
		describe(&run);
		run.how.memory_limit_bytes = limits_memory(command);
		code = repair_run(&run);
	}
	free(run.only);
	free(run.drop);
	return code;
}

const struct command repair_command = {
	.name = "repair",
	.operands = "IMAGE",
	.summary = "Make a damaged image sound again; can be undone.",
	.notes = "Mends all that costs nothing: what the guest, snapshots and bitmaps can read "
		 "they read afterwards. --all gives up what nobody can read, and never a snapshot "
		 "or what may be lost data of the guest. On a terminal it shows what it would do, "
		 "and asks. KINDS are ids of problems ('qcow2 check --list'), or header, mapping, "
		 "snapshots, bitmaps or refcounts.\n"
		 "Exit codes: 0 the image is sound, 1 failed or refused, 2 corruptions are left, 3 "
		 "leaks are left, 63 no qcow2 image.\n",
	.options = options,
	.option_count = sizeof(options) / sizeof(options[0]),
	.run = run_repair,
};
