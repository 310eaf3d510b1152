/* SPDX-License-Identifier: MIT */
/*
 * What a base grows to that takes in the data of an overlay. The job of QEMU copies
 * pieces: clusters of the base, but at least 4 KiB and at most 64 KiB. A piece is copied whole, also
 * where zeros end within it.
 */
#include <inttypes.h>

#include "base/checked.h"
#include "base/error.h"
#include "measure/target.h"

#include <qcow2/entry.h>
#include <qcow2/geometry.h>
#include <qcow2/table.h>

#define PIECE_BITS_MIN 12
#define PIECE_BITS_MAX 16

struct commit {
	const struct qcow2_image *base;
	struct q2_measure_disk disk; /* the base, as large as it will be */
	uint64_t bitmaps_bytes;
	unsigned piece_bits;                     /* at least those of the clusters of the base */
	bool keeps;                              /* snapshots keep what is overwritten */
	bool copies_zeros;                       /* zeros take clusters */
	struct qcow2_mapping *overlay, *mapping; /* of the base */
	struct qcow2_table *table;               /* first the L1, then the refcount table */
	uint64_t l1_entries;                     /* that the file has */
	uint64_t next_cluster;                   /* those before it are counted */
	uint64_t next_table;
	uint64_t new_clusters; /* of data and L2 tables */
};

/* ---- opening ---- */

/*
 * QEMU writes zeros only in whole clusters of the base, which pieces are not if clusters are larger.
 * A range of the overlay also ends with each slice of the cache of L2 tables. With clusters of 512
 * bytes, that is 64 entries, and half a piece.
 */
static bool copies_zeros(const struct qcow2_geometry *base, const struct qcow2_geometry *overlay,
			 unsigned version)
{
	return version < 3 || base->cluster_bits > PIECE_BITS_MAX ||
	       (overlay->cluster_bits == 9 && base->cluster_bits == PIECE_BITS_MAX);
}

static void shape(struct commit *commit, const struct qcow2_image *overlay)
{
	const struct qcow2_header *header = qcow2_image_header(commit->base);
	const struct qcow2_geometry *geometry = qcow2_image_geometry(commit->base);
	const uint64_t size_bytes = qcow2_mapping_size_bytes(commit->overlay);

	q2_measure_disk_of(commit->base, &commit->disk);
	if (size_bytes > geometry->virtual_size_bytes)
		q2_measure_disk(&commit->disk, size_bytes);
	commit->piece_bits =
		geometry->cluster_bits > PIECE_BITS_MIN ? geometry->cluster_bits : PIECE_BITS_MIN;
	commit->keeps = header->nb_snapshots > 0;
	commit->copies_zeros =
		copies_zeros(geometry, qcow2_image_geometry(overlay), header->version);
}

static int open_all(struct commit *commit, const struct qcow2_image *overlay,
		    struct qcow2_error *err)
{
	const struct qcow2_header *header = qcow2_image_header(commit->base);

	if (header->l1_size > QCOW2_LIMIT_QEMU_L1_ENTRIES)
		return q2_fail(err, QCOW2_ERROR_LIMIT, header->l1_table_offset,
			       "the L1 table of the base has %" PRIu32
			       " entries, more than QEMU's limit",
			       header->l1_size);
	/* The mappings fail without a geometry. */
	if (qcow2_mapping_open(commit->base, &commit->mapping, err) ||
	    qcow2_mapping_open(overlay, &commit->overlay, err) ||
	    qcow2_table_open(commit->base, &commit->table, err))
		return -1;
	commit->l1_entries =
		qcow2_table_begin(commit->table, header->l1_table_offset, header->l1_size);
	shape(commit, overlay);
	return 0;
}

/* ---- ranges ---- */

/*
 * Counts the L2 tables [first, last] that the base does not have, or shares with snapshots. The loop
 * ends with the L1 table, whatever the range.
 */
static int count_tables(struct commit *commit, uint64_t first, uint64_t last,
			struct qcow2_error *err)
{
	uint64_t i = first > commit->next_table ? first : commit->next_table, entry;

