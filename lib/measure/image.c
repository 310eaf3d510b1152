/* SPDX-License-Identifier: MIT */
/*
 * How small the file of an image could be, and how large it can grow. What is kept as it is comes
 * from the usage of the file; what would be written anew comes from the mapping of the disk.
 */
#include "base/alloc.h"
#include "base/checked.h"
#include "base/error.h"
#include "base/sized.h"
#include "measure/target.h"
#include "usage/freed.h"
#include "usage/survey.h"

/* ---- what is kept as it is ---- */

static uint64_t clusters_of(const struct qcow2_usage *usage, enum qcow2_usage_kind kind,
			    unsigned cluster_bits)
{
	return q2_div_ceil_u64(qcow2_usage_total_of(usage, kind)->bytes, UINT64_C(1)
										 << cluster_bits);
}

/* All clusters in use but for refcounts: the last one of the file may be cut. */
static uint64_t used_clusters(const struct qcow2_usage *usage, unsigned cluster_bits)
{
	uint64_t bytes = 0;

	for (int kind = 0; kind < QCOW2_USAGE_LEAKED; kind++)
		if (kind != QCOW2_USAGE_REFCOUNT_TABLE && kind != QCOW2_USAGE_REFCOUNT_BLOCK)
			bytes += qcow2_usage_total_of(usage, (enum qcow2_usage_kind)kind)->bytes;
	return q2_div_ceil_u64(bytes, UINT64_C(1) << cluster_bits);
}

static bool is_snapshot(const struct qcow2_usage *usage, uint64_t number)
{
	return qcow2_usage_user_at(usage, number)->part_of == QCOW2_PART_OF_SNAPSHOT;
}

/* Who stays with the active disk: all snapshots, all bitmaps, or both. */
struct keep {
	bool snapshots, bitmaps;
};

/* The clusters that stay if others go, which frees some. */
static uint64_t count_kept(const struct qcow2_usage *usage, unsigned cluster_bits,
			   const struct keep *keep, uint64_t freed)
{
	uint64_t clusters = used_clusters(usage, cluster_bits) - freed;

	if (!keep->snapshots)
		clusters -= clusters_of(usage, QCOW2_USAGE_SNAPSHOT_TABLE, cluster_bits);
	if (!keep->bitmaps)
		clusters -= clusters_of(usage, QCOW2_USAGE_BITMAP_DIRECTORY, cluster_bits);
	return clusters;
}

static int measure_keep(const struct qcow2_usage *usage, const struct q2_measure_disk *disk,
			const struct keep *keep, uint64_t *bytes, struct qcow2_error *err)
{
	const uint64_t count = qcow2_usage_user_count(usage);
	uint64_t *gone = q2_alloc_array((size_t)count, sizeof(*gone)), freed;
	size_t gone_count = 0;
	int failed;

	if (!gone)
		return q2_fail_memory(err);
	for (uint64_t i = 1; i < count; i++)
		if (!(is_snapshot(usage, i) ? keep->snapshots : keep->bitmaps))
			gone[gone_count++] = i;
	failed = qcow2_usage_freed_bytes(usage, gone, gone_count, &freed, err);
	q2_free(gone);
	if (!failed)
		*bytes = q2_measure_file(disk, count_kept(usage, disk->cluster_bits, keep,
							  freed >> disk->cluster_bits));
	return failed;
}

/* ---- growing ---- */

static int fail_as(struct qcow2_error *err, const struct qcow2_error *why)
{
	if (err)
		*err = *why;
	return -1;
}

/* Never below zero: in a broken image, any of them may be larger. */
static uint64_t less(uint64_t clusters, uint64_t others)
{
	return clusters > others ? clusters - others : 0;
}

/*
 * Gives the clusters that the file must gain until every cluster of the disk is written. Only data and
 * L2 tables that nobody else refers to are written in place; a compressed cluster never is.
 */
