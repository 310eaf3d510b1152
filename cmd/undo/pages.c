/* SPDX-License-Identifier: MIT */
/* See pages.h. */
#include "undo/pages.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "out/human.h"

#include <qcow2/text.h>

/* The most bytes of a text in a line. */
#define TEXT_SHOWN 200
/* Columns of 80 that the others of a row leave for the change. */
#define CHANGE_COLUMNS 30
/* The beginning of the library's text if an image has another content. */
#define SINCE "the image was written to since: "

const char *undo_state_name(enum qcow2_undo_state state)
{
	switch (state) {
	case QCOW2_UNDO_APPLYING:
		return "interrupted";
	case QCOW2_UNDO_APPLIED:
		return "applied";
	case QCOW2_UNDO_UNDOING:
		return "undo interrupted";
	case QCOW2_UNDO_UNDONE:
		return "undone";
	}
	return "unknown";
}

const char *undo_now_name(enum undo_now now)
{
	switch (now) {
	case UNDO_NOW_UNKNOWN:
		return "unknown";
	case UNDO_NOW_EXACT:
		return "exact";
	case UNDO_NOW_SAFE:
		return "safe";
	case UNDO_NOW_INSIST:
		return "exact only";
	case UNDO_NOW_AFTER:
		return "after";
	case UNDO_NOW_NEVER:
		return "never";
	case UNDO_NOW_OTHER:
		return "other image";
	case UNDO_NOW_GONE:
		return "no image";
	case UNDO_NOW_UNDONE:
		return "undone";
	case UNDO_NOW_BROKEN:
		return "unreadable";
	}
	return "unknown";
}

static const char *doubt_name(enum qcow2_undo_doubt doubt)
{
	switch (doubt) {
	case QCOW2_UNDO_NO_DOUBT:
		return "";
	case QCOW2_UNDO_DOUBT_TIME:
		return "time";
	case QCOW2_UNDO_DOUBT_DEVICE:
		return "device";
	case QCOW2_UNDO_DOUBT_DATA_FILE:
		return "data-file";
	case QCOW2_UNDO_DOUBT_INTERRUPTED:
		return "interrupted";
	case QCOW2_UNDO_DOUBT_ELSEWHERE:
		return "elsewhere";
	}
	return "unknown";
}

const char *undo_doubt_text(enum qcow2_undo_doubt doubt)
{
	switch (doubt) {
	case QCOW2_UNDO_NO_DOUBT:
		return "";
	case QCOW2_UNDO_DOUBT_TIME:
		return "the image was modified after the change";
	case QCOW2_UNDO_DOUBT_DEVICE:
		return "the image is on a device, which has no modification time";
	case QCOW2_UNDO_DOUBT_DATA_FILE:
		return "the guest's data are in another file";
	case QCOW2_UNDO_DOUBT_INTERRUPTED:
		return "the change, or an undo of it, was interrupted";
	case QCOW2_UNDO_DOUBT_ELSEWHERE:
		return "the image is another file than the one changed";
	}
	return "unknown";
}

static struct qcow2_bytes bytes_of(const char *text)
{
	return (struct qcow2_bytes){(const uint8_t *)text, strlen(text)};
}

static void show_safe(struct spool *out, struct qcow2_bytes text)
{
	char safe[6 * TEXT_SHOWN + 1];

	qcow2_text_escape(human_cut(text, TEXT_SHOWN), safe, sizeof(safe));
	spool_text(out, safe);
}

/* Shows a path whole, so that it can be pasted. */
static void show_path(struct spool *out, const char *path)
{
	char safe[16384];

	qcow2_text_escape(bytes_of(path), safe, sizeof(safe));
	spool_text(out, safe);
}

/* ---- one ---- */

