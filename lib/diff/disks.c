/* SPDX-License-Identifier: MIT */
/* Compares L1 tables and the L2 tables below them, of the active images and of snapshots. */
#include <inttypes.h>
#include <stdio.h>

#include <qcow2/entry.h>

#include "diff/internal.h"

static struct q2_diff_table l2_table(const struct q2_diff *d, enum qcow2_diff_side side,
				     uint64_t offset)
{
	const struct qcow2_geometry *geometry = d->halves[side].geometry;

	if (offset == 0)
		return (struct q2_diff_table){0};
	return q2_diff_table(d, side, offset, geometry->l2_entries * geometry->l2_entry_bytes);
}

/* Compares the tables that the entries of a piece of both L1 tables lead to. */
static void hear_l1(struct q2_diff *d, const struct q2_diff_table tables[2],
		    const struct q2_diff_piece *piece, void *opaque)
{
	const struct q2_diff_disk *disk = opaque;

	(void)tables;
	q2_diff_outer(d, piece);
	for (size_t i = 0; i < piece->size && !d->failed; i += 8) {
		uint64_t a = qcow2_l1_entry_decode(q2_diff_outer_entry(d, QCOW2_DIFF_A, i)).offset;
		uint64_t b = qcow2_l1_entry_decode(q2_diff_outer_entry(d, QCOW2_DIFF_B, i)).offset;
		const struct q2_diff_table l2[2] = {l2_table(d, QCOW2_DIFF_A, a),
						    l2_table(d, QCOW2_DIFF_B, b)};
		char path[Q2_DIFF_PATH_MAX + 32];
		const struct q2_diff_kind kind = {
			.path = path,
			.table = QCOW2_DIFF_L2,
			.words = d->halves[0].geometry->l2_entry_bytes / 8,
			.index = (piece->at + i) / 8,
		};

		if ((a == 0 && b == 0) || q2_diff_compared(d, QCOW2_DIFF_L2, l2))
			continue;
		snprintf(path, sizeof(path), "%sl2/%" PRIu64, disk->prefix, kind.index);
		q2_diff_words(d, l2, &kind);
	}
}

void q2_diff_disk(struct q2_diff *d, const struct q2_diff_disk *disk)
{
	char path[Q2_DIFF_PATH_MAX + 8];
	const struct q2_diff_kind kind = {.path = path, .table = QCOW2_DIFF_L1, .words = 1};

	if (d->failed || q2_diff_compared(d, QCOW2_DIFF_L1, disk->l1))
		return;
	snprintf(path, sizeof(path), "%sl1", disk->prefix);
	q2_diff_words(d, disk->l1, &kind);
	q2_diff_read(d, disk->l1, true, hear_l1, (void *)(uintptr_t)disk);
}

void q2_diff_snapshot(struct q2_diff *d, const struct q2_diff_element *const elements[2],
		      const char *path)
{
	char prefix[Q2_DIFF_PATH_MAX + 1], ignored[128];
	struct q2_diff_disk disk = {.prefix = prefix};

	if (d->failed || q2_diff_no_tables(d, ignored))
		return;
	for (enum qcow2_diff_side side = QCOW2_DIFF_A; side <= QCOW2_DIFF_B; side++) {
		const struct q2_diff_list_of *list = &d->halves[side].lists[Q2_DIFF_SNAPSHOTS];
		uint64_t offset, entries;

		if (q2_diff_number(d, list, elements[side], "l1_table_offset", &offset) &&
		    q2_diff_number(d, list, elements[side], "l1_size", &entries))
			disk.l1[side] = q2_diff_table(d, side, offset, entries * 8);
	}
	snprintf(prefix, sizeof(prefix), "%s/", path);
	q2_diff_disk(d, &disk);
}