static uint64_t count_gain(const struct qcow2_image *image, const struct qcow2_usage *usage,
			   const struct q2_measure_disk *disk)
{
	const unsigned bits = disk->cluster_bits;
	const struct qcow2_usage_user *active = qcow2_usage_user_at(usage, 0);
	const uint64_t l1_bytes = (uint64_t)qcow2_image_header(image)->l1_size * 8;
	const uint64_t l1 = q2_div_ceil_u64(l1_bytes, UINT64_C(1) << bits);
	const uint64_t data = clusters_of(usage, QCOW2_USAGE_DATA, bits);
	const uint64_t packed = clusters_of(usage, QCOW2_USAGE_COMPRESSED, bits);
	const uint64_t l2 = less(active->exclusive_bytes >> bits, data + packed + l1);
	uint64_t gain = less(disk->l1_clusters, l1) + less(disk->l2_tables, l2);

	if (!qcow2_image_geometry(image)->data_file)
		gain += less(disk->clusters, data);
	return gain;
}

/*
 * The file as it is and what a full disk adds to it. Clusters that are free now do not count as used
 * again: QEMU looks for as many clusters in a row as a write needs, and passes those that are too few.
 */
static int measure_largest(const struct qcow2_image *image, const struct qcow2_usage *usage,
			   const struct q2_measure_disk *disk, uint64_t *bytes,
			   struct qcow2_error *err)
{
	const struct qcow2_geometry *geometry = qcow2_image_geometry(image);
	const unsigned bits = disk->cluster_bits;
	struct qcow2_error why;
	uint64_t clusters, refcounts, bitmaps;

	/* A directory that cannot be found has no bitmaps that could grow. */
	if (q2_measure_bitmaps(image, geometry->virtual_size_bytes, bits, &bitmaps, &why)) {
		if (why.code != QCOW2_ERROR_BROKEN)
			return fail_as(err, &why);
		bitmaps = 0;
	}
	refcounts = clusters_of(usage, QCOW2_USAGE_REFCOUNT_TABLE, bits) +
		    clusters_of(usage, QCOW2_USAGE_REFCOUNT_BLOCK, bits);
	/* QEMU writes bitmaps anew before it frees what they had. */
	clusters = less(qcow2_usage_end_bytes(usage) >> bits, refcounts) +
		   count_gain(image, usage, disk) + (bitmaps >> bits);
	*bytes = q2_measure_file(disk, clusters);
	/* The refcount structure that it has may be larger than need be. */
	if (*bytes != QCOW2_MEASURE_TOO_LARGE && *bytes < (clusters + refcounts) << bits)
		*bytes = (clusters + refcounts) << bits;
	return 0;
}

/*
 * What the overlay's clusters and L2 tables come to in the base, with blocks for their refcounts, of
 * which the first counts other clusters as well.
 */
static uint64_t measure_growth(const struct qcow2_image *image, const struct q2_measure_disk *disk,
			       const struct q2_survey *survey)
{
	const bool zeros = qcow2_image_header(image)->version < 3;
	const struct qcow2_measure_tally *all = zeros ? &survey->said : &survey->data;
	const uint64_t clusters = all->data_clusters + survey->said.l2_tables;

	if (qcow2_image_backing_name(image).size == 0 || clusters == 0)
		return 0;
	if (q2_measure_file(disk, clusters) == QCOW2_MEASURE_TOO_LARGE)
		return QCOW2_MEASURE_TOO_LARGE;
	return (clusters + q2_measure_refcounts(disk, clusters, true) + 1) << disk->cluster_bits;
}

/* ---- all ---- */

static void measure_disk(const struct qcow2_image *image, const struct qcow2_usage *usage,
			 const struct q2_measure_disk *disk, const struct q2_survey *survey,
			 struct qcow2_measure_image *out)
{
	const bool elsewhere = qcow2_image_geometry(image)->data_file;
	const uint64_t luks = clusters_of(usage, QCOW2_USAGE_CRYPTO, disk->cluster_bits);
	const uint64_t tables = 1 + disk->l1_clusters + luks + survey->data.l2_tables;
	const uint64_t packed =
		q2_div_ceil_u64(survey->compressed_bytes, UINT64_C(1) << disk->cluster_bits);

