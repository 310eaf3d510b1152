/* SPDX-License-Identifier: MIT */
/* Finds the snapshot table, the directory of bitmaps and the LUKS header of a guess. */
#include "rescue/guess.h"

#include <string.h>

#include "base/bytes.h"
#include "base/error.h"
#include "rescue/marks.h"

#include <qcow2/limits.h>

/* An entry is looked at as far as its names go. */
#define ENTRY_SHOWN  ((size_t)4096)
#define ENTRIES_MOST UINT32_C(65536)

static uint64_t cluster_mask(const struct q2_guess *guess)
{
	return (UINT64_C(1) << guess->shape.cluster_bits) - 1;
}

/* Whether a mark may be a structure of this image: it begins a cluster that is in use. */
static int is_ours(struct q2_guess *guess, const struct q2_scan_mark *mark, bool *ours,
		   struct qcow2_error *err)
{
	*ours = false;
	if (mark->offset_bytes == 0 || (mark->offset_bytes & cluster_mask(guess)) ||
	    q2_bits_has(&guess->claimed, mark->offset_bytes >> guess->shape.cluster_bits))
		return 0;
	return q2_guess_in_use(guess, mark->offset_bytes, ours, err);
}

/* ---- snapshots ---- */

static uint64_t padded(uint64_t size)
{
	return (size + 7) & ~UINT64_C(7);
}

/* Notes what an entry says. False if it is none of this guess. */
static bool take_snapshot(struct q2_guess *guess, const uint8_t *entry,
			  struct q2_guess_snapshots *table)
{
	struct qcow2_snapshot_header head;
	struct qcow2_snapshot_extra extra;
	size_t fixed = qcow2_snapshot_structure.size_bytes;

	qcow2_snapshot_header_decode(&head, entry, fixed);
	if (!q2_is_snapshot(entry, guess->scan->file_size_bytes) ||
	    (head.l1_table_offset & cluster_mask(guess)))
		return false;
	qcow2_snapshot_extra_decode(&extra, entry + fixed, head.extra_data_size & ~7U);
	table->count++;
	table->size_bytes +=
		padded(fixed + head.extra_data_size + (uint64_t)head.id_str_size + head.name_size);
	table->l1_entries = head.l1_size;
	table->disk_size_bytes = extra.disk_size;
	if (table->count == 1 || head.extra_data_size < table->least_extra_bytes)
		table->least_extra_bytes = head.extra_data_size;
	return true;
}

static int read_snapshots(struct q2_guess *guess, uint64_t offset, struct q2_guess_snapshots *table,
			  struct qcow2_error *err)
{
	const uint8_t *entry;

	*table = (struct q2_guess_snapshots){.offset_bytes = offset};
	do {
		if (q2_pieces_read(&guess->pieces, offset + table->size_bytes, ENTRY_SHOWN, &entry,
				   err))
			return -1;
	} while (table->count < ENTRIES_MOST && take_snapshot(guess, entry, table));
	return 0;
}

int q2_guess_find_snapshots(struct q2_guess *guess, struct qcow2_error *err)
{
	for (size_t i = 0; i < guess->scan->marks.count; i++) {
		const struct q2_scan_mark *mark = q2_vector_at(&guess->scan->marks, i);
		struct q2_guess_snapshots table;
		bool ours;

		if (mark->kind != Q2_MARK_SNAPSHOTS)
			continue;
		if (is_ours(guess, mark, &ours, err) ||
		    (ours && read_snapshots(guess, mark->offset_bytes, &table, err)))
			return -1;
		if (ours && table.count > guess->snapshots.count)
			guess->snapshots = table;
	}
	return 0;
}

/* The L1 table of a snapshot: its clusters are claimed, and no part of the active one. */
static void mark_l1(struct q2_guess *guess, const struct qcow2_snapshot_header *head)
{
	uint64_t length = (uint64_t)head->l1_size * 8;

	for (size_t i = 0; i < guess->l1_tables.count; i++) {
		struct q2_guess_l1 *l1 = q2_vector_at(&guess->l1_tables, i);

		if (l1->offset_bytes >= head->l1_table_offset &&
		    l1->offset_bytes - head->l1_table_offset < length)
			l1->of_snapshot = true;
	}
	q2_guess_claim(guess, head->l1_table_offset, length);
}

int q2_guess_mark_snapshots(struct q2_guess *guess, struct qcow2_error *err)
{
	const struct q2_guess_snapshots *table = &guess->snapshots;
	struct qcow2_snapshot_header head;
	const uint8_t *entry;
	uint64_t at = 0;

	for (uint32_t i = 0; i < table->count; i++) {
		if (q2_pieces_read(&guess->pieces, table->offset_bytes + at, ENTRY_SHOWN, &entry,
				   err))
			return -1;
		qcow2_snapshot_header_decode(&head, entry, ENTRY_SHOWN);
		mark_l1(guess, &head);
		at += padded(qcow2_snapshot_structure.size_bytes + head.extra_data_size +
			     (uint64_t)head.id_str_size + head.name_size);
	}
	q2_guess_claim(guess, table->offset_bytes, table->size_bytes);
	return 0;
}

