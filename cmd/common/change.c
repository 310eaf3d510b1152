/* SPDX-License-Identifier: MIT */
/* Runs a change: plans, judges, shows and applies it. See change.h. */
#include "common/change.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/change_room.h"
#include "common/limits.h"
#include "common/open_image.h"
#include "common/plan_show.h"
#include "common/report.h"
#include "common/sandbox.h"

int change_fail(const struct change *change, const struct qcow2_error *err)
{
	return report_error(change->command, change->report.file, err);
}

int change_fail_text(const struct change *change, const char *text)
{
	return report_text(change->command, change->report.file, text);
}

/* Chooses a place for the undo file, and makes sure that it can be made there. */
static int place_undo_file(struct change *change)
{
	int code;

	if (change->report.dry_run || qcow2_plan_count(change->report.plan) == 0)
		return EXIT_FINE;
	code = undo_place_choose(change->command, &change->undo, change->report.file,
				 &change->place);
	if (code == EXIT_FINE)
		code = undo_place_prepare(change->command, &change->place);
	if (code == EXIT_FINE && change->place.path[0])
		change->report.undo_file = change->place.path;
	return code;
}

/*
 * Refuses an image with unknown incompatible features, which no program that does not know them may
 * touch.
 */
static int refuse_unknown(const struct change *change)
{
	struct qcow2_image *image;
	struct qcow2_error err;
	uint64_t unknown;

	/* A file that is no image may still get a header that makes it one. */
	if (change->force || change->begins_itself ||
	    qcow2_image_open(change->source, &image, &err))
		return EXIT_FINE;
	unknown = qcow2_image_header(image)->incompatible_features & ~QCOW2_INCOMPATIBLE_KNOWN;
	qcow2_image_close(image);
	if (unknown == 0)
		return EXIT_FINE;
	return change_fail_text(
		change, "it has incompatible features that are not known here: what an edit "
			"would do to them, nobody knows (--force edits it all the same)");
}

static int hear_problem(void *opaque, const struct qcow2_problem *problem)
{
	problem_log_add(&((struct change *)opaque)->problems, problem);
	return 0;
}

/* Shows the problems that a plan adds on standard error. */
static void tell_problems(const struct change *change)
{
	struct spool to;

	spool_init(&to, STDERR_FILENO);
	for (size_t i = 0; i < change->problems.count; i++) {
		spool_text(&to, "  ");
		problem_print(&to, change->problems.kept[i], false);
		spool_text(&to, "\n");
	}
	(void)spool_finish(&to);
	spool_release(&to);
}

/* Shows the guards that refuse a plan on standard error. */
static void tell_refusals(const struct change *change)
{
	struct spool to;

	spool_init(&to, STDERR_FILENO);
	plan_show_refusals(&to, change->verdict, "  ");
	(void)spool_finish(&to);
	spool_release(&to);
}

/* Refuses a plan that adds problems or that a guard refuses. */
static int refuse(struct change *change)
{
	const struct qcow2_plan_verdict *verdict = change->verdict;
	char text[sizeof(verdict->not_opened->text)];
	int code = EXIT_FINE;

	if (verdict->not_opened && verdict->adds_problems) {
		snprintf(text, sizeof(text),
			 "refused: it would be no image any more: %.150s "
			 "(--force does it)",
			 verdict->not_opened->text);
		return change_fail_text(change, text);
	}
	if (verdict->refusals_total > 0) {
		code = change_fail_text(change, "refused: it would give up what protects the data "
						"(--force does it):");
		tell_refusals(change);
	}
	if (verdict->adds_problems) {
		code = change_fail_text(change,
					"refused: the image would have problems that it has not "
					"now (--force does it):");
		tell_problems(change);
	}
	return code;
}

static int judge(struct change *change)
{
	const struct qcow2_judge_options how = {
		.size = sizeof(how),
		.problem = hear_problem,
		.opaque = change,
		/* Only dry runs and JSON show totals. */
		.without_totals = !change->report.dry_run && !change->as_json && !change->show,
		.without_digests = change->report.dry_run || change->undo.none,
	};
	struct qcow2_error err;
	char text[sizeof(err.text)];

	if (qcow2_plan_judge(change->report.plan, &how, &change->verdict, &err)) {
		if (change->force)
			return EXIT_FINE;
		change->short_of_memory = err.code == QCOW2_ERROR_MEMORY;
		if (change->short_of_memory)
			return change_fail(change, &err);
		/* What cannot be read now cannot be read or written later, either. */
		snprintf(text, sizeof(text), "the planned image cannot be checked: %.150s%s",
			 err.text, err.code == QCOW2_ERROR_IO ? "" : " (--force goes on)");
		return change_fail_text(change, text);
	}
	change->report.verdict = change->verdict;
	change->report.problems = &change->problems;
	return change->force || change->is_rescue ? EXIT_FINE : refuse(change);
}

/* Makes the page before the plan is applied: afterwards the old bytes are gone. */
static int show_plan(struct change *change)
{
	struct qcow2_error err;

	change->report.effects = &change->effects;
	change->report.all = wants_all(change->command);
	change->report.applied = !change->report.dry_run;
	if (qcow2_plan_count(change->report.plan) == 0)
		change->report.applied = false;
	if (change->show)
		return change->show(change);
	if (change->as_json ? plan_show_json(&change->json, &change->report, &err)
			    : plan_show_human(&change->out, &change->report,
					      wants_colour(change->command), &err))
		return change_fail(change, &err);
	return EXIT_FINE;
}

