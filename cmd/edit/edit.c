/* SPDX-License-Identifier: MIT */
/*
 * qcow2 edit: plans changes by name, shows them, applies them, and leaves a way back. This file has
 * the command line.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "commands.h"
#include "common/ask.h"
#include "common/change.h"
#include "common/options.h"
#include "common/report.h"
#include "edit/script.h"

static const struct option_row options[] = {
	CHANGE_DRY_RUN_ROWS,
	{"force", 'f', NULL, "even if it adds problems or the image is read-only", NULL},
	{"yes", 'y', NULL, "do not ask before entries of tables are set", NULL},
	{"script", 0, "FILE", "take changes from FILE (- for stdin), one a line", NULL},
	CHANGE_UNDO_ROWS,
	{"data", 0, "TEXT", "data of the extension", NULL},
	{"file", 0, "PATH", "file with the data of the extension (- for stdin)", NULL},
	{"output", 0, "FORMAT", "human (default) or json", "human json"},
	{"json", 'j', NULL, "short for --output=json", NULL},
};

/* One call of the command. */
struct run {
	struct change change;
	struct edit_line line;
	struct edit_effect effect;
	const char *script;
	bool yes;
};

/* Asks before entries of tables are set. A program that calls the command is not asked. */
static bool is_confirmed(struct change *change)
{
	const struct run *run = change->opaque;

	if (!run->effect.raw)
		return true;
	if (wants_silence(change->command) && (run->yes || !isatty(STDIN_FILENO)))
		return true;
	fprintf(stderr, "qcow2 edit: this sets entries of tables as they are. They say\n%s.\n",
		run->effect.raw);
	if (run->yes || !isatty(STDIN_FILENO))
		return true;
	return ask_person("Go on?");
}

static int plan_verbs(struct change *change)
{
	struct run *run = change->opaque;
	struct qcow2_plan *plan = change->report.plan;
	struct qcow2_error err;

	if (run->script ? edit_script(plan, run->script, &run->effect, &err)
			: edit_verb(plan, &run->line, &run->effect, &err))
		return change_fail(change, &err);
	return EXIT_FINE;
}

/* Takes an option. False, with a message, if its value makes no sense. */
static bool take_option(struct run *run, int option, const char *value)
{
	struct change *change = &run->change;

	if (change_take_option(change, &options[option], value))
		return true;
	switch (option) {
	case OPTION_FORCE:
		change->force = true;
		return true;
	case OPTION_YES:
		run->yes = true;
		return true;
	case OPTION_SCRIPT:
		run->script = value;
		return true;
	case OPTION_DATA:
		run->line.data = value;
		return true;
	case OPTION_FILE:
		run->line.file = value;
		return true;
	case OPTION_JSON:
		change->as_json = true;
		return true;
	default:
		return options_output(change->command, value, &change->as_json);
	}
}

/* Takes the operands. Returns EXIT_FINE, or EXIT_COULD_NOT when the error has been said. */
static int take_operands(struct run *run, int argc, char **argv)
{
	const struct command *command = run->change.command;

	if (optind == argc)
		return usage_error(command, "no image given");
	run->change.report.file = argv[optind++];
	run->line.words = argv + optind;
	run->line.count = (size_t)(argc - optind);
	if (run->script && run->line.count > 0)
		return usage_error(command, "a verb and --script at once");
	if (!run->script && run->line.count == 0)
		return usage_error(command, "no verb given");
	if (run->script && (run->line.data || run->line.file))
		return usage_error(command, "--data and --file stand in the script's lines");
	return EXIT_FINE;
}

static int run_edit(const struct command *command, int argc, char **argv)
{
	struct run run = {
		.change = {.command = command, .plan = plan_verbs, .confirm = is_confirmed}};
	char *description = run.change.description;
	const char *value;
	int code, option;

	run.change.opaque = &run;
	run.effect.lines = &run.change.effects;
	while ((option = options_next(command, argc, argv, &value, &code)) >= 0)
		if (!take_option(&run, option, value))
			return EXIT_COULD_NOT;
	if (option == OPTIONS_STOP)
		return code;
	code = take_operands(&run, argc, argv);
	if (code != EXIT_FINE)
		return code;
	if (run.script)
		snprintf(description, sizeof(run.change.description), "edit --script");
	else
		snprintf(description, sizeof(run.change.description), "edit %s %s",
			 run.line.words[0], run.line.count > 1 ? run.line.words[1] : "");
	return change_run(&run.change);
}

const struct command edit_command = {
	.name = "edit",
	.operands = "IMAGE VERB ARG...",
	.summary = "Change fields, feature bits and extensions; can be undone.",
	.notes = "What adds problems to the image, or gives up what protects it, is refused. The "
		 "undo file is .qcow2-undo/IMAGE.YYYYmmddTHHMMSSZ.undo beside the image, or in "
		 "--undo-dir, or in QCOW2_UNDO_DIR; 'qcow2 undo' puts back what it holds.\n"
		 "Exit codes: 0 done, 1 failed or refused.\n",
	.actions = edit_verbs,
	.action_count = EDIT_VERBS,
	.action_place = ACTION_AFTER_IMAGE,
	.action_word = "verb",
	.options = options,
	.option_count = sizeof(options) / sizeof(options[0]),
	.run = run_edit,
};
