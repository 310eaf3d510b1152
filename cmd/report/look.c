/* SPDX-License-Identifier: MIT */
/*
 * Finds out what the page shows. What is broken in the image is shown, not fatal; what the system
 * refuses to read, and memory that is short, are errors as everywhere.
 */
#include <stdio.h>
#include <string.h>

#include "common/limits.h"
#include "report/report.h"

static int hear_problem(void *opaque, const struct qcow2_problem *problem)
{
	struct check_report *check = &((struct report *)opaque)->check;

	return check_report_keep(check, problem) ? 0 : -1;
}

static int hear_range(void *opaque, const struct qcow2_damage_range *range)
{
	return check_damage_hear(&((struct report *)opaque)->check.damage, range);
}

static int hear_progress(void *opaque, uint64_t done_bytes, uint64_t total_bytes)
{
	progress_share(&((struct report *)opaque)->progress, done_bytes, total_bytes);
	return 0;
}

static int look_at_soundness(struct report *report, struct qcow2_error *err)
{
	const struct qcow2_check_options how = {
		.size = sizeof(how),
		.threads = report->threads,
		.memory_limit_bytes = limits_memory(report->command),
		.max_per_kind = CHECK_SHOWN_TO_PROGRAMS,
		.digest = true,
		.damage = true,
		.lost_mappings = true,
		.problem = hear_problem,
		.damage_range = hear_range,
		.progress = hear_progress,
		.opaque = report,
	};
	struct check_report *check = &report->check;
	const int failed = qcow2_check(report->shown, &how, &check->result, err);

	check->file = report->file;
	check->image = report->shown;
	if (check->short_of_memory)
		*err = (struct qcow2_error){.code = QCOW2_ERROR_MEMORY,
					    .offset_bytes = QCOW2_NO_OFFSET,
					    .text = "out of memory"};
	if (failed)
		return -1;
	return check_causes(check, check->causes, &check->cause_count, err);
}

/*
 * Names of a broken image may lie where other structures are, which stand-ins change then: the page
 * says so if a check of the image finds something else than one of its view.
 */
static int compare_views(struct report *report, struct qcow2_error *err)
{
	const struct qcow2_check_options how = {.size = sizeof(how),
						.threads = report->threads,
						.memory_limit_bytes =
							limits_memory(report->command),
						.lost_mappings = true,
						.progress = hear_progress,
						.opaque = report};
	const struct qcow2_check_result *shown = report->check.result;
	struct qcow2_check_result *real = NULL;

	if (qcow2_check(report->image, &how, &real, err))
		return -1;
	report->redaction_differs = real->corruptions != shown->corruptions ||
				    real->leaks != shown->leaks ||
				    real->warnings != shown->warnings;
	qcow2_check_result_free(real);
	return 0;
}

/* Neither the layout of an image whose header makes no sense nor too large a one spoils the page. */
static int look_at_layout(struct report *report, struct qcow2_error *err)
{
	struct layout *layout = &report->layout;
	const struct qcow2_check_result *result = report->check.result;

	layout->command = report->command;
	layout->file = report->file;
	layout->format = LAYOUT_SVG;
	layout->in_page = true;
	layout->threads = report->threads;
	layout->source = report->source;
	layout->image = report->image;
	layout->named = report->shown;
	layout->soundness = (struct soundness){.corruptions = result->corruptions,
					       .leaks_may_be_data = result->leaks_may_be_data};
	report->has_layout =
		layout_open_usage(layout, err) == 0 && layout_measure(layout, err) == 0;
	if (report->has_layout)
		return 0;
	snprintf(report->no_layout, sizeof(report->no_layout), "%s", err->text);
	return err->code == QCOW2_ERROR_IO || err->code == QCOW2_ERROR_MEMORY ? -1 : 0;
}

static int look_at_info(struct report *report, struct qcow2_error *err)
{
	report->info.file = report->file;
	report->info.source = report->source;
	report->info.image = report->shown;
	if (info_examine(&report->info, err))
		return -1;
	if (!report->info.problems.short_of_memory)
		return 0;
	*err = (struct qcow2_error){.code = QCOW2_ERROR_MEMORY,
				    .offset_bytes = QCOW2_NO_OFFSET,
				    .text = "out of memory"};
	return -1;
}

/* What is left of an image that cannot be opened. Without anything, the file is none. */
static int look_at_remains(struct report *report, struct qcow2_error *err)
{
	const struct qcow2_rescue_options how = {.size = sizeof(how),
						 .threads = report->threads,
						 .memory_limit_bytes =
							 limits_memory(report->command),
						 .progress = hear_progress,
						 .opaque = report};

	if (qcow2_rescue_open(report->source, &how, &report->rescue, err))
		return -1;
	if (qcow2_rescue_count(report->rescue) > 0)
		return 0;
	*err = report->why;
	return -1;
}

int report_look(struct report *report, struct qcow2_error *err)
{
	report->in_use = qcow2_source_in_use(report->source) == QCOW2_IN_USE_YES;
	if (qcow2_image_open(report->source, &report->image, err)) {
		report->why = *err;
		if (err->code == QCOW2_ERROR_IO || err->code == QCOW2_ERROR_MEMORY ||
		    err->code == QCOW2_ERROR_LIMIT)
			return -1;
		return look_at_remains(report, err);
	}
	report->shown = report->image;
	if (report->redacts) {
		if (redact(&report->redaction, report->image, report->source, err))
			return -1;
		report->shown = report->redaction.image;
	}
	if (look_at_info(report, err) || look_at_soundness(report, err) ||
	    (report->redacts && compare_views(report, err)) || look_at_layout(report, err))
		return -1;
	return report_look_at_lists(report, err);
}

int report_exit_code(const struct report *report)
{
	const bool sound = report->image && report->check.result->corruptions == 0 &&
			   !report->info.problems.corrupt && report->info.verdict == QEMU_OPENS;

	return sound ? EXIT_FINE : EXIT_MALFORMED;
}
