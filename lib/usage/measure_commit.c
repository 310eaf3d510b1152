/* SPDX-License-Identifier: MIT */
/*
 * What a base grows to that takes in the data of an overlay. The job of QEMU copies pieces of 4 KiB
 * to 64 KiB, the clusters of the base within these bounds; a piece is copied whole.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/error.h"
#include "usage/measure_target.h"

#include <qcow2/entry.h>
#include <qcow2/table.h>

#define PIECE_BITS_MIN 12

struct qcow2_measure_commit {
	const struct qcow2_image *base;
	struct q2_disk disk; /* the base, as large as it will be */
	uint64_t size_bytes; /* of the overlay's disk */
	uint64_t bitmaps_bytes;
	unsigned piece_bits;
	bool keeps;         /* snapshots keep what is overwritten */
	bool without_zeros; /* zeros take clusters in version 2 */
	struct qcow2_mapping *mapping;
	struct qcow2_table *l1;
	uint64_t l1_entries;   /* that the file has */
	uint64_t next_cluster; /* those before it are counted */
	uint64_t next_table;
	uint64_t new_clusters; /* of data and L2 tables */
};

/* ---- opening ---- */

static int judge(const struct qcow2_header *header, struct qcow2_error *err)
{
	if (header->l1_size > QCOW2_LIMIT_QEMU_L1_ENTRIES)
		return q2_fail(err, QCOW2_ERROR_LIMIT, header->l1_table_offset,
			       "the L1 table has %" PRIu32
			       " entries, and QEMU opens at most %" PRIu64,
			       header->l1_size, (uint64_t)QCOW2_LIMIT_QEMU_L1_ENTRIES);
	return 0;
}

static int open_tables(struct qcow2_measure_commit *commit, struct qcow2_error *err)
{
	const struct qcow2_header *header = qcow2_image_header(commit->base);

	if (qcow2_mapping_open(commit->base, &commit->mapping, err) || judge(header, err) ||
	    qcow2_table_open(commit->base, &commit->l1, err))
		return -1;
	commit->l1_entries =
		qcow2_table_begin(commit->l1, header->l1_table_offset, header->l1_size);
	return 0;
}

static void shape(struct qcow2_measure_commit *commit, const struct qcow2_geometry *geometry)
{
	const struct qcow2_header *header = qcow2_image_header(commit->base);
	const uint64_t size = geometry->virtual_size_bytes;

	q2_measure_disk_of(commit->base, &commit->disk);
	if (commit->size_bytes > size)
		q2_measure_disk(&commit->disk, commit->size_bytes);
	commit->piece_bits =
		geometry->cluster_bits > PIECE_BITS_MIN ? geometry->cluster_bits : PIECE_BITS_MIN;
	commit->keeps = header->nb_snapshots > 0;
	commit->without_zeros = header->version < 3;
}

int qcow2_measure_commit_open(const struct qcow2_image *base, uint64_t size_bytes,
			      struct qcow2_measure_commit **out, struct qcow2_error *err)
{
	const struct qcow2_geometry *geometry = qcow2_image_geometry(base);
	struct qcow2_measure_commit *commit = q2_alloc(sizeof(*commit));
	uint64_t disk_bytes;

	if (!commit)
		return q2_fail_memory(err);
	commit->base = base;
	commit->size_bytes = size_bytes;
	if (open_tables(commit, err)) /* fails without geometry */
		goto fail;
	shape(commit, geometry);
	disk_bytes = geometry->virtual_size_bytes;
	if (q2_measure_bitmaps(base, disk_bytes > size_bytes ? disk_bytes : size_bytes,
			       geometry->cluster_bits, &commit->bitmaps_bytes, err))
		goto fail;
	*out = commit;
	return 0;
fail:
	qcow2_measure_commit_close(commit);
	return -1;
}

/* ---- ranges ---- */

/*
 * Counts the L2 tables [next, last] that the base does not have, or shares with snapshots. The loop
 * ends with the L1 table, whatever the range.
 */
static int count_tables(struct qcow2_measure_commit *commit, uint64_t first, uint64_t last,
			struct qcow2_error *err)
{
	uint64_t i = first > commit->next_table ? first : commit->next_table, entry;

