/* SPDX-License-Identifier: MIT */
/*
 * Writes a small image over the damaged file: what the plan changes is in its clusters, and the
 * rest is read from the file, as raw bytes. See files.h. Layout: header, refcount table and blocks,
 * L1 table, L2 tables, data.
 */
#include <stdlib.h>
#include <string.h>

#include "common/report.h"
#include "rescue/files.h"
#include "rescue/new_file.h"

#include <qcow2/entry.h>
#include <qcow2/extension.h>
#include <qcow2/features.h>
#include <qcow2/format.h>
#include <qcow2/limits.h>

#define BITS    16
#define CLUSTER ((size_t)1 << BITS)
#define ENTRIES (CLUSTER / 8)
/* Refcounts of 16 bits in a block. */
#define COUNTS (CLUSTER / 2)

struct overlay {
	struct rescue_run *run;
	struct new_file file;
	struct qcow2_source *view; /* the file as planned */
	uint64_t *changed;         /* clusters of the view, in rising order */
	size_t count, capacity;
	uint64_t size_bytes; /* of the view, in whole sectors */
	uint64_t table_clusters, block_clusters, l1_clusters, l2_clusters;
	uint8_t *cluster; /* of CLUSTER bytes */
};

/* ---- which clusters ---- */

static bool keep(struct overlay *overlay, uint64_t cluster)
{
	if (overlay->count == overlay->capacity) {
		size_t capacity = overlay->capacity ? overlay->capacity * 2 : 64;
		void *grown = realloc(overlay->changed, capacity * sizeof(*overlay->changed));

		if (!grown)
			return false;
		overlay->changed = grown;
		overlay->capacity = capacity;
	}
	overlay->changed[overlay->count++] = cluster;
	return true;
}

