/* SPDX-License-Identifier: MIT */
/*
 * "Header", raw external data: the data file alone has to read like the image. So every guest
 * cluster has to be mapped, or to read as zeros, which QEMU then writes to the data file as well.
 * Runs of clusters that are neither are reported as one.
 *
 * Subclusters of a mapped cluster need not be allocated: QEMU makes a new image so, and the data
 * file with zeros in it, which is what the guest reads.
 */
#include "check/stages.h"

#include <qcow2/mapping.h>

/* The run of unmapped clusters that is being followed. */
struct run {
	struct q2_check *check;
	uint64_t start, end; /* guest bytes; empty if equal */
};

static void report_run(struct run *run)
{
	const struct q2_disk disk = q2_metadata_disk(&run->check->metadata, Q2_ACTIVE);
	const struct qcow2_geometry *geometry = run->check->geometry;

	if (run->start < run->end)
		q2_report(&run->check->reporter,
			  &(struct q2_finding){
				  .id = QCOW2_PROBLEM_DATA_FILE_RAW_UNMAPPED,
				  .offset_bytes = QCOW2_NO_OFFSET,
				  .disk = &disk,
				  .guest = {run->start, run->end - run->start},
			  },
			  "l1/%llu",
			  (unsigned long long)(run->start >> geometry->cluster_bits) /
				  geometry->l2_entries);
}

/*
 * Whether nothing maps an extent. A cluster without a place is unmapped as a whole, even if some of
 * its subclusters are zero: the data file has nothing to show for the others. Nor does an L2 table
 * map anything that is where no table can be.
 */
static bool is_unmapped(const struct qcow2_mapping_extent *extent)
{
	if (extent->kind == QCOW2_L2_INVALID)
		return extent->problem == QCOW2_PROBLEM_L2_TABLE_BEYOND_END ||
		       extent->problem == QCOW2_PROBLEM_L2_TABLE_UNALIGNED ||
		       extent->problem == QCOW2_PROBLEM_SUBCLUSTER_WITHOUT_OFFSET;
	return extent->kind == QCOW2_L2_UNALLOCATED && extent->host.byte == QCOW2_NO_OFFSET;
}

/* Adds the clusters of an unmapped extent to the run, or starts another one. */
static void add(struct run *run, const struct qcow2_mapping_extent *extent)
{
	const struct qcow2_geometry *geometry = run->check->geometry;
	const uint64_t within = geometry->cluster_size_bytes - 1;
	const uint64_t start = extent->start.byte & ~within;
	uint64_t end = extent->start.byte + extent->length_bytes;

	/* Up to the next cluster; but the end of the disk may be no start of one. */
	if ((end & within) != 0 && geometry->virtual_size_bytes - end > within - (end & within))
		end = (end | within) + 1;
	else if ((end & within) != 0)
		end = geometry->virtual_size_bytes;
	if (start > run->end || run->start == run->end) {
		report_run(run);
		run->start = start;
	}
	run->end = end;
}

static int follow(struct run *run, struct qcow2_mapping *mapping)
{
	const struct qcow2_mapping_extent *extent;
	struct qcow2_error *err = run->check->err;
	struct qcow2_error own;
	int more;

	if (!err)
		err = &own;
	while ((more = qcow2_mapping_next(mapping, &extent, err)) > 0)
		if (is_unmapped(extent))
			add(run, extent);
	/* An image that leads to its L2 tables again and again has been told of by now. */
	return more < 0 && err->code != QCOW2_ERROR_LIMIT ? -1 : 0;
}

/* The part of the disk that the L1 table covers: that it is too short is a problem of its own. */
static uint64_t covered_bytes(const struct q2_check *check)
{
	const struct qcow2_geometry *geometry = check->geometry;

	if (check->header->l1_size >= geometry->l1_entries_needed)
		return UINT64_MAX;
	return q2_guest_byte(geometry, check->header->l1_size, 0);
}

int q2_check_raw(struct q2_check *check)
{
	struct run run = {.check = check};
	struct qcow2_mapping *mapping;
	int result;

	if (!check->geometry->data_file ||
	    !(check->header->autoclear_features & QCOW2_AUTOCLEAR_DATA_FILE_RAW))
		return 0;
	if (qcow2_mapping_open(check->image, &mapping, check->err))
		return -1;
	qcow2_mapping_seek(mapping, (struct qcow2_guest){0}, covered_bytes(check));
	result = follow(&run, mapping);
	report_run(&run);
	qcow2_mapping_close(mapping);
	return result;
}
