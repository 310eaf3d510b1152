/* SPDX-License-Identifier: MIT */
/* qcow2 edit: plans changes by name, shows them, applies them, and leaves a way back. */
#include "edit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <qcow2/text.h>

#define UNDO_NAMES_MOST 100

enum {
	OPTION_DRY_RUN,
	OPTION_DUMP,
	OPTION_FORCE,
	OPTION_YES,
	OPTION_SCRIPT,
	OPTION_UNDO_FILE,
	OPTION_NO_UNDO,
	OPTION_DATA,
	OPTION_FILE,
	OPTION_OUTPUT,
	OPTION_JSON
};

static const struct option_row options[] = {
	{"dry-run", 'n', NULL, "show every byte that would change, and change nothing", NULL},
	{"dump", 0, "SELECTOR", "with --dry-run: show this of the planned image, too", NULL},
	{"force", 'f', NULL, "even if it adds problems, or the image is read-only", NULL},
	{"yes", 'y', NULL, "do not ask before entries of tables are set", NULL},
	{"script", 0, "FILE", "take changes from FILE (- for stdin), one a line", NULL},
	{"undo-file", 0, "PATH", "where to keep what undoes it", NULL},
	{"no-undo", 0, NULL, "keep nothing to undo it with", NULL},
	{"data", 0, "TEXT", "data of the extension", NULL},
	{"file", 0, "PATH", "file with the data of the extension (- for stdin)", NULL},
	{"output", 0, "FORMAT", "human (default) or json", "human json"},
	{"json", 'j', NULL, "short for --output=json", NULL},
};

/* One call of the command. */
struct run {
	const struct command *command;
	struct spool out;
	struct json json;
	struct plan_report report;
	struct qcow2_plan_verdict verdict;
	struct problem_log problems;
	struct qcow2_source *source;
	struct edit_line line;
	struct edit_effect effect;
	const char *script, *undo_file;
	char undo_name[4096];
	bool as_json, force, yes, no_undo;
};

static int fail(const struct run *run, const struct qcow2_error *err)
{
	return report_error(run->command, run->report.file, err);
}

static int fail_text(const struct run *run, const char *text)
{
	struct qcow2_error err = {.offset_bytes = QCOW2_NO_OFFSET};

	snprintf(err.text, sizeof(err.text), "%s", text);
	return fail(run, &err);
}

/* IMAGE.undo-YYYYmmddTHHMMSS, with a number behind it if that is taken. False if none is free. */
static bool name_undo_file(struct run *run)
{
	char stamp[32];
	time_t now = time(NULL);
	struct tm tm;
	struct stat st;

	if (run->no_undo || run->report.dry_run || run->undo_file) {
		run->report.undo_file = run->report.dry_run || run->no_undo ? NULL : run->undo_file;
		return true;
	}
	strftime(stamp, sizeof(stamp), "%Y%m%dT%H%M%S", localtime_r(&now, &tm));
	for (unsigned i = 1; i <= UNDO_NAMES_MOST; i++) {
		char more[16] = "";
		int size;

		if (i > 1)
			snprintf(more, sizeof(more), "-%u", i);
		size = snprintf(run->undo_name, sizeof(run->undo_name), "%s.undo-%s%s",
				run->report.file, stamp, more);
		if (size < 0 || (size_t)size >= sizeof(run->undo_name))
			return false;
		run->report.undo_file = run->undo_name;
		if (lstat(run->undo_name, &st) < 0 && errno == ENOENT)
			return true;
	}
	return false;
}

/* What no program that does not know the feature may touch. */
static int refuse_unknown(const struct run *run)
{
	struct qcow2_image *image;
	struct qcow2_error err;
	uint64_t unknown;

	/* What is no image may still get a header that makes it one. */
	if (run->force || qcow2_image_open(run->source, &image, &err))
		return EXIT_FINE;
	unknown = qcow2_image_header(image)->incompatible_features & ~QCOW2_INCOMPATIBLE_KNOWN;
	qcow2_image_close(image);
	if (unknown == 0)
		return EXIT_FINE;
	return fail_text(run, "it has incompatible features that are not known here: what an edit "
			      "would do to them, nobody knows (--force edits it all the same)");
}

static void hear_problem(void *opaque, const struct qcow2_problem *problem)
{
	problem_log_add(&((struct run *)opaque)->problems, problem);
}

