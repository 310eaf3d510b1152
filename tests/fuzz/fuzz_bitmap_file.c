/* SPDX-License-Identifier: MIT */
/*
 * Fuzzes the reader of exported bitmaps. The first byte says how much of the input is put right
 * before it is read: magic, version and checksums would keep nearly all of it out.
 */
#include <stdlib.h>
#include <string.h>

#include <qcow2/qcow2.h>

#include "base/bytes.h"

#define INPUT_MOST 65536
#define HEADER     QCOW2_BITMAP_FILE_HEADER_BYTES
#define TRAILER    QCOW2_BITMAP_FILE_TRAILER_BYTES

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A version 3 header of a disk of 1 MiB in clusters of 4 KiB. */
static const uint8_t image_header[104] = {
	[0] = 'Q', [1] = 'F',   [2] = 'I', [3] = 0xfb,  [7] = 3,
	[23] = 12, [29] = 0x10, [99] = 4,  [103] = 104,
};

static void put_checksum(uint8_t *at, const uint8_t *bytes, size_t size)
{
	q2_store_be32(at, qcow2_bitmap_file_checksum(0, (struct qcow2_bytes){bytes, size}));
}

static void put_right(uint8_t *bytes, size_t size, uint8_t what)
{
	if (size < HEADER + TRAILER)
		return;
	if (what & 1) {
		memcpy(bytes, QCOW2_BITMAP_FILE_MAGIC, 8);
		q2_store_be32(bytes + 8, 1);
	}
	if (what & 2)
		memset(bytes + 36, 0, 24);
	if (what & 4) {
		q2_store_be32(bytes + 12, bytes[15] % 40);
		q2_store_be64(bytes + 16, 1 << 20);
		q2_store_be64(bytes + 24, qcow2_bitmap_file_bits(1 << 20, bytes[15] % 40));
		q2_store_be32(bytes + 32, bytes[35] & 3);
	}
	if (what & 8)
		put_checksum(bytes + HEADER - 4, bytes, HEADER - 4);
	if (what & 16)
		put_checksum(bytes + size - TRAILER, bytes + HEADER, size - HEADER - TRAILER);
}

/* What was read is written again: the same bytes. */
static void write_again(const struct qcow2_bitmap_file *file, const uint8_t *bytes)
{
	uint8_t header[HEADER];

	qcow2_bitmap_file_header(file, header);
	if (memcmp(header, bytes, HEADER) != 0)
		abort();
}

static void import(struct qcow2_bytes bytes)
{
	static const struct qcow2_bytes name = {(const uint8_t *)"b", 1};
	struct qcow2_source *source;
	struct qcow2_plan *plan;
	struct qcow2_bitmap_editor *editor;
	struct qcow2_error err;

	if (qcow2_source_from_memory(image_header, sizeof(image_header), &source, &err) ||
	    qcow2_plan_open(source, &plan, &err) || qcow2_bitmap_editor_open(plan, &editor, &err))
		abort();
	if (qcow2_bitmap_import_file(editor, name, bytes, &err) == 0 &&
	    qcow2_bitmap_import_file(editor, name, bytes, &err))
		abort();
	(void)qcow2_bitmap_import(editor, name, bytes, &err);
	qcow2_bitmap_editor_close(editor);
	qcow2_plan_close(plan);
	qcow2_source_close(source);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct qcow2_bitmap_file file;
	struct qcow2_bytes bytes, bits;
	struct qcow2_error err;
	uint8_t *copy;

	if (size < 1 || size > INPUT_MOST)
		return 0;
	copy = malloc(size);
	if (!copy)
		return 0;
	memcpy(copy, data + 1, size - 1);
	put_right(copy, size - 1, data[0]);
	bytes = (struct qcow2_bytes){copy, size - 1};
	if (qcow2_bitmap_file_parse(bytes, &file, &bits, &err) == 0) {
		if (bits.data != copy + HEADER || bits.size != size - 1 - HEADER - TRAILER)
			abort();
		write_again(&file, copy);
	}
	import(bytes);
	free(copy);
	return 0;
}
