/* SPDX-License-Identifier: MIT */
/* The tables of snapshots and of bitmaps. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "out/html.h"
#include "out/human.h"
#include "report/page.h"
#include "report/section.h"

#include <qcow2/bitmap_directory.h>

/* The bytes of a name that are shown. */
#define NAME_SHOWN 256
#define ID_SHOWN   64

static void write_problem(struct spool *out, const struct qcow2_problem_kind *kind)
{
	spool_text(out, "<td>");
	if (kind) {
		spool_print(out, "<code>%s</code>: ", kind->id);
		html_text(out, kind->text);
	}
	spool_text(out, "</td>");
}

static void begin_row(struct spool *out, uint64_t index)
{
	spool_print(out, "<tr><td class=\"number\">%" PRIu64 "</td><th scope=\"row\">", index);
}

/* ---- snapshots ---- */

static void write_snapshot(struct spool *out, const struct table_row *row,
			   const struct report_space *space)
{
	const struct qcow2_snapshot *snapshot = &row->snapshot;
	char date[HUMAN_MAX];

	begin_row(out, snapshot->index);
	html_name(out, snapshot->name, NAME_SHOWN);
	spool_text(out, "</th><td>");
	html_name(out, snapshot->id, ID_SHOWN);
	spool_print(out, "</td><td>%s</td>", human_time(snapshot->header.date_sec, date));
	html_size_cell(out, true, snapshot->disk_size_bytes);
	html_size_cell(out, true, snapshot->vm_state_size_bytes);
	html_size_cell(out, space->known, space->referenced_bytes);
	html_size_cell(out, space->known, space->exclusive_bytes);
	write_problem(out, row->problem);
	spool_text(out, "</tr>\n");
}

void report_write_snapshots(struct spool *out, const struct report *report)
{
	static const char *const headings[] = {"#Index",      "Name",     "ID",
					       "Date",        "#Disk",    "#VM state",
					       "#References", "#Its own", "Problem"};
	const struct snapshot_table *table = &report->lists.snapshots;
	const uint64_t claimed = qcow2_image_header(report->shown)->nb_snapshots;
	uint64_t shown = report->bounds.rows;

	if (shown > table->count)
		shown = table->count;
	report_begin_section(out, "snapshots", "Snapshots");
	if (claimed == 0)
		spool_text(out, "<p>The image has no snapshots.</p>\n");
	if (table->unreadable.code != QCOW2_ERROR_NONE) {
		spool_text(out, "<p>The table cannot be read: ");
		html_text(out, table->unreadable.text);
		spool_text(out, ".</p>\n");
	}
	if (shown > 0) {
		html_begin_table(
			out, "names",
			"Snapshots. What is their own is freed with them; the rest of what "
			"they refer to is shared.");
		html_head(out, headings, sizeof(headings) / sizeof(headings[0]));
		for (uint64_t i = 0; i < shown; i++)
			write_snapshot(out, &table->rows[i], &report->lists.snapshot_space[i]);
		html_end_table(out);
	}
	report_write_more(out, report, claimed > shown ? claimed - shown : 0, "qcow2 snapshot list",
			  "");
	report_end_section(out);
}

/* ---- bitmaps ---- */

static const char *class_of(const struct report_bitmap *bitmap)
{
	if (bitmap->why)
		return "bad";
	if (strcmp(bitmap->state, "enabled") == 0)
		return "good";
	return strcmp(bitmap->state, "disabled") == 0 ? "note" : "fair";
}

/* What is wrong with it, or else not as it should be. */
static const struct qcow2_problem_kind *remark_of(const struct report_bitmap *bitmap)
{
	if (bitmap->why)
		return bitmap->why;
	if (strcmp(bitmap->state, "in use") == 0)
		return qcow2_problem_kind_get(QCOW2_PROBLEM_BITMAP_IN_USE);
	if (strcmp(bitmap->state, "inconsistent") == 0)
		return qcow2_problem_kind_get(QCOW2_PROBLEM_BITMAPS_INCONSISTENT);
	return bitmap->remark;
}

static void write_bitmap(struct spool *out, const struct report_bitmap *bitmap)
{
	const unsigned bits = bitmap->entry.granularity_bits;

	begin_row(out, bitmap->index);
	html_name(out, (struct qcow2_bytes){bitmap->name, bitmap->name_size}, NAME_SHOWN);
	spool_print(out, "</th><td><span class=\"badge %s\">%s</span></td>", class_of(bitmap),
		    bitmap->state);
	html_size_cell(out, bits < 64, UINT64_C(1) << (bits & 63));
	html_size_cell(out, bitmap->counted, bitmap->totals.dirty_bytes);
	html_size_cell(out, bitmap->space.known, bitmap->space.exclusive_bytes);
	write_problem(out, remark_of(bitmap));
	spool_text(out, "</tr>\n");
}

void report_write_bitmaps(struct spool *out, const struct report *report)
{
	static const char *const headings[] = {"#Index", "Name",     "State",  "#Granularity",
					       "#Dirty", "#Its own", "Problem"};
	const struct report_lists *lists = &report->lists;
	uint64_t shown = report->bounds.rows;

	if (shown > lists->bitmap_count)
		shown = lists->bitmap_count;
	report_begin_section(out, "bitmaps", "Bitmaps");
	if (lists->bitmaps_total == 0)
		spool_text(out, "<p>The image has no bitmaps.</p>\n");
	if (shown > 0) {
		html_begin_table(out, "names",
				 "Bitmaps: which parts of the disk changed since each was made.");
		html_head(out, headings, sizeof(headings) / sizeof(headings[0]));
		for (uint64_t i = 0; i < shown; i++)
			write_bitmap(out, &lists->bitmaps[i]);
		html_end_table(out);
	}
	report_write_more(out, report,
			  lists->bitmaps_total > shown ? lists->bitmaps_total - shown : 0,
			  "qcow2 bitmap list", "");
	report_end_section(out);
}
