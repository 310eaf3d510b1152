/* SPDX-License-Identifier: MIT */
/* See text.h. */
#include "snapshot/text.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "out/human.h"
#include "out/suggest.h"
#include "out/wrap.h"

#define NAME_SHOWN   1024
#define ID_SHOWN     128
#define ID_LEAST     2U
#define ID_MOST      10U
#define NAME_INDENT  4
#define ICOUNT_LEAST 6U

/* ---- fields ---- */

static const char *format_date(const struct qcow2_snapshot *snapshot, const char *format,
			       char buffer[DATE_MAX])
{
	time_t seconds = (time_t)snapshot->header.date_sec;
	struct tm tm;

	if (!localtime_r(&seconds, &tm) || strftime(buffer, DATE_MAX, format, &tm) == 0)
		snprintf(buffer, DATE_MAX, "%" PRIu32 " s", snapshot->header.date_sec);
	return buffer;
}

const char *text_date(const struct qcow2_snapshot *snapshot, char buffer[DATE_MAX])
{
	return format_date(snapshot, "%Y-%m-%d %H:%M:%S", buffer);
}

const char *text_exact_date(const struct qcow2_snapshot *snapshot, char buffer[DATE_MAX])
{
	char zone[DATE_MAX];
	size_t used = strlen(text_date(snapshot, buffer));

	snprintf(buffer + used, DATE_MAX - used, ".%09" PRIu32 " %s", snapshot->header.date_nsec,
		 format_date(snapshot, "%z", zone));
	return buffer;
}

const char *text_clock(const struct qcow2_snapshot *snapshot, char buffer[DATE_MAX])
{
	uint64_t milliseconds = snapshot->header.vm_clock_nsec / 1000000;
	uint64_t seconds = milliseconds / 1000;

	snprintf(buffer, DATE_MAX, "%02" PRIu64 ":%02u:%02u.%03u", seconds / 3600,
		 (unsigned)(seconds / 60 % 60), (unsigned)(seconds % 60),
		 (unsigned)(milliseconds % 1000));
	return buffer;
}

const char *text_icount(const struct qcow2_snapshot *snapshot, char buffer[DATE_MAX])
{
	buffer[0] = '\0';
	if (snapshot->has_icount)
		snprintf(buffer, DATE_MAX, "%" PRIu64, snapshot->extra.icount);
	return buffer;
}

/* ---- IDs and names ---- */

/* Room for a text of `most` bytes, its quotes and what says that it was cut. */
#define ESCAPED(most) (6 * (most) + 8)

/* Escapes a text. One whose ends could not be seen stands between quotes. */
static const char *escape(struct qcow2_bytes text, size_t most, char *buffer, size_t size)
{
	bool quoted = text.size == 0 || text.data[0] == ' ' || text.data[text.size - 1] == ' ';
	size_t used = quoted ? 1 : 0;

	buffer[0] = '"';
	used += qcow2_text_escape(human_cut(text, most), buffer + used, size - used);
	snprintf(buffer + used, size - used, "%s%s", quoted ? "\"" : "",
		 text.size > most ? "…" : "");
	return buffer;
}

unsigned text_icount_columns(const struct snapshot_table *table)
{
	char text[DATE_MAX];
	unsigned width = ICOUNT_LEAST;

	for (uint64_t i = 0; i < table->count; i++) {
		size_t size = strlen(text_icount(&table->rows[i].snapshot, text));

		width = size > width ? (unsigned)size : width;
	}
	return width;
}

unsigned text_id_columns(const struct snapshot_table *table)
{
	char text[ESCAPED(ID_SHOWN)];
	unsigned width = ID_LEAST;

	for (uint64_t i = 0; i < table->count && width < ID_MOST; i++) {
		struct qcow2_bytes id = table->rows[i].snapshot.id;
		unsigned columns = text_columns(escape(id, ID_SHOWN, text, sizeof(text)));

		if (columns > width)
			width = columns < ID_MOST ? columns : ID_MOST;
	}
	return width;
}

void text_id(struct spool *out, struct qcow2_bytes id, unsigned width)
{
	char text[ESCAPED(ID_SHOWN)];
	const char *shown = escape(id, ID_SHOWN, text, sizeof(text));
	unsigned columns = text_columns(shown);

	spool_text(out, shown);
	spool_fill(out, ' ', columns < width ? width - columns : 0);
}

