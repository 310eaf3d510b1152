/* SPDX-License-Identifier: MIT */
/*
 * Fuzzes what people and programs see: the input is an image that is shown as text and as JSON.
 * Whatever it holds, both are UTF-8 without control characters, and the brackets of JSON match.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <qcow2/qcow2.h>

#include "judge.h"
#include "out/emitter.h"
#include "out/rows.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* How an image is shown, and by which walk. */
struct page {
	const struct qcow2_image *image;
	struct emitter_options options;
	struct qcow2_selection *selection;
	bool is_text, in_rows;
};

/* Returns whether the page was finished. */
static bool show_text(const struct page *page, struct problem_log *problems, struct spool *out)
{
	static struct text_emitter emitter;
	struct qcow2_error err;
	int failed;

	emitter = (struct text_emitter){.options = page->options, .out = out, .problems = problems};
	emitter.rows = page->in_rows ? rows_page_text(&emitter, 2) : NULL;
	failed = qcow2_walk(page->image, page->selection, 0,
			    emitter.rows ? &text_rows_visitor : &text_visitor, &emitter, &err);
	if (!failed)
		text_emitter_finish(&emitter);
	rows_page_close(emitter.rows);
	return !failed;
}

static bool show_json(const struct page *page, struct problem_log *problems, struct spool *out)
{
	struct json_emitter emitter = {.options = page->options, .problems = problems};
	struct qcow2_error err;
	int failed;

	json_init(&emitter.json, out, 2, false);
	emitter.rows = page->in_rows ? rows_page_json(&emitter, 2) : NULL;
	failed = qcow2_walk(page->image, page->selection, 0,
			    emitter.rows ? &json_rows_visitor : &json_visitor, &emitter, &err);
	rows_page_close(emitter.rows);
	return !failed;
}

static void show_page(const struct page *page, struct spool *out)
{
	struct problem_log problems = {0};

	spool_init(out, open("/dev/null", O_WRONLY | O_CLOEXEC));
	if (page->is_text && show_text(page, &problems, out))
		judge_text(out);
	else if (!page->is_text && show_json(page, &problems, out))
		judge_json(out);
	close(out->fd);
	problem_log_release(&problems);
}

/* Rows that are told many at once look as those that are told one by one. */
static void show_both(struct page *page)
{
	struct spool one, many;

	show_page(page, &one);
	page->in_rows = !page->options.offsets && !page->options.hex;
	if (page->in_rows) {
		show_page(page, &many);
		if (one.size + one.written != many.size + many.written ||
		    (!one.streaming && one.size > 0 && memcmp(one.kept, many.kept, one.size) != 0))
			abort();
		spool_release(&many);
	}
	spool_release(&one);
}

/* A few entries of all that there is: most of the format, little of its bulk. */
static const char *const selectors[] = {
	"header",  "features",  "extensions",          "backing_file",
	"luks",    "snapshots", "snapshots/*/l1/0..3", "snapshots/*/l2/0/0..3",
	"l1/0..9", "l2/*/0..9", "refcounts/*/0..9",    "bitmaps/*/data/0",
	"l1",      "l2",        "refcount_table",      "refcounts"};

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
	show_both(&(struct page){.image = image,
				 .options = options,
				 .selection = selection,
				 .is_text = (how & 4) != 0});
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
