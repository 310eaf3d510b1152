/* SPDX-License-Identifier: MIT */
/*
 * qcow2 bitmap: lists, reads, compares, changes and repairs dirty bitmaps without QEMU. This file
 * has the command line and the table of actions.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bitmap/actions.h"
#include "commands.h"
#include "common/limits.h"
#include "common/open_image.h"
#include "common/operands.h"
#include "common/option_rows.h"
#include "common/options.h"
#include "common/report.h"
#include "common/sandbox.h"

#include <qcow2/source.h>

enum {
	OPTION_DIRTY,
	OPTION_CLEAN,
	OPTION_ALL,
	OPTION_UNION,
	OPTION_INTERSECT,
	OPTION_SUBTRACT,
	OPTION_FORCE,
	OPTION_TO,
	OPTION_SPARSE,
	OPTION_RAW,
	OPTION_FROM,
	OPTION_GRANULARITY,
	OPTION_DISABLED,
	OPTION_DROP_BAD,
	OPTION_ASSUME_DIRTY,
	OPTION_DRY_RUN,
	OPTION_DUMP,
	OPTION_UNDO_FILE,
	OPTION_UNDO_DIR,
	OPTION_NO_UNDO,
	OPTION_CHAIN,
	OPTION_OUTPUT,
	OPTION_JSON
};

static const struct option_row options[] = {
	{"dirty", 0, NULL, "extents: only what is dirty", NULL},
	{"clean", 0, NULL, "extents: only what is clean", NULL},
	{"all", 'a', NULL, "extents: both (default)", NULL},
	{"union", 0, NULL, "extents: dirty in any of the bitmaps (default)", NULL},
	{"intersect", 0, NULL, "extents: dirty in all of them", NULL},
	{"subtract", 0, NULL, "extents: dirty in the first and in no other", NULL},
	{"force", 'f', NULL, "use bitmaps that are in use; edit all the same", NULL},
	{"to", 'o', "FILE", "export: where to (default - for standard output)", NULL},
	{"sparse", 0, NULL, "export: leave holes in FILE where bits are zero", NULL},
	{"raw", 0, NULL, "export, import: the bits alone, without a header", NULL},
	{"from", 'b', "IMAGE", "merge, compare: the sources, the second is in IMAGE", NULL},
	{"granularity", 'g', "SIZE", "add, import: bytes that a bit stands for", NULL},
	{"disabled", 0, NULL, "add, import: a new one records nothing", NULL},
	{"drop-bad", 0, NULL, "repair: drop what cannot be mended, or is stale", NULL},
	{"assume-dirty", 0, NULL, "repair: make NAMEs, or all stale ones, all dirty", NULL},
	CHANGE_DRY_RUN_ROWS,
	CHANGE_UNDO_ROWS,
	{"chain", 0, NULL, "list, extents, merge: backing files as well", NULL},
	{"output", 0, "FORMAT", "human (default), json, or ndjson", "human json ndjson"},
	{"json", 'j', NULL, "short for --output=json", NULL},
};

#define BIT(option) (UINT32_C(1) << OPTION_##option)
#define OUTPUTS     (BIT(OUTPUT) | BIT(JSON))
#define UNDO_PLACES (BIT(UNDO_FILE) | BIT(UNDO_DIR) | BIT(NO_UNDO))
#define CHANGES     (OUTPUTS | BIT(FORCE) | BIT(DRY_RUN) | BIT(DUMP) | UNDO_PLACES)
#define EXTENT_CHOICE                                                                              \
	(BIT(DIRTY) | BIT(CLEAN) | BIT(ALL) | BIT(UNION) | BIT(INTERSECT) | BIT(SUBTRACT))

static const struct action_row actions[] = {
	[ACTION_LIST] = {"list", "", 0, 0, OUTPUTS | BIT(CHAIN),
			 "show the state, dirty bytes and space of each bitmap",
			 .group = "Actions that read"},
	[ACTION_EXTENTS] = {"extents", "NAME...", 1, OPERANDS_ANY,
			    OUTPUTS | EXTENT_CHOICE | BIT(FORCE) | BIT(CHAIN),
			    "show which ranges of the virtual disk are dirty",
			    "Of several bitmaps it shows what is dirty in any of them, in all, or "
			    "in the first alone. With --chain, a bitmap is dirty where it is so "
			    "in any image of the chain.",
			    .changes_image = false},
	[ACTION_EXPORT] = {"export", "NAME", 1, 1, BIT(TO) | BIT(SPARSE) | BIT(RAW) | BIT(FORCE),
			   "write the bits of a bitmap, and what they are of",
			   "'qcow2 bitmap import' takes what it writes. Standard output must not "
			   "be a terminal.",
			   .prints_data = true},
	[ACTION_COMPARE] = {"compare", "NAME NAME", 2, 2, OUTPUTS | BIT(FROM) | BIT(FORCE),
			    "show where two bitmaps differ",
			    "Exit codes: 0 they are equal, 1 failed, 3 they differ.",
			    .changes_image = false},
	[ACTION_ADD] = {"add", "NEW...", 1, OPERANDS_ANY,
			CHANGES | BIT(GRANULARITY) | BIT(DISABLED), "add bitmaps, all clean",
			.group = "Actions that change, each of which can be undone",
			.changes_image = true},
	[ACTION_REMOVE] = {"remove", "NAME...", 1, OPERANDS_ANY, CHANGES,
			   "remove bitmaps, whatever their state", .changes_image = true},
	[ACTION_CLEAR] = {"clear", "NAME...", 1, OPERANDS_ANY, CHANGES, "make bitmaps all clean",
			  .changes_image = true},
	[ACTION_ENABLE] = {"enable", "NAME...", 1, OPERANDS_ANY, CHANGES,
			   "let programs record writes in bitmaps", .changes_image = true},
	[ACTION_DISABLE] = {"disable", "NAME...", 1, OPERANDS_ANY, CHANGES,
			    "let bitmaps stay as they are when the disk is written",
			    .changes_image = true},
	[ACTION_RENAME] = {"rename", "NAME NEW", 2, 2, CHANGES, "give a bitmap another name",
			   .changes_image = true},
	[ACTION_MERGE] = {"merge", "SOURCE... NAME", 2, OPERANDS_ANY,
			  CHANGES | BIT(FROM) | BIT(CHAIN),
			  "make dirty in NAME what is dirty in any SOURCE",
			  "With --from, the sources are in another image; with --chain, in all "
			  "images of the chain.",
			  .changes_image = true},
	[ACTION_IMPORT] = {"import", "NAME FILE", 2, 2,
			   CHANGES | BIT(GRANULARITY) | BIT(DISABLED) | BIT(RAW),
			   "take the bits that export wrote",
			   "FILE may be - for standard input. A bitmap that does not exist is "
			   "added; one that exists loses its bits.",
			   .changes_image = true},
	[ACTION_SCRIPT] = {"script", "FILE", 1, 1, CHANGES,
			   "take such actions from FILE, one a line, as one change",
			   "Lines have no IMAGE: \"add -g 4k 'new one'\". # begins a comment.",
			   .changes_image = true},
	[ACTION_REPAIR] = {"repair", "[NAME...]", 0, OPERANDS_ANY,
			   CHANGES | BIT(DROP_BAD) | BIT(ASSUME_DIRTY),
			   "make QEMU open the image again",
			   "What is not certain becomes dirty.\n"
			   "Exit codes: 0 done, 1 failed or refused, 4 done, but there are "
			   "bitmaps that no backup can rely on.",
			   .changes_image = true},
};

static int (*const functions[ACTION_COUNT])(struct bitmap_run *run) = {
	[ACTION_LIST] = bitmap_list,      [ACTION_EXTENTS] = bitmap_extents,
	[ACTION_EXPORT] = bitmap_export,  [ACTION_COMPARE] = bitmap_compare,
	[ACTION_ADD] = bitmap_change,     [ACTION_REMOVE] = bitmap_change,
	[ACTION_CLEAR] = bitmap_change,   [ACTION_ENABLE] = bitmap_change,
	[ACTION_DISABLE] = bitmap_change, [ACTION_RENAME] = bitmap_change,
	[ACTION_MERGE] = bitmap_change,   [ACTION_IMPORT] = bitmap_change,
	[ACTION_SCRIPT] = bitmap_change,  [ACTION_REPAIR] = bitmap_repair,
};

/* Gives up what an action that only reads does not need. */
static int enter_sandbox(const struct bitmap_run *run)
{
	char *const names[] = {(char *)(uintptr_t)(run->from ? run->from : run->file)};

	if (run->action == &actions[ACTION_EXPORT] && strcmp(run->to, "-") != 0)
		return sandbox_write_new(run->command, run->to);
	if (!run->from && !run->chain)
		return sandbox_seal(run->command);
	return sandbox_read_files(
		run->command,
		&(struct sandbox_files){.names = names, .count = 1, .chains = run->chain});
}

