/* SPDX-License-Identifier: MIT */
/*
 * Fuzzes what people and programs see: the input is an image that is shown as text and as JSON.
 * Whatever it holds, both are UTF-8 without control characters, and the brackets of JSON match.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <qcow2/qcow2.h>

#include "judge.h"
#include "out/emitter.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void show_text(const struct qcow2_image *image, struct emitter_options show,
		      struct qcow2_selection *selection)
{
	static struct text_emitter emitter;
	struct problem_log problems = {0};
	struct spool out;
	struct qcow2_error err;

	spool_init(&out, open("/dev/null", O_WRONLY | O_CLOEXEC));
	emitter = (struct text_emitter){.options = show, .out = &out, .problems = &problems};
	if (qcow2_walk(image, selection, 0, &text_visitor, &emitter, &err) == 0) {
		text_emitter_finish(&emitter);
		judge_text(&out);
	}
	close(out.fd);
	spool_release(&out);
	problem_log_release(&problems);
}

static void show_json(const struct qcow2_image *image, struct emitter_options show,
		      struct qcow2_selection *selection)
{
	struct problem_log problems = {0};
	struct json_emitter emitter = {.options = show, .problems = &problems};
	struct spool out;
	struct qcow2_error err;

	spool_init(&out, open("/dev/null", O_WRONLY | O_CLOEXEC));
	json_init(&emitter.json, &out, 2, false);
	if (qcow2_walk(image, selection, 0, &json_visitor, &emitter, &err) == 0)
		judge_json(&out);
	close(out.fd);
	spool_release(&out);
	problem_log_release(&problems);
}

/* A few entries of all that there is: most of the format, little of its bulk. */
static const char *const selectors[] = {
	"header",  "features",  "extensions",          "backing_file",
	"luks",    "snapshots", "snapshots/*/l1/0..3", "snapshots/*/l2/0/0..3",
	"l1/0..9", "l2/*/0..9", "refcounts/*/0..9",    "bitmaps/*/data/0"};

static void show(const struct qcow2_image *image, unsigned how)
{
	struct progress progress = {0};
	struct emitter_options options = {.file_name = "image",
					  .offsets = (how & 1) != 0,
					  .hex = (how & 2) != 0,
					  .progress = &progress};
	struct qcow2_selection *selection = NULL;
	struct qcow2_error err;
	const char *one[1] = {selectors[how / 8 % (sizeof(selectors) / sizeof(selectors[0]))]};

	if (how & 128 && qcow2_selection_new(one, 1, &selection, &err))
		abort();
	if (how & 4)
		show_text(image, options, selection);
	else
		show_json(image, options, selection);
	qcow2_selection_free(selection);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct qcow2_source *source;
	struct qcow2_image *image;
	struct qcow2_error err;

	if (qcow2_source_from_memory(data, size, &source, &err))
		return 0;
	if (qcow2_image_open(source, &image, &err) == 0) {
		show(image, size > 111 ? data[111] : 0);
		qcow2_image_close(image);
	}
	qcow2_source_close(source);
	return 0;
}
