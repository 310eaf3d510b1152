/* SPDX-License-Identifier: MIT */
/* Judges clusters as tables for one shape: see scan.h. */
#include "base/alloc.h"
#include "base/error.h"
#include "base/search.h"
#include "format/l2_table.h"
#include "rescue/pieces.h"
#include "rescue/words.h"

/* The most tables that are kept for a shape. */
#define TABLES_MOST ((size_t)1 << 21)

/* One cluster and what has been seen of it. */
struct judged {
	const struct q2_rescue_shape *shape;
	struct q2_words words;
	uint64_t before; /* the place that the last entry led to */
	struct q2_found_table *table;
};

static void note_target(struct q2_found_table *table, uint64_t offset)
{
	if (table->first_bytes == 0 || offset < table->first_bytes)
		table->first_bytes = offset;
	if (offset > table->last_bytes)
		table->last_bytes = offset;
}

/* An L2 entry that is not compressed, nor empty. False if it is none. */
static bool note_standard(struct judged *judged, uint64_t entry)
{
	struct q2_found_table *table = judged->table;
	const struct q2_rescue_shape *shape = judged->shape;
	uint64_t offset = entry & QCOW2_ENTRY_MASK(l2_entry, offset);

	table->zeros += !shape->extended_l2 && (entry & QCOW2_ENTRY_MASK(l2_entry, zero)) != 0;
	if (!qcow2_l2_has_offset(entry, shape->data_file))
		return true;
	if (offset & ((UINT64_C(1) << shape->cluster_bits) - 1) || offset == judged->before)
		return false;
	judged->before = offset;
	table->data++;
	table->copied += (entry & QCOW2_ENTRY_MASK(l2_entry, copied)) != 0;
	if (!shape->data_file)
		note_target(table, offset);
	return true;
}

static bool note_compressed(struct judged *judged, uint64_t entry)
{
	uint64_t offset = qcow2_compressed_split(entry, judged->shape->cluster_bits).offset_bytes;

	/* The first cluster has the header. */
	if (offset >= judged->words.end_bytes || offset >> judged->shape->cluster_bits == 0)
		return false;
	judged->table->compressed++;
	note_target(judged->table, offset);
	return true;
}

/* An L2 entry that is not 0. */
static bool note_entry(struct judged *judged, uint64_t entry, uint64_t bitmap)
{
	bool fits = judged->shape->extended_l2 ? q2_word_is_extended(&judged->words, entry, bitmap)
					       : q2_word_is_entry(&judged->words, entry);

	judged->table->entries++;
	return fits && (qcow2_l2_is_compressed(entry) ? note_compressed(judged, entry)
						      : note_standard(judged, entry));
}

static bool reads_as_l2(struct judged *judged, const uint8_t *cluster)
{
	const struct q2_rescue_shape *shape = judged->shape;
	unsigned entry_bytes = shape->extended_l2 ? 16 : 8;
	uint32_t count = (uint32_t)((UINT64_C(1) << shape->cluster_bits) / entry_bytes);
	struct q2_found_table *table = judged->table;

	for (uint32_t i = 0; i < count; i++) {
		uint64_t entry = q2_l2_entry_at(cluster, i, entry_bytes);
		uint64_t bitmap = q2_l2_subclusters_at(cluster, i, entry_bytes);

		if (entry == 0 && bitmap == 0)
			continue;
		if (table->entries == 0)
			table->first_index = i;
		table->last_index = i;
		if (!note_entry(judged, entry, bitmap))
			return false;
	}
	return table->entries > 0;
}

/* Whether all words are 0 or offsets, with the copied flag or without it. */
static bool reads_as_pointers(const struct judged *judged, const uint8_t *cluster)
{
	uint64_t size = UINT64_C(1) << judged->shape->cluster_bits, all = 0;

	for (uint64_t i = 0; i < size / 8; i++) {
		uint64_t word = q2_load_be64(cluster + i * 8);
		uint64_t offset = word & QCOW2_ENTRY_MASK(l1_entry, offset);

		all |= word;
		if (word != 0 && ((word & qcow2_l1_entry_reserved) || (offset & (size - 1)) ||
				  offset == 0 || offset >= judged->words.end_bytes))
			return false;
	}
	return all != 0;
}