static void show_safe_result(struct spool *out, const struct qcow2_undo_result *result)
{
	spool_print(out, "safe: %s, so", undo_doubt_text(result->doubt));
	if (result->bitmaps_in_use > 0)
		spool_print(out, " %" PRIu64 " bitmap%s come%s back in use", result->bitmaps_in_use,
			    result->bitmaps_in_use == 1 ? "" : "s",
			    result->bitmaps_in_use == 1 ? "s" : "");
	if (result->bitmaps_in_use > 0 && result->autoclear_lost > 0)
		spool_text(out, " and");
	if (result->autoclear_lost > 0)
		spool_print(out, " autoclear bits 0x%" PRIx64 " stay clear",
			    result->autoclear_lost);
}

void undo_now_human(struct spool *out, const struct undo_list *list, const struct undo_entry *entry)
{
	if (entry->now == UNDO_NOW_SAFE) {
		show_safe_result(out, &entry->result);
	} else if (entry->now == UNDO_NOW_AFTER) {
		spool_text(out, "after ");
		show_path(out, list->entries[entry->first].path);
	} else if (entry->now == UNDO_NOW_EXACT) {
		spool_text(out, "exact: every byte comes back");
	} else {
		spool_print(out, "%s%s%s", undo_now_name(entry->now), entry->why ? ": " : "",
			    entry->why ? entry->why : "");
	}
	spool_text(out, "\n");
}

void undo_result_json(struct json *json, const struct qcow2_undo_result *result)
{
	json_key(json, "reason");
	if (result->doubt == QCOW2_UNDO_NO_DOUBT)
		json_null(json);
	else
		json_text(json, doubt_name(result->doubt));
	json_key(json, "bitmaps-in-use");
	json_number(json, result->bitmaps_in_use);
	json_key(json, "autoclear-lost");
	json_number(json, result->autoclear_lost);
}

void undo_now_json(struct json *json, const struct undo_list *list, const struct undo_entry *entry)
{
	json_key(json, "now");
	json_text(json, undo_now_name(entry->now));
	if (entry->now == UNDO_NOW_EXACT || entry->now == UNDO_NOW_SAFE)
		undo_result_json(json, &entry->result);
	if (entry->first != UNDO_NO_ENTRY)
		json_text_member(json, "undo-first", bytes_of(list->entries[entry->first].path));
	if (entry->why)
		json_text_member(json, "why", bytes_of(entry->why));
}

/* ---- many ---- */

/* A page of a list under way. */
struct page {
	struct spool *out;
	const struct undo_list *list;
	const struct undo_entry *before; /* the row above, or NULL */
	size_t rows;
};

static bool begins_group(const struct page *page, const struct undo_entry *entry)
{
	struct qcow2_bytes now = entry->info.image_path, before;

	if (!page->before)
		return true;
	before = page->before->info.image_path;
	return now.size != before.size ||
	       (now.size > 0 && memcmp(now.data, before.data, now.size) != 0);
}

static void show_heading(const struct page *page, const struct undo_entry *entry)
{
	struct spool *out = page->out;

	if (page->before)
		spool_text(out, "\n");
	if (entry->info.image_path.size > 0)
		show_safe(out, entry->info.image_path);
	else
		spool_text(out,
			   entry->texts ? "of no named image" : "of images that are not known");
	spool_print(out, "\n%4s  %-16s  %-8s  %-14s  %s\n", "#", "made (UTC)", "state", "undo now",
		    "change");
}

/* Returns the number of a row, counted from 1; 0 if the entry is not on the page. */
static size_t row_of(const struct undo_list *list, size_t index)
{
	size_t row = 0;

	for (size_t i = 0; i <= index; i++)
		row += !list->entries[i].extra;
	return list->entries[index].extra ? 0 : row;
}

/* "safe, 2 in use", "after 3", "never" */
static void now_cell(char *cell, size_t size, const struct undo_list *list,
		     const struct undo_entry *entry)
{
	if (entry->removed)
		snprintf(cell, size, "removed");
	else if (entry->now == UNDO_NOW_SAFE && entry->result.bitmaps_in_use > 0)
		snprintf(cell, size, "safe, %" PRIu64 " in use", entry->result.bitmaps_in_use);
	else if (entry->now == UNDO_NOW_AFTER && row_of(list, entry->first) > 0)
		snprintf(cell, size, "after %zu", row_of(list, entry->first));
	else if (entry->now == UNDO_NOW_AFTER)
		snprintf(cell, size, "after another");
	else if (entry->now == UNDO_NOW_UNDONE)
		snprintf(cell, size, "-");
	else
		snprintf(cell, size, "%s", undo_now_name(entry->now));
}

