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
#include "common/open_image.h"
#include "common/options.h"
#include "common/report.h"

#include <qcow2/source.h>

#define ANY UINT32_MAX

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
	{"raw", 0, NULL, "export, import: the bits alone, with nothing in front of them", NULL},
	{"from", 'b', "IMAGE", "merge, compare: the sources, the second is in IMAGE", NULL},
	{"granularity", 'g', "SIZE", "add, import: bytes that a bit stands for", NULL},
	{"disabled", 0, NULL, "add, import: a new one records nothing", NULL},
	{"drop-bad", 0, NULL, "repair: drop what cannot be mended, or is stale", NULL},
	{"assume-dirty", 0, NULL, "repair: make NAMEs, or all stale ones, all dirty", NULL},
	CHANGE_DRY_RUN_ROWS,
	CHANGE_UNDO_ROWS,
	{"chain", 0, NULL, "list: backing files as well", NULL},
	{"output", 0, "FORMAT", "human (default), json, or ndjson", "human json ndjson"},
	{"json", 'j', NULL, "short for --output=json", NULL},
};

#define BIT(option) (UINT32_C(1) << OPTION_##option)
#define OUTPUTS     (BIT(OUTPUT) | BIT(JSON))
#define UNDO_PLACES (BIT(UNDO_FILE) | BIT(UNDO_DIR) | BIT(NO_UNDO))
#define CHANGES     (OUTPUTS | BIT(FORCE) | BIT(DRY_RUN) | BIT(DUMP) | UNDO_PLACES)
#define EXTENT_CHOICE                                                                              \
	(BIT(DIRTY) | BIT(CLEAN) | BIT(ALL) | BIT(UNION) | BIT(INTERSECT) | BIT(SUBTRACT))

static const struct bitmap_action actions[] = {
	{"list", "", 0, 0, OUTPUTS | BIT(CHAIN), false, bitmap_list},
	{"extents", "NAME...", 1, ANY, OUTPUTS | EXTENT_CHOICE | BIT(FORCE), false, bitmap_extents},
	{"export", "NAME", 1, 1, BIT(TO) | BIT(SPARSE) | BIT(RAW) | BIT(FORCE), false,
	 bitmap_export},
	{"compare", "NAME NAME", 2, 2, OUTPUTS | BIT(FROM) | BIT(FORCE), false, bitmap_compare},
	{"add", "NAME...", 1, ANY, CHANGES | BIT(GRANULARITY) | BIT(DISABLED), true, bitmap_change},
	{"remove", "NAME...", 1, ANY, CHANGES, true, bitmap_change},
	{"clear", "NAME...", 1, ANY, CHANGES, true, bitmap_change},
	{"enable", "NAME...", 1, ANY, CHANGES, true, bitmap_change},
	{"disable", "NAME...", 1, ANY, CHANGES, true, bitmap_change},
	{"rename", "NAME NEW", 2, 2, CHANGES, true, bitmap_change},
	{"merge", "SOURCE... NAME", 2, ANY, CHANGES | BIT(FROM), true, bitmap_change},
	{"import", "NAME FILE", 2, 2, CHANGES | BIT(GRANULARITY) | BIT(DISABLED) | BIT(RAW), true,
	 bitmap_change},
	{"script", "FILE", 1, 1, CHANGES, true, bitmap_change},
	{"repair", "[NAME...]", 0, ANY, CHANGES | BIT(DROP_BAD) | BIT(ASSUME_DIRTY), true,
	 bitmap_repair},
};

