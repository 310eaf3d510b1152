/* SPDX-License-Identifier: MIT */
/*
 * What QEMU needs to open, check and map an image: estimates from numbers that were measured with
 * qemu-img 7.2 on one core of 2020 (docs/vet.md). They are made to tell images that take minutes
 * from those that take as long as honest ones of their size. So the work that every cluster of the
 * file may cause is taken off, and tables are read only if the numbers of the header are not enough.
 */
#include <stddef.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "vet/vet.h"

#include <qcow2/entry.h>
#include <qcow2/mapping.h>

/* Nanoseconds for an entry of an L2 table that is checked, and for an extent that is mapped. */
#define CHECK_ENTRY_NS UINT64_C(20)
#define MAP_EXTENT_NS  UINT64_C(2000)
/* What each cluster of the file may take; for checks, as often as a hundred snapshots share it. */
#define CLUSTER_NS UINT64_C(2000)
/* For two names of bitmaps that are compared, and for a byte of a bitmap that is loaded. */
#define NAMES_NS         UINT64_C(45)
#define BYTES_A_NS       UINT64_C(2)
#define NS_A_MILLISECOND UINT64_C(1000000)
#define PIECE_ENTRIES    512
/* L1 tables of snapshots are read up to this; beyond that, all of their entries count. */
#define SNAPSHOT_L1_BYTES (UINT64_C(256) << 20)

/* Numbers of hostile images are large; what does not fit is large enough. */
static uint64_t times(uint64_t a, uint64_t b)
{
	uint64_t product;

	return q2_mul_u64(a, b, &product) ? UINT64_MAX : product;
}

static uint64_t plus(uint64_t a, uint64_t b)
{
	uint64_t sum;

	return q2_add_u64(a, b, &sum) ? UINT64_MAX : sum;
}