/* Runs an action that only reads. */
static int run_reader(struct bitmap_run *run)
{
	struct qcow2_error err;
	int code;

	if (run->action == &actions[ACTION_EXTENTS])
		run->processors = qcow2_processors();
	served_readers(run->command, run->processors);
	if (limits_open(run->command->common, run->file, &run->source, &err))
		return bitmap_fail(run, &err);
	code = enter_sandbox(run);
	if (code != EXIT_FINE) {
		qcow2_source_close(run->source);
		return code;
	}
	warn_in_use(run->command, run->file, run->source);
	progress_init(&run->progress);
	spool_init(&run->out, STDOUT_FILENO);
	json_init(&run->json, &run->out, run->format == BITMAP_JSON ? 2 : 0, false);
	if (qcow2_image_open(run->source, &run->image, &err)) {
		code = bitmap_fail(run, &err);
	} else {
		code = functions[run->action - actions](run);
		progress_end(&run->progress);
		qcow2_image_close(run->image);
	}
	/* After a failure nothing is printed, unless the output streams already. */
	if (code != EXIT_COULD_NOT)
		code = finish_output(run->command, &run->out, code);
	spool_release(&run->out);
	qcow2_source_close(run->source);
	return code;
}

static bool take_format(struct bitmap_run *run, const char *value)
{
	int word = options_word(run->command, &options[OPTION_OUTPUT], value);

	run->format = (enum bitmap_format)word;
	return word >= 0;
}

