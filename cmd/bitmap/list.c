/* SPDX-License-Identifier: MIT */
/* qcow2 bitmap list: shows each bitmap, what it holds, and whether it can be used. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "bitmap/actions.h"
#include "common/bitmap_state.h"
#include "out/human.h"

#include <qcow2/source.h>
#include <qcow2/text.h>

#define NAME_SHOWN 1024
/* A file system may report fewer allocated bytes than the file stores. */
#define SLACK_BYTES (UINT64_C(16) << 20)

/* One list under way, and the bitmap that is looked at. */
struct list {
	struct bitmap_run *run;
	struct qcow2_bitmap_health *health;
	bool damaged;      /* one of them is */
	bool image_in_use; /* by another program */
	uint64_t count;
	const struct qcow2_bitmap *bitmap;
	struct qcow2_bitmap_totals totals;
	bool counted;
	uint64_t left;                /* bytes of tables and data that may still be read */
	struct qcow2_error uncounted; /* why it was not */
	const char *state;
	const struct qcow2_problem_kind *why; /* it cannot be used; NULL: it can */
};

/*
 * Counts the bits of a bitmap. Bitmaps may share tables and data; all together may read as much as
 * the file stores.
 */
static void count(struct list *list)
{
	uint64_t *left = &list->left;

	list->totals = (struct qcow2_bitmap_totals){0};
	list->uncounted.text[0] = '\0';
	list->counted = !list->bitmap->cut &&
			qcow2_bitmap_count(list->run->image, &list->bitmap->entry, *left,
					   &list->totals, &list->uncounted) == 0;
	if (list->counted || list->totals.serialized_entries > 0)
		*left -= list->totals.disk_bytes < *left ? list->totals.disk_bytes : *left;
}

static int examine(struct list *list, struct qcow2_error *err)
{
	const struct bitmap_judge judge = {.image = list->run->image, .health = list->health};
	struct bitmap_state state;

	if (bitmap_state_find(&judge, list->bitmap, &state, err))
		return -1;
	list->state = state.word;
	list->why = state.why;
	list->damaged |= state.damaged;
	count(list);
	return 0;
}

/* ---- as JSON ---- */

static void number(struct json *json, const char *key, bool known, uint64_t value)
{
	json_key(json, key);
	if (known)
		json_number(json, value);
	else
		json_null(json);
}

static void write_row(const struct list *list)
{
	struct json *json = &list->run->json;
	const struct qcow2_bitmap_totals *totals = &list->totals;
	unsigned bits = list->bitmap->entry.granularity_bits;

	if (list->run->format == BITMAP_NDJSON)
		json_begin_line_object(json);
	else
		json_begin_object(json);
	json_text_member(json, "name", list->bitmap->name);
	number(json, "granularity", bits <= 63, UINT64_C(1) << (bits & 63));
	json_key(json, "state");
	json_text(json, list->state);
	json_key(json, "problem");
	if (list->why)
		json_text(json, list->why->id);
	else
		json_null(json);
	if (!list->counted) {
		json_key(json, "not-counted");
		json_text(json, list->uncounted.text);
	}
	number(json, "dirty-bytes", list->counted, totals->dirty_bytes);
	number(json, "disk-bytes", list->counted, totals->disk_bytes);
	number(json, "serialized-entries", list->counted, totals->serialized_entries);
	number(json, "all-zeroes-entries", list->counted, totals->all_zeroes_entries);
	number(json, "all-ones-entries", list->counted, totals->all_ones_entries);
	json_end_object(json);
}

/* ---- for people ---- */

