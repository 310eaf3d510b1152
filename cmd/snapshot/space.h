/* SPDX-License-Identifier: MIT */
/* What qcow2 snapshot space knows of who uses the file, and its pages. */
#ifndef CMD_SNAPSHOT_SPACE_H
#define CMD_SNAPSHOT_SPACE_H

#include "snapshot/snapshot.h"

#include <qcow2/bitmap_directory.h>
#include <qcow2/usage.h>

/*
 * The bytes of the active image, of a snapshot or of a bitmap. The clusters of the snapshot table,
 * or of the bitmap directory, that go when it is deleted are in both numbers.
 */
struct space_row {
	bool known;      /* false: its tables could not be followed */
	uint64_t number; /* for qcow2_usage_user_at() */
	uint64_t referenced_bytes, exclusive_bytes, vm_state_bytes;
};

struct space_bitmap {
	struct space_row row;
	uint64_t index;
	uint8_t *name_data; /* what `name` views */
	struct qcow2_bytes name;
	uint64_t entry_bytes; /* of the directory */
};

struct space {
	struct snapshot_run *run;
	struct qcow2_usage *usage;
	struct space_row active;
	struct space_row *snapshots; /* as the rows of the table */
	struct space_bitmap *bitmaps;
	size_t bitmap_count, bitmap_capacity;
	uint64_t directory_bytes; /* of the bitmap directory */
	/* The snapshots that the command line names: indexes, rising, each once. */
	uint64_t *chosen;
	size_t chosen_count;
	uint64_t all_freed_bytes, chosen_freed_bytes; /* by deleting these together */
	uint64_t conflict_bytes; /* of clusters that are used in ways that exclude each other */
};

void space_text(struct space *space);
void space_json(struct space *space);

/*
 * The command that deletes a snapshot, and only that one, or NULL if there is none; if memory is
 * short, the output fails as well. The caller frees it.
 */
char *space_command(const struct space *space, const struct table_row *row);

#endif