static int compare(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static void drop_doubles(struct overlay *overlay)
{
	size_t kept = 0;

	if (overlay->count == 0)
		return;
	qsort(overlay->changed, overlay->count, sizeof(*overlay->changed), compare);
	for (size_t i = 0; i < overlay->count; i++)
		if (i == 0 || overlay->changed[i] != overlay->changed[i - 1])
			overlay->changed[kept++] = overlay->changed[i];
	overlay->count = kept;
}

static int out_of_memory(const struct overlay *overlay)
{
	return report_text(overlay->run->command, overlay->run->target, "out of memory");
}

static int find_changed(struct overlay *overlay)
{
	struct qcow2_plan *plan = overlay->run->change.report.plan;
	const struct qcow2_write *write;
	struct qcow2_error err;

	for (size_t i = 0; i < qcow2_plan_count(plan); i++) {
		uint64_t at, end;

		if (qcow2_plan_at(plan, i, &write, &err))
			return report_error(overlay->run->command, overlay->run->target, &err);
		end = write->offset_bytes + write->new_bytes.size;
		for (at = write->offset_bytes >> BITS; at << BITS < end; at++)
			if (!keep(overlay, at))
				return out_of_memory(overlay);
	}
	drop_doubles(overlay);
	return EXIT_FINE;
}

/* ---- layout ---- */

static uint64_t l2_of(uint64_t cluster)
{
	return cluster / ENTRIES;
}

static void lay_out(struct overlay *overlay)
{
	uint64_t entries = (overlay->size_bytes + CLUSTER * ENTRIES - 1) / (CLUSTER * ENTRIES);
	uint64_t rest, before;

	overlay->l1_clusters = (entries + ENTRIES - 1) / ENTRIES;
	if (overlay->l1_clusters == 0)
		overlay->l1_clusters = 1;
	for (size_t i = 0; i < overlay->count; i++)
		overlay->l2_clusters +=
			i == 0 || l2_of(overlay->changed[i]) != l2_of(overlay->changed[i - 1]);
	rest = 1 + overlay->l1_clusters + overlay->l2_clusters + overlay->count;
	do {
		before = overlay->table_clusters + overlay->block_clusters;
		overlay->block_clusters = (rest + before + COUNTS - 1) / COUNTS;
		overlay->table_clusters = (overlay->block_clusters + ENTRIES - 1) / ENTRIES;
	} while (overlay->table_clusters + overlay->block_clusters != before);
}

static uint64_t l1_at(const struct overlay *overlay)
{
	return (1 + overlay->table_clusters + overlay->block_clusters) << BITS;
}

static uint64_t l2_at(const struct overlay *overlay)
{
	return l1_at(overlay) + (overlay->l1_clusters << BITS);
}

static uint64_t data_at(const struct overlay *overlay)
{
	return l2_at(overlay) + (overlay->l2_clusters << BITS);
}

/* ---- writing ---- */

static void put_word(uint8_t *table, uint64_t index, uint64_t word)
{
	for (unsigned i = 0; i < 8; i++)
		table[index * 8 + i] = (uint8_t)(word >> (56 - 8 * i));
}

static void write_cluster(struct overlay *overlay, uint64_t offset)
{
	new_file_write(&overlay->file, offset, overlay->cluster, CLUSTER);
	memset(overlay->cluster, 0, CLUSTER);
}

/* The header, with the file as backing file of the format raw. */
static int write_header(struct overlay *overlay, const char *backing)
{
	static const char format[] = "raw";
	const struct qcow2_extension_header head = {QCOW2_EXTENSION_BACKING_FORMAT,
						    sizeof(format) - 1};
	size_t at = sizeof(struct qcow2_header), head_bytes = sizeof(head);
	struct qcow2_header header = {
		.magic = QCOW2_MAGIC,
		.version = 3,
		.cluster_bits = BITS,
		.size = overlay->size_bytes,
		.l1_size = (uint32_t)(overlay->l1_clusters * ENTRIES),
		.l1_table_offset = l1_at(overlay),
		.refcount_table_offset = CLUSTER,
		.refcount_table_clusters = (uint32_t)overlay->table_clusters,
		.refcount_order = 4,
		.header_length = (uint32_t)at,
		.backing_file_offset = at + 2 * head_bytes + 8,
		.backing_file_size = (uint32_t)strlen(backing),
	};

	if (header.backing_file_size > QCOW2_LIMIT_BACKING_NAME_BYTES)
		return report_text(overlay->run->command, overlay->run->target,
				   "the name of the image is too long for a backing file");
	qcow2_extension_header_encode(&head, overlay->cluster + at, head_bytes);
	memcpy(overlay->cluster + at + head_bytes, format, sizeof(format) - 1);
	memcpy(overlay->cluster + header.backing_file_offset, backing, header.backing_file_size);
	qcow2_header_encode(&header, overlay->cluster, header.header_length);
	write_cluster(overlay, 0);
	return EXIT_FINE;
}

static void write_refcounts(struct overlay *overlay)
{
	uint64_t total = (data_at(overlay) >> BITS) + overlay->count;
	uint64_t block = (1 + overlay->table_clusters) << BITS;

	for (uint64_t i = 0; i < overlay->table_clusters; i++) {
		for (uint64_t j = i * ENTRIES; j < overlay->block_clusters && j < (i + 1) * ENTRIES;
		     j++)
			put_word(overlay->cluster, j % ENTRIES, block + (j << BITS));
		write_cluster(overlay, (1 + i) << BITS);
	}
	for (uint64_t i = 0; i < overlay->block_clusters; i++) {
		for (uint64_t j = i * COUNTS; j < total && j < (i + 1) * COUNTS; j++)
			qcow2_refcount_put(overlay->cluster, j % COUNTS, 16, 1);
		write_cluster(overlay, block + (i << BITS));
	}
}

static void write_l1(struct overlay *overlay)
{
	uint64_t next = l2_at(overlay);
	size_t i = 0;

	for (uint64_t cluster = 0; cluster < overlay->l1_clusters; cluster++) {
		while (i < overlay->count && l2_of(overlay->changed[i]) / ENTRIES == cluster) {
			uint64_t l2 = l2_of(overlay->changed[i]);
			const struct qcow2_l1_entry entry = {.offset = next, .copied = 1};

			put_word(overlay->cluster, l2 % ENTRIES, qcow2_l1_entry_encode(&entry));
			next += CLUSTER;
			while (i < overlay->count && l2_of(overlay->changed[i]) == l2)
				i++;
		}
		write_cluster(overlay, l1_at(overlay) + (cluster << BITS));
	}
}

static void write_l2(struct overlay *overlay)
{
	uint64_t next = l2_at(overlay), data = data_at(overlay);

	for (size_t i = 0; i < overlay->count; next += CLUSTER) {
		uint64_t l2 = l2_of(overlay->changed[i]);

		for (; i < overlay->count && l2_of(overlay->changed[i]) == l2; i++) {
			const struct qcow2_l2_entry entry = {.offset = data + (i << BITS),
							     .copied = 1};

			put_word(overlay->cluster, overlay->changed[i] % ENTRIES,
				 qcow2_l2_entry_encode(&entry));
		}
		write_cluster(overlay, next);
	}
}

static int write_data(struct overlay *overlay)
{
	uint64_t end = qcow2_source_size_bytes(overlay->view);
	struct qcow2_error err;

	for (size_t i = 0; i < overlay->count; i++) {
		uint64_t at = overlay->changed[i] << BITS;
		size_t size = end - at < CLUSTER ? (size_t)(end - at) : CLUSTER;

		if (qcow2_source_read(overlay->view, at, overlay->cluster, size, &err))
			return report_error(overlay->run->command, overlay->run->target, &err);
		write_cluster(overlay, data_at(overlay) + ((uint64_t)i << BITS));
	}
	return EXIT_FINE;
}

static int write_all(struct overlay *overlay, const char *backing)
{
	int code = find_changed(overlay);

	if (code != EXIT_FINE)
		return code;
	lay_out(overlay);
	code = write_header(overlay, backing);
	if (code != EXIT_FINE)
		return code;
	write_refcounts(overlay);
	write_l1(overlay);
	write_l2(overlay);
	return write_data(overlay);
}

static int write_file(struct overlay *overlay, const char *backing)
{
	int code = new_file_open(&overlay->file, overlay->run->command, overlay->run->target, 0666);

	return code == EXIT_FINE ? new_file_close(&overlay->file, write_all(overlay, backing))
				 : code;
}

int rescue_write_overlay(struct rescue_run *run)
{
	struct overlay overlay = {.run = run, .cluster = calloc(1, CLUSTER)};
	char *backing = realpath(run->change.report.file, NULL);
	struct qcow2_error err;
	int code;

	if (!overlay.cluster || !backing)
		code = out_of_memory(&overlay);
	else if (qcow2_plan_view(run->change.report.plan, &overlay.view, &err))
		code = report_error(run->command, run->change.report.file, &err);
	else {
		overlay.size_bytes = (qcow2_source_size_bytes(overlay.view) + 511) & ~UINT64_C(511);
		code = write_file(&overlay, backing);
	}
	qcow2_source_close(overlay.view);
	free(overlay.changed);
	free(overlay.cluster);
	free(backing);
	return code;
}