static void show_row(const struct list *list)
{
	struct spool *out = &list->run->out;
	uint64_t size = qcow2_image_header(list->run->image)->size;
	unsigned bits = list->bitmap->entry.granularity_bits;
	char name[6 * NAME_SHOWN + 1], granularity[HUMAN_MAX] = "?", dirty[HUMAN_MAX] = "?";
	char disk[HUMAN_MAX] = "?";

	qcow2_text_escape(human_cut(list->bitmap->name, NAME_SHOWN), name, sizeof(name));
	if (bits <= 63)
		human_size(UINT64_C(1) << bits, granularity);
	if (list->counted) {
		human_size(list->totals.dirty_bytes, dirty);
		human_size(list->totals.disk_bytes, disk);
	}
	spool_print(out, "%-12s  %11s  %10s %5.1f %%  %9s  %s\n", list->state, granularity, dirty,
		    size && list->counted ? 100.0 * (double)list->totals.dirty_bytes / (double)size
					  : 0.0,
		    disk, name);
	if (list->counted && list->totals.bits > 0)
		spool_print(out,
			    "              table: %" PRIu64 " stored, %" PRIu64
			    " all clean, %" PRIu64 " all dirty\n",
			    list->totals.serialized_entries, list->totals.all_zeroes_entries,
			    list->totals.all_ones_entries);
	if (list->why)
		spool_print(out, "              ! %s: %s\n", list->why->id, list->why->text);
	else if (strcmp(list->state, "in use") == 0)
		spool_text(out,
			   list->image_in_use
				   ? "              ! another program has the image open, and "
				     "stores it when it is done\n"
				   : "              ! it was not saved properly: 'qcow2 bitmap "
				     "repair' has the ways out\n");
	else if (!list->counted)
		spool_print(out, "              ! not counted: %s\n", list->uncounted.text);
}

static void show(struct list *list)
{
	if (list->run->format != BITMAP_LINES) {
		write_row(list);
		if (list->run->format == BITMAP_NDJSON)
			spool_text(&list->run->out, "\n");
		return;
	}
	if (list->count == 0)
		spool_print(&list->run->out, "%-12s  %11s  %10s %7s  %9s  %s\n", "state",
			    "granularity", "dirty", "", "on disk", "name");
	show_row(list);
}

/* ---- all of them ---- */

static int list_all(struct list *list, struct qcow2_bitmaps *bitmaps, struct qcow2_error *err)
{
	uint64_t claimed = qcow2_bitmaps_header(bitmaps)->nb_bitmaps;
	int more;

	while ((more = qcow2_bitmaps_next(bitmaps, &list->bitmap, err)) > 0) {
		if (examine(list, err))
			return -1;
		show(list);
		list->count++;
		progress_share(&list->run->progress, list->count, claimed);
	}
	list->damaged |= list->count != claimed ||
			 qcow2_bitmaps_used_bytes(bitmaps) !=
				 qcow2_bitmaps_header(bitmaps)->bitmap_directory_size;
	return more;
}

static int list_directory(struct list *list, struct qcow2_error *err)
{
	struct qcow2_bitmaps *bitmaps;
	int failed;

	if (qcow2_bitmaps_open(list->run->image, &bitmaps, err))
		return err->code == QCOW2_ERROR_NOT_FOUND ? 0 : -1;
	failed = qcow2_bitmap_health_open(list->run->image, &list->health, err) ||
		 list_all(list, bitmaps, err);
	qcow2_bitmap_health_close(list->health);
	qcow2_bitmaps_close(bitmaps);
	return failed ? -1 : 0;
}

int bitmap_list(struct bitmap_run *run)
{
	struct list list = {.run = run,
			    .image_in_use = qcow2_source_in_use(run->source),
			    .left = qcow2_source_allocated_bytes(run->source) + SLACK_BYTES};
	struct qcow2_error err;
	bool json = run->format == BITMAP_JSON;

	if (json) {
		json_begin_object(&run->json);
		json_text_member(&run->json, "filename", bitmap_bytes(run->file));
		number(&run->json, "virtual-size", true, qcow2_image_header(run->image)->size);
		json_key(&run->json, "image-in-use");
		json_bool(&run->json, list.image_in_use);
		json_key(&run->json, "bitmaps");
		json_begin_array(&run->json);
	}
	if (list_directory(&list, &err))
		return bitmap_fail(run, &err);
	if (json) {
		json_end_array(&run->json);
		json_end_object(&run->json);
		spool_text(&run->out, "\n");
	} else if (run->format == BITMAP_LINES && list.count == 0) {
		spool_text(&run->out, "no bitmaps\n");
	}
	return list.damaged ? EXIT_MALFORMED : EXIT_FINE;
}