void text_name(struct snapshot_run *run, struct qcow2_bytes name, unsigned column)
{
	char text[ESCAPED(NAME_SHOWN)];
	const char *shown = escape(name, NAME_SHOWN, text, sizeof(text));
	struct spool *out = &run->out;

	if (run->columns == UINT_MAX || column + text_columns(shown) <= run->columns) {
		spool_print(out, "%s\n", shown);
		return;
	}
	while (out->size > 0 && out->kept[out->size - 1] == ' ')
		out->size--;
	spool_text(out, "\n");
	wrap_anywhere(out, shown, NAME_INDENT, run->columns);
}

/* ---- what is wrong ---- */

void text_note(struct snapshot_run *run, const char *text)
{
	wrap_text(&run->out, text, 0, 0, terminal_columns());
}

/* Whether a problem of the kind stands before place i. */
static bool is_repeated(const struct snapshot_table *table, uint64_t i)
{
	for (uint64_t k = 0; k < i; k++)
		if (table->problems[k].kind == table->problems[i].kind)
			return true;
	return false;
}

static void add_id(struct name_list *list, struct qcow2_bytes id)
{
	static const uint8_t nothing[] = "\"\"";

	name_list_add(list, id.size > 0 ? id : (struct qcow2_bytes){nothing, 2});
}

/* "snapshots 1, 2 and 3 more: ID: what is wrong", for the kind of the problem at place i. */
static void note_kind(struct snapshot_run *run, uint64_t i, uint64_t kept)
{
	const struct snapshot_table *table = &run->table;
	const struct qcow2_problem_kind *kind = table->problems[i].kind;
	char names[160], line[800];
	struct name_list list;

	name_list_begin(&list, names, sizeof(names));
	for (uint64_t k = i; k < kept; k++)
		if (table->problems[k].kind == kind && table->problems[k].index < table->count)
			add_id(&list, table->rows[table->problems[k].index].snapshot.id);
	snprintf(line, sizeof(line), "%s%s%s%s: %s",
		 list.total == 0  ? ""
		 : list.total > 1 ? "snapshots "
				  : "snapshot ",
		 list.total > 0 ? name_list_end(&list) : "", list.total > 0 ? ": " : "", kind->id,
		 kind->text);
	text_note(run, line);
}

void text_problems(struct snapshot_run *run)
{
	const struct snapshot_table *table = &run->table;
	uint64_t kept =
		table->problem_count < TABLE_PROBLEMS ? table->problem_count : TABLE_PROBLEMS;
	char line[320];

	if (table->omitted > 0 && !table->unreadable.code) {
		snprintf(line, sizeof(line), "… and %" PRIu64 " more that the header claims",
			 table->omitted);
		text_note(run, line);
	}
	if (kept > 0)
		spool_text(&run->out, "\n");
	for (uint64_t i = 0; i < kept; i++)
		if (!is_repeated(table, i))
			note_kind(run, i, kept);
	if (table->problem_count > kept) {
		snprintf(line, sizeof(line), "… and %" PRIu64 " more problems of snapshots",
			 table->problem_count - kept);
		text_note(run, line);
	}
}

void json_problems(struct snapshot_run *run)
{
	const struct snapshot_table *table = &run->table;
	struct json *json = &run->json;
	uint64_t kept =
		table->problem_count < TABLE_PROBLEMS ? table->problem_count : TABLE_PROBLEMS;

	if (table->omitted > 0) {
		json_key(json, "snapshots-omitted");
		json_number(json, table->omitted);
	}
	json_key(json, "problems");
	json_begin_array(json);
	for (uint64_t i = 0; i < kept; i++) {
		json_begin_line_object(json);
		json_key(json, "index");
		if (table->problems[i].index == QCOW2_NO_OFFSET)
			json_null(json);
		else
			json_number(json, table->problems[i].index);
		json_key(json, "id");
		json_text(json, table->problems[i].kind->id);
		json_end_object(json);
	}
	json_end_array(json);
	if (table->problem_count > kept) {
		json_key(json, "problems-omitted");
		json_number(json, table->problem_count - kept);
	}
}
