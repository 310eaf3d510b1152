/* SPDX-License-Identifier: MIT */
/*
 * qcow2 bitmap list for people: a line for each bitmap. What its state or its problem means stands
 * below the table, once for all bitmaps. Numbers of bitmaps that no backup may rely on are left
 * out, since they look like those of a good one.
 */
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "bitmap/list.h"
#include "out/human.h"
#include "out/wrap.h"

#include <qcow2/text.h>

#define NAME_SHOWN 1024
/* Where names begin: behind the numbers, in a line of their own if they are too long for that. */
#define NAME_COLUMN 58
#define NAME_INDENT 4

/* The width that lines have to fit; 0: any. */
static unsigned columns(void)
{
	return isatty(STDOUT_FILENO) ? terminal_columns() : 0;
}

static void note(struct list *list, const char *what, const char *text)
{
	char line[sizeof(list->notes[0])];

	snprintf(line, sizeof(line), "%s: %s", what, text);
	for (size_t i = 0; i < list->note_count; i++)
		if (strcmp(list->notes[i], line) == 0)
			return;
	if (list->note_count < LIST_NOTES)
		memcpy(list->notes[list->note_count++], line, sizeof(line));
	else
		list->notes_left_out = true;
}

/* What is wrong with a bitmap that can be used stands in no column, so that the note names it. */
static void note_remark(struct list *list)
{
	char name[96], what[160];

	qcow2_text_escape(list->bitmap->name, name, sizeof(name));
	snprintf(what, sizeof(what), "%s: %s", name, list->remark->id);
	note(list, what, list->remark->text);
}

static void note_all(struct list *list)
{
	if (list->remark)
		note_remark(list);
	if (list->why)
		note(list, list->why->id, list->why->text);
	else if (!list->stale && !list->counted)
		note(list, "not counted", list->uncounted.text);
	else if (strcmp(list->state, "inconsistent") == 0)
		note(list, list->state,
		     "the header's bitmaps bit is clear, so that no backup can rely on them: "
		     "'qcow2 bitmap repair' has the ways out");
	else if (list->stale)
		note(list, list->state,
		     list->image_in_use
			     ? "another program has the image open, and stores it when it is done"
			     : "it was not saved properly: 'qcow2 bitmap repair' has the ways out");
}

static void write_name(struct list *list)
{
	struct spool *out = &list->run->out;
	char name[6 * NAME_SHOWN + 1];
	unsigned width = columns();

	snprintf(name, sizeof(name), "\"\"");
	if (list->bitmap->name.size > 0)
		qcow2_text_escape(human_cut(list->bitmap->name, NAME_SHOWN), name, sizeof(name));
	if (width > 0 && NAME_COLUMN + text_columns(name) > width) {
		spool_text(out, "\n");
		wrap_anywhere(out, name, NAME_INDENT, width);
	} else {
		spool_print(out, "  %s\n", name);
	}
}

static void write_entries(struct list *list)
{
	if (list->counted && list->totals.bits > 0)
		spool_print(&list->run->out,
			    "              table: %" PRIu64 " stored, %" PRIu64
			    " all clean, %" PRIu64 " all dirty\n",
			    list->totals.serialized_entries, list->totals.all_zeroes_entries,
			    list->totals.all_ones_entries);
}

static void write_numbers(struct list *list)
{
	uint64_t size = qcow2_image_header(list->image)->size;
	bool counted = list->counted && (list->all || !list->stale);
	char dirty[HUMAN_MAX] = "?", share[16] = "", disk[HUMAN_MAX] = "?";

	if (list->counted)
		human_size(list->totals.disk_bytes, disk);
	if (counted) {
		human_size(list->totals.dirty_bytes, dirty);
		snprintf(share, sizeof(share), "%5.1f %%",
			 size ? 100.0 * (double)list->totals.dirty_bytes / (double)size : 0.0);
	}
	spool_print(&list->run->out, "%10s %7s  %9s", dirty, share, disk);
}

void list_text_begin(struct list *list)
{
	char name[6 * NAME_SHOWN + 1];

	if (!list->chain)
		return;
	qcow2_text_escape(human_cut(bitmap_bytes(list->file), NAME_SHOWN), name, sizeof(name));
	spool_print(&list->run->out, "%s%s:\n",
		    list->run->out.written + list->run->out.size > 0 ? "\n" : "", name);
}

void list_text_row(struct list *list)
{
	struct spool *out = &list->run->out;
	unsigned bits = list->bitmap->entry.granularity_bits;
	char granularity[HUMAN_MAX] = "?";

	if (list->count == 0)
		spool_print(out, "%-12s  %11s  %10s %7s  %9s  %s\n", "state", "granularity",
			    "dirty", "", "on disk", "name");
	if (bits <= 63)
		human_size(UINT64_C(1) << bits, granularity);
	spool_print(out, "%-12s  %11s  ", list->state, granularity);
	if (list->why)
		spool_print(out, "%-28s", list->why->id);
	else
		write_numbers(list);
	write_name(list);
	if (list->all)
		write_entries(list);
	note_all(list);
}

void list_text_end(struct list *list)
{
	struct spool *out = &list->run->out;
	unsigned width = columns();

	if (!list->image)
		spool_text(out, "no bitmaps: it is no qcow2 image\n");
	else if (list->count == 0)
		spool_text(out, "no bitmaps\n");
	if (list->omitted > 0)
		spool_print(out, "… and %" PRIu64 " more that the directory claims\n",
			    list->omitted);
	for (size_t i = 0; i < list->note_count; i++) {
		spool_text(out, i == 0 ? "\n" : "");
		if (width > 0)
			wrap_text(out, list->notes[i], 0, NAME_INDENT, width);
		else
			spool_print(out, "%s\n", list->notes[i]);
	}
	if (list->notes_left_out)
		spool_text(out, "…\n");
}
