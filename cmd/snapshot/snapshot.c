/* SPDX-License-Identifier: MIT */
/*
 * qcow2 snapshot: lists, shows and compares internal snapshots, and tells what each costs. This file
 * has the command line and the table of actions.
 */
#include "snapshot/snapshot.h"

#include <limits.h>
#include <time.h>
#include <unistd.h>

#include "commands.h"
#include "common/limits.h"
#include "common/open_image.h"
#include "common/operands.h"
#include "common/options.h"
#include "common/report.h"
#include "common/sandbox.h"
#include "out/wrap.h"

#include <qcow2/source.h>

enum { ACTION_LIST, ACTION_SHOW, ACTION_SPACE, ACTION_DIFF, ACTION_COUNT };

enum {
	OPTION_WITH,
	OPTION_IGNORE_OFFSETS,
	OPTION_START_OFFSET,
	OPTION_MAX_LENGTH,
	OPTION_OUTPUT,
	OPTION_JSON
};

static const struct option_row options[] = {
	{"with", 0, "IMAGE", "diff: the second disk is one of IMAGE", NULL},
	{"ignore-offsets", 0, NULL, "diff: compare what ranges are, not where they are", NULL},
	{"start-offset", 's', "OFFSET", "diff: begin there (default 0)", NULL},
	{"max-length", 'l', "LENGTH", "diff: compare so many bytes (default all)", NULL},
	{"output", 0, "FORMAT", "human (default), json, or ndjson (list, diff)",
	 "human json ndjson"},
	{"json", 'j', NULL, "short for --output=json", NULL},
};

#define BIT(option) (UINT32_C(1) << OPTION_##option)
#define OUTPUTS     (BIT(OUTPUT) | BIT(JSON))
#define DIFF_ONLY   (BIT(WITH) | BIT(IGNORE_OFFSETS) | BIT(START_OFFSET) | BIT(MAX_LENGTH))

static const struct action_row actions[] = {
	[ACTION_LIST] = {"list", "", 0, 0, OUTPUTS,
			 "show ID, date, VM state, VM clock, icount and name of each",
			 .changes_image = false},
	[ACTION_SHOW] = {"show", "SNAPSHOT", 1, 1, OUTPUTS,
			 "show all of one: its fields, its disk and its problems",
			 .changes_image = false},
	[ACTION_SPACE] = {"space", "[SNAPSHOT...]", 0, OPERANDS_ANY, OUTPUTS,
			  "show what each refers to, and what deleting it would free",
			  "With SNAPSHOTs, what deleting these together would free.",
			  .changes_image = false},
	[ACTION_DIFF] = {"diff", "[SNAPSHOT|IMAGE] [SNAPSHOT]", 0, 2, OUTPUTS | DIFF_ONLY,
			 "show where the mappings of two disks differ",
			 "Compares two snapshots; a snapshot and the active disk; or the disks of "
			 "two images. Equal mappings of two images may hold different data.\n"
			 "Exit codes: 0 they are the same, 1 failed, 2 parts cannot be compared, "
			 "3 they differ.",
			 .changes_image = false},
};

static int (*const functions[ACTION_COUNT])(struct snapshot_run *run) = {
	[ACTION_LIST] = snapshot_list,
	[ACTION_SHOW] = snapshot_show,
	[ACTION_SPACE] = snapshot_space,
	[ACTION_DIFF] = snapshot_diff,
};

static int act(struct snapshot_run *run)
{
	struct qcow2_error err;

	if (qcow2_image_open(run->source, &run->image, &err) ||
	    snapshot_table_read(&run->table, run->image, &err))
		return snapshot_fail(run, &err);
	return functions[run->action - actions](run);
}

/* Gives up what the action does not need. An operand of diff may be the file of another image. */
static int enter_sandbox(struct snapshot_run *run)
{
	char *const names[] = {(char *)(uintptr_t)run->with};
	struct sandbox_files files = {.names = names, .count = 1};

	/* People see dates in local time, whose rules are in a file. */
	if (run->format == SNAPSHOT_HUMAN)
		tzset();
	if (run->action == &actions[ACTION_SPACE] || run->action == &actions[ACTION_SHOW])
		run->threads = qcow2_processors();
	if (run->action != &actions[ACTION_DIFF])
		return sandbox_seal(run->command);
	if (!run->with)
		files = (struct sandbox_files){.names = run->names, .count = (int)run->name_count};
	return sandbox_read_files(run->command, &files);
}

