/* SPDX-License-Identifier: MIT */
/* See run.h. */
#include "rescue/run.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/ask.h"
#include "common/open_image.h"
#include "common/plan_show.h"
#include "common/report.h"
#include "rescue/files.h"
#include "rescue/pages.h"

static int fail(const struct rescue_run *run, const struct qcow2_error *err)
{
	return report_error(run->command, run->change.report.file, err);
}

static int fail_text(const struct rescue_run *run, const char *text)
{
	return report_text(run->command, run->change.report.file, text);
}

int rescue_exit_code(const struct qcow2_check_result *check)
{
	if (!check || check->corruptions > 0)
		return EXIT_MALFORMED;
	return check->leaks > 0 ? EXIT_LEAKS : EXIT_FINE;
}

static int hear_progress(void *opaque, uint64_t done_bytes, uint64_t total_bytes)
{
	progress_share(&((struct rescue_run *)opaque)->progress, done_bytes, total_bytes);
	return 0;
}

static uint64_t mapped_bytes(const struct qcow2_rescue_candidate *candidate)
{
	return candidate->mapped_clusters << candidate->header->cluster_bits;
}

/* Whether the first two candidates cannot be told apart, although it matters which one is taken. */
static bool is_open_question(const struct rescue_run *run)
{
	const struct qcow2_rescue_candidate *first = qcow2_rescue_at(run->rescue, 0);
	const struct qcow2_rescue_candidate *second = qcow2_rescue_at(run->rescue, 1);

	/* Larger clusters that explain the same are more likely than half of them unused. */
	return second && second->confidence == first->confidence && first->mapped_clusters > 0 &&
	       mapped_bytes(second) == mapped_bytes(first);
}

/* Chooses a candidate. */
static int choose(struct rescue_run *run)
{
	size_t count = qcow2_rescue_count(run->rescue);
	char text[128];

	if (count == 0)
		return fail_text(run, "nothing in this file reads as the tables of a qcow2 image");
	if (run->candidate > count) {
		snprintf(text, sizeof(text), "there is no candidate %" PRIu64 ", only %zu",
			 run->candidate, count);
		return fail_text(run, text);
	}
	run->open_question = run->candidate == 0 && is_open_question(run);
	if (run->open_question && run->way != RESCUE_SHOW)
		return fail_text(run, "two candidates explain this file equally well: see what "
				      "they say, and choose one with --candidate=N");
	run->chosen_index = run->candidate ? (size_t)run->candidate - 1 : 0;
	run->chosen = qcow2_rescue_at(run->rescue, run->chosen_index);
	run->change.done = rescue_exit_code(run->chosen->check);
	/* Nothing is written that takes away what the file still has. */
	if (!run->chosen->check && run->way != RESCUE_SHOW)
		return fail_text(run, "the image could not be opened with this candidate: nothing "
				      "was changed");
	return EXIT_FINE;
}

int rescue_find(struct rescue_run *run, struct qcow2_source *source)
{
	struct qcow2_source *sibling = NULL;
	struct qcow2_image *like = NULL;
	struct qcow2_error err;
	int failed;

	if (run->like && (qcow2_source_open(run->like, &sibling, &err) ||
			  qcow2_image_open(sibling, &like, &err))) {
		qcow2_source_close(sibling);
		return report_error(run->command, run->like, &err);
	}
	progress_init(&run->progress);
	if (run->progress_wanted)
		progress_force(&run->progress);
	run->how.like = like;
	run->how.progress = hear_progress;
	run->how.backing_size = rescue_backing_size;
	run->how.opaque = run;
	failed = qcow2_rescue_open(source, &run->how, &run->rescue, &err);
	progress_end(&run->progress);
	run->how.like = NULL;
	qcow2_image_close(like);
	qcow2_source_close(sibling);
	return failed ? fail(run, &err) : choose(run);
}

/* The exit code for an image that a plan file makes, which nobody has checked yet. */
static int check_planned(const struct rescue_run *run, struct qcow2_plan *plan, int *code)
{
	struct qcow2_check_options how = {.size = sizeof(how), .threads = run->how.threads};
	struct qcow2_check_result *result = NULL;
	struct qcow2_source *view = NULL;
	struct qcow2_image *image = NULL;
	struct qcow2_error err;
	int failed = qcow2_plan_view(plan, &view, &err);

	if (!failed && qcow2_image_open(view, &image, &err) == 0)
		failed = qcow2_check(image, &how, &result, &err);
	*code = rescue_exit_code(result);
	qcow2_check_result_free(result);
	qcow2_image_close(image);
	qcow2_source_close(view);
	return failed ? fail(run, &err) : EXIT_FINE;
}

