/* SPDX-License-Identifier: MIT */
/* The pages of qcow2 snapshot space. */
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "out/human.h"
#include "snapshot/fields.h"
#include "snapshot/space.h"
#include "snapshot/text.h"

/* A command that is longer helps nobody who reads. */
#define COMMAND_SHOWN 1024
/* How many commands a page shows. */
#define COMMANDS_SHOWN 8
#define FIRST_LEAST    6U

/* ---- for people ---- */

static void cell(struct spool *out, bool known, uint64_t bytes)
{
	char size[HUMAN_MAX];

	spool_print(out, "  %10s", known ? human_size(bytes, size) : "?");
}

/* Writes the numbers behind the first column, and the name. */
static void show_row(struct space *space, const struct space_row *row, unsigned first,
		     struct qcow2_bytes name)
{
	struct spool *out = &space->run->out;

	cell(out, row->known, row->referenced_bytes);
	cell(out, row->known, row->exclusive_bytes);
	if (row->vm_state_bytes > 0)
		cell(out, true, row->vm_state_bytes);
	else
		spool_print(out, "  %10s", "");
	spool_text(out, "  ");
	text_name(space->run, name, first + 38);
}

/* With snapshots on the command line, only these are shown. */
static void show_snapshots(struct space *space, unsigned first)
{
	const struct snapshot_table *table = &space->run->table;
	uint64_t count = space->chosen_count > 0 ? space->chosen_count : table->count;

	for (uint64_t i = 0; i < count; i++) {
		uint64_t index = space->chosen_count > 0 ? space->chosen[i] : i;
		const struct qcow2_snapshot *snapshot = &table->rows[index].snapshot;

		text_id(&space->run->out, snapshot->id, first);
		show_row(space, &space->snapshots[index], first, snapshot->name);
	}
}

static void show_table(struct space *space)
{
	static const char active[] = "the active image";
	struct spool *out = &space->run->out;
	unsigned first = text_id_columns(&space->run->table);

	first = first > FIRST_LEAST ? first : FIRST_LEAST;
	spool_print(out, "%-*s  %10s  %10s  %10s  name\n", (int)first, "id", "references",
		    "its own", "VM state");
	if (space->chosen_count == 0) {
		spool_print(out, "%-*s", (int)first, "active");
		show_row(space, &space->active, first,
			 (struct qcow2_bytes){(const uint8_t *)active, sizeof(active) - 1});
	}
	show_snapshots(space, first);
	for (uint64_t i = 0; i < space->bitmap_count && space->chosen_count == 0; i++) {
		spool_print(out, "%-*s", (int)first, "bitmap");
		show_row(space, &space->bitmaps[i].row, first, space->bitmaps[i].name);
	}
}

static void show_command(struct space *space, uint64_t index)
{
	const struct table_row *row = &space->run->table.rows[index];
	char *command = space_command(space, row);
	char id[160];

	if (command && strlen(command) <= COMMAND_SHOWN) {
		spool_print(&space->run->out, "    %s\n", command);
	} else {
		qcow2_text_escape(human_cut(row->snapshot.id, 24), id, sizeof(id));
		spool_print(&space->run->out, "    ID %s: qemu-img cannot tell it by its name\n",
			    id);
	}
	free(command);
}

/* The snapshot that frees the most. */
static uint64_t find_largest(const struct space *space)
{
	uint64_t largest = 0;

	for (uint64_t i = 1; i < space->run->table.count; i++)
		if (space->snapshots[i].exclusive_bytes > space->snapshots[largest].exclusive_bytes)
			largest = i;
	return largest;
}

static void show_freed_of_chosen(struct space *space)
{
	char size[HUMAN_MAX], line[160];
	size_t shown = space->chosen_count < COMMANDS_SHOWN ? space->chosen_count : COMMANDS_SHOWN;

	human_size(space->chosen_freed_bytes, size);
	if (space->chosen_count == 1)
		snprintf(line, sizeof(line), "Deleting it frees %s (%" PRIu64 " bytes):", size,
			 space->chosen_freed_bytes);
	else
		snprintf(line, sizeof(line),
			 "Deleting these %zu together frees %s (%" PRIu64 " bytes):",
			 space->chosen_count, size, space->chosen_freed_bytes);
	text_note(space->run, line);
	for (size_t i = 0; i < shown; i++)
		show_command(space, space->chosen[i]);
	if (space->chosen_count > shown)
		spool_print(&space->run->out, "    … and %zu more\n", space->chosen_count - shown);
}

