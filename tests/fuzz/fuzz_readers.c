/* SPDX-License-Identifier: MIT */
/*
 * Fuzzes what reads an image below the walk: extensions, bitmap directory and its totals, snapshot
 * table, tables of all widths, encryption header. Each call is made as a program of somebody else
 * would make it, with numbers of the image and without its rules.
 */
#include <stdlib.h>

#include <qcow2/qcow2.h>

#define ENTRIES_MAX 512
#define COUNT_BYTES (1 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t sum;

static void touch(struct qcow2_bytes bytes)
{
	for (size_t i = 0; i < bytes.size; i += i < 64 ? 1 : 61)
		sum = sum * 31 + bytes.data[i];
	if (bytes.size > 0)
		sum += bytes.data[bytes.size - 1];
}

static void read_extensions(const struct qcow2_image *image)
{
	static const uint32_t magics[] = {QCOW2_EXTENSION_BITMAPS, QCOW2_EXTENSION_FEATURE_NAMES,
					  QCOW2_EXTENSION_DATA_FILE, 0};
	struct qcow2_extensions *extensions;
	const struct qcow2_extension *extension;
	struct qcow2_error err;
	struct qcow2_bytes data;

	for (size_t i = 0; i < sizeof(magics) / sizeof(magics[0]); i++)
		if (qcow2_image_find_extension(image, magics[i], &data))
			touch(data);
	if (qcow2_extensions_open(image, &extensions, &err) == 0) {
		for (int i = 0; i < ENTRIES_MAX && qcow2_extensions_next(extensions, &extension);
		     i++) {
			touch(extension->raw);
			touch(extension->data);
			touch(extension->padding);
		}
		qcow2_extensions_close(extensions);
	}
	touch(qcow2_image_backing_name(image));
	touch(qcow2_image_first_cluster(image));
}

static void read_bitmaps(const struct qcow2_image *image)
{
	struct qcow2_bitmaps *bitmaps;
	const struct qcow2_bitmap *bitmap;
	struct qcow2_bitmap_totals totals;
	struct qcow2_error err;

	if (qcow2_bitmaps_open(image, &bitmaps, &err))
		return;
	for (int i = 0; i < ENTRIES_MAX && qcow2_bitmaps_next(bitmaps, &bitmap, &err) > 0; i++) {
		touch(bitmap->raw);
		touch(bitmap->extra_data);
		touch(bitmap->name);
		touch(bitmap->padding);
		if (i < 8 && qcow2_image_geometry(image) &&
		    qcow2_bitmap_count(image, &bitmap->entry, COUNT_BYTES, &totals, &err) == 0 &&
		    totals.bits_set > totals.bits)
			abort();
	}
	qcow2_bitmaps_close(bitmaps);
}

static void read_table(const struct qcow2_image *image, uint64_t offset, uint64_t entries,
		       bool refcounts)
{
	struct qcow2_table *table;
	struct qcow2_error err;
	uint64_t there, value = 0;

	if (qcow2_table_open(image, &table, &err))
		return;
	there = qcow2_table_begin(table, offset, entries);
	if (there > entries)
		abort();
	for (uint64_t i = 0; i < there && i < ENTRIES_MAX; i++) {
		if (qcow2_table_entry(table, i, &value, &err))
			break;
		sum += value;
	}
	if (refcounts && there > 0) {
		unsigned bits = qcow2_image_geometry(image)->refcount_bits;

		for (uint64_t i = 0; i < there * 64 / bits && i < ENTRIES_MAX; i++)
			if (qcow2_table_refcount(table, i, &value, &err) == 0)
				sum += value;
	}
	qcow2_table_close(table);
}

static void read_snapshots(const struct qcow2_image *image)
{
	struct qcow2_snapshots *snapshots;
	const struct qcow2_snapshot *s;
	struct qcow2_error err;

	if (qcow2_snapshots_open(image, &snapshots, &err))
		return;
	for (int i = 0; i < ENTRIES_MAX && qcow2_snapshots_next(snapshots, &s, &err) > 0; i++) {
		touch(s->raw);
		touch(s->extra_data);
		touch(s->id);
		touch(s->name);
		if (i < 8 && qcow2_image_geometry(image))
			read_table(image, s->header.l1_table_offset, s->header.l1_size, false);
	}
	qcow2_snapshots_close(snapshots);
}

static void read_luks(const struct qcow2_image *image)
{
	uint8_t raw[4096];
	uint64_t offset;
	struct qcow2_error err;

	if (qcow2_image_read_luks(image, raw, sizeof(raw), &offset, &err) == 0)
		touch((struct qcow2_bytes){raw, sizeof(raw)});
}

static void read_all(const struct qcow2_image *image)
{
	const struct qcow2_header *h = qcow2_image_header(image);
	const struct qcow2_geometry *g = qcow2_image_geometry(image);

	read_extensions(image);
	read_bitmaps(image);
	read_snapshots(image);
	read_luks(image);
	if (!g)
		return;
	read_table(image, h->l1_table_offset, h->l1_size, false);
	read_table(image, h->refcount_table_offset,
		   (uint64_t)h->refcount_table_clusters * (g->cluster_size_bytes / 8), false);
	read_table(image, h->refcount_table_offset, g->cluster_size_bytes / 8, true);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct qcow2_source *source;
	struct qcow2_image *image;
	struct qcow2_error err;

	if (qcow2_source_from_memory(data, size, &source, &err))
		return 0;
	if (qcow2_image_open(source, &image, &err) == 0) {
		read_all(image);
		qcow2_image_close(image);
	}
	qcow2_source_close(source);
	return 0;
}
