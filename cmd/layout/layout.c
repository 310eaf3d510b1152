/* SPDX-License-Identifier: MIT */
/* qcow2 layout: what fills the file, from its first byte to its last. */
#include "layout/layout.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "commands.h"
#include "common/limits.h"
#include "common/open_image.h"
#include "common/operands.h"
#include "common/options.h"
#include "common/report.h"
#include "common/sandbox.h"

enum { OPTION_OUTPUT, OPTION_JSON, OPTION_WIDTH };

static const struct option_row options[] = {
	{"output", 0, "FORMAT", "human (default), json, or svg", "human json svg"},
	{"json", 'j', NULL, "short for --output=json", NULL},
	{"width", 0, "WIDTH", "of the page in columns, or of svg in pixels", NULL},
};

/* ---- the command line ---- */

static bool take_width(struct layout *layout, const char *value)
{
	uint64_t width;

	if (!options_number(layout->command, &options[OPTION_WIDTH], value, UINT64_MAX, &width))
		return false;
	if (width < LAYOUT_WIDTH_LEAST || width > LAYOUT_WIDTH_MOST) {
		usage_error(layout->command, "--width: from %u to %u, not '%s'", LAYOUT_WIDTH_LEAST,
			    LAYOUT_WIDTH_MOST, value);
		return false;
	}
	layout->width = (unsigned)width;
	return true;
}

/* Takes an option. False, with a message, if its value makes no sense. */
static bool take_option(struct layout *layout, int option, const char *value)
{
	int word = LAYOUT_JSON;

	if (option == OPTION_WIDTH)
		return take_width(layout, value);
	if (option == OPTION_OUTPUT)
		word = options_word(layout->command, &options[option], value);
	layout->format = (enum layout_format)word;
	return word >= 0;
}

/* ---- the run ---- */

static int tell_progress(void *opaque, uint64_t done_bytes, uint64_t total_bytes)
{
	progress_share(opaque, done_bytes, total_bytes);
	return 0;
}

int layout_open_usage(struct layout *layout, struct qcow2_error *err)
{
	struct qcow2_usage_options how = {.size = sizeof(how),
					  .threads = layout->threads,
					  .memory_limit_bytes = limits_memory(layout->command),
					  .owners = layout->format != LAYOUT_HUMAN,
					  .users = true,
					  .progress = tell_progress,
					  .opaque = &layout->progress,
					  .fragmentation = true};
	int failed = qcow2_usage_open(layout->image, &how, &layout->usage, err);

	if (!failed || err->code != QCOW2_ERROR_LIMIT)
		return failed;
	how.users = false;
	return qcow2_usage_open(layout->image, &how, &layout->usage, err);
}

/*
 * Keeps what could be found out of a broken image: without *has, a part of the page is left out.
 * Returns failed if the image is not to blame, else 0.
 */
static int get_by(int failed, const struct qcow2_error *err, bool *has)
{
	*has = failed == 0;
	return err->code == QCOW2_ERROR_LIMIT || err->code == QCOW2_ERROR_BROKEN ? 0 : failed;
}

static int measure_sizes(struct layout *layout, struct qcow2_error *err)
{
	int failed;

	layout->fragmentation.size = sizeof(layout->fragmentation);
	failed = qcow2_usage_fragmentation(layout->usage, &layout->fragmentation, err);
	if (get_by(failed, err, &layout->has_fragmentation))
		return -1;
	if (qcow2_usage_user_count(layout->usage) == 0)
		return 0;
	layout->measure.size = sizeof(layout->measure);
	failed = qcow2_measure_file(layout->image, layout->usage, &layout->measure, err);
	return get_by(failed, err, &layout->has_measure);
}

int layout_measure(struct layout *layout, struct qcow2_error *err)
{
	return measure_sizes(layout, err) ? -1 : layout_space_measure(layout, err);
}

/* Finds out all that the pages show. */
static int look(struct layout *layout, struct qcow2_error *err)
{
	if (layout_open_usage(layout, err) ||
	    soundness_find(layout->image, &layout->progress, &layout->soundness, err))
		return -1;
	return layout_measure(layout, err);
}

static int show(struct layout *layout, struct qcow2_error *err)
{
	if (layout->format == LAYOUT_SVG)
		return layout_show_svg(layout, err);
	return layout->format == LAYOUT_JSON ? layout_show_json(layout, err)
					     : layout_show_human(layout, err);
}

static int run_image(struct layout *layout)
{
	struct qcow2_error err = {.code = QCOW2_ERROR_NONE};
	int code, failed;

	warn_in_use(layout->command, layout->file, layout->source);
	progress_init(&layout->progress);
	spool_init(&layout->out, STDOUT_FILENO);
	failed = look(layout, &err) || show(layout, &err);
	progress_end(&layout->progress);
	/* After a failure nothing is printed, unless the output streams already. */
	if (failed)
		code = report_error(layout->command, layout->file, &err);
	else
		code = finish_output(
			layout->command, &layout->out,
			soundness_tell(layout->command, layout->file, &layout->soundness));
	spool_release(&layout->out);
	qcow2_usage_close(layout->usage);
	return code;
}

static int run_file(struct layout *layout)
{
	struct qcow2_source *source = NULL;
	struct qcow2_image *image = NULL;
	struct qcow2_error err;
	struct stat status;
	int code;

	layout->is_file = stat(layout->file, &status) == 0 && S_ISREG(status.st_mode);
	layout->threads = qcow2_processors();
	served_readers(layout->command, layout->threads);
	if (limits_open(layout->command->common, layout->file, &source, &err))
		return report_error(layout->command, layout->file, &err);
	layout->soundness.threads = layout->threads;
	layout->soundness.memory_limit_bytes = limits_memory(layout->command);
	code = sandbox_seal(layout->command);
	if (code == EXIT_FINE && qcow2_image_open(source, &image, &err)) {
		code = report_error(layout->command, layout->file, &err);
	} else if (code == EXIT_FINE) {
		layout->source = source;
		layout->image = layout->named = image;
		code = run_image(layout);
	}
	qcow2_image_close(image);
	qcow2_source_close(source);
	return code;
}

static int run_layout(const struct command *command, int argc, char **argv)
{
	struct layout layout = {.command = command};
	const char *value;
	int code, option;

	while ((option = options_next(command, argc, argv, &value, &code)) >= 0)
		if (!take_option(&layout, option, value))
			return EXIT_COULD_NOT;
	if (option == OPTIONS_STOP)
		return code;
	code = operands_one_image(command, argc, argv, &layout.file);
	return code == EXIT_FINE ? run_file(&layout) : code;
}

const struct command layout_command = {
	.name = "layout",
	.operands = "IMAGE",
	.summary = "Show what fills the file, and where space can be gained.",
	.notes = "Nothing is changed; the commands that the page names are for you to run.\n"
		 "Exit codes: 0 done, 1 failed, 2 done, but the image is corrupt.\n",
	.options = options,
	.option_count = sizeof(options) / sizeof(options[0]),
	.run = run_layout,
};