static void show_freed_of_all(struct space *space)
{
	uint64_t count = space->run->table.count, largest = find_largest(space);
	char size[HUMAN_MAX], most[HUMAN_MAX], line[480], id[160];

	human_size(space->all_freed_bytes, size);
	human_size(space->snapshots[largest].exclusive_bytes, most);
	qcow2_text_escape(human_cut(space->run->table.rows[largest].snapshot.id, 24), id,
			  sizeof(id));
	if (count == 1)
		snprintf(line, sizeof(line),
			 "Deleting the snapshot frees %s (%" PRIu64 " bytes):", size,
			 space->all_freed_bytes);
	else if (space->snapshots[largest].exclusive_bytes > 0)
		snprintf(line, sizeof(line),
			 "Deleting all %" PRIu64 " snapshots frees %s (%" PRIu64
			 " bytes). Deleting ID %s alone frees the most, %s (%" PRIu64 " bytes):",
			 count, size, space->all_freed_bytes, id, most,
			 space->snapshots[largest].exclusive_bytes);
	else
		snprintf(line, sizeof(line),
			 "Deleting all %" PRIu64 " snapshots frees %s (%" PRIu64
			 " bytes); deleting one alone frees "
			 "nothing, as they share it.",
			 count, size, space->all_freed_bytes);
	text_note(space->run, line);
	if (count == 1 || space->snapshots[largest].exclusive_bytes > 0)
		show_command(space, largest);
}

static void show_freed(struct space *space)
{
	struct spool *out = &space->run->out;

	if (space->run->table.count == 0)
		return;
	spool_text(out, "\n");
	if (space->chosen_count > 0)
		show_freed_of_chosen(space);
	else
		show_freed_of_all(space);
	text_note(space->run,
		  "The file keeps its length. qemu-img makes holes of freed clusters where the "
		  "file system has holes; elsewhere they are used again by later writes.");
}

void space_text(struct space *space)
{
	struct snapshot_run *run = space->run;
	char size[HUMAN_MAX], line[200];

	show_table(space);
	if (run->table.count == 0 && run->table.omitted == 0)
		spool_text(&run->out, "no snapshots\n");
	if (run->table.unreadable.code)
		text_note(run, run->table.unreadable.text);
	show_freed(space);
	if (space->conflict_bytes > 0) {
		spool_text(&run->out, "\n");
		snprintf(line, sizeof(line),
			 "%s have users that exclude each other: what deleting frees is not "
			 "certain. qcow2 check shows them.",
			 human_size(space->conflict_bytes, size));
		text_note(run, line);
	}
	text_problems(run);
}

/* ---- for programs ---- */

static void json_bytes(struct json *json, const struct space_row *row)
{
	if (!row->known) {
		json_key(json, "referenced-bytes");
		json_null(json);
		json_key(json, "exclusive-bytes");
		json_null(json);
		return;
	}
	fields_number(json, "referenced-bytes", row->referenced_bytes);
	fields_number(json, "exclusive-bytes", row->exclusive_bytes);
}

static void json_snapshot(struct space *space, uint64_t index)
{
	const struct table_row *row = &space->run->table.rows[index];
	struct json *json = &space->run->json;
	char *command = space_command(space, row);

	json_begin_object(json);
	fields_json_name(json, &row->snapshot);
	json_bytes(json, &space->snapshots[index]);
	fields_number(json, "vm-state-bytes", space->snapshots[index].vm_state_bytes);
	fields_number(json, "vm-state-size", row->snapshot.vm_state_size_bytes);
	json_key(json, "delete-command");
	if (command)
		json_text(json, command);
	else
		json_null(json);
	json_end_object(json);
	free(command);
}

static void json_users(struct space *space)
{
	struct json *json = &space->run->json;

	json_key(json, "active");
	json_begin_object(json);
	json_bytes(json, &space->active);
	json_end_object(json);
	json_key(json, "snapshots");
	json_begin_array(json);
	for (uint64_t i = 0; i < space->run->table.count; i++)
		json_snapshot(space, i);
	json_end_array(json);
	json_key(json, "bitmaps");
	json_begin_array(json);
	for (uint64_t i = 0; i < space->bitmap_count; i++) {
		json_begin_object(json);
		fields_number(json, "index", space->bitmaps[i].index);
		json_text_member(json, "name", space->bitmaps[i].name);
		json_bytes(json, &space->bitmaps[i].row);
		json_end_object(json);
	}
	json_end_array(json);
}

static void json_chosen(struct space *space)
{
	struct json *json = &space->run->json;

	json_key(json, "chosen");
	json_begin_object(json);
	json_key(json, "snapshots");
	json_begin_array(json);
	for (size_t i = 0; i < space->chosen_count; i++)
		json_number(json, space->chosen[i]);
	json_end_array(json);
	fields_number(json, "freed-bytes", space->chosen_freed_bytes);
	json_end_object(json);
}

void space_json(struct space *space)
{
	struct json *json = &space->run->json;

	json_begin_object(json);
	fields_json_image(space->run);
	json_users(space);
	json_key(json, "all-snapshots");
	json_begin_object(json);
	fields_number(json, "freed-bytes", space->all_freed_bytes);
	json_end_object(json);
	if (space->chosen_count > 0)
		json_chosen(space);
	fields_number(json, "conflict-bytes", space->conflict_bytes);
	json_problems(space->run);
	json_end_object(json);
	spool_text(&space->run->out, "\n");
}