/* Runs an action that only reads. */
static int run_reader(struct bitmap_run *run)
{
	struct qcow2_error err;
	int code;

	if (qcow2_source_open(run->file, &run->source, &err))
		return bitmap_fail(run, &err);
	warn_in_use(run->command, run->file, run->source);
	progress_init(&run->progress);
	spool_init(&run->out, STDOUT_FILENO);
	json_init(&run->json, &run->out, run->format == BITMAP_JSON ? 2 : 0, false);
	if (qcow2_image_open(run->source, &run->image, &err)) {
		code = bitmap_fail(run, &err);
	} else {
		code = run->action->run(run);
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

static bool take_output(struct bitmap_run *run, const char *value)
{
	if (strcmp(value, "ndjson") == 0)
		run->format = BITMAP_NDJSON;
	else if (strcmp(value, "json") == 0)
		run->format = BITMAP_JSON;
	else if (strcmp(value, "human") == 0)
		run->format = BITMAP_LINES;
	else
		return usage_error(run->command, "--output is human, json or ndjson, not '%s'",
				   value) == EXIT_FINE;
	return true;
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
		return take_output(run, value);
	case OPTION_JSON:
		run->format = BITMAP_JSON;
		return true;
	default:
		if (!change_take_option(&run->change, &options[option], value))
			take_reading(run, option);
		return true;
	}
}

static const struct bitmap_action *find_action(const char *name)
{
	for (size_t i = 0; i < sizeof(actions) / sizeof(actions[0]); i++)
		if (strcmp(actions[i].name, name) == 0)
			return &actions[i];
	return NULL;
}

/*
 * Takes the operands, and checks that the action has all options in `given`. Returns EXIT_FINE, or
 * EXIT_COULD_NOT when the error has been said.
 */
static int take_operands(struct bitmap_run *run, int argc, char **argv, uint32_t given)
{
	const struct command *command = run->command;
	uint32_t surplus;

	if (optind == argc)
		return usage_error(command, "no action given");
	run->action = find_action(argv[optind]);
	if (!run->action)
		return usage_error(command, "unknown action '%s'", argv[optind]);
	if (++optind == argc)
		return usage_error(command, "no image given");
	run->file = argv[optind++];
	run->names = argv + optind;
	run->name_count = (size_t)(argc - optind);
	if (run->name_count < run->action->least || run->name_count > run->action->most)
		return usage_error(command, "%s takes IMAGE%s%s", run->action->name,
				   run->action->operands[0] ? " " : "", run->action->operands);
	surplus = given & ~run->action->options;
	if (surplus)
		return usage_error(command, "%s does not take --%s", run->action->name,
				   options[__builtin_ctz(surplus)].name);
	if (run->action->changes && run->format == BITMAP_NDJSON)
		return usage_error(command, "%s has no output as ndjson", run->action->name);
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
	if (!run.action->changes)
		return run_reader(&run);
	run.change.command = command;
	run.change.report.file = run.file;
	run.change.as_json = run.format == BITMAP_JSON;
	run.change.force = run.force;
	run.change.opaque = &run;
	snprintf(run.change.description, sizeof(run.change.description), "bitmap %s %s",
		 run.action->name, run.name_count > 0 ? run.names[0] : "");
	return run.action->run(&run);
}

const struct command bitmap_command = {
	.name = "bitmap",
	.operands = "ACTION IMAGE [NAME...]",
	.summary = "List, read, compare, change and repair dirty bitmaps.",
	.notes = "Actions that read:\n"
		 "  list IMAGE                     state, dirty bytes and space of each bitmap\n"
		 "  extents IMAGE NAME...          which ranges of the disk are dirty\n"
		 "  export IMAGE NAME              the bits, and what they are of\n"
		 "  compare IMAGE NAME NAME        where two differ\n"
		 "Actions that change, each of which can be undone:\n"
		 "  add, remove, clear, enable, disable IMAGE NAME...\n"
		 "  rename IMAGE NAME NEW\n"
		 "  merge IMAGE SOURCE... NAME     make dirty in NAME what is in any SOURCE\n"
		 "  import IMAGE NAME FILE         take bits that export wrote\n"
		 "  script IMAGE FILE              such actions, one a line, as one change\n"
		 "  repair IMAGE [NAME...]         make QEMU open the image again\n"
		 "Exit codes: 0 done, 1 failed or refused, 2 list: a bitmap is\n"
		 "damaged, 3 compare: they differ, 4 repair: done, but there are\n"
		 "bitmaps that no backup can rely on.\n",
	.options = options,
	.option_count = sizeof(options) / sizeof(options[0]),
	.run = run_bitmap,
};
