/* SPDX-License-Identifier: MIT */
/*
 * What deleting snapshots, or removing bitmaps, frees: the clusters that nothing else refers to, and
 * those of the snapshot table or bitmap directory that go with their entries. All commands that say
 * how much that is ask here.
 */
#ifndef CMD_COMMON_FREED_H
#define CMD_COMMON_FREED_H

#include "common/snapshot_table.h"

#include <qcow2/usage.h>

/*
 * Adds to what deleting snapshots frees by itself, `bytes`, the clusters that go when QEMU writes the
 * snapshot table without them; rarely, one comes. gone: count indexes of snapshots, which rise.
 */
uint64_t freed_with_table(const struct snapshot_table *table, const uint64_t *gone, size_t count,
			  uint64_t bytes);

/*
 * What deleting some snapshots together frees. gone: count indexes of snapshots, which rise; those
 * that are no users of the file free nothing. 0, or -1 with *err filled.
 */
int freed_snapshots(const struct qcow2_usage *usage, const struct snapshot_table *table,
		    const uint64_t *gone, size_t count, uint64_t *bytes, struct qcow2_error *err);

/* The same of all snapshots of the table. *count: how many of them use the file. */
int freed_all_snapshots(const struct qcow2_usage *usage, const struct snapshot_table *table,
			uint64_t *count, uint64_t *bytes, struct qcow2_error *err);

/*
 * The clusters that go when entries of `gone_bytes` leave a bitmap directory of `directory_bytes`.
 */
uint64_t freed_of_directory(const struct qcow2_image *image, uint64_t directory_bytes,
			    uint64_t gone_bytes);

/* What removing all bitmaps frees, with their directory. *count: how many there are. */
int freed_all_bitmaps(const struct qcow2_usage *usage, const struct qcow2_image *image,
		      uint64_t *count, uint64_t *bytes, struct qcow2_error *err);

#endif
