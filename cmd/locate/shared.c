/* SPDX-License-Identifier: MIT */
/* What both pages of qcow2 locate have: offsets, refcounts, entries, snapshots. */
#include <inttypes.h>
#include <stdio.h>

#include <string.h>

#include "locate/run.h"
#include "out/wrap.h"

#include <qcow2/text.h>

/* The columns of a row's name, and where a line goes on that is too long. */
#define NAME_COLUMNS 24
#define ROW_COLUMN   (2 + NAME_COLUMNS + 1)
#define HANGING      4

const char *locate_list(const char *what, const uint64_t *snapshot, char *text, size_t size)
{
	if (snapshot)
		snprintf(text, size, "snapshots/%" PRIu64 "/%s", *snapshot, what);
	else
		snprintf(text, size, "%s", what);
	return text;
}

bool locate_wants(const struct locate_run *run, const struct qcow2_claim *owner)
{
	return !run->snapshot || (owner->part_of == QCOW2_PART_OF_SNAPSHOT &&
				  owner->part_of_index == run->snapshot_index);
}

void locate_json_snapshot(struct locate_run *run, uint64_t index)
{
	json_text_member(&run->json, "snapshot", names_snapshot(&run->names, run->image, index));
	json_text_member(&run->json, "snapshot-id",
			 names_snapshot_id(&run->names, run->image, index));
}

void locate_json_entry(struct json *json, const char *where, uint64_t offset, uint64_t entry)
{
	json_begin_object(json);
	json_key(json, "where");
	json_text(json, where);
	json_key(json, "offset");
	json_number(json, offset);
	json_key(json, "entry");
	json_number(json, entry);
	json_hex_member(json, "entry-hex", entry);
}

static void json_refcount_path(struct json *json, const struct qcow2_refcount_path *refcount)
{
	char where[64];

	if (refcount->table_entry_at.byte != QCOW2_NO_OFFSET) {
		snprintf(where, sizeof(where), "refcount_table/%" PRIu64, refcount->table_index);
		locate_json_entry(json, where, refcount->table_entry_at.byte,
				  refcount->table_entry);
		json_end_object(json);
	}
	if (refcount->refcount_at.byte != QCOW2_NO_OFFSET) {
		snprintf(where, sizeof(where), "refcounts/%" PRIu64 "/%" PRIu64,
			 refcount->table_index, refcount->block_index);
		locate_json_entry(json, where, refcount->refcount_at.byte, refcount->refcount);
		json_end_object(json);
	}
}

void locate_json_refcount(struct json *json, const struct qcow2_refcount_path *refcount)
{
	json_key(json, "refcount");
	if (refcount && refcount->known)
		json_number(json, refcount->refcount);
	else
		json_null(json);
	json_key(json, "refcount-path");
	json_begin_array(json);
	if (refcount)
		json_refcount_path(json, refcount);
	json_end_array(json);
}

/* Wraps run->line behind what stands in the line already, and empties it. */
static void wrap_line(struct locate_run *run, unsigned column, unsigned hanging)
{
	struct spool *line = &run->line;

	spool_write(line, "", 1);
	if (line->errnum)
		run->out.errnum = line->errnum;
	else
		wrap_rest(&run->out, line->kept, column, hanging, run->columns);
	line->size = 0;
}

void locate_heading(struct locate_run *run)
{
	wrap_line(run, 0, HANGING);
}

void locate_row(struct locate_run *run, const char *name)
{
	const unsigned length = (unsigned)strlen(name);

	spool_print(&run->out, "  %-*s ", NAME_COLUMNS, name);
	wrap_line(run, ROW_COLUMN + (length > NAME_COLUMNS ? length - NAME_COLUMNS : 0),
		  ROW_COLUMN);
}

static void add_escaped(struct spool *out, struct qcow2_bytes name)
{
	char text[NAME_BYTES_MOST * 6 + 1];

	qcow2_text_escape(name, text, sizeof(text));
	spool_text(out, text);
}

void locate_print_snapshot(struct locate_run *run, const char *before, uint64_t index)
{
	const struct qcow2_bytes id = names_snapshot_id(&run->names, run->image, index);
	struct spool *out = &run->line;

	spool_print(out, "%ssnapshot ", before);
	add_escaped(out, id);
	spool_text(out, id.size > 0 ? " '" : "'");
	add_escaped(out, names_snapshot(&run->names, run->image, index));
	spool_text(out, "'");
}

void locate_print_offset(struct spool *out, uint64_t offset)
{
	spool_print(out, "0x%" PRIx64 " (%" PRIu64 ")", offset, offset);
}

void locate_print_refcount(struct spool *out, const struct qcow2_refcount_path *refcount)
{
	if (!refcount->known)
		spool_text(out, "not known");
	else
		spool_print(out, "%" PRIu64, refcount->refcount);
	if (refcount->refcount_at.byte != QCOW2_NO_OFFSET)
		spool_print(out, " (refcounts/%" PRIu64 "/%" PRIu64 " at 0x%" PRIx64 ")",
			    refcount->table_index, refcount->block_index,
			    refcount->refcount_at.byte);
	else if (refcount->table_entry_at.byte != QCOW2_NO_OFFSET)
		spool_print(out,
			    " (no refcount block at 0x%" PRIx64 ": refcount_table/%" PRIu64
			    " at 0x%" PRIx64 ")",
			    refcount->table_entry, refcount->table_index,
			    refcount->table_entry_at.byte);
	else if (refcount->known)
		spool_text(out, " (the refcount table ends before)");
	else
		spool_text(out, " (there is no refcount table to read)");
}

void locate_rest(struct locate_run *run, const char *key, uint64_t at, uint64_t end)
{
	struct json *json = &run->json;

	if (!run->as_json) {
		spool_print(&run->out,
			    "and more: --%s=0x%" PRIx64 "+%" PRIu64 " has the rest of the range\n",
			    key, at, end - at);
		return;
	}
	json_key(json, "rest");
	json_begin_object(json);
	json_key(json, key);
	json_number(json, at);
	json_key(json, "length");
	json_number(json, end - at);
	json_end_object(json);
}