	for (; i <= last && i < commit->l1_entries; i++) {
		if (qcow2_table_entry(commit->table, i, &entry, err))
			return -1;
		if (commit->keeps || qcow2_l1_entry_decode(entry).offset == 0)
			commit->new_clusters++;
	}
	if (i <= last) {
		commit->new_clusters += last - i + 1;
		i = last + 1;
	}
	commit->next_table = i;
	return 0;
}

/* Counts how many of the clusters [first, last] have a place of their own in the base. */
static int count_placed(struct commit *commit, uint64_t first, uint64_t last, uint64_t *placed,
			struct qcow2_error *err)
{
	const unsigned bits = commit->disk.cluster_bits;
	struct qcow2_measure_tally tally = {
		.size = sizeof(tally), .cluster_bits = bits, .l2_bits = commit->disk.l2_bits};
	const struct qcow2_mapping_extent *extent;
	int more;

	qcow2_mapping_seek(commit->mapping, (struct qcow2_guest){first << bits},
			   (last - first + 1) << bits);
	while ((more = qcow2_mapping_next(commit->mapping, &extent, err)) > 0)
		if (extent->host.byte != QCOW2_NO_OFFSET && extent->kind != QCOW2_L2_COMPRESSED)
			qcow2_measure_tally_add(&tally, extent->start.byte, extent->length_bytes);
	*placed = tally.data_clusters;
	return more;
}

static int count_data(struct commit *commit, uint64_t first, uint64_t last, struct qcow2_error *err)
{
	uint64_t placed = 0;

	if (first < commit->next_cluster)
		first = commit->next_cluster;
	if (last < first || qcow2_image_geometry(commit->base)->data_file)
		return 0;
	if (!commit->keeps && count_placed(commit, first, last, &placed, err))
		return -1;
	commit->new_clusters += last - first + 1 - placed;
	commit->next_cluster = last + 1;
	return 0;
}

/* Counts the L2 tables of the pieces [first, end), and their data unless it is zero. */
static int add_pieces(struct commit *commit, uint64_t first, uint64_t end, bool zero,
		      struct qcow2_error *err)
{
	const unsigned more = commit->piece_bits - commit->disk.cluster_bits;
	uint64_t first_cluster, last_cluster;

	if (first >= end)
		return 0;
	first_cluster = first << more;
	last_cluster = (end << more) - 1;
	/* No cluster is behind the disk. */
	if (last_cluster >= commit->disk.clusters)
		last_cluster = commit->disk.clusters - 1;
	if (count_tables(commit, first_cluster >> commit->disk.l2_bits,
			 last_cluster >> commit->disk.l2_bits, err))
		return -1;
	return zero ? 0 : count_data(commit, first_cluster, last_cluster, err);
}

/* Pieces that are zero in part are copied. */
static int add_zeros(struct commit *commit, uint64_t start, uint64_t end, struct qcow2_error *err)
{
	const unsigned bits = commit->piece_bits;
	const uint64_t outer = start >> bits, outer_end = q2_div_ceil_u64(end, UINT64_C(1) << bits);
	const uint64_t inner = q2_div_ceil_u64(start, UINT64_C(1) << bits), inner_end = end >> bits;

	if (commit->copies_zeros || inner >= inner_end)
		return add_pieces(commit, outer, outer_end, false, err);
	if (add_pieces(commit, outer, inner, false, err) ||
	    add_pieces(commit, inner, inner_end, true, err))
		return -1;
	return add_pieces(commit, inner_end, outer_end, false, err);
}

static int add_overlay(struct commit *commit, struct qcow2_error *err)
{
	const struct qcow2_mapping_extent *extent;
	uint64_t start, end;
	int more, failed = 0;

	while (!failed && (more = qcow2_mapping_next(commit->overlay, &extent, err)) > 0) {
		start = extent->start.byte;
		end = start + extent->length_bytes;
		if (extent->kind == QCOW2_L2_UNALLOCATED)
			continue;
		if (extent->kind == QCOW2_L2_ZERO || extent->kind == QCOW2_L2_ZERO_ALLOCATED)
			failed = add_zeros(commit, start, end, err);
		else
			failed = add_pieces(commit, start >> commit->piece_bits,
					    q2_div_ceil_u64(end, UINT64_C(1) << commit->piece_bits),
					    false, err);
	}
	return failed ? failed : more;
}

