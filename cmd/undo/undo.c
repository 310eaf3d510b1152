/* SPDX-License-Identifier: MIT */
/* qcow2 undo: the command line, and the modes that list and remove undo files. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "commands.h"
#include "common/limits.h"
#include "common/options.h"
#include "common/report.h"
#include "common/sandbox.h"
#include "common/undo_place.h"
#include "undo/find.h"
#include "undo/now.h"
#include "undo/one.h"
#include "undo/pages.h"
#include "undo/prune.h"

#include <qcow2/image.h>

enum {
	OPTION_LIST,
	OPTION_EXACT,
	OPTION_FORCE,
	OPTION_PRUNE,
	OPTION_OLDER_THAN,
	OPTION_YES,
	OPTION_OUTPUT,
	OPTION_JSON
};

static const struct option_row options[] = {
	{"list", 'l', NULL, "show undo files, or what one puts back", NULL},
	{"exact", 0, NULL, "the saved bytes, whether they are still true or not", NULL},
	{"force", 'f', NULL, "if read-only, or not locked; see the manual", NULL},
	{"prune", 0, NULL, "remove undo files that are undone or can never be", NULL},
	{"older-than", 0, "AGE", "--prune: only those as old as 30d, 2w or 12h", NULL},
	{"yes", 'y', NULL, "--prune: do not ask", NULL},
	{"output", 0, "FORMAT", "human (default) or json", "human json"},
	{"json", 'j', NULL, "short for --output=json", NULL},
};

#define BIT(option) (UINT32_C(1) << OPTION_##option)
#define OUTPUTS     (BIT(OUTPUT) | BIT(JSON))

static const struct action_row modes[] = {
	{"list", "[UNDO-FILE|DIR|IMAGE...]", 0, OPERANDS_ANY, OUTPUTS,
	 "show which undo files there are, and what can be undone now",
	 "Without a name, it looks in the current folder and in QCOW2_UNDO_DIR. A single UNDO-FILE "
	 "is shown with every byte that would come back.",
	 .group = "Modes"},
	{"prune", "[UNDO-FILE|DIR|IMAGE...]", 0, OPERANDS_ANY,
	 OUTPUTS | BIT(FORCE) | BIT(OLDER_THAN) | BIT(YES),
	 "remove undo files that are undone or can never be",
	 "Without a name, it looks in the current folder and in QCOW2_UNDO_DIR.", .group = NULL},
};

/* ---- many undo files ---- */

static int fail(const struct undo_run *run, const char *path, int errnum)
{
	return report_text(run->command, path, strerror(errnum));
}

/* Reports an operand that is no image and has no undo files: it was meant to be an undo file. */
static int check_operand(const struct undo_run *run, struct qcow2_source *source, const char *path)
{
	struct qcow2_image *image;
	struct qcow2_undo *undo;
	struct qcow2_error err;

	if (qcow2_image_open(source, &image, &err) == 0) {
		qcow2_image_close(image);
		return EXIT_FINE;
	}
	if (qcow2_undo_open(path, &undo, &err))
		return report_error(run->command, path, &err);
	qcow2_undo_close(undo);
	return EXIT_FINE;
}

/* Gathers the undo files of an image, by its path and by its identity. */
static int gather_image(const struct undo_run *run, struct undo_list *list, const char *path)
{
	char *real = realpath(path, NULL);
	struct undo_filter filter = {.image_path = real};
	size_t count = list->count;
	struct qcow2_error err;
	int code = EXIT_FINE;

	if (limits_open(run->command->common, path, &filter.image, &err)) {
		code = report_error(run->command, path, &err);
	} else {
		undo_list_of_image(list, path, &filter);
		if (list->count == count)
			code = check_operand(run, filter.image, path);
	}
	qcow2_source_close(filter.image);
	free(real);
	return code;
}

static int gather_operand(const struct undo_run *run, struct undo_list *list, const char *path)
{
	struct stat st;
	int errnum;

	if (stat(path, &st) < 0)
		return fail(run, path, errno);
	if (S_ISDIR(st.st_mode)) {
		errnum = undo_list_scan(list, path, NULL);
		return errnum ? fail(run, path, errnum) : EXIT_FINE;
	}
	if (!undo_is_one(path))
		return gather_image(run, list, path);
	undo_list_add(list, path, NULL);
	return EXIT_FINE;
}

