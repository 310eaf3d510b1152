/* SPDX-License-Identifier: MIT */
/* How a guest that reads its disk from start to end moves through the file. */
#include <qcow2/usage.h>

#include "base/checked.h"
#include "base/sized.h"

#include <qcow2/mapping.h>

/* A compressed cluster may begin in the last sector of the one before. */
#define SECTOR_BYTES 512

/* Where the extents read so far have ended. */
struct reading {
	struct qcow2_fragmentation sums;
	uint64_t guest, host; /* the bytes behind the last extent with data */
	uint64_t run_bytes;   /* of the run so far */
	bool after_compressed;
};

static void end_run(struct reading *reading)
{
	if (reading->run_bytes > reading->sums.longest_bytes)
		reading->sums.longest_bytes = reading->run_bytes;
	reading->run_bytes = 0;
}

/* Whether reading goes on at a host byte without going anywhere else. */
static bool follows(const struct reading *reading, const struct qcow2_mapping_extent *extent)
{
	const uint64_t to = extent->host.byte;

	if (reading->after_compressed && extent->kind == QCOW2_L2_COMPRESSED)
		return to <= reading->host && reading->host - to < SECTOR_BYTES;
	return to == reading->host;
}

static void seek(struct reading *reading, uint64_t to)
{
	const uint64_t from = reading->host;

	reading->sums.seeks++;
	if (q2_add_u64(reading->sums.seek_bytes, to > from ? to - from : from - to,
		       &reading->sums.seek_bytes))
		reading->sums.seek_bytes = UINT64_MAX;
}

static void read_extent(struct reading *reading, const struct qcow2_mapping_extent *extent)
{
	const bool is_first = reading->sums.runs == 0;

	if (extent->kind != QCOW2_L2_DATA && extent->kind != QCOW2_L2_COMPRESSED)
		return;
	if (is_first || extent->start.byte != reading->guest || !follows(reading, extent)) {
		end_run(reading);
		reading->sums.runs++;
	}
	if (!is_first && !follows(reading, extent))
		seek(reading, extent->host.byte);
	reading->sums.compressed_clusters += extent->kind == QCOW2_L2_COMPRESSED;
	reading->sums.data_bytes += extent->length_bytes;
	reading->run_bytes += extent->length_bytes;
	reading->guest = extent->start.byte + extent->length_bytes;
	reading->host = extent->host.byte + extent->host_bytes;
	reading->after_compressed = extent->kind == QCOW2_L2_COMPRESSED;
}

int qcow2_fragmentation_measure(const struct qcow2_image *image, struct qcow2_fragmentation *out,
				struct qcow2_error *err)
{
	struct reading reading = {0};
	const struct qcow2_mapping_extent *extent;
	struct qcow2_mapping *mapping;
	int more;

	if (q2_sized_check(out, err) || qcow2_mapping_open(image, &mapping, err))
		return -1;
	while ((more = qcow2_mapping_next(mapping, &extent, err)) > 0)
		read_extent(&reading, extent);
	qcow2_mapping_close(mapping);
	if (more < 0)
		return -1;
	end_run(&reading);
	q2_sized_give(out, &reading.sums, sizeof(reading.sums));
	return 0;
}