	for (; i <= last && i < commit->l1_entries; i++) {
		if (qcow2_table_entry(commit->l1, i, &entry, err))
			return -1;
		if (commit->keeps || qcow2_l1_entry_decode(entry).offset == 0)
			commit->new_clusters++;
	}
	if (i <= last) {
		commit->new_clusters += last - i + 1;
		i = last + 1;
	}
	commit->next_table = i > commit->next_table ? i : commit->next_table;
	return 0;
}

/* Counts how many of the clusters [first, last] have a place of their own in the base. */
static int count_placed(struct qcow2_measure_commit *commit, uint64_t first, uint64_t last,
			uint64_t *placed, struct qcow2_error *err)
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

static int count_data(struct qcow2_measure_commit *commit, uint64_t first, uint64_t last,
		      struct qcow2_error *err)
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

int qcow2_measure_commit_add(struct qcow2_measure_commit *commit, uint64_t start_bytes,
			     uint64_t length_bytes, bool zero, struct qcow2_error *err)
{
	const unsigned bits = commit->disk.cluster_bits;
	uint64_t first, last;

	if (!q2_range_fits(start_bytes, length_bytes, commit->size_bytes))
		return q2_fail(err, QCOW2_ERROR_ARGUMENT, start_bytes,
			       "the range passes the end of the disk");
	if (length_bytes == 0)
		return 0;
	/* Out to whole pieces. None of the clusters lies behind the disk. */
	first = start_bytes >> commit->piece_bits << (commit->piece_bits - bits);
	last = (start_bytes + length_bytes - 1) >> commit->piece_bits;
	last = ((last + 1) << (commit->piece_bits - bits)) - 1;
	if (last >= commit->disk.clusters)
		last = commit->disk.clusters - 1;
	if (count_tables(commit, first >> commit->disk.l2_bits, last >> commit->disk.l2_bits, err))
		return -1;
	return zero && !commit->without_zeros ? 0 : count_data(commit, first, last, err);
}

/* ---- the sum ---- */

/* Counts the refcount blocks that the first `blocks` entries of the table lead to. */
static int count_blocks(const struct qcow2_measure_commit *commit, uint64_t blocks,
			uint64_t *table_entries, uint64_t *found, struct qcow2_error *err)
{
	const struct qcow2_header *header = qcow2_image_header(commit->base);
	uint64_t most = (uint64_t)header->refcount_table_clusters
			<< (commit->disk.cluster_bits - 3);
	uint64_t entry;

	*found = *table_entries = 0;
	if (most > QCOW2_LIMIT_QEMU_REFCOUNT_TABLE_BYTES / 8)
		return q2_fail(err, QCOW2_ERROR_LIMIT, header->refcount_table_offset,
			       "the refcount table is larger than QEMU's limit");
	*table_entries = most;
	most = qcow2_table_begin(commit->l1, header->refcount_table_offset, most);
	for (uint64_t i = 0; i < most && i < blocks; i++) {
		if (qcow2_table_entry(commit->l1, i, &entry, err))
			return -1;
		*found += qcow2_refcount_table_entry_decode(entry).offset != 0;
	}
	return 0;
}

/* Adds what refcounts of so many clusters take beyond what the base has. */
static int add_refcounts(const struct qcow2_measure_commit *commit, uint64_t *clusters,
			 struct qcow2_error *err)
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

int qcow2_measure_commit_end(struct qcow2_measure_commit *commit, uint64_t end_bytes,
			     uint64_t *out_bytes, struct qcow2_error *err)
{
	const struct q2_disk *disk = &commit->disk;
	const uint64_t cluster_bytes = UINT64_C(1) << disk->cluster_bits;
	uint64_t clusters = q2_div_ceil_u64(end_bytes, cluster_bytes) + commit->new_clusters +
			    (commit->bitmaps_bytes >> disk->cluster_bits);

	if (disk->l2_tables > qcow2_image_header(commit->base)->l1_size)
		clusters += disk->l1_clusters;
	*out_bytes = QCOW2_MEASURE_TOO_LARGE;
	if (q2_measure_file(disk, clusters) == QCOW2_MEASURE_TOO_LARGE)
		return 0;
	if (add_refcounts(commit, &clusters, err))
		return -1;
	*out_bytes = clusters << disk->cluster_bits;
	return 0;
}

void qcow2_measure_commit_close(struct qcow2_measure_commit *commit)
{
	if (!commit)
		return;
	qcow2_mapping_close(commit->mapping);
	qcow2_table_close(commit->l1);
	q2_free(commit);
}
