/* SPDX-License-Identifier: MIT */
/* qcow2 bitmap list: shows each bitmap, what it holds, and whether it can be used. */
#include <stdlib.h>
#include <string.h>

#include "bitmap/actions.h"
#include "bitmap/list.h"
#include "common/bitmap_state.h"
#include "common/chain.h"
#include "common/report.h"

#include <qcow2/source.h>

/* A file system may report fewer allocated bytes than the file stores. */
#define SLACK_BYTES (UINT64_C(16) << 20)

/* Notes what is wrong with a bitmap that can be used. */
static int hear(void *opaque, const struct qcow2_problem *problem)
{
	struct list *list = opaque;

	if (problem->kind->number == QCOW2_PROBLEM_BITMAP_DATA_TAIL)
		list->remark = problem->kind;
	return 0;
}

/*
 * Counts the bits of a bitmap. Bitmaps may share tables and data; all together may read as much as
 * the file stores. What is read is taken off, not what the clusters could hold: in a file with
 * holes, most of a cluster is not stored.
 */
static void count(struct list *list)
{
	uint64_t *left = &list->left, before = qcow2_source_read_bytes(list->source), cost;

	list->totals = (struct qcow2_bitmap_totals){0};
	list->uncounted.text[0] = '\0';
	list->counted =
		!list->bitmap->cut && qcow2_bitmap_count(list->image, &list->bitmap->entry, *left,
							 &list->totals, &list->uncounted) == 0;
	cost = qcow2_source_read_bytes(list->source) - before;
	*left -= cost < *left ? cost : *left;
}

/* What the system refused is no property of the bitmap: nobody may take its counts for unknown. */
static bool has_failed(const struct list *list)
{
	return !list->counted && list->uncounted.text[0] != '\0' &&
	       (list->uncounted.code == QCOW2_ERROR_IO ||
		list->uncounted.code == QCOW2_ERROR_MEMORY);
}

static int examine(struct list *list, struct qcow2_error *err)
{
	const struct bitmap_judge judge = {
		.image = list->image, .health = list->health, .also = hear, .opaque = list};
	struct bitmap_state state;

	list->remark = NULL;
	if (bitmap_state_find(&judge, list->bitmap, &state, err))
		return -1;
	list->state = state.word;
	list->why = state.why;
	list->damaged |= state.damaged;
	list->stale = strcmp(state.word, "inconsistent") == 0 || strcmp(state.word, "in use") == 0;
	count(list);
	if (!has_failed(list))
		return 0;
	*err = list->uncounted;
	return -1;
}

/* ---- all of them ---- */

static int list_all(struct list *list, struct qcow2_bitmaps *bitmaps, struct qcow2_error *err)
{
	uint64_t claimed = qcow2_bitmaps_header(bitmaps)->nb_bitmaps;
	int more = 1;

	while (!bitmap_past_stored(bitmaps, list->source) &&
	       (more = qcow2_bitmaps_next(bitmaps, &list->bitmap, err)) > 0) {
		if (examine(list, err))
			return -1;
		if (list->run->format == BITMAP_LINES)
			list_text_row(list);
		else
			list_json_row(list);
		list->count++;
		progress_share(&list->run->progress, list->count, claimed);
	}
	list->omitted = more > 0 ? claimed - list->count : 0;
	list->damaged |= list->count != claimed ||
			 qcow2_bitmaps_used_bytes(bitmaps) !=
				 qcow2_bitmaps_header(bitmaps)->bitmap_directory_size;
	return more < 0 ? -1 : 0;
}

static int list_directory(struct list *list, struct qcow2_error *err)
{
	struct qcow2_bitmaps *bitmaps;
	int failed;

	if (qcow2_bitmaps_open(list->image, &bitmaps, err))
		return err->code == QCOW2_ERROR_NOT_FOUND ? 0 : -1;
	/* That of the file before is closed. */
	list->health = NULL;
	failed = qcow2_bitmap_health_open(list->image, &list->health, err) ||
		 list_all(list, bitmaps, err);
	qcow2_bitmap_health_close(list->health);
	qcow2_bitmaps_close(bitmaps);
	return failed ? -1 : 0;
}

/* Lists the bitmaps of one file. image: NULL if it is no qcow2 image, and has none. */
static int list_image(struct list *list, struct qcow2_error *err)
{
	bool text = list->run->format == BITMAP_LINES;

	list->count = list->omitted = list->note_count = 0;
	list->notes_left_out = false;
	list->image_in_use = list->image && qcow2_source_in_use(list->source) == QCOW2_IN_USE_YES;
	if (text)
		list_text_begin(list);
	else
		list_json_begin(list);
	if (list->image) {
		list->left = qcow2_source_allocated_bytes(list->source) + SLACK_BYTES;
		if (list_directory(list, err))
			return -1;
	}
	if (text)
		list_text_end(list);
	else
		list_json_end(list);
	return 0;
}

/* Lists each file of the chain. Returns the exit code. */
static int list_chain(struct list *list)
{
	struct json *json = &list->run->json;
	bool array = list->run->format == BITMAP_JSON;
	struct chain chain;
	struct qcow2_error err;
	int more, code = EXIT_FINE;

	if (array)
		json_begin_array(json);
	chain_begin(&chain, list->run->file);
	chain.common = list->run->command->common;
	while ((more = chain_next(&chain, &err)) > 0) {
		list->file = chain.link.file;
		list->image = chain.link.image;
		list->source = chain.link.source;
		if (list_image(list, &err)) {
			more = -1;
			break;
		}
	}
	if (more < 0)
		code = report_error(list->run->command, chain.link.file, &err);
	chain_end(&chain);
	if (array)
		json_end_array(json);
	return code;
}

int bitmap_list(struct bitmap_run *run)
{
	struct list *list = calloc(1, sizeof(*list));
	struct qcow2_error err = {.code = QCOW2_ERROR_MEMORY,
				  .offset_bytes = QCOW2_NO_OFFSET,
				  .text = "out of memory"};
	int code;

	if (!list)
		return bitmap_fail(run, &err);
	*list = (struct list){.run = run,
			      .file = run->file,
			      .image = run->image,
			      .source = run->source,
			      .all = wants_all(run->command),
			      .chain = run->chain};
	if (list->chain)
		code = list_chain(list);
	else
		code = list_image(list, &err) ? bitmap_fail(run, &err) : EXIT_FINE;
	if (run->format == BITMAP_JSON)
		spool_text(&run->out, "\n");
	if (code == EXIT_FINE && list->damaged)
		code = EXIT_MALFORMED;
	free(list);
	return code;
}
