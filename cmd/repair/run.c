/* SPDX-License-Identifier: MIT */
/* See run.h. */
#include "repair/run.h"

#include <stdio.h>
#include <unistd.h>

#include "common/change_ask.h"
#include "common/plan_preview.h"
#include "common/plan_show.h"
#include "common/report.h"
#include "repair/left.h"
#include "repair/pages.h"

static int hear_step(void *opaque, const struct qcow2_repair_step *step)
{
	return repair_keep(&((struct repair_run *)opaque)->kept, step) ? 0 : 1;
}

static int hear_progress(void *opaque, uint64_t done_bytes, uint64_t total_bytes)
{
	progress_share(&((struct repair_run *)opaque)->progress, done_bytes, total_bytes);
	return 0;
}

/* Says why nothing could be planned. Returns the exit code. */
static int fail(const struct repair_run *run, const struct qcow2_error *err)
{
	struct qcow2_error more = *err;

	if (run->kept.short_of_memory)
		return change_fail_text(&run->change, "out of memory");
	/* Where something is planned already, the image was found. */
	if ((err->code == QCOW2_ERROR_NOT_QCOW2 || err->code == QCOW2_ERROR_BROKEN) &&
	    qcow2_plan_count(run->change.report.plan) == 0)
		snprintf(more.text, sizeof(more.text), "%.170s%s", err->text,
			 "; if it was an image, 'qcow2 rescue' looks for what is left of it");
	change_fail(&run->change, &more);
	return err->code == QCOW2_ERROR_NOT_QCOW2 ? EXIT_NOT_QCOW2 : EXIT_COULD_NOT;
}

static int plan_repair(struct change *change)
{
	struct repair_run *run = change->opaque;
	struct qcow2_error err;
	int failed;

	progress_init(&run->progress);
	if (run->progress_wanted)
		progress_force(&run->progress);
	failed = qcow2_repair(change->report.plan, &run->how, &run->result, &err);
	progress_end(&run->progress);
	if (failed)
		return fail(run, &err);
	run->change.done = repair_exit_code(run->result->after);
	return EXIT_FINE;
}

/* Shows the page, but not what is known only when the repair is done. */
static int show_page(struct repair_run *run)
{
	struct plan_report *report = &run->change.report;
	bool colour = wants_colour(run->command);
	struct spool *out = &run->change.out;
	struct qcow2_error err;

	repair_show_human(out, run);
	if (run->hex && plan_show_writes(out, report, colour, &err))
		return change_fail(&run->change, &err);
	if (report->selector && plan_preview(out, NULL, report, report->selector, colour, &err))
		return change_fail(&run->change, &err);
	return EXIT_FINE;
}

static int show_json(struct repair_run *run)
{
	struct plan_report *report = &run->change.report;
	struct json *json = &run->change.json;
	struct qcow2_error err;

	json_begin_object(json);
	repair_show_json(json, run);
	if (run->hex && plan_write_writes(json, report->plan, &err))
		return change_fail(&run->change, &err);
	if (report->selector) {
		json_key(json, "planned");
		if (plan_preview(NULL, json, report, report->selector, false, &err))
			return change_fail(&run->change, &err);
	}
	json_end_object(json);
	spool_text(json->out, "\n");
	return EXIT_FINE;
}

/* The data file has no mark that a change leaves, so that an undo cannot tell who wrote to it. */
static bool has_data_file(const struct change *change)
{
	struct qcow2_image *image;
	bool has = false;

	if (change->report.undo_file && qcow2_image_open(change->source, &image, NULL) == 0) {
		has = qcow2_image_header(image)->incompatible_features &
		      QCOW2_INCOMPATIBLE_DATA_FILE;
		qcow2_image_close(image);
	}
	return has;
}

static int show(struct change *change)
{
	struct repair_run *run = change->opaque;
	int code = EXIT_FINE;

	if (change->as_json)
		return show_json(run);
	if (!run->has_shown)
		code = show_page(run);
	if (code != EXIT_FINE)
		return code;
	if (run->has_shown)
		repair_show_done(&change->out, run);
	plan_show_undo(&change->out, &change->report);
	if (has_data_file(change))
		spool_text(&change->out,
			   "      with --exact, if no guest has written to the data file since\n");
	return EXIT_FINE;
}

static int show_first(struct change *change)
{
	struct repair_run *run = change->opaque;

	run->asks = true;
	run->has_shown = true;
	return show_page(run);
}

static bool is_confirmed(struct change *change)
{
	const struct repair_run *run = change->opaque;

	return change_ask(change,
			  &(struct change_question){run->yes, "Repair the image?", show_first});
}

int repair_run(struct repair_run *run)
{
	struct change *change = &run->change;
	bool many = change->as_json;
	int code;

	run->kept.most_per_group = run->ranges ? UINT64_MAX
				   : many      ? REPAIR_SHOWN_TO_PROGRAMS
					       : REPAIR_SHOWN_TO_PEOPLE;
	run->how.only = run->only;
	run->how.drop_snapshots = run->drop;
	run->how.tell = hear_step;
	run->how.progress = hear_progress;
	run->how.opaque = run;
	change->plan = plan_repair;
	change->confirm = is_confirmed;
	change->show = show;
	change->begins_itself = true;
	change->opaque = run;
	code = change_run(change);
	qcow2_repair_result_free(run->result);
	repair_kept_release(&run->kept);
	return code;
}
