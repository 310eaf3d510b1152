/* SPDX-License-Identifier: MIT */
/* What copies of bitmaps take, as QEMU counts it. */
#include "base/checked.h"
#include "base/error.h"
#include "measure/target.h"

#include <qcow2/bitmap_directory.h>
#include <qcow2/features.h>

/* Adds one bitmap: all its data, its table, and its entry in the directory. True on overflow. */
static bool add(const struct qcow2_bitmap *bitmap, uint64_t disk_bytes, unsigned cluster_bits,
		uint64_t sums[2])
{
	const uint64_t cluster_bytes = UINT64_C(1) << cluster_bits;
	const uint64_t disk = disk_bytes / 512 * 512;
	const unsigned granularity_bits = bitmap->entry.granularity_bits;
	uint64_t bits, clusters, table, entry;

	if (granularity_bits > QCOW2_LIMIT_BITMAP_GRANULARITY_BITS_MAX)
		return false;
	bits = q2_div_ceil_u64(disk, UINT64_C(1) << granularity_bits);
	clusters = q2_div_ceil_u64(q2_div_ceil_u64(bits, 8), cluster_bytes);
	table = q2_div_ceil_u64(clusters * 8, cluster_bytes);
	entry = (24 + (uint64_t)bitmap->entry.name_size + 7) & ~UINT64_C(7);
	return q2_add_u64(sums[0], (clusters + table) << cluster_bits, &sums[0]) ||
	       q2_add_u64(sums[1], entry, &sums[1]);
}

int q2_measure_bitmaps(const struct qcow2_image *image, uint64_t disk_bytes, unsigned cluster_bits,
		       uint64_t *out_bytes, struct qcow2_error *err)
{
	struct qcow2_error ours;
	struct qcow2_error *const why = err ? err : &ours;
	const struct qcow2_bitmap *bitmap;
	struct qcow2_bitmaps *bitmaps;
	uint64_t sums[2] = {0, 0}, directory;
	int more;

	*out_bytes = 0;
	if (!(qcow2_image_header(image)->autoclear_features & QCOW2_AUTOCLEAR_BITMAPS))
		return 0;
	if (qcow2_bitmaps_open(image, &bitmaps, why))
		return why->code == QCOW2_ERROR_NOT_FOUND ? 0 : -1;
	while ((more = qcow2_bitmaps_next(bitmaps, &bitmap, why)) > 0) {
		if (add(bitmap, disk_bytes, cluster_bits, sums)) {
			more = q2_fail(why, QCOW2_ERROR_LIMIT, QCOW2_NO_OFFSET,
				       "the bitmaps are larger than any file can be");
			break;
		}
	}
	qcow2_bitmaps_close(bitmaps);
	if (more == 0 && (q2_round_up_u64(sums[1], UINT64_C(1) << cluster_bits, &directory) ||
			  q2_add_u64(sums[0], directory, out_bytes)))
		more = q2_fail(why, QCOW2_ERROR_LIMIT, QCOW2_NO_OFFSET,
			       "the bitmaps are larger than any file can be");
	return more;
}

int qcow2_measure_bitmaps(const struct qcow2_image *image, unsigned cluster_bits,
			  uint64_t *out_bytes, struct qcow2_error *err)
{
	const struct qcow2_geometry *geometry = qcow2_image_geometry(image);

	if (cluster_bits < QCOW2_LIMIT_CLUSTER_BITS_MIN ||
	    cluster_bits > QCOW2_LIMIT_CLUSTER_BITS_MAX)
		return q2_fail(err, QCOW2_ERROR_ARGUMENT, QCOW2_NO_OFFSET,
			       "clusters have 9 to 30 bits");
	return q2_measure_bitmaps(image, geometry ? geometry->virtual_size_bytes : 0, cluster_bits,
				  out_bytes, err);
}