int rescue_plan(struct rescue_run *run, struct qcow2_plan *plan)
{
	struct qcow2_error err;
	int code;

	if (run->plan_file) {
		code = rescue_read_plan(run, plan);
		return code == EXIT_FINE ? check_planned(run, plan, &run->change.done) : code;
	}
	if (qcow2_rescue_plan(run->rescue, run->chosen_index, plan, &err))
		return fail(run, &err);
	return EXIT_FINE;
}

static int show_page(struct rescue_run *run)
{
	struct spool *out = &run->change.out;
	struct qcow2_error err;

	rescue_show_human(out, run);
	if (run->hex && !run->has_shown &&
	    plan_show_writes(out, &run->change.report, wants_colour(run->command), &err))
		return fail(run, &err);
	return EXIT_FINE;
}

/* Asks a person, who has to see first what it is about, by the same rules as qcow2 repair. */
static bool is_confirmed(struct change *change)
{
	struct rescue_run *run = change->opaque;

	if (run->yes || change->as_json || wants_silence(change->command) ||
	    qcow2_plan_count(change->report.plan) == 0 || !isatty(STDIN_FILENO) ||
	    !isatty(STDERR_FILENO))
		return true;
	run->asks = true;
	if (show_page(run) != EXIT_FINE ||
	    finish_output(change->command, &change->out, EXIT_FINE) != EXIT_FINE)
		return false;
	run->asks = false;
	run->has_shown = true;
	return ask_person("Change the image?");
}

static int show(struct change *change)
{
	struct rescue_run *run = change->opaque;
	struct plan_report *report = &change->report;
	struct qcow2_error err;
	int code;

	if (!change->as_json) {
		code = show_page(run);
		plan_show_undo(&change->out, report);
		return code;
	}
	json_begin_object(&change->json);
	rescue_show_json(&change->json, run);
	if (run->hex && plan_write_writes(&change->json, report->plan, &err))
		return fail(run, &err);
	json_end_object(&change->json);
	spool_text(&change->out, "\n");
	return EXIT_FINE;
}

static int plan_in_place(struct change *change)
{
	struct rescue_run *run = change->opaque;
	int code = run->plan_file ? EXIT_FINE : rescue_find(run, change->source);

	return code == EXIT_FINE ? rescue_plan(run, change->report.plan) : code;
}

/* Changes a file: the image, or its copy. */
static int apply(struct rescue_run *run)
{
	struct change *change = &run->change;

	snprintf(change->description, sizeof(change->description), "rescue --apply");
	change->plan = plan_in_place;
	change->show = show;
	/* A copy is a new file, and nobody's loss. */
	change->confirm = run->way == RESCUE_APPLY ? is_confirmed : NULL;
	change->begins_itself = true;
	change->is_rescue = true;
	return change_run(change);
}

static int apply_to_copy(struct rescue_run *run)
{
	int code = rescue_copy(run);

	if (code != EXIT_FINE)
		return code;
	run->change.report.file = run->target;
	run->change.undo.none = true;
	code = apply(run);
	if (code == EXIT_COULD_NOT)
		unlink(run->target);
	return code;
}

/* Makes the file that was asked for. */
static int write_target(struct rescue_run *run)
{
	if (run->way == RESCUE_PLAN)
		return rescue_write_plan(run);
	return run->way == RESCUE_OVERLAY ? rescue_write_overlay(run) : EXIT_FINE;
}

static int run_plan(struct rescue_run *run)
{
	struct change *change = &run->change;
	int code = rescue_find(run, change->source);

	if (code == EXIT_FINE)
		code = rescue_plan(run, change->report.plan);
	if (code == EXIT_FINE)
		code = write_target(run);
	if (code == EXIT_FINE)
		code = show(change);
	return code == EXIT_FINE ? finish_output(run->command, &change->out, change->done) : code;
}

/* The ways that leave the image alone. */
static int look(struct rescue_run *run)
{
	struct change *change = &run->change;
	struct qcow2_error err;
	int code;

	if (qcow2_source_open(change->report.file, &change->source, &err))
		return fail(run, &err);
	warn_in_use(run->command, change->report.file, change->source);
	change->report.old_size_bytes = qcow2_source_size_bytes(change->source);
	spool_init(&change->out, STDOUT_FILENO);
	json_init(&change->json, &change->out, 2, false);
	code = qcow2_plan_open(change->source, &change->report.plan, &err) ? fail(run, &err)
									   : run_plan(run);
	spool_release(&change->out);
	qcow2_plan_close(change->report.plan);
	return code;
}

int rescue_run(struct rescue_run *run)
{
	int code;

	run->change.opaque = run;
	run->change.report.dry_run = run->way == RESCUE_SHOW;
	if (run->way == RESCUE_APPLY)
		code = apply(run);
	else
		code = run->way == RESCUE_COPY ? apply_to_copy(run) : look(run);
	qcow2_rescue_close(run->rescue);
	if (run->way != RESCUE_APPLY && run->way != RESCUE_COPY)
		qcow2_source_close(run->change.source);
	return code;
}
