/* SPDX-License-Identifier: MIT */
/* Shows structures of an image as a plan would leave it, with the pages of qcow2 dump. */
#include "common/plan_preview.h"

#include <stdlib.h>
#include <unistd.h>

#include "out/emitter.h"
#include "out/wrap.h"

#include <qcow2/image.h>
#include <qcow2/walk.h>

/* What is shown, and where to. */
struct preview {
	const struct plan_report *report;
	struct qcow2_selection *selection;
	struct emitter_options options;
	struct problem_log problems;
};

static int show_text(struct preview *preview, const struct qcow2_image *image, struct spool *out,
		     struct qcow2_error *err)
{
	struct text_emitter *emitter = calloc(1, sizeof(*emitter));
	int failed;

	if (!emitter) {
		*err = (struct qcow2_error){.code = QCOW2_ERROR_MEMORY,
					    .offset_bytes = QCOW2_NO_OFFSET,
					    .text = "out of memory"};
		return -1;
	}
	emitter->options = preview->options;
	emitter->out = out;
	emitter->problems = &preview->problems;
	spool_text(out, "\n");
	failed = qcow2_walk(image, preview->selection, 0, &text_visitor, emitter, err);
	if (!failed)
		text_emitter_finish(emitter);
	free(emitter);
	return failed;
}

static int show_json(struct preview *preview, const struct qcow2_image *image, struct json *json,
		     struct qcow2_error *err)
{
	struct json_emitter emitter = {
		.options = preview->options, .problems = &preview->problems, .json = *json};
	int failed;

	failed = qcow2_walk(image, preview->selection, 0, &json_visitor, &emitter, err);
	*json = emitter.json;
	return failed;
}

int plan_preview(struct spool *out, struct json *json, const struct plan_report *report,
		 const char *selector, bool colour, struct qcow2_error *err)
{
	struct progress progress;
	struct preview preview = {
		.report = report,
		.options = {.file_name = report->file,
			    .colour = colour,
			    .progress = &progress,
			    .columns = isatty(STDOUT_FILENO) ? terminal_columns() : 0}};
	struct qcow2_source *view = NULL;
	struct qcow2_image *image = NULL;
	int failed;

	progress_init(&progress);
	failed = qcow2_selection_new(&selector, 1, &preview.selection, err) ||
		 qcow2_plan_view(report->plan, &view, err) || qcow2_image_open(view, &image, err) ||
		 (json ? show_json(&preview, image, json, err)
		       : show_text(&preview, image, out, err));
	progress_end(&progress);
	qcow2_image_close(image);
	qcow2_source_close(view);
	qcow2_selection_free(preview.selection);
	problem_log_release(&preview.problems);
	return failed ? -1 : 0;
}
