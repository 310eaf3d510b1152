/* SPDX-License-Identifier: MIT */
/* The bits past the end of a bitmap. See bitmap_tail.h. */
#include "rules/bitmap_tail.h"

#include <string.h>

#include "base/checked.h"
#include "image/internal.h"

void q2_report_bitmap_tail(const struct q2_reporter *reporter, uint64_t bitmap_index,
			   struct q2_finding finding)
{
	finding.id = QCOW2_PROBLEM_BITMAP_DATA_TAIL;
	q2_report(reporter, &finding, "bitmaps/%llu/data", (unsigned long long)bitmap_index);
}

static bool all_zeros(const uint8_t *bytes, size_t size)
{
	return bytes[0] == 0 && memcmp(bytes, bytes + 1, size - 1) == 0;
}

int q2_rule_bitmap_tail(const struct qcow2_image *image, const struct qcow2_bitmap *bitmap,
			uint64_t data, uint8_t *piece, const struct q2_reporter *reporter,
			struct qcow2_error *err)
{
	const struct qcow2_geometry *geometry = qcow2_image_geometry(image);
	uint64_t bits = q2_div_ceil_u64(q2_tracked_bytes(geometry),
					UINT64_C(1) << bitmap->entry.granularity_bits);
	uint64_t in_cluster = bits % (geometry->cluster_size_bytes * 8);
	uint64_t at = data + in_cluster / 8, end = data + geometry->cluster_size_bytes;
	uint8_t own = (uint8_t)((1U << in_cluster % 8) - 1); /* bits that are not past the end */
	size_t size, zeros = 0;

	if (in_cluster == 0)
		return 0;
	if (end > geometry->file_size_bytes)
		end = geometry->file_size_bytes;
	for (; at < end; at += size, own = 0) {
		size = end - at < Q2_TAIL_PIECE_BYTES ? (size_t)(end - at) : Q2_TAIL_PIECE_BYTES;
		if (qcow2_source_read(qcow2_image_source(image), at, piece, size, err))
			return -1;
		piece[0] &= (uint8_t)~own;
		if (all_zeros(piece, size))
			continue;
		while (piece[zeros] == 0)
			zeros++;
		/* The byte is shown as it is stored, with the bits that are not past the end. */
		if (zeros == 0 && own != 0 &&
		    qcow2_source_read(qcow2_image_source(image), at, piece, 1, err))
			return -1;
		q2_report_bitmap_tail(reporter, bitmap->index,
				      (struct q2_finding){.offset_bytes = at + zeros,
							  .has_found = true,
							  .found = piece[zeros],
							  .expectation = QCOW2_EXPECT_VALUE});
		break;
	}
	return 0;
}