/* ---- bitmaps ---- */

/*
 * A bitmap that is consistent has as many table entries as its bits fill clusters, which bounds the
 * size of the disk.
 */
static void bound_disk(const struct q2_guess *guess, const struct qcow2_bitmap_dir_entry *entry,
		       struct q2_guess_bitmaps *directory)
{
	unsigned bits = guess->shape.cluster_bits + 3 + entry->granularity_bits;
	uint64_t most = (uint64_t)entry->bitmap_table_size << bits;

	if (bits >= 60 || most >> bits != entry->bitmap_table_size ||
	    (entry->flags & 1) /* in use: the size may be old */)
		return;
	if (directory->disk_most_bytes == 0 || most < directory->disk_most_bytes)
		directory->disk_most_bytes = most;
	most -= UINT64_C(1) << bits;
	if (most > directory->disk_least_bytes)
		directory->disk_least_bytes = most;
}

static bool take_bitmap(struct q2_guess *guess, const uint8_t *bytes,
			struct q2_guess_bitmaps *directory)
{
	struct qcow2_bitmap_dir_entry entry;
	size_t fixed = qcow2_bitmap_dir_entry_structure.size_bytes;

	qcow2_bitmap_dir_entry_decode(&entry, bytes, fixed);
	if (!q2_is_bitmap(bytes, guess->scan->file_size_bytes) ||
	    (entry.bitmap_table_offset & cluster_mask(guess)))
		return false;
	directory->count++;
	directory->size_bytes += padded(fixed + (uint64_t)entry.name_size);
	bound_disk(guess, &entry, directory);
	q2_guess_claim(guess, entry.bitmap_table_offset, (uint64_t)entry.bitmap_table_size * 8);
	return true;
}

static int read_directory(struct q2_guess *guess, uint64_t offset,
			  struct q2_guess_bitmaps *directory, struct qcow2_error *err)
{
	const uint8_t *entry;

	*directory = (struct q2_guess_bitmaps){.offset_bytes = offset};
	do {
		if (q2_pieces_read(&guess->pieces, offset + directory->size_bytes, ENTRY_SHOWN,
				   &entry, err))
			return -1;
	} while (directory->count < QCOW2_LIMIT_QEMU_BITMAPS &&
		 take_bitmap(guess, entry, directory));
	return 0;
}

static int try_directory(struct q2_guess *guess, uint64_t offset, struct qcow2_error *err)
{
	struct q2_guess_bitmaps directory;

	if (read_directory(guess, offset, &directory, err))
		return -1;
	q2_guess_claim(guess, offset, directory.size_bytes);
	if (directory.count > guess->bitmaps.count)
		guess->bitmaps = directory;
	return 0;
}

/* ---- LUKS ---- */

static int try_luks(struct q2_guess *guess, uint64_t offset, struct qcow2_error *err)
{
	const uint8_t *bytes;
	struct qcow2_luks1 luks;
	uint64_t length;

	if (guess->luks_length_bytes != 0)
		return 0;
	if (q2_pieces_read(&guess->pieces, offset, ENTRY_SHOWN, &bytes, err))
		return -1;
	qcow2_luks1_decode(&luks, bytes, ENTRY_SHOWN);
	length = (uint64_t)luks.payload_offset * Q2_SECTOR_BYTES;
	if (luks.version != 1 || length == 0 || length > guess->scan->file_size_bytes - offset)
		return 0;
	guess->luks_offset_bytes = offset;
	guess->luks_length_bytes = length;
	q2_guess_claim(guess, offset, length);
	return 0;
}

int q2_guess_find_named(struct q2_guess *guess, struct qcow2_error *err)
{
	for (size_t i = 0; i < guess->scan->marks.count; i++) {
		const struct q2_scan_mark *mark = q2_vector_at(&guess->scan->marks, i);
		bool ours;

		if (mark->kind != Q2_MARK_BITMAPS && mark->kind != Q2_MARK_LUKS)
			continue;
		if (is_ours(guess, mark, &ours, err))
			return -1;
		if (ours && mark->kind == Q2_MARK_BITMAPS &&
		    try_directory(guess, mark->offset_bytes, err))
			return -1;
		if (ours && mark->kind == Q2_MARK_LUKS && try_luks(guess, mark->offset_bytes, err))
			return -1;
	}
	return 0;
}
