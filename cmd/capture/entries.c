/* SPDX-License-Identifier: MIT */
/*
 * Entries of the snapshot table and of the bitmap directory: their fixed fields, the extra data that
 * a dump shows, and their names. Bitmaps that nobody may trust are not claimed, but are shown; their
 * tables and data are found here.
 */
#include "capture/gather.h"

#include <qcow2/bitmap_directory.h>
#include <qcow2/entry.h>
#include <qcow2/features.h>
#include <qcow2/geometry.h>
#include <qcow2/snapshot.h>
#include <qcow2/table.h>

/* What is shown of extra data. */
#define EXTRA_MOST UINT64_C(4096)
/* What a list or a table may have in holes, besides what the file stores. */
#define SLACK_BYTES (UINT64_C(1) << 20)

/* An image, and what may still be followed of it. */
struct visit {
	const struct qcow2_image *image;
	struct capture_ranges *metadata;
	uint64_t file_size_bytes;
	uint64_t left_bytes;
};

static void add(const struct visit *visit, uint64_t start_bytes, uint64_t length_bytes)
{
	capture_ranges_add(visit->metadata, start_bytes, length_bytes, visit->file_size_bytes);
}

static uint64_t least(uint64_t one, uint64_t other)
{
	return one < other ? one : other;
}

/* An entry: fixed fields, extra data, names, and what fills it up to 8 bytes. */
static void add_entry(const struct visit *visit, uint64_t at, uint64_t fixed_bytes,
		      uint64_t extra_bytes, uint64_t names_bytes)
{
	add(visit, at, fixed_bytes + least(extra_bytes, EXTRA_MOST));
	at += fixed_bytes + extra_bytes;
	add(visit, at, (at + names_bytes + 7) / 8 * 8 - at);
}

static int add_snapshots(const struct visit *visit, struct qcow2_error *err)
{
	const uint64_t start = qcow2_image_header(visit->image)->snapshot_offset;
	const struct qcow2_snapshot *snapshot;
	struct qcow2_snapshots *snapshots;
	int more;

	if (qcow2_snapshots_open(visit->image, &snapshots, err))
		return err->code == QCOW2_ERROR_MEMORY || err->code == QCOW2_ERROR_IO ? -1 : 0;
	while ((more = qcow2_snapshots_next(snapshots, &snapshot, err)) > 0 &&
	       snapshot->offset_bytes - start <= visit->left_bytes)
		add_entry(visit, snapshot->offset_bytes, sizeof(struct qcow2_snapshot_header),
			  snapshot->header.extra_data_size,
			  (uint64_t)snapshot->header.id_str_size + snapshot->header.name_size);
	qcow2_snapshots_close(snapshots);
	return more < 0 ? -1 : 0;
}

/* The table and the data of a bitmap that is not claimed. */
static int add_bitmap(struct visit *visit, struct qcow2_table *table,
		      const struct qcow2_bitmap_dir_entry *bitmap, struct qcow2_error *err)
{
	const uint64_t cluster = qcow2_image_geometry(visit->image)->cluster_size_bytes;
	uint64_t entry, count = qcow2_table_begin(table, bitmap->bitmap_table_offset,
						  bitmap->bitmap_table_size);

	count = least(count, visit->left_bytes / sizeof(entry));
	visit->left_bytes -= count * sizeof(entry);
	add(visit, bitmap->bitmap_table_offset, count * sizeof(entry));
	for (uint64_t i = 0; i < count; i++) {
		if (qcow2_table_entry(table, i, &entry, err))
			return -1;
		entry &= QCOW2_ENTRY_MASK(bitmap_table_entry, offset);
		if (entry != 0)
			add(visit, entry, cluster);
	}
	return 0;
}

static int add_bitmaps(struct visit *visit, struct qcow2_bitmaps *bitmaps,
		       struct qcow2_table *table, struct qcow2_error *err)
{
	const bool claimed =
		qcow2_image_header(visit->image)->autoclear_features & QCOW2_AUTOCLEAR_BITMAPS;
	const uint64_t most = visit->left_bytes;
	const struct qcow2_bitmap *bitmap;
	int more = 1;

	while (qcow2_bitmaps_used_bytes(bitmaps) <= most &&
	       (more = qcow2_bitmaps_next(bitmaps, &bitmap, err)) > 0) {
		add_entry(visit, bitmap->offset_bytes, sizeof(struct qcow2_bitmap_dir_entry),
			  bitmap->entry.extra_data_size, bitmap->entry.name_size);
		if (!claimed && add_bitmap(visit, table, &bitmap->entry, err))
			return -1;
	}
	return more < 0 ? -1 : 0;
}

int capture_gather_entries(const struct qcow2_image *image, struct capture_content *content,
			   struct qcow2_error *err)
{
	struct qcow2_source *source = qcow2_image_source(image);
	struct visit visit = {
		.image = image,
		.metadata = &content->metadata,
		.file_size_bytes = qcow2_source_size_bytes(source),
		.left_bytes = qcow2_source_allocated_bytes(source) + SLACK_BYTES,
	};
	struct qcow2_bitmaps *bitmaps = NULL;
	struct qcow2_table *table = NULL;
	int result = add_snapshots(&visit, err);

	if (result)
		return -1;
	if (qcow2_bitmaps_open(image, &bitmaps, err))
		return err->code == QCOW2_ERROR_MEMORY || err->code == QCOW2_ERROR_IO ? -1 : 0;
	result = qcow2_table_open(image, &table, err);
	if (result == 0)
		result = add_bitmaps(&visit, bitmaps, table, err);
	qcow2_table_close(table);
	qcow2_bitmaps_close(bitmaps);
	return result;
}