/* Takes an option of an action that reads. */
static void take_reading(struct bitmap_run *run, int option)
{
	switch (option) {
	case OPTION_DIRTY:
		run->show = BITMAP_DIRTY;
		return;
	case OPTION_CLEAN:
		run->show = BITMAP_CLEAN;
		return;
	case OPTION_ALL:
		run->show = BITMAP_ALL;
		return;
	case OPTION_UNION:
		run->operation = QCOW2_DIRTY_EXTENTS_UNION;
		return;
	case OPTION_INTERSECT:
		run->operation = QCOW2_DIRTY_EXTENTS_INTERSECT;
		return;
	default:
		run->operation = QCOW2_DIRTY_EXTENTS_SUBTRACT;
	}
}

/* Takes an option. False, with a message, if its value makes no sense. */
static bool take_option(struct bitmap_run *run, int option, const char *value)
{
	struct qcow2_error err;

	switch (option) {
	case OPTION_FORCE:
		run->force = true;
		return true;
	case OPTION_TO:
		run->to = value;
		return true;
	case OPTION_SPARSE:
		run->sparse = true;
		return true;
	case OPTION_RAW:
		run->raw = true;
		return true;
	case OPTION_FROM:
		run->from = value;
		return true;
	case OPTION_GRANULARITY:
		if (bitmap_granularity(value, &run->granularity, &err) == 0)
			return true;
		usage_error(run->command, "%s", err.text);
		return false;
	case OPTION_DISABLED:
		run->disabled = true;
		return true;
	case OPTION_DROP_BAD:
		run->drop_bad = true;
		return true;
	case OPTION_ASSUME_DIRTY:
		run->assume_dirty = true;
		return true;
	case OPTION_CHAIN:
		run->chain = true;
		return true;
	case OPTION_OUTPUT:
		return take_format(run, value);
	case OPTION_JSON:
		run->format = BITMAP_JSON;
		return true;
	default:
		if (!change_take_option(&run->change, &options[option], value))
			take_reading(run, option);
		return true;
	}
}

/* Takes the operands. EXIT_FINE, or EXIT_COULD_NOT when the error has been said. */
static int take_operands(struct bitmap_run *run, int argc, char **argv, uint32_t given)
{
	struct action_line line;

	if (operands_action(run->command, argc, argv, given, &line) != EXIT_FINE)
		return EXIT_COULD_NOT;
	run->action = line.action;
	run->file = line.file;
	run->names = line.names;
	run->name_count = line.name_count;
	if (run->chain && run->from)
		return usage_error(run->command, "--chain and --from exclude each other");
	if (run->action->changes_image && run->format == BITMAP_NDJSON)
		return usage_error(run->command, "%s has no output as ndjson", run->action->name);
	return EXIT_FINE;
}

static int run_bitmap(const struct command *command, int argc, char **argv)
{
	struct bitmap_run run = {.command = command, .to = "-"};
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
	if (code != EXIT_FINE)
		return code;
	if (!run.action->changes_image)
		return run_reader(&run);
	run.change.command = command;
	run.change.report.file = run.file;
	run.change.as_json = run.format == BITMAP_JSON;
	run.change.force = run.force;
	run.change.opaque = &run;
	snprintf(run.change.description, sizeof(run.change.description), "bitmap %s %s",
		 run.action->name, run.name_count > 0 ? run.names[0] : "");
	return functions[run.action - actions](&run);
}

const struct command bitmap_command = {
	.name = "bitmap",
	.operands = "ACTION IMAGE [NAME...]",
	.summary = "List, read, compare, change and repair dirty bitmaps.",
	.notes = "Exit codes: 0 done, 1 failed or refused, 2 list: a bitmap is damaged, 3 "
		 "compare: they differ, 4 repair: done, but there are bitmaps that no backup can "
		 "rely on.\n",
	.actions = actions,
	.action_count = ACTION_COUNT,
	.action_place = ACTION_FIRST,
	.action_word = "action",
	.options = options,
	.option_count = sizeof(options) / sizeof(options[0]),
	.run = run_bitmap,
};
