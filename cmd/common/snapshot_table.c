/* SPDX-License-Identifier: MIT */
/* See snapshot_table.h. */
#include "common/snapshot_table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <qcow2/limits.h>
#include <qcow2/number.h>
#include <qcow2/source.h>
#include <qcow2/walk.h>

/* A file system may report fewer allocated bytes than the file stores. */
#define SLACK_BYTES (UINT64_C(1) << 20)

/* ---- problems ---- */

/* The index of "snapshots/17/…". */
static uint64_t index_of(const char *where)
{
	static const char list[] = "snapshots/";
	struct qcow2_error ignored;
	char digits[24];
	uint64_t index;

	if (strncmp(where, list, sizeof(list) - 1) != 0)
		return QCOW2_NO_OFFSET;
	where += sizeof(list) - 1;
	snprintf(digits, sizeof(digits), "%.*s", (int)strcspn(where, "/"), where);
	if (qcow2_number_parse(digits, UINT64_MAX, &index, &ignored))
		return QCOW2_NO_OFFSET;
	return index;
}

/* Problems of the header count if they are about the table. */
static bool concerns_table(const struct qcow2_problem *problem)
{
	switch (problem->kind->number) {
	case QCOW2_PROBLEM_SNAPSHOTS_OFFSET:
	case QCOW2_PROBLEM_SNAPSHOTS_BEYOND_END:
	case QCOW2_PROBLEM_SNAPSHOTS_COUNT_QEMU:
		return true;
	default:
		return strncmp(problem->where, "snapshots", strlen("snapshots")) == 0;
	}
}

static int hear(void *opaque, const struct qcow2_problem *problem)
{
	struct snapshot_table *table = opaque;
	const struct qcow2_problem_kind *kind = problem->kind;
	uint64_t index = index_of(problem->where);

	if (!concerns_table(problem))
		return 0;
	table->damaged |= kind->severity == QCOW2_CORRUPTION;
	if (table->problem_count < TABLE_PROBLEMS)
		table->problems[table->problem_count] = (struct table_problem){index, kind};
	table->problem_count++;
	if (index < table->count &&
	    (!table->rows[index].problem || table->rows[index].problem->severity < kind->severity))
		table->rows[index].problem = kind;
	return 0;
}

/* Applies the rules of the header and of the entries. */
static int find_problems(struct snapshot_table *table, struct qcow2_error *err)
{
	static const char *const selectors[] = {"header", "snapshots/*/id"};
	const struct qcow2_visitor visitor = {.size = sizeof(visitor), .problem = hear};
	struct qcow2_selection *selection;
	int failed;

	/* Without entries, the second one would be an error. */
	if (qcow2_selection_new(selectors, table->count > 0 ? 2 : 1, &selection, err))
		return -1;
	failed = qcow2_walk(table->image, selection, QCOW2_WALK_NO_TABLES, &visitor, table, err);
	qcow2_selection_free(selection);
	return failed;
}

/* ---- rows ---- */

static int fail_memory(struct qcow2_error *err)
{
	*err = (struct qcow2_error){.code = QCOW2_ERROR_MEMORY,
				    .offset_bytes = QCOW2_NO_OFFSET,
				    .text = "out of memory"};
	return -1;
}

/* Copies the texts of a row, ID and then name, so that they outlive the iterator. */
static bool keep_texts(struct qcow2_snapshot *snapshot)
{
	size_t id = snapshot->id.size, name = snapshot->name.size;
	uint8_t *copy = malloc(id + name + 1);

	if (!copy)
		return false;
	if (id > 0)
		memcpy(copy, snapshot->id.data, id);
	if (name > 0)
		memcpy(copy + id, snapshot->name.data, name);
	snapshot->id.data = copy;
	snapshot->name.data = copy + id;
	snapshot->raw = snapshot->extra_data = (struct qcow2_bytes){NULL, 0};
	return true;
}

static bool add(struct snapshot_table *table, const struct qcow2_snapshot *snapshot)
{
	struct table_row *rows = table->rows;
	struct table_row row = {.snapshot = *snapshot};

	if (table->count == table->capacity) {
		table->capacity = table->capacity ? 2 * table->capacity : 16;
		rows = realloc(rows, table->capacity * sizeof(*rows));
		if (!rows)
			return false;
		table->rows = rows;
	}
	if (!keep_texts(&row.snapshot))
		return false;
	rows[table->count++] = row;
	table_add_written(table, &row.snapshot);
	/* Its padding belongs to the next entry, and the last one has none. */
	table->used_bytes = snapshot->offset_bytes -
			    qcow2_image_header(table->image)->snapshot_offset +
			    table_bytes_stored(table->image, snapshot->offset_bytes,
					       sizeof(struct qcow2_snapshot_header) +
						       (uint64_t)snapshot->header.extra_data_size +
						       snapshot->header.id_str_size +
						       snapshot->header.name_size);
	return true;
}

static int read_rows(struct snapshot_table *table, struct qcow2_snapshots *snapshots,
		     struct qcow2_error *err)
{
	const struct qcow2_source *source = qcow2_image_source(table->image);
	uint64_t most = qcow2_source_allocated_bytes(source) + SLACK_BYTES;
	const struct qcow2_snapshot *snapshot;
	int more = 1;

	if (most > QCOW2_LIMIT_QEMU_SNAPSHOT_TABLE_BYTES)
		most = QCOW2_LIMIT_QEMU_SNAPSHOT_TABLE_BYTES;
	while (table->used_bytes <= most && table->count < QCOW2_LIMIT_QEMU_SNAPSHOTS &&
	       (more = qcow2_snapshots_next(snapshots, &snapshot, err)) > 0)
		if (!add(table, snapshot))
			return fail_memory(err);
	table->omitted = qcow2_image_header(table->image)->nb_snapshots - table->count;
	return more < 0 ? -1 : 0;
}

int snapshot_table_read(struct snapshot_table *table, const struct qcow2_image *image,
			struct qcow2_error *err)
{
	struct qcow2_snapshots *snapshots;
	int failed;

	*table = (struct snapshot_table){.image = image};
	if (qcow2_snapshots_open(image, &snapshots, err)) {
		if (err->code == QCOW2_ERROR_MEMORY)
			return -1;
		if (err->code == QCOW2_ERROR_NOT_FOUND)
			return find_problems(table, err);
		table->unreadable = *err;
		table->damaged = true;
		table->omitted = qcow2_image_header(image)->nb_snapshots;
		return find_problems(table, err);
	}
	failed = read_rows(table, snapshots, err);
	qcow2_snapshots_close(snapshots);
	table->damaged |= table->omitted > 0;
	if (failed || find_problems(table, err))
		return -1;
	return table_sort(table) ? 0 : fail_memory(err);
}

void snapshot_table_release(struct snapshot_table *table)
{
	for (uint64_t i = 0; i < table->count; i++)
		free((void *)(uintptr_t)table->rows[i].snapshot.id.data);
	free(table->rows);
	free(table->by_name);
	free(table->by_id);
	table->rows = NULL;
	table->by_name = table->by_id = NULL;
	table->count = table->capacity = 0;
}