static void count_words(const uint8_t *cluster, size_t size, struct q2_found_table *table)
{
	for (size_t i = 0; i < size; i += 8) {
		uint64_t word = q2_load_be64(cluster + i);

		table->odd_words += word != 0 && i % 16 == 8;
		table->words_flagged += (word & QCOW2_ENTRY_MASK(l1_entry, copied)) != 0;
	}
}

static void judge(const struct q2_scan *scan, const struct q2_rescue_shape *shape,
		  const uint8_t *cluster, struct q2_found_table *table)
{
	struct judged judged = {
		.shape = shape,
		.words = {.end_bytes = scan->file_size_bytes, .data_file = shape->data_file},
		.before = UINT64_MAX,
		.table = table,
	};

	table->is_l2 = reads_as_l2(&judged, cluster);
	judged.words.data_file = false;
	table->is_pointers = reads_as_pointers(&judged, cluster);
	table->first_word = q2_load_be64(cluster);
	count_words(cluster, (size_t)1 << shape->cluster_bits, table);
}

/* Judges the cluster at an offset, and keeps it if it is a table. */
static int take_cluster(struct q2_pieces *pieces, const struct q2_rescue_shape *shape,
			uint64_t offset, struct q2_vector *tables, struct qcow2_error *err)
{
	struct q2_found_table table = {.offset_bytes = offset};
	const uint8_t *cluster;

	if (q2_pieces_read(pieces, offset, (size_t)1 << shape->cluster_bits, &cluster, err))
		return -1;
	judge(pieces->scan, shape, cluster, &table);
	if (!table.is_l2 && !table.is_pointers)
		return 0;
	if (q2_vector_push(tables, &table) == QCOW2_ERROR_MEMORY)
		return q2_fail_memory(err);
	return 0;
}

/* Whether a run can be part of a table of a shape: no offset of it is less aligned. */
static bool run_fits(const struct q2_scan_run *run, const struct q2_rescue_shape *shape)
{
	return run->alignment_bits >= shape->cluster_bits || run->sectors > 1;
}

int q2_scan_tables(const struct q2_scan *scan, const struct q2_rescue_shape *shape,
		   struct q2_vector *tables, struct qcow2_error *err)
{
	struct q2_pieces pieces;
	uint64_t next = 0; /* cluster */
	int result = 0;

	q2_vector_init(tables, sizeof(struct q2_found_table), TABLES_MOST);
	if (q2_pieces_open(&pieces, scan, (size_t)1 << shape->cluster_bits, err))
		return -1;
	for (size_t i = 0; i < scan->runs.count && result == 0; i++) {
		const struct q2_scan_run *run = q2_vector_at(&scan->runs, i);
		uint64_t at = run->first_sector * Q2_SECTOR_BYTES;
		uint64_t end = at + (uint64_t)run->sectors * Q2_SECTOR_BYTES;
		uint64_t cluster = at >> shape->cluster_bits;

		if (!run_fits(run, shape))
			continue;
		if (cluster < next)
			cluster = next;
		for (; cluster << shape->cluster_bits < end && result == 0; cluster++)
			result = take_cluster(&pieces, shape, cluster << shape->cluster_bits,
					      tables, err);
		next = cluster;
	}
	q2_pieces_close(&pieces);
	return result;
}

int q2_scan_table_at(const struct q2_scan *scan, const struct q2_rescue_shape *shape,
		     uint64_t offset_bytes, struct q2_found_table *table, struct qcow2_error *err)
{
	struct q2_pieces pieces;
	const uint8_t *cluster;
	int result;

	*table = (struct q2_found_table){.offset_bytes = offset_bytes};
	if (q2_pieces_open(&pieces, scan, (size_t)1 << shape->cluster_bits, err))
		return -1;
	result = q2_pieces_read(&pieces, offset_bytes, (size_t)1 << shape->cluster_bits, &cluster,
				err);
	if (result == 0)
		judge(scan, shape, cluster, table);
	q2_pieces_close(&pieces);
	return result;
}

const struct q2_found_table *q2_found_table(const struct q2_vector *tables, uint64_t offset_bytes)
{
	return q2_rising_find(
		Q2_RISING(tables->data, tables->count, struct q2_found_table, offset_bytes),
		offset_bytes);
}
