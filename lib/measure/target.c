/* SPDX-License-Identifier: MIT */
/* See target.h. */
#include "measure/target.h"

#include "base/checked.h"
#include "base/error.h"
#include "base/sized.h"

/* No file is larger, and sums of a few of such numbers do not overflow. */
#define MOST_BYTES (UINT64_C(1) << 61)

static int judge(const struct qcow2_measure_target *target, struct qcow2_error *err)
{
	const char *wrong = NULL;

	if (target->version != 2 && target->version != 3)
		wrong = "the version is 2 or 3";
	else if (target->cluster_bits < QCOW2_LIMIT_CLUSTER_BITS_MIN ||
		 target->cluster_bits > QCOW2_LIMIT_QEMU_CLUSTER_BITS)
		wrong = "the cluster size is a power of two, 512 to 2M";
	else if (!q2_is_power_of_two(target->refcount_bits) || target->refcount_bits > 64)
		wrong = "the refcount width is a power of two, 1 to 64 bits";
	else if (target->version == 2 && target->refcount_bits != 16)
		wrong = "version 2 (compat=0.10) has refcounts of 16 bits";
	else if (target->extended_l2 &&
		 target->cluster_bits < QCOW2_LIMIT_EXTENDED_L2_CLUSTER_BITS_MIN)
		wrong = "extended L2 entries need clusters of at least 16k";
	else if (target->luks_bytes > UINT64_C(1) << 40)
		wrong = "the encryption header is larger than 1T";
	return wrong ? q2_fail(err, QCOW2_ERROR_ARGUMENT, QCOW2_NO_OFFSET, "%s", wrong) : 0;
}

int q2_measure_take(struct qcow2_measure_target *mine, const struct qcow2_measure_target *theirs,
		    struct qcow2_error *err)
{
	if (q2_sized_take(mine, sizeof(*mine), theirs, err))
		return -1;
	mine->version = mine->version ? mine->version : 3;
	mine->cluster_bits = mine->cluster_bits ? mine->cluster_bits : 16;
	mine->refcount_bits = mine->refcount_bits ? mine->refcount_bits : 16;
	return judge(mine, err);
}

void q2_measure_disk(struct q2_measure_disk *disk, uint64_t size_bytes)
{
	const uint64_t cluster_bytes = UINT64_C(1) << disk->cluster_bits;

	disk->clusters = q2_div_ceil_u64(size_bytes, cluster_bytes);
	disk->l2_tables = q2_div_ceil_u64(disk->clusters, UINT64_C(1) << disk->l2_bits);
	disk->l1_clusters = q2_div_ceil_u64(disk->l2_tables * 8, cluster_bytes);
}

void q2_measure_disk_of(const struct qcow2_image *image, struct q2_measure_disk *disk)
{
	const struct qcow2_geometry *geometry = qcow2_image_geometry(image);

	disk->cluster_bits = geometry->cluster_bits;
	disk->l2_bits = geometry->cluster_bits - (geometry->extended_l2 ? 4 : 3);
	disk->refcount_bits = geometry->refcount_bits;
	q2_measure_disk(disk, geometry->virtual_size_bytes);
}

/*
 * The structure counts itself, so the number is found step by step. Each step adds at most a 60th of
 * what the one before has added: with refcounts of 64 bits, a block of 512 bytes counts 64 clusters.
 */
uint64_t q2_measure_refcounts(const struct q2_measure_disk *disk, uint64_t clusters, bool generous)
{
	const uint64_t cluster_bytes = UINT64_C(1) << disk->cluster_bits;
	const uint64_t in_block = cluster_bytes * 8 / disk->refcount_bits;
	uint64_t blocks = 0, table = 0, before;

	do {
		before = blocks + table;
		blocks = q2_div_ceil_u64(clusters + before, in_block);
		table = q2_div_ceil_u64(blocks, cluster_bytes / 8);
		if (blocks + table == before && generous) {
			clusters += q2_div_ceil_u64(table, 2);
			before = UINT64_MAX;
			generous = false;
		}
	} while (blocks + table != before);
	return blocks + table;
}

uint64_t q2_measure_counted(const struct q2_measure_disk *disk, uint64_t clusters, uint64_t counted)
{
	if (clusters > MOST_BYTES >> disk->cluster_bits)
		return QCOW2_MEASURE_TOO_LARGE;
	return (clusters + q2_measure_refcounts(disk, counted, false)) << disk->cluster_bits;
}

uint64_t q2_measure_file(const struct q2_measure_disk *disk, uint64_t clusters)
{
	return q2_measure_counted(disk, clusters, clusters);
}