/* Shows the reason below a row. */
static void show_reason(const struct page *page, const struct undo_entry *entry)
{
	bool elsewhere = entry->first != UNDO_NO_ENTRY && row_of(page->list, entry->first) == 0;
	const char *why = entry->now == UNDO_NOW_SAFE ? undo_doubt_text(entry->result.doubt)
			  : elsewhere                 ? "after "
						      : entry->why;

	if (!why)
		return;
	/* The word "never" in the row says the first half. */
	if (entry->now == UNDO_NOW_NEVER && strncmp(why, SINCE, strlen(SINCE)) == 0)
		why += strlen(SINCE);
	spool_print(page->out, "      %s", why);
	if (elsewhere)
		show_path(page->out, page->list->entries[entry->first].path);
	spool_text(page->out, "\n");
}

static void show_row(struct page *page, const struct undo_entry *entry)
{
	char time[HUMAN_MAX] = "-", cell[64];
	struct spool *out = page->out;

	if (begins_group(page, entry))
		show_heading(page, entry);
	if (entry->texts)
		human_time(entry->info.time_seconds, time);
	now_cell(cell, sizeof(cell), page->list, entry);
	/*
	 * Minutes are enough, and leave room for the change in 80 columns: the order of the rows
	 * says the rest.
	 */
	spool_print(out, "%4zu  %-16.16s  %-8s  %-14s  ", ++page->rows, time,
		    entry->texts ? undo_state_name(entry->info.state) : "-", cell);
	/* A long change has a line of its own: the terminal would break it. */
	if (entry->info.command.size > CHANGE_COLUMNS)
		spool_text(out, "\n      ");
	show_safe(out, entry->info.command);
	spool_text(out, "\n      ");
	show_path(out, entry->path);
	spool_text(out, "\n");
	show_reason(page, entry);
	page->before = entry;
}

static const char *const cut_text =
	"more than is looked through: name a folder, a file or an image";

void undo_list_human(struct spool *out, const struct undo_list *list)
{
	struct page page = {.out = out, .list = list};

	for (size_t i = 0; i < list->count; i++)
		if (!list->entries[i].extra)
			show_row(&page, &list->entries[i]);
	if (page.rows == 0)
		spool_text(out, "no undo files\n");
	if (list->cut)
		spool_print(out, "… and %s\n", cut_text);
}

static void write_entry(struct json *json, const struct undo_list *list,
			const struct undo_entry *entry)
{
	json_begin_object(json);
	json_text_member(json, "file", bytes_of(entry->path));
	if (entry->texts) {
		json_text_member(json, "image", entry->info.image_path);
		json_text_member(json, "edit", entry->info.command);
		json_number_member(json, "time", entry->info.time_seconds);
		json_key(json, "state");
		json_text(json, undo_state_name(entry->info.state));
		json_number_member(json, "size-before", entry->info.old_size_bytes);
		json_number_member(json, "size-after", entry->info.new_size_bytes);
		json_number_member(json, "bytes", entry->info.bytes);
	}
	undo_now_json(json, list, entry);
	if (entry->removed) {
		json_key(json, "removed");
		json_bool(json, true);
	}
	json_end_object(json);
}

void undo_list_json(struct json *json, const struct undo_list *list)
{
	json_begin_object(json);
	json_key(json, "undo-files");
	json_begin_array(json);
	for (size_t i = 0; i < list->count; i++)
		if (!list->entries[i].extra)
			write_entry(json, list, &list->entries[i]);
	json_end_array(json);
	json_key(json, "complete");
	json_bool(json, !list->cut);
	json_end_object(json);
	spool_text(json->out, "\n");
}
