/* SPDX-License-Identifier: MIT */
/* Exported bitmaps: writes and reads the file that qcow2/bitmap_file.h describes. */
#include <qcow2/bitmap_file.h>

#include <inttypes.h>
#include <string.h>

#include <libdeflate.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/error.h"

#define MAGIC_BYTES   8
#define VERSION       1
#define FLAG_ENABLED  UINT32_C(1)
#define FLAG_STALE    UINT32_C(2)
#define SECTOR_BYTES  UINT64_C(512)
#define AT_VERSION    8
#define AT_GRANULE    12
#define AT_DISK       16
#define AT_BITS       24
#define AT_FLAGS      32
#define AT_ZEROS      36
#define AT_CHECKSUM   60
#define HEADER_BYTES  QCOW2_BITMAP_FILE_HEADER_BYTES
#define TRAILER_BYTES QCOW2_BITMAP_FILE_TRAILER_BYTES

uint64_t qcow2_bitmap_file_bits(uint64_t disk_size_bytes, unsigned granularity_bits)
{
	return q2_div_ceil_u64(disk_size_bytes & ~(SECTOR_BYTES - 1), UINT64_C(1)
									      << granularity_bits);
}

uint32_t qcow2_bitmap_file_checksum(uint32_t before, struct qcow2_bytes bits)
{
	return bits.size > 0 ? libdeflate_crc32(before, bits.data, bits.size) : before;
}

void qcow2_bitmap_file_header(const struct qcow2_bitmap_file *file,
			      uint8_t header[QCOW2_BITMAP_FILE_HEADER_BYTES])
{
	memset(header, 0, HEADER_BYTES);
	memcpy(header, QCOW2_BITMAP_FILE_MAGIC, MAGIC_BYTES);
	q2_store_be32(header + AT_VERSION, VERSION);
	q2_store_be32(header + AT_GRANULE, file->granularity_bits);
	q2_store_be64(header + AT_DISK, file->disk_size_bytes);
	q2_store_be64(header + AT_BITS,
		      qcow2_bitmap_file_bits(file->disk_size_bytes, file->granularity_bits));
	q2_store_be32(header + AT_FLAGS,
		      (file->enabled ? FLAG_ENABLED : 0) | (file->stale ? FLAG_STALE : 0));
	q2_store_be32(header + AT_CHECKSUM,
		      qcow2_bitmap_file_checksum(0, (struct qcow2_bytes){header, AT_CHECKSUM}));
}

bool qcow2_bitmap_file_begins(struct qcow2_bytes bytes)
{
	return bytes.size >= MAGIC_BYTES &&
	       memcmp(bytes.data, QCOW2_BITMAP_FILE_MAGIC, MAGIC_BYTES) == 0;
}

/* A later version may have another meaning for all other fields, so it is looked at first. */
static int check_header(const uint8_t *header, struct qcow2_error *err)
{
	uint32_t checksum =
		qcow2_bitmap_file_checksum(0, (struct qcow2_bytes){header, AT_CHECKSUM});

	if (q2_load_be32(header + AT_VERSION) != VERSION)
		return q2_fail(err, QCOW2_ERROR_UNSUPPORTED, QCOW2_NO_OFFSET,
			       "the export is of version %" PRIu32 ", of which nothing is known",
			       q2_load_be32(header + AT_VERSION));
	if (q2_load_be32(header + AT_CHECKSUM) != checksum)
		return q2_fail(err, QCOW2_ERROR_BROKEN, QCOW2_NO_OFFSET,
			       "the header of the export is damaged: its checksum is wrong");
	if (q2_load_be32(header + AT_FLAGS) & ~(FLAG_ENABLED | FLAG_STALE))
		return q2_fail(err, QCOW2_ERROR_UNSUPPORTED, QCOW2_NO_OFFSET,
			       "the export has flags that are not known: 0x%" PRIx32,
			       q2_load_be32(header + AT_FLAGS));
	for (size_t i = AT_ZEROS; i < AT_CHECKSUM; i++)
		if (header[i] != 0)
			return q2_fail(err, QCOW2_ERROR_UNSUPPORTED, QCOW2_NO_OFFSET,
				       "the export has something in byte %zu, which is not known",
				       i);
	return 0;
}

static int take_header(const uint8_t *header, struct qcow2_bitmap_file *out,
		       struct qcow2_error *err)
{
	if (check_header(header, err))
		return -1;
	*out = (struct qcow2_bitmap_file){
		.disk_size_bytes = q2_load_be64(header + AT_DISK),
		.bit_count = q2_load_be64(header + AT_BITS),
		.granularity_bits = q2_load_be32(header + AT_GRANULE),
		.enabled = q2_load_be32(header + AT_FLAGS) & FLAG_ENABLED,
		.stale = q2_load_be32(header + AT_FLAGS) & FLAG_STALE,
	};
	if (out->granularity_bits < 64 &&
	    out->bit_count == qcow2_bitmap_file_bits(out->disk_size_bytes, out->granularity_bits))
		return 0;
	return q2_fail(err, QCOW2_ERROR_BROKEN, QCOW2_NO_OFFSET,
		       "the export makes no sense: %" PRIu64 " bits of 2^%u bytes for a disk of "
		       "%" PRIu64 " bytes",
		       out->bit_count, out->granularity_bits, out->disk_size_bytes);
}

/* Bits past the last one stand for no part of the disk and must be 0. */
static bool ends_in_zeros(const struct qcow2_bitmap_file *file, struct qcow2_bytes bits)
{
	return file->bit_count % 8 == 0 || bits.data[bits.size - 1] >> file->bit_count % 8 == 0;
}

int qcow2_bitmap_file_parse(struct qcow2_bytes bytes, struct qcow2_bitmap_file *out,
			    struct qcow2_bytes *bits, struct qcow2_error *err)
{
	uint64_t wanted;

	if (!qcow2_bitmap_file_begins(bytes))
		return q2_fail(err, QCOW2_ERROR_ARGUMENT, QCOW2_NO_OFFSET,
			       "this is no export of a bitmap");
	if (bytes.size < HEADER_BYTES)
		return q2_fail(err, QCOW2_ERROR_BROKEN, QCOW2_NO_OFFSET,
			       "the export is cut: it has %zu bytes, and its header has %d",
			       bytes.size, HEADER_BYTES);
	if (take_header(bytes.data, out, err))
		return -1;
	wanted = q2_div_ceil_u64(out->bit_count, 8) + HEADER_BYTES + TRAILER_BYTES;
	if (bytes.size != wanted)
		return q2_fail(err, QCOW2_ERROR_BROKEN, QCOW2_NO_OFFSET,
			       "the export is %s: it has %zu bytes of %" PRIu64,
			       bytes.size < wanted ? "cut" : "too long", bytes.size, wanted);
	*bits = (struct qcow2_bytes){bytes.data + HEADER_BYTES,
				     bytes.size - HEADER_BYTES - TRAILER_BYTES};
	if (qcow2_bitmap_file_checksum(0, *bits) !=
	    q2_load_be32(bytes.data + bytes.size - TRAILER_BYTES))
		return q2_fail(err, QCOW2_ERROR_BROKEN, QCOW2_NO_OFFSET,
			       "the export is damaged: the checksum of its bits is wrong");
	if (!ends_in_zeros(out, *bits))
		return q2_fail(err, QCOW2_ERROR_BROKEN, QCOW2_NO_OFFSET,
			       "the export has bits past the end of the disk");
	return 0;
}