/* The problems that a plan adds, on standard error. */
static void tell_problems(const struct run *run)
{
	struct spool to;

	spool_init(&to, STDERR_FILENO);
	for (size_t i = 0; i < run->problems.count; i++) {
		spool_text(&to, "  ");
		problem_print(&to, &run->problems.kept[i], false);
		spool_text(&to, "\n");
	}
	(void)spool_finish(&to);
	spool_release(&to);
}

/* Refuses what adds problems. */
static int judge(struct run *run)
{
	struct qcow2_error err;
	char text[sizeof(err.text)];
	int code;

	if (qcow2_plan_judge(run->report.plan, &run->verdict, hear_problem, run, &err)) {
		if (run->force)
			return EXIT_FINE;
		snprintf(text, sizeof(text),
			 "the planned image cannot be checked: %.150s "
			 "(--force goes on)",
			 err.text);
		return fail_text(run, text);
	}
	run->report.verdict = &run->verdict;
	run->report.problems = &run->problems;
	if (run->force || !run->verdict.adds_problems)
		return EXIT_FINE;
	if (run->verdict.not_opened.code != QCOW2_ERROR_NONE) {
		snprintf(text, sizeof(text),
			 "refused: it would be no image any more: %.150s "
			 "(--force does it)",
			 run->verdict.not_opened.text);
		return fail_text(run, text);
	}
	code = fail_text(run, "refused: the image would have problems that it has not now "
			      "(--force does it):");
	tell_problems(run);
	return code;
}

/* Asks a person; whoever is none has said what to do. */
static bool is_confirmed(const struct run *run)
{
	char answer[16];

	if (!run->effect.raw || run->report.dry_run)
		return true;
	fprintf(stderr, "qcow2 edit: this sets entries of tables as they are. They say\n%s.\n",
		run->effect.raw);
	if (run->yes || !isatty(STDIN_FILENO))
		return true;
	fprintf(stderr, "Go on? [y/N] ");
	return fgets(answer, sizeof(answer), stdin) && (answer[0] == 'y' || answer[0] == 'Y');
}

static int plan_changes(struct run *run)
{
	struct qcow2_error err;

	if (qcow2_edit_begin(run->report.plan, &err))
		return fail(run, &err);
	if (run->script ? edit_script(run->report.plan, run->script, &run->effect, &err)
			: edit_verb(run->report.plan, &run->line, &run->effect, &err))
		return fail(run, &err);
	return EXIT_FINE;
}

/* The page is made before the plan is applied: the old bytes are gone then. */
static int show_plan(struct run *run)
{
	struct qcow2_error err;

	run->report.applied = !run->report.dry_run;
	if (qcow2_plan_count(run->report.plan) == 0) {
		run->report.applied = false;
		run->report.undo_file = NULL;
	}
	if (run->as_json ? plan_show_json(&run->json, &run->report, &err)
			 : plan_show_human(&run->out, &run->report, wants_colour(), &err))
		return fail(run, &err);
	return EXIT_FINE;
}

static int apply(struct run *run)
{
	char command[256];
	/* As it is found from any folder. */
	char *path = realpath(run->report.file, NULL);
	const struct qcow2_apply_options how = {
		.undo_path = run->report.undo_file,
		.image_path = path ? path : run->report.file,
		.command = command,
	};
	struct qcow2_error err;
	int failed;

	if (run->script)
		snprintf(command, sizeof(command), "edit --script");
	else
		snprintf(command, sizeof(command), "edit %s %s", run->line.words[0],
			 run->line.words[1]);
	failed = qcow2_plan_apply(run->report.plan, &how, &err);
	free(path);
	return failed ? fail(run, &err) : EXIT_FINE;
}

static int edit_source(struct run *run)
{
	int code = refuse_unknown(run), refused;

	if (code == EXIT_FINE)
		code = plan_changes(run);
	if (code != EXIT_FINE)
		return code;
	refused = judge(run);
	if (refused != EXIT_FINE && !run->report.dry_run)
		return refused;
	if (!is_confirmed(run))
		return fail_text(run, "nothing was changed");
	if (!name_undo_file(run))
		return fail_text(run, "no name is free for an undo file: use --undo-file");
	code = show_plan(run);
	if (code == EXIT_FINE && run->report.applied)
		code = apply(run);
	if (code != EXIT_FINE)
		return code;
	code = finish_output(run->command, &run->out, refused);
	if (code != EXIT_FINE && run->report.applied)
		return fail_text(run, run->report.undo_file
					      ? "the image was changed, and there is an undo file"
					      : "the image was changed");
	return code;
}