	out->smallest_bytes =
		q2_measure_file(disk, tables + (elsewhere ? 0 : survey->data.data_clusters));
	out->smallest_compressed_bytes = q2_measure_file(
		disk, tables + packed + (elsewhere ? 0 : survey->plain.data_clusters));
	out->fully_allocated_bytes = q2_measure_file(
		disk, q2_measure_full_tables(disk) + luks + (elsewhere ? 0 : disk->clusters));
	out->commit_growth_bytes = measure_growth(image, disk, survey);
	out->has_compressed = survey->compressed_bytes > 0;
}

static int measure_with_usage(const struct qcow2_image *image, const struct qcow2_usage *usage,
			      struct qcow2_measure_image *out, struct qcow2_error *err)
{
	static const struct keep snapshots = {.snapshots = true};
	static const struct keep bitmaps = {.bitmaps = true};
	static const struct keep both = {.snapshots = true, .bitmaps = true};
	struct q2_measure_disk disk;
	struct q2_survey survey;

	q2_measure_disk_of(image, &disk);
	if (q2_usage_survey(usage, &survey, err) ||
	    measure_keep(usage, &disk, &snapshots, &out->with_snapshots_bytes, err) ||
	    measure_keep(usage, &disk, &bitmaps, &out->with_bitmaps_bytes, err) ||
	    measure_keep(usage, &disk, &both, &out->with_all_bytes, err) ||
	    measure_largest(image, usage, &disk, &out->largest_bytes, err))
		return -1;
	measure_disk(image, usage, &disk, &survey, out);
	for (uint64_t i = 1; i < qcow2_usage_user_count(usage); i++)
		*(is_snapshot(usage, i) ? &out->has_snapshots : &out->has_bitmaps) = true;
	return 0;
}

/* Whether the usage knows its users, which tell what is kept. */
static int judge_usage(const struct qcow2_usage *usage, struct qcow2_error *err)
{
	if (usage && qcow2_usage_user_count(usage) == 0)
		return q2_fail(err, QCOW2_ERROR_ARGUMENT, QCOW2_NO_OFFSET,
			       "the usage was opened without its users");
	return 0;
}

int qcow2_measure_file(const struct qcow2_image *image, const struct qcow2_usage *usage,
		       struct qcow2_measure_image *out, struct qcow2_error *err)
{
	struct qcow2_usage_options options = {.size = sizeof(options), .users = true};
	struct qcow2_measure_image mine = {.size = sizeof(mine)};
	struct qcow2_usage *opened = NULL;
	int failed;

	if (q2_sized_check(out, err) || judge_usage(usage, err) ||
	    (!usage && qcow2_usage_open(image, &options, &opened, err)))
		return -1;
	failed = measure_with_usage(image, usage ? usage : opened, &mine, err);
	qcow2_usage_close(opened);
	if (!failed)
		q2_sized_give(out, &mine, sizeof(mine));
	return failed;
}

int qcow2_measure_kept(const struct qcow2_image *image, const struct qcow2_usage *usage,
		       uint64_t user, uint64_t *out_bytes, struct qcow2_error *err)
{
	struct keep keep = {.snapshots = false};
	struct q2_measure_disk disk;

	if (user >= qcow2_usage_user_count(usage))
		return q2_fail(err, QCOW2_ERROR_ARGUMENT, QCOW2_NO_OFFSET, "there is no such user");
	if (user > 0)
		*(is_snapshot(usage, user) ? &keep.snapshots : &keep.bitmaps) = true;
	q2_measure_disk_of(image, &disk);
	*out_bytes = q2_measure_file(&disk, count_kept(usage, disk.cluster_bits, &keep,
						       q2_usage_freed_but(usage, user)));
	return 0;
}
