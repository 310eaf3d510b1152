/* SPDX-License-Identifier: MIT */
/*
 * See qemu.h. The verdicts are those of QEMU 7.2; tests/oracle/test_info_oracle.py compares them
 * with qemu-img info on every forged image. docs/info.md has the table of versions.
 */
#include "info/qemu.h"

#include <stddef.h>

/* The kinds for which QEMU refuses to open an image, whatever value was found. */
static const unsigned short refused[] = {
	QCOW2_PROBLEM_HEADER_CLUSTER_BITS,
	QCOW2_PROBLEM_HEADER_CLUSTER_BITS_QEMU,
	QCOW2_PROBLEM_HEADER_CLUSTER_BITS_EXTENDED,
	QCOW2_PROBLEM_HEADER_LENGTH,
	QCOW2_PROBLEM_HEADER_CRYPT_METHOD,
	QCOW2_PROBLEM_HEADER_REFCOUNT_ORDER,
	QCOW2_PROBLEM_HEADER_COMPRESSION_TYPE,
	QCOW2_PROBLEM_HEADER_COMPRESSION_BIT,
	QCOW2_PROBLEM_FEATURE_INCOMPATIBLE_UNKNOWN,
	QCOW2_PROBLEM_L1_OFFSET_UNALIGNED,
	QCOW2_PROBLEM_L1_TOO_SMALL,
	QCOW2_PROBLEM_L1_TOO_LARGE,
	QCOW2_PROBLEM_REFTABLE_OFFSET_UNALIGNED,
	QCOW2_PROBLEM_REFTABLE_TOO_LARGE,
	QCOW2_PROBLEM_EXTENSION_LENGTH,
	QCOW2_PROBLEM_EXTENSION_UNTERMINATED,
	QCOW2_PROBLEM_BACKING_FORMAT_LENGTH,
	QCOW2_PROBLEM_CRYPTO_MISSING,
	QCOW2_PROBLEM_CRYPTO_SURPLUS,
	QCOW2_PROBLEM_CRYPTO_OFFSET,
	QCOW2_PROBLEM_LUKS_MAGIC,
	QCOW2_PROBLEM_LUKS_VERSION,
	QCOW2_PROBLEM_LUKS_VERSION_QEMU,
	QCOW2_PROBLEM_LUKS_CIPHER,
	QCOW2_PROBLEM_LUKS_MASTER_KEY,
	QCOW2_PROBLEM_LUKS_PAYLOAD,
	QCOW2_PROBLEM_BITMAPS_COUNT,
	QCOW2_PROBLEM_BITMAPS_COUNT_QEMU,
	QCOW2_PROBLEM_BITMAPS_RESERVED,
	QCOW2_PROBLEM_BITMAP_DIRECTORY_OFFSET,
	QCOW2_PROBLEM_BITMAP_DIRECTORY_BEYOND_END,
	QCOW2_PROBLEM_BITMAP_DIRECTORY_SIZE,
	QCOW2_PROBLEM_BITMAP_DIRECTORY_SIZE_QEMU,
	QCOW2_PROBLEM_BITMAP_ENTRY_CUT,
	QCOW2_PROBLEM_BITMAP_FLAGS_RESERVED,
	QCOW2_PROBLEM_BITMAP_TYPE,
	QCOW2_PROBLEM_BITMAP_GRANULARITY,
	QCOW2_PROBLEM_BITMAP_GRANULARITY_QEMU,
	QCOW2_PROBLEM_BITMAP_NAME_QEMU,
	QCOW2_PROBLEM_BITMAP_NAME_DUPLICATE,
	QCOW2_PROBLEM_BITMAP_EXTRA_DATA_UNKNOWN,
	QCOW2_PROBLEM_BITMAP_EXTRA_DATA_QEMU,
	QCOW2_PROBLEM_BITMAP_TABLE_OFFSET,
	QCOW2_PROBLEM_BITMAP_TABLE_SIZE,
	QCOW2_PROBLEM_BITMAP_TABLE_SIZE_QEMU,
	QCOW2_PROBLEM_BITMAP_ENTRY_RESERVED,
	QCOW2_PROBLEM_BITMAP_ENTRY_ALL_ONES,
	QCOW2_PROBLEM_BITMAP_DATA_UNALIGNED,
	QCOW2_PROBLEM_SNAPSHOTS_COUNT_QEMU,
	QCOW2_PROBLEM_SNAPSHOT_EXTRA_QEMU,
};

/* No offset of a file is as large as this: QEMU calls it invalid instead of reading zeros. */
#define IMPOSSIBLE_OFFSET UINT64_C(0x7fffffff00000000)