/*
 * Whether the name is still that of the file that is open. Who answers a question may take his time
 * meanwhile.
 */
static bool is_still_there(const struct change *change)
{
	struct stat now;

	return change->report.dry_run || !change->is_known ||
	       (stat(change->report.file, &now) == 0 && now.st_dev == change->opened.st_dev &&
		now.st_ino == change->opened.st_ino);
}

static int apply(struct change *change)
{
	/* An absolute path, so that the image is found from any folder. */
	char *path = realpath(change->report.file, NULL);
	bool no_undo_file = false;
	const struct qcow2_apply_options how = {
		.size = sizeof(how),
		.no_undo_file = &no_undo_file,
		.undo_path = change->report.undo_file,
		.image_path = path ? path : change->report.file,
		.command = change->description,
	};
	struct qcow2_error err;
	int failed = qcow2_plan_apply(change->report.plan, &how, &err);

	free(path);
	if (!failed)
		return EXIT_FINE;
	undo_place_abandon(&change->place);
	if (no_undo_file)
		return undo_place_fail(change->command, &change->place, &err);
	change_explain_full(&change->report, &err);
	return change_fail(change, &err);
}

/* Finds a folder for what of the plan memory cannot hold. */
static bool find_spill_path(struct change *change)
{
	return (!change->report.dry_run &&
		undo_spill_path(&change->undo, change->report.file, change->spill_path)) ||
	       undo_temporary_path(change->spill_path);
}

/* Opens the plan, which reads nothing yet. A dry run cannot make files once it is in its sandbox. */
static int open_plan(struct change *change)
{
	struct qcow2_error err;

	if (qcow2_plan_open(change->source, &change->report.plan, &err) ||
	    (find_spill_path(change) &&
	     qcow2_plan_spill_beside(change->report.plan, change->spill_path, &err)))
		return change_fail(change, &err);
	if (!change->report.dry_run)
		return EXIT_FINE;
	qcow2_plan_spill_now(change->report.plan);
	return sandbox_read_any(change->command);
}

static int plan_changes(struct change *change)
{
	struct qcow2_error err;

	if (!change->begins_itself && qcow2_edit_begin(change->report.plan, &err))
		return change_fail(change, &err);
	return change->plan(change);
}

static int change_source(struct change *change)
{
	int code = refuse_unknown(change), refused;

	if (code == EXIT_FINE)
		code = plan_changes(change);
	if (code != EXIT_FINE)
		return code;
	refused = judge(change);
	if (refused != EXIT_FINE && (!change->report.dry_run || change->short_of_memory))
		return refused;
	if (change->confirm && !change->report.dry_run && !change->confirm(change))
		return change_fail_text(change, "nothing was changed");
	if (!is_still_there(change))
		return change_fail_text(change, "it was renamed, removed or replaced while the "
						"change was planned; nothing was changed");
	/* What comes now is not cut off half way. */
	if (!change->report.dry_run)
		limits_end_time(change->command, change->source);
	code = place_undo_file(change);
	if (code != EXIT_FINE)
		return code;
	code = show_plan(change);
	if (code == EXIT_FINE && change->report.applied)
		code = apply(change);
	if (code != EXIT_FINE)
		return code;
	code = finish_output(change->command, &change->out,
			     refused == EXIT_FINE ? change->done : refused);
	if (code == EXIT_COULD_NOT && change->report.applied)
		return change_fail_text(change,
					change->report.undo_file
						? "the image was changed, and there is an undo file"
						: "the image was changed");
	return code;
}

static int change_file(struct change *change)
{
	const char *file = change->report.file;
	struct qcow2_error err;
	int code;

	if (!change->report.dry_run) {
		code = open_for_edit(change->command, file, change->force ? EDIT_FORCED : 0,
				     &change->source);
		if (code != EXIT_FINE)
			return code;
		limits_watch(change->command->common, change->source);
	} else if (limits_open(change->command->common, file, &change->source, &err)) {
		return change_fail(change, &err);
	} else {
		warn_in_use(change->command, file, change->source);
	}
	code = open_plan(change);
	change->is_known = stat(file, &change->opened) == 0;
	change->report.old_size_bytes = qcow2_source_size_bytes(change->source);
	if (code == EXIT_FINE)
		code = change_source(change);
	qcow2_plan_close(change->report.plan);
	qcow2_source_close(change->source);
	return code;
}

bool change_take_option(struct change *change, const struct option_row *row, const char *value)
{
	if (strcmp(row->name, "dry-run") == 0)
		change->report.dry_run = true;
	else if (strcmp(row->name, "dump") == 0)
		change->report.selector = value;
	else if (strcmp(row->name, "undo-file") == 0)
		change->undo.file = value;
	else if (strcmp(row->name, "undo-dir") == 0)
		change->undo.dir = value;
	else if (strcmp(row->name, "no-undo") == 0)
		change->undo.none = true;
	else
		return false;
	return true;
}

int change_run(struct change *change)
{
	int code;

	if (change->report.selector && !change->report.dry_run)
		return usage_error(change->command, "--dump is for --dry-run");
	if (undo_choice_error(&change->undo))
		return usage_error(change->command, "%s", undo_choice_error(&change->undo));
	spool_init(&change->out, STDOUT_FILENO);
	json_init(&change->json, &change->out, 2, false);
	code = change_file(change);
	spool_release(&change->out);
	qcow2_plan_verdict_free(change->verdict);
	problem_log_release(&change->problems);
	effects_release(&change->effects);
	return code;
}