static uint64_t less(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

static uint64_t file_clusters(const struct q2_vet *vet)
{
	return q2_div_ceil_u64(vet->result.file_size_bytes, vet->geometry->cluster_size_bytes);
}

static void tell(struct q2_vet *vet, enum qcow2_vet_rule_number rule, uint64_t value,
		 const char *field)
{
	q2_vet_tell(vet,
		    &(struct q2_vet_finding){
			    .rule = rule, .offset_bytes = QCOW2_NO_OFFSET, .value = value},
		    "%s", field);
}

/* Tells what opening takes: tables that QEMU keeps in memory, and bitmaps, which it loads. */
static uint64_t tell_open(struct q2_vet *vet)
{
	const struct qcow2_header *h = vet->header;
	uint64_t tables = h->l1_size * UINT64_C(8) +
			  times(h->refcount_table_clusters, vet->geometry->cluster_size_bytes);
	uint64_t memory = plus(plus(tables, vet->snapshot_bytes), vet->bitmap_bytes);
	uint64_t pairs = times(vet->bitmaps, vet->bitmaps) / 2;
	uint64_t ns = plus(times(pairs, NAMES_NS), vet->bitmap_table_bytes / BYTES_A_NS);

	tell(vet, QCOW2_VET_RULE_OPEN_MEMORY, memory,
	     vet->bitmap_bytes > tables ? "bitmaps" : "header");
	tell(vet, QCOW2_VET_RULE_OPEN_TIME, ns / NS_A_MILLISECOND, "bitmaps");
	return memory;
}

/* ---- the check ---- */

/* Counts the entries of an L1 table that lead anywhere. */
static int count_l1(struct q2_vet *vet, uint64_t at, uint64_t entries, uint64_t *count)
{
	uint64_t end = vet->result.file_size_bytes;
	uint8_t piece[PIECE_ENTRIES * 8];
	size_t size = 0;

	if (at > end)
		return 0;
	entries = entries < (end - at) / 8 ? entries : (end - at) / 8;
	for (uint64_t i = 0; i < entries; i++) {
		if (i % PIECE_ENTRIES == 0) {
			size = entries - i < PIECE_ENTRIES ? (size_t)(entries - i) * 8
							   : sizeof(piece);
			if (qcow2_source_read(vet->source, at + i * 8, piece, size, vet->err))
				return -1;
		}
		*count += q2_load_be64(piece + i % PIECE_ENTRIES * 8) != 0;
	}
	return 0;
}

/* Counts the L2 tables that snapshots lead to, each as often as one of them does. */
static int count_snapshots(struct q2_vet *vet, uint64_t *count)
{
	const struct qcow2_snapshot *snapshot;
	struct qcow2_snapshots *snapshots;
	int more, result = 0;

	if (qcow2_snapshots_open(vet->image, &snapshots, vet->err))
		return -1;
	while (result == 0 && (more = qcow2_snapshots_next(snapshots, &snapshot, vet->err)) != 0)
		result = more < 0 ? -1
				  : count_l1(vet, snapshot->header.l1_table_offset,
					     snapshot->header.l1_size, count);
	qcow2_snapshots_close(snapshots);
	return result;
}

static uint64_t check_ms(const struct q2_vet *vet, uint64_t l2_tables)
{
	uint64_t ns = times(times(l2_tables, vet->geometry->l2_entries), CHECK_ENTRY_NS);

	return less(ns, times(file_clusters(vet), CLUSTER_NS)) / NS_A_MILLISECOND;
}

static int tell_check(struct q2_vet *vet, uint64_t open_memory)
{
	uint64_t bits = times(file_clusters(vet), vet->geometry->refcount_bits);
	uint64_t most = plus(vet->l2_tables, vet->snapshot_l1_entries), count = vet->l2_tables;

	tell(vet, QCOW2_VET_RULE_CHECK_MEMORY, plus(open_memory, bits / 8), "file");
	if (!q2_vet_passes(vet, QCOW2_VET_RULE_CHECK_TIME, check_ms(vet, most)))
		return 0;
	if (vet->snapshot_l1_entries > SNAPSHOT_L1_BYTES / 8)
		count = most;
	else if (vet->snapshot_l1_entries > 0 && count_snapshots(vet, &count))
		return -1;
	tell(vet, QCOW2_VET_RULE_CHECK_TIME, check_ms(vet, count),
	     vet->snapshot_l1_entries > 0 ? "snapshots" : "l1");
	return 0;
}

/* ---- the map ---- */

static uint64_t map_ms(const struct q2_vet *vet, uint64_t extents)
{
	return less(times(extents, MAP_EXTENT_NS), times(file_clusters(vet), CLUSTER_NS)) /
	       NS_A_MILLISECOND;
}

/* Counts extents until there are enough. */
static int count_extents(struct q2_vet *vet, struct qcow2_mapping *mapping, uint64_t *count)
{
	const struct qcow2_mapping_extent *extent;
	int more;

	while ((more = qcow2_mapping_next(mapping, &extent, vet->err)) > 0)
		if (++*count % 4096 == 0 &&
		    q2_vet_passes(vet, QCOW2_VET_RULE_MAP_TIME, map_ms(vet, *count)))
			return 0;
	return more < 0 && vet->err->code != QCOW2_ERROR_LIMIT ? -1 : 0;
}

static int tell_map(struct q2_vet *vet)
{
	uint64_t most = times(vet->l2_tables, vet->geometry->l2_entries), count = 0;
	struct qcow2_mapping *mapping;
	int result;

	if (!q2_vet_passes(vet, QCOW2_VET_RULE_MAP_TIME, map_ms(vet, most)))
		return 0;
	if (qcow2_mapping_open(vet->image, &mapping, vet->err))
		return vet->err->code == QCOW2_ERROR_MEMORY ? -1 : 0;
	result = count_extents(vet, mapping, &count);
	qcow2_mapping_close(mapping);
	tell(vet, QCOW2_VET_RULE_MAP_TIME, map_ms(vet, count), "l2");
	return result;
}

int q2_vet_costs(struct q2_vet *vet)
{
	return tell_check(vet, tell_open(vet)) || tell_map(vet) ? -1 : 0;
}