/* Whether an extension passes the end of the area, and not only the end of the file. */
static bool passes_area(const struct qcow2_image *image, const struct qcow2_problem *problem)
{
	const struct qcow2_geometry *geometry = qcow2_image_geometry(image);
	uint64_t end = qcow2_image_header(image)->backing_file_offset;
	uint64_t data = problem->offset_bytes + 4; /* it stands behind its length */

	if (end == 0 && geometry)
		end = geometry->cluster_size_bytes;
	return data > end || problem->found > end - data;
}

/* Whether the LUKS header cannot be read, or a slot has more than its key in the wrong place. */
static bool luks_is_refused(const struct qcow2_image *image, const struct qcow2_problem *problem)
{
	uint8_t start[8];
	uint64_t offset;
	struct qcow2_error err;

	if (qcow2_image_read_luks(image, start, sizeof(start), &offset, &err))
		return true;
	offset += sizeof(struct qcow2_luks1);
	return problem->kind->number == QCOW2_PROBLEM_LUKS_KEY_SLOT &&
	       !(problem->expectation == QCOW2_EXPECT_AT_MOST &&
		 (problem->offset_bytes - offset) % sizeof(struct qcow2_luks1_key_slot) ==
			 offsetof(struct qcow2_luks1_key_slot, key_material_offset));
}

/* The kinds for which it depends on what was found. */
static bool is_refused_for_its_value(const struct qcow2_image *image,
				     const struct qcow2_problem *problem)
{
	switch (problem->kind->number) {
	case QCOW2_PROBLEM_BACKING_OFFSET:
		return problem->expectation == QCOW2_EXPECT_AT_MOST;
	case QCOW2_PROBLEM_BACKING_SIZE:
	case QCOW2_PROBLEM_SNAPSHOTS_OFFSET:
		return problem->found != 0;
	case QCOW2_PROBLEM_REFTABLE_MISSING:
		return qcow2_image_header(image)->refcount_table_clusters == 0;
	case QCOW2_PROBLEM_L1_BEYOND_END:
	case QCOW2_PROBLEM_REFTABLE_BEYOND_END:
	case QCOW2_PROBLEM_SNAPSHOTS_BEYOND_END:
	case QCOW2_PROBLEM_BITMAP_TABLE_BEYOND_END:
		return problem->found >= IMPOSSIBLE_OFFSET;
	case QCOW2_PROBLEM_EXTENSION_OVERRUN:
		return passes_area(image, problem);
	case QCOW2_PROBLEM_EXTENSION_DUPLICATE:
		return problem->found == QCOW2_EXTENSION_BITMAPS;
	case QCOW2_PROBLEM_CRYPTO_BEYOND_END:
	case QCOW2_PROBLEM_LUKS_KEY_SLOT:
		return luks_is_refused(image, problem);
	default:
		return false;
	}
}

enum qemu_verdict qemu_verdict(const struct qcow2_image *image, const struct qcow2_problem *problem)
{
	unsigned number = problem->kind->number;

	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
		if (refused[i] == number)
			return QEMU_REFUSES;
	if (is_refused_for_its_value(image, problem))
		return QEMU_REFUSES;
	if (number == QCOW2_PROBLEM_FEATURE_CORRUPT ||
	    number == QCOW2_PROBLEM_FEATURE_RAW_WITHOUT_DATA_FILE)
		return QEMU_ONLY_READS;
	return QEMU_OPENS;
}

struct qemu_need qemu_needed(const struct qcow2_header *header)
{
	uint64_t bits = header->incompatible_features;

	if (bits & ~QCOW2_INCOMPATIBLE_KNOWN)
		return (struct qemu_need){NULL, "unknown incompatible features"};
	if (bits & QCOW2_INCOMPATIBLE_EXTENDED_L2)
		return (struct qemu_need){"5.2", "extended L2 entries"};
	if (bits & QCOW2_INCOMPATIBLE_COMPRESSION)
		return (struct qemu_need){"5.1", "zstd compression"};
	if (bits & QCOW2_INCOMPATIBLE_DATA_FILE)
		return (struct qemu_need){"4.0", "external data file"};
	if (header->crypt_method == 2)
		return (struct qemu_need){"2.10", "LUKS encryption"};
	if (header->refcount_order != 4)
		return (struct qemu_need){"2.3", "refcount width"};
	if (bits & QCOW2_INCOMPATIBLE_CORRUPT)
		return (struct qemu_need){"1.7", "corrupt bit"};
	if (bits & QCOW2_INCOMPATIBLE_DIRTY)
		return (struct qemu_need){"1.2", "dirty bit"};
	if (header->version >= 3)
		return (struct qemu_need){"1.1", "version 3"};
	return (struct qemu_need){"0.10", "version 2"};
}