static int run_action(struct snapshot_run *run)
{
	struct qcow2_error err;
	int code;

	if (limits_open(run->command->common, run->file, &run->source, &err))
		return snapshot_fail(run, &err);
	code = enter_sandbox(run);
	if (code != EXIT_FINE) {
		qcow2_source_close(run->source);
		return code;
	}
	warn_in_use(run->command, run->file, run->source);
	run->columns = isatty(STDOUT_FILENO) ? terminal_columns() : UINT_MAX;
	progress_init(&run->progress);
	spool_init(&run->out, STDOUT_FILENO);
	json_init(&run->json, &run->out, run->format == SNAPSHOT_JSON ? 2 : 0, false);
	code = act(run);
	progress_end(&run->progress);
	/* After a failure nothing is printed, unless the output streams already. */
	if (code != EXIT_COULD_NOT)
		code = finish_output(run->command, &run->out, code);
	spool_release(&run->out);
	snapshot_table_release(&run->table);
	qcow2_image_close(run->image);
	qcow2_source_close(run->source);
	return code;
}

/* Takes an option. False, with a message, if its value makes no sense. */
static bool take_option(struct snapshot_run *run, int option, const char *value)
{
	const struct option_row *row = &options[option];
	int word;

	switch (option) {
	case OPTION_WITH:
		run->with = value;
		return true;
	case OPTION_IGNORE_OFFSETS:
		run->ignore_offsets = true;
		return true;
	case OPTION_START_OFFSET:
		return options_number(run->command, row, value, UINT64_MAX, &run->start_bytes);
	case OPTION_MAX_LENGTH:
		return options_number(run->command, row, value, UINT64_MAX, &run->length_bytes);
	case OPTION_OUTPUT:
		word = options_word(run->command, row, value);
		run->format = (enum snapshot_format)word;
		return word >= 0;
	default:
		run->format = SNAPSHOT_JSON;
		return true;
	}
}

/* Takes the operands. EXIT_FINE, or EXIT_COULD_NOT when the error has been said. */
static int take_operands(struct snapshot_run *run, int argc, char **argv, uint32_t given)
{
	const struct command *command = run->command;
	struct action_line line;

	if (operands_action(command, argc, argv, given, &line) != EXIT_FINE)
		return EXIT_COULD_NOT;
	run->action = line.action;
	run->file = line.file;
	run->names = line.names;
	run->name_count = line.name_count;
	if (run->format == SNAPSHOT_NDJSON && run->action != &actions[ACTION_LIST] &&
	    run->action != &actions[ACTION_DIFF])
		return usage_error(command, "%s has no output as ndjson", run->action->name);
	return EXIT_FINE;
}

static int run_snapshot(const struct command *command, int argc, char **argv)
{
	struct snapshot_run run = {.command = command, .length_bytes = UINT64_MAX};
	uint32_t given = 0;
	const char *value;
	int code, option;

	while ((option = options_next(command, argc, argv, &value, &code)) >= 0) {
		if (!take_option(&run, option, value))
			return EXIT_COULD_NOT;
		given |= UINT32_C(1) << option;
	}
	if (option == OPTIONS_STOP)
		return code;
	code = take_operands(&run, argc, argv, given);
	return code == EXIT_FINE ? run_action(&run) : code;
}

const struct command snapshot_command = {
	.name = "snapshot",
	.operands = "ACTION IMAGE [SNAPSHOT...]",
	.summary = "List, show and compare snapshots, and say what each costs.",
	.notes = "A snapshot is named by its ID, or else by its name. Nothing is changed: "
		 "'qemu-img snapshot' makes, applies and deletes snapshots.\n"
		 "Exit codes: 0 done, 1 failed, 2 done, but the snapshots are damaged, or space: "
		 "the image is corrupt; 3 diff: they differ.\n",
	.actions = actions,
	.action_count = ACTION_COUNT,
	.action_place = ACTION_FIRST,
	.action_word = "action",
	.options = options,
	.option_count = sizeof(options) / sizeof(options[0]),
	.run = run_snapshot,
};