/* ---- the sum ---- */

/* Counts the refcount blocks that the first `blocks` entries of the table lead to. */
static int count_blocks(const struct commit *commit, uint64_t blocks, uint64_t *table_entries,
			uint64_t *found, struct qcow2_error *err)
{
	const struct qcow2_header *header = qcow2_image_header(commit->base);
	uint64_t most = (uint64_t)header->refcount_table_clusters
			<< (commit->disk.cluster_bits - 3);
	uint64_t entry;

	*found = 0;
	*table_entries = most;
	if (most > QCOW2_LIMIT_QEMU_REFCOUNT_TABLE_BYTES / 8)
		return q2_fail(err, QCOW2_ERROR_LIMIT, header->refcount_table_offset,
			       "the refcount table of the base is larger than QEMU's limit");
	most = qcow2_table_begin(commit->table, header->refcount_table_offset, most);
	for (uint64_t i = 0; i < most && i < blocks; i++) {
		if (qcow2_table_entry(commit->table, i, &entry, err))
			return -1;
		*found += qcow2_refcount_table_entry_decode(entry).offset != 0;
	}
	return 0;
}

/* Adds what refcounts of so many clusters take beyond what the base has. */
static int add_refcounts(const struct commit *commit, uint64_t *clusters, struct qcow2_error *err)
{
	const uint64_t in_block =
		(UINT64_C(8) << commit->disk.cluster_bits) / commit->disk.refcount_bits;
	const uint64_t all = q2_measure_refcounts(&commit->disk, *clusters, false);
	const uint64_t blocks = q2_div_ceil_u64(*clusters + all, in_block);
	uint64_t table_entries, found;

	if (count_blocks(commit, blocks, &table_entries, &found, err))
		return -1;
	if (blocks <= table_entries) {
		*clusters += blocks - found;
		return 0;
	}
	/* QEMU makes a new table, in front of which it leaves a gap of up to a block's clusters. */
	*clusters += in_block;
	*clusters += q2_measure_refcounts(&commit->disk, *clusters, true);
	return 0;
}

static int sum_up(struct commit *commit, uint64_t end_bytes, uint64_t *out_bytes,
		  struct qcow2_error *err)
{
	const struct q2_measure_disk *disk = &commit->disk;
	uint64_t clusters = q2_div_ceil_u64(end_bytes, UINT64_C(1) << disk->cluster_bits) +
			    commit->new_clusters + (commit->bitmaps_bytes >> disk->cluster_bits);

	/* A longer disk needs a longer L1 table. */
	if (disk->l2_tables > qcow2_image_header(commit->base)->l1_size)
		clusters += disk->l1_clusters;
	*out_bytes = q2_measure_file(disk, clusters);
	if (*out_bytes == QCOW2_MEASURE_TOO_LARGE)
		return 0;
	if (add_refcounts(commit, &clusters, err))
		return -1;
	*out_bytes = clusters << disk->cluster_bits;
	return 0;
}

int qcow2_measure_commit(const struct qcow2_image *base, const struct qcow2_image *overlay,
			 uint64_t end_bytes, uint64_t *out_bytes, struct qcow2_error *err)
{
	struct commit commit = {.base = base};
	const struct qcow2_geometry *geometry = qcow2_image_geometry(base);
	uint64_t base_bytes, overlay_bytes;
	int failed = open_all(&commit, overlay, err);

	if (!failed) {
		/* At the end all bitmaps are stored anew, and only then the old ones are freed. */
		base_bytes = geometry->virtual_size_bytes;
		overlay_bytes = qcow2_mapping_size_bytes(commit.overlay);
		failed = q2_measure_bitmaps(base,
					    base_bytes > overlay_bytes ? base_bytes : overlay_bytes,
					    geometry->cluster_bits, &commit.bitmaps_bytes, err);
	}
	if (!failed)
		failed = add_overlay(&commit, err);
	if (!failed)
		failed = sum_up(&commit, end_bytes, out_bytes, err);
	qcow2_mapping_close(commit.overlay);
	qcow2_mapping_close(commit.mapping);
	qcow2_table_close(commit.table);
	return failed;
}
