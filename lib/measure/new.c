/* SPDX-License-Identifier: MIT */
/* The size of a new image: the arithmetic of QEMU, and the smallest file. */
#include <inttypes.h>

#include "base/checked.h"
#include "base/error.h"
#include "base/sized.h"
#include "measure/target.h"

#define SECTOR_BYTES UINT64_C(512)

/* ---- the tally ---- */

static void begin(struct qcow2_measure_tally *tally, const struct qcow2_measure_target *target)
{
	const struct qcow2_measure_tally empty = {
		.size = sizeof(empty),
		.cluster_bits = target->cluster_bits,
		.l2_bits = target->cluster_bits - (target->extended_l2 ? 4 : 3),
	};

	q2_sized_give(tally, &empty, sizeof(empty));
}

int qcow2_measure_tally_begin(struct qcow2_measure_tally *tally,
			      const struct qcow2_measure_target *target, struct qcow2_error *err)
{
	struct qcow2_measure_target mine;

	if (q2_sized_check(tally, err) || q2_measure_take(&mine, target, err))
		return -1;
	begin(tally, &mine);
	return 0;
}

/* ---- sizes ---- */

/* The data clusters and the L2 tables for them, of a tally that ends where the disk does. */
static uint64_t clusters_of(const struct qcow2_measure_target *target,
			    const struct q2_measure_disk *disk,
			    const struct qcow2_measure_tally *tally, uint64_t *tables)
{
	if (target->every_cluster) {
		*tables = disk->l2_tables;
		return disk->clusters;
	}
	*tables = tally ? tally->l2_tables : 0;
	return tally ? tally->data_clusters : 0;
}

/* Whether a tally was begun for such a target and counts no cluster behind the disk. */
static bool fits(const struct qcow2_measure_tally *tally, const struct q2_measure_disk *disk)
{
	return tally->cluster_bits == disk->cluster_bits && tally->l2_bits == disk->l2_bits &&
	       tally->next_cluster <= disk->clusters;
}

int qcow2_measure_new(const struct qcow2_measure_target *target, uint64_t size_bytes,
		      const struct qcow2_measure_tally *tally, struct qcow2_measure_size *out,
		      struct qcow2_error *err)
{
	struct qcow2_measure_size mine = {.size = sizeof(mine)};
	struct qcow2_measure_target wanted;
	struct q2_measure_disk disk = {0};
	uint64_t data, tables, luks, full;

	if (q2_sized_check(out, err) || q2_measure_take(&wanted, target, err))
		return -1;
	disk.cluster_bits = wanted.cluster_bits;
	disk.l2_bits = wanted.cluster_bits - (wanted.extended_l2 ? 4 : 3);
	disk.refcount_bits = wanted.refcount_bits;
	q2_measure_disk(&disk, size_bytes);
	if (disk.l2_tables > QCOW2_LIMIT_QEMU_L1_ENTRIES)
		return q2_fail(err, QCOW2_ERROR_LIMIT, QCOW2_NO_OFFSET,
			       "a disk of %" PRIu64
			       " bytes is too large for clusters of %u bytes: its L1 table would "
			       "pass QEMU's limit; try a larger cluster size",
			       size_bytes, 1U << wanted.cluster_bits);
	if (tally && !fits(tally, &disk))
		return q2_fail(err, QCOW2_ERROR_ARGUMENT, QCOW2_NO_OFFSET,
			       "the tally is of another target, or passes the end of the disk");
	data = clusters_of(&wanted, &disk, tally, &tables);
	luks = q2_div_ceil_u64(wanted.luks_bytes, UINT64_C(1) << wanted.cluster_bits);
	full = q2_measure_full_tables(&disk) + disk.clusters;
	/* QEMU counts no refcounts for the encryption header: its numbers are kept. */
	mine.fully_allocated_bytes = q2_measure_counted(&disk, luks + full, full);
	mine.required_bytes = q2_measure_counted(&disk, luks + full - disk.clusters + data, full);
	if (wanted.data_file)
		data = 0;
	mine.smallest_bytes = q2_measure_file(&disk, 1 + disk.l1_clusters + luks + tables + data);
	q2_sized_give(out, &mine, sizeof(mine));
	return 0;
}

/* "LUKS" of version 1: a header of 8 sectors and 8 key slots, aligned to 8 sectors. */
uint64_t qcow2_measure_luks_bytes(const struct qcow2_measure_target *target, unsigned key_bytes)
{
	struct qcow2_measure_target mine;
	uint64_t slot, bytes;

	if (q2_measure_take(&mine, target, NULL) || key_bytes == 0 ||
	    key_bytes > QCOW2_LIMIT_QEMU_LUKS_KEY_BYTES)
		return 0;
	slot = q2_div_ceil_u64((uint64_t)key_bytes * QCOW2_LIMIT_QEMU_LUKS_STRIPES, SECTOR_BYTES);
	(void)q2_round_up_u64(slot, 8, &slot);
	(void)q2_round_up_u64((8 + 8 * slot) * SECTOR_BYTES, UINT64_C(1) << mine.cluster_bits,
			      &bytes);
	return bytes;
}