static int edit_file(struct run *run)
{
	unsigned flags = run->force ? QCOW2_EDIT_READ_ONLY_TOO : 0;
	struct qcow2_error err;
	int code;

	if (run->report.dry_run
		    ? qcow2_source_open(run->report.file, &run->source, &err)
		    : qcow2_source_open_for_edit(run->report.file, flags, &run->source, &err))
		return fail(run, &err);
	warn_in_use(run->command, run->report.file, run->report.dry_run ? run->source : NULL);
	run->report.old_size_bytes = qcow2_source_size_bytes(run->source);
	code = qcow2_plan_new(run->source, &run->report.plan, &err) ? fail(run, &err)
								    : edit_source(run);
	qcow2_plan_free(run->report.plan);
	qcow2_source_close(run->source);
	return code;
}

/* False if the option makes no sense; that has been said. */
static bool take_option(struct run *run, int option, const char *value)
{
	switch (option) {
	case OPTION_DRY_RUN:
		run->report.dry_run = true;
		return true;
	case OPTION_DUMP:
		run->report.selector = value;
		return true;
	case OPTION_FORCE:
		run->force = true;
		return true;
	case OPTION_YES:
		run->yes = true;
		return true;
	case OPTION_SCRIPT:
		run->script = value;
		return true;
	case OPTION_UNDO_FILE:
		run->undo_file = value;
		return true;
	case OPTION_NO_UNDO:
		run->no_undo = true;
		return true;
	case OPTION_DATA:
		run->line.data = value;
		return true;
	case OPTION_FILE:
		run->line.file = value;
		return true;
	case OPTION_JSON:
		run->as_json = true;
		return true;
	default:
		return options_output(run->command, value, &run->as_json);
	}
}

/* EXIT_FINE, or what is wrong with the line has been said. */
static int take_operands(struct run *run, int argc, char **argv)
{
	if (optind == argc)
		return usage_error(run->command, "no image given");
	run->report.file = argv[optind++];
	run->line.words = argv + optind;
	run->line.count = (size_t)(argc - optind);
	if (run->script && run->line.count > 0)
		return usage_error(run->command, "a verb and --script at once");
	if (!run->script && run->line.count == 0)
		return usage_error(run->command, "no verb given");
	if (run->script && (run->line.data || run->line.file))
		return usage_error(run->command, "--data and --file stand in the script's lines");
	if (run->report.selector && !run->report.dry_run)
		return usage_error(run->command, "--dump is for --dry-run");
	if (run->no_undo && run->undo_file)
		return usage_error(run->command, "--undo-file and --no-undo at once");
	return EXIT_FINE;
}

static int run_edit(const struct command *command, int argc, char **argv)
{
	struct run run = {.command = command};
	const char *value;
	int code, option;

	while ((option = options_next(command, argc, argv, &value, &code)) >= 0)
		if (!take_option(&run, option, value))
			return EXIT_COULD_NOT;
	if (option == OPTIONS_STOP)
		return code;
	code = take_operands(&run, argc, argv);
	if (code != EXIT_FINE)
		return code;
	spool_init(&run.out, STDOUT_FILENO);
	json_init(&run.json, &run.out, 2, false);
	code = edit_file(&run);
	spool_release(&run.out);
	problem_log_release(&run.problems);
	return code;
}

const struct command edit_command = {
	.name = "edit",
	.operands = "IMAGE VERB ARG...",
	.summary = "Change fields, feature bits and extensions; can be undone.",
	.notes = "Verbs:\n"
		 "  set PATH=VALUE...                  header/size=2G, snapshots/0/l1_size=1,\n"
		 "                                     l2/5/17=0, refcounts/0/9=1\n"
		 "  feature GROUP NAME|BIT on|off      incompatible, compatible or autoclear\n"
		 "  extension add|replace|remove MAGIC with --data, --file or standard input\n"
		 "  backing set NAME [FORMAT]          or: backing clear\n"
		 "  data-file set NAME\n"
		 "  feature-names rebuild\n"
		 "What adds problems to the image is refused. The undo file is\n"
		 "IMAGE.undo-YYYYmmddTHHMMSS; 'qcow2 undo' puts back what it holds.\n"
		 "Exit codes: 0 done, 1 could not or would not.\n",
	.options = options,
	.option_count = sizeof(options) / sizeof(options[0]),
	.run = run_edit,
};
