/* SPDX-License-Identifier: MIT */
/* qcow2 capture: a sparse copy of an image's metadata, to send; and back again. The command line. */
#include <stdlib.h>
#include <string.h>

#include "capture/run.h"
#include "commands.h"
#include "common/operands.h"
#include "common/options.h"
#include "common/report.h"

enum {
	OPTION_TO,
	OPTION_REDACT,
	OPTION_WITH_COMPRESSED,
	OPTION_NO_LEAKS,
	OPTION_APPLY,
	OPTION_DRY_RUN,
	OPTION_DUMP,
	OPTION_YES,
	OPTION_FORCE,
	OPTION_UNDO_FILE,
	OPTION_UNDO_DIR,
	OPTION_NO_UNDO,
	OPTION_OUTPUT,
	OPTION_JSON,
};

static const struct option_row options[] = {
	{"to", 'o', "FILE", "the capture, a new sparse file", NULL},
	{"redact", 0, NULL, "replace all names by neutral ones", NULL},
	{"with-compressed", 0, NULL, "compressed guest data, too", NULL},
	{"no-leaks", 0, NULL, "do not look into leaked clusters for lost tables", NULL},
	{"apply", 0, "CAPTURE", "put its metadata back onto the image; can be undone", NULL},
	CHANGE_DRY_RUN_ROWS,
	{"yes", 'y', NULL, "with --apply: do not ask before the image is changed", NULL},
	{"force", 'f', NULL, "replace a capture; apply what would lose something", NULL},
	CHANGE_UNDO_ROWS,
	{"output", 0, "FORMAT", "human (default) or json", "human json"},
	{"json", 'j', NULL, "short for --output=json", NULL},
};

/* Takes an option. False, with a message, if its value makes no sense. */
static bool take_option(struct capture_run *run, int option, const char *value)
{
	if (change_take_option(&run->change, &options[option], value))
		return true;
	switch (option) {
	case OPTION_TO:
		run->to = value;
		return true;
	case OPTION_REDACT:
		run->redact = true;
		return true;
	case OPTION_WITH_COMPRESSED:
		run->compressed = true;
		return true;
	case OPTION_NO_LEAKS:
		run->no_leaks = true;
		return true;
	case OPTION_APPLY:
		run->apply = value;
		return true;
	case OPTION_YES:
		run->yes = true;
		return true;
	case OPTION_FORCE:
		run->force = true;
		return true;
	case OPTION_JSON:
		run->json = true;
		return true;
	default:
		return options_output(run->command, value, &run->json);
	}
}

/* Options that make no sense together. Returns EXIT_FINE, or EXIT_COULD_NOT with a message. */
static int refuse_mix(const struct capture_run *run)
{
	const struct change *change = &run->change;
	const bool changes = change->report.dry_run || change->report.selector || run->yes ||
			     change->undo.file || change->undo.dir || change->undo.none;

	if (!run->to && !run->apply)
		return usage_error(run->command, "no --to=FILE given, and no --apply=CAPTURE");
	if (run->to && run->apply)
		return usage_error(run->command, "either --to or --apply, not both");
	if (run->to && changes)
		return usage_error(run->command,
				   "dry runs, questions and undo files are for --apply");
	if (run->apply && (run->redact || run->compressed || run->no_leaks))
		return usage_error(run->command,
				   "what is captured is chosen when a capture is made, not when "
				   "it is applied");
	if (run->to && strcmp(run->to, "-") == 0)
		return usage_error(run->command,
				   "a capture is a sparse file, which no pipe can be: name one, "
				   "and send it with 'tar -S'");
	if (run->to && *run->to == '\0')
		return usage_error(run->command, "a file needs a name");
	return EXIT_FINE;
}

/* Takes the line, and does what it says. */
static int run_line(struct capture_run *run, int argc, char **argv)
{
	const char *value;
	int code = EXIT_COULD_NOT, option;

	while ((option = options_next(run->command, argc, argv, &value, &code)) >= 0)
		if (!take_option(run, option, value))
			return EXIT_COULD_NOT;
	if (option == OPTIONS_STOP)
		return code;
	code = refuse_mix(run);
	if (code == EXIT_FINE)
		code = operands_one_image(run->command, argc, argv, &run->file);
	if (code != EXIT_FINE)
		return code;
	return run->apply ? capture_apply(run) : capture_make(run);
}

static int run_capture(const struct command *command, int argc, char **argv)
{
	struct capture_run *run = calloc(1, sizeof(*run));
	int code;

	if (!run)
		return report_text(command, "", "out of memory");
	run->command = command;
	run->change.command = command;
	code = run_line(run, argc, argv);
	free(run);
	return code;
}

const struct command capture_command = {
	.name = "capture",
	.operands = "IMAGE",
	.summary = "Copy the metadata of an image alone, to send it with a bug report.",
	.notes = "The copy is a sparse file of the same size, in which guest data are holes; it "
		 "opens and checks like the image, damage and all. Keys of LUKS are never in it. A "
		 "manifest beside it, FILE.json, says that it is a capture.\n"
		 "Exit codes: 0 done, 1 failed, 2 done, but only the header could be captured.\n",
	.options = options,
	.option_count = sizeof(options) / sizeof(options[0]),
	.run = run_capture,
};
