/* SPDX-License-Identifier: MIT */
/* The lists at the end of the page: snapshots, and bitmaps with what can be done with them. */
#include "info/page.h"

#include <inttypes.h>
#include <stdlib.h>

#include "common/bitmap_state.h"
#include "out/human.h"

#include <qcow2/limits.h>
#include <qcow2/text.h>

#define ROWS_SHOWN 64
#define NAME_SHOWN 120

static bool has_room(const struct page *page, uint64_t rows)
{
	return rows < ROWS_SHOWN || page->info->all;
}

/* Says how many rows of a list are not shown, if there may be any. */
static void show_rest(const struct page *page, uint64_t rows, uint64_t claimed)
{
	if (claimed > rows)
		spool_print(page->out, "… and %" PRIu64 " more%s\n", claimed - rows,
			    page->info->all ? " that the image claims" : ", which --all shows");
}

/* A name is the last column: whatever its width, it pushes no other out of line. */
static void name_cell(const struct page *page, struct qcow2_bytes name)
{
	char text[NAME_SHOWN * 6 + 1]; /* a control character takes six */

	qcow2_text_escape(human_cut(name, NAME_SHOWN), text, sizeof(text));
	spool_print(page->out, "%s%s\n", name.size == 0 ? "\"\"" : text,
		    name.size > NAME_SHOWN ? "…" : "");
}

void page_snapshots(const struct page *page)
{
	struct qcow2_snapshots *snapshots;
	const struct qcow2_snapshot *s;
	struct qcow2_error err;
	char size[HUMAN_MAX], date[HUMAN_MAX], clock[HUMAN_MAX];
	uint64_t rows = 0;
	int more = 0;

	if (qcow2_snapshots_open(page->info->image, &snapshots, &err)) {
		info_note(page->info, &err);
		return;
	}
	spool_print(page->out, "\nsnapshots (%" PRIu32 "):\n%-6s %-24s %-14s %-10s %s\n",
		    qcow2_image_header(page->info->image)->nb_snapshots, "id", "date", "VM clock",
		    "VM state", "name");
	/* QEMU refuses more; a table in a hole may claim billions. */
	while (has_room(page, rows) && rows < QCOW2_LIMIT_QEMU_SNAPSHOTS &&
	       (more = qcow2_snapshots_next(snapshots, &s, &err)) > 0) {
		char id[64];

		rows++;
		qcow2_text_escape(s->id, id, sizeof(id));
		spool_print(page->out, "%-6s %-24s %-14s %-10s ", id,
			    human_time(s->header.date_sec, date),
			    human_duration(s->header.vm_clock_nsec, clock),
			    human_size(s->vm_state_size_bytes, size));
		name_cell(page, s->name);
	}
	if (more > 0)
		show_rest(page, rows, qcow2_image_header(page->info->image)->nb_snapshots);
	if (more < 0)
		info_note(page->info, &err);
	qcow2_snapshots_close(snapshots);
}

static int show_bitmap_rows(const struct page *page, struct qcow2_bitmaps *bitmaps,
			    const struct bitmap_judge *judge, struct qcow2_error *err)
{
	const struct qcow2_bitmap *bitmap;
	struct bitmap_state state;
	char size[HUMAN_MAX];
	uint64_t rows = 0;
	int more = 0;

	while (has_room(page, rows) &&
	       !bitmap_past_stored(bitmaps, qcow2_image_source(page->info->image)) &&
	       (more = qcow2_bitmaps_next(bitmaps, &bitmap, err)) > 0) {
		unsigned bits = bitmap->entry.granularity_bits;

		if (bitmap_state_find(judge, bitmap, &state, err))
			return -1;
		rows++;
		spool_print(page->out, "%-12s %-14s ",
			    bits < 64 ? human_size(UINT64_C(1) << bits, size) : "impossible",
			    state.word);
		name_cell(page, bitmap->name);
	}
	if (more > 0)
		show_rest(page, rows, qcow2_bitmaps_header(bitmaps)->nb_bitmaps);
	return more;
}

void page_bitmaps(const struct page *page)
{
	struct bitmap_judge judge = {.image = page->info->image};
	struct qcow2_bitmaps *bitmaps;
	struct qcow2_error err;

	if (qcow2_bitmaps_open(page->info->image, &bitmaps, &err)) {
		info_note(page->info, &err);
		return;
	}
	spool_print(page->out, "\nbitmaps (%" PRIu32 "):\n%-12s %-14s %s\n",
		    qcow2_bitmaps_header(bitmaps)->nb_bitmaps, "granularity", "state", "name");
	if (qcow2_bitmap_health_open(page->info->image, &judge.health, &err) ||
	    show_bitmap_rows(page, bitmaps, &judge, &err) < 0)
		info_note(page->info, &err);
	qcow2_bitmap_health_close(judge.health);
	qcow2_bitmaps_close(bitmaps);
}