static int gather(const struct undo_run *run, struct undo_list *list)
{
	const char *dir = undo_dir_of_environment();
	int code = EXIT_FINE;

	for (size_t i = 0; i < run->operand_count && code == EXIT_FINE; i++)
		code = gather_operand(run, list, run->operands[i]);
	if (run->operand_count == 0) {
		code = gather_operand(run, list, ".");
		if (dir && code == EXIT_FINE)
			code = gather_operand(run, list, dir);
	}
	if (code == EXIT_FINE && list->short_of_memory)
		code = fail(run, "undo files", ENOMEM);
	undo_list_extend(list);
	undo_list_sort(list);
	return code;
}

static int run_many(struct undo_run *run)
{
	struct undo_list list = {.count = 0};
	int code = gather(run, &list);

	if (code == EXIT_FINE) {
		undo_list_judge(&list);
		if (run->pruning)
			code = undo_prune(&run->prune, &list, &run->out, &run->json);
		else if (run->as_json)
			undo_list_json(&run->json, &list);
		else
			undo_list_human(&run->out, &list);
		code = finish_output(run->command, &run->out, code);
	}
	undo_list_release(&list);
	return code;
}

/* ---- the line ---- */

/* Takes an option. False, with a message, if its value makes no sense. */
static bool take_option(struct undo_run *run, int option, const char *value)
{
	switch (option) {
	case OPTION_LIST:
		run->list = true;
		return true;
	case OPTION_EXACT:
		run->exact = true;
		return true;
	case OPTION_FORCE:
		run->force = true;
		return true;
	case OPTION_PRUNE:
		run->pruning = true;
		return true;
	case OPTION_OLDER_THAN:
		run->aged = true;
		if (undo_age(value, &run->prune.older_seconds))
			return true;
		usage_error(run->command, "'%s' is no age: 30d, 2w, 12h, 5m and 90s are", value);
		return false;
	case OPTION_YES:
		run->prune.yes = true;
		return true;
	case OPTION_JSON:
		run->as_json = true;
		return true;
	default:
		return options_output(run->command, value, &run->as_json);
	}
}

/* Returns what is wrong with the line, or NULL. */
static const char *line_error(const struct undo_run *run)
{
	if (run->list && run->pruning)
		return "--list and --prune at once: --prune shows what it would remove";
	if (!run->pruning && (run->aged || run->prune.yes))
		return "--older-than and --yes are for --prune";
	if (run->exact && (run->list || run->pruning))
		return "--exact is for undoing";
	if (run->list || run->pruning)
		return NULL;
	if (run->operand_count == 0)
		return "no undo file given";
	return run->operand_count > 2 ? "too many operands" : NULL;
}

static int run_undo(const struct command *command, int argc, char **argv)
{
	struct undo_run run = {.command = command};
	const char *value;
	int code, option;

	while ((option = options_next(command, argc, argv, &value, &code)) >= 0)
		if (!take_option(&run, option, value))
			return EXIT_COULD_NOT;
	if (option == OPTIONS_STOP)
		return code;
	run.operands = argv + optind;
	run.operand_count = (size_t)(argc - optind);
	if (line_error(&run))
		return usage_error(command, "%s", line_error(&run));
	run.prune.command = command;
	run.prune.force = run.force;
	run.prune.as_json = run.as_json;
	if (run.list) {
		code = sandbox_read_any(command);
		if (code != EXIT_FINE)
			return code;
	} else {
		limits_end_time(command, NULL);
	}
	spool_init(&run.out, STDOUT_FILENO);
	json_init(&run.json, &run.out, 2, false);
	if (run.pruning || (run.list && (run.operand_count != 1 || !undo_is_one(run.operands[0]))))
		code = run_many(&run);
	else
		code = undo_one(&run);
	spool_release(&run.out);
	return code;
}

const struct command undo_command = {
	.name = "undo",
	.operands = "UNDO-FILE [IMAGE]",
	.summary = "Put back what a change replaced; show which undo files there are.",
	.notes = "Give IMAGE if it has moved since. An image that was written to since is refused: "
		 "of several changes, undo the last one first. May be interrupted and repeated.\n"
		 "Exit codes: 0 done, 1 failed or refused.\n",
	.actions = modes,
	.action_count = sizeof(modes) / sizeof(modes[0]),
	.action_place = ACTION_IS_OPTION,
	.action_word = "mode",
	.options = options,
	.option_count = sizeof(options) / sizeof(options[0]),
	.run = run_undo,
};
