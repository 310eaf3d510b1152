/* SPDX-License-Identifier: MIT */
/*
 * The snapshots of an image in memory, with the problems of their entries. No more are read than
 * QEMU accepts, and no more bytes than the file stores.
 */
#ifndef CMD_COMMON_SNAPSHOT_TABLE_H
#define CMD_COMMON_SNAPSHOT_TABLE_H

#include <qcow2/image.h>
#include <qcow2/problem.h>

/* The most problems whose places are kept; the others are counted. */
#define TABLE_PROBLEMS 64

/* A snapshot. Its views `id` and `name` live as long as the table; the other views are empty. */
struct table_row {
	struct qcow2_snapshot snapshot;
	const struct qcow2_problem_kind *problem; /* the worst of the entry, or NULL */
};

/* A problem of an entry, or of the table: then index is QCOW2_NO_OFFSET. */
struct table_problem {
	uint64_t index;
	const struct qcow2_problem_kind *kind;
};

struct snapshot_table {
	const struct qcow2_image *image;
	struct table_row *rows;
	size_t count, capacity;
	uint64_t omitted;       /* that the header claims, and that are not there or too many */
	uint64_t used_bytes;    /* of the table in the file, up to the last row */
	uint64_t written_bytes; /* all rows as QEMU writes them, each with padding */
	/* The rows in the order of their names and IDs, those of one text in the order of the table. */
	const struct table_row **by_name, **by_id;
	struct table_problem problems[TABLE_PROBLEMS];
	uint64_t problem_count; /* of all, kept or not */
	bool damaged;           /* one of them is a corruption, or the table cannot be read */
	struct qcow2_error
		unreadable; /* why it cannot be read: its code is QCOW2_ERROR_NONE else */
};

/*
 * Reads the table. One that is broken is no error: `unreadable` then says why there are no rows.
 * 0, or -1 with *err filled. The caller releases it in either case.
 */
int snapshot_table_read(struct snapshot_table *table, const struct qcow2_image *image,
			struct qcow2_error *err);
void snapshot_table_release(struct snapshot_table *table);

/* Makes by_name and by_id. False if memory is short. */
bool table_sort(struct snapshot_table *table);

/* A name or ID as QEMU reads it: up to the first NUL. */
struct qcow2_bytes table_read_text(struct qcow2_bytes text);

/* Adds to written_bytes what QEMU writes for a row. */
void table_add_written(struct snapshot_table *table, const struct qcow2_snapshot *snapshot);

/* How many rows QEMU takes for one of this name, or with `ids` of this ID. */
uint64_t table_count(const struct snapshot_table *table, bool ids, struct qcow2_bytes text);

/*
 * Whether 'qemu-img snapshot -d NAME' deletes this snapshot and no other: it takes the first one of
 * that name, and before QEMU 4.0 the one of that ID.
 */
bool table_deletes_by_name(const struct snapshot_table *table, const struct table_row *row);

/* So many of the bytes that an entry claims to take are in the file: its lengths may be any. */
uint64_t table_bytes_stored(const struct qcow2_image *image, uint64_t offset, uint64_t bytes);

/*
 * Bytes of the clusters that the table takes, now, and after QEMU has written it without the rows
 * that `gone` names, count indexes that rise. QEMU writes at least 24 bytes of extra data.
 */
uint64_t table_bytes(const struct snapshot_table *table);
uint64_t table_bytes_without(const struct snapshot_table *table, const uint64_t *gone,
			     size_t count);

#endif
