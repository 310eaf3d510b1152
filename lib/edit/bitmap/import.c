/* SPDX-License-Identifier: MIT */
/* Imports bits: raw ones, or a file that says what they are of. See bitmap_edit.h. */
#include <inttypes.h>
#include <string.h>

#include <qcow2/bitmap_file.h>
#include <qcow2/limits.h>

#include "base/checked.h"
#include "base/error.h"
#include "base/ones.h"
#include "edit/bitmap/bits.h"
#include "edit/bitmap/named.h"

/* Fails because raw bits have the wrong size, and names the granularities that would fit. */
static int fail_size(const struct qcow2_bitmap_editor *editor, uint64_t size, uint64_t wanted,
		     struct qcow2_error *err)
{
	uint64_t disk = editor->geometry->virtual_size_bytes;
	unsigned first = 0, last = 0;

	for (unsigned g = QCOW2_LIMIT_QEMU_BITMAP_GRANULARITY_BITS_MIN;
	     g <= QCOW2_LIMIT_QEMU_BITMAP_GRANULARITY_BITS_MAX; g++) {
		if (q2_div_ceil_u64(qcow2_bitmap_file_bits(disk, g), 8) != size)
			continue;
		first = first ? first : g;
		last = g;
	}
	if (!first)
		return q2_fail(err, QCOW2_ERROR_ARGUMENT, QCOW2_NO_OFFSET,
			       "the data are %" PRIu64 " bytes, where the bitmap has %" PRIu64
			       "; no granularity gives a disk of %" PRIu64 " bytes so many: "
			       "they are of another disk",
			       size, wanted, disk);
	/* The precision .0 prints nothing for the number 0. */
	return q2_fail(err, QCOW2_ERROR_ARGUMENT, QCOW2_NO_OFFSET,
		       "the data are %" PRIu64 " bytes, where the bitmap has %" PRIu64
		       "; a new bitmap with -g %" PRIu64 "%s%.0" PRIu64 " would fit",
		       size, wanted, UINT64_C(1) << first, first == last ? "" : " to ",
		       first == last ? 0 : UINT64_C(1) << last);
}

static int import(struct qcow2_bitmap_editor *editor, struct qcow2_bytes name,
		  struct qcow2_bytes bits, struct qcow2_error *err)
{
	size_t cluster = (size_t)editor->geometry->cluster_size_bytes;
	struct q2_edited_bitmap *bitmap;
	uint64_t count;

	if (q2_verb_find_usable(editor, name, &bitmap, err))
		return -1;
	count = q2_edited_bits(editor, bitmap);
	if (bits.size != q2_div_ceil_u64(count, 8))
		return fail_size(editor, bits.size, q2_div_ceil_u64(count, 8), err);
	if (count % 8 != 0 && bits.data[bits.size - 1] >> count % 8 != 0)
		return q2_fail(err, QCOW2_ERROR_ARGUMENT, QCOW2_NO_OFFSET,
			       "bits past the end of the bitmap are set in the last byte");
	if (q2_bitmap_fill(editor, bitmap, 0, err))
		return -1;
	for (uint64_t i = 0; i < bitmap->entry_count; i++) {
		size_t at = (size_t)i * cluster;
		size_t size = bits.size - at < cluster ? bits.size - at : cluster;
		uint8_t *data;

		if (q2_count_ones(bits.data + at, size) == 0)
			continue;
		data = q2_bitmap_data(editor, bitmap, i, err);
		if (!data)
			return -1;
		memcpy(data, bits.data + at, size);
	}
	return 0;
}

int qcow2_bitmap_import(struct qcow2_bitmap_editor *editor, struct qcow2_bytes name,
			struct qcow2_bytes bits, struct qcow2_error *err)
{
	return q2_verb_ended(editor, q2_verb_about(name, import(editor, name, bits, err), err),
			     err);
}

/*
 * Checks that an exported file is of a disk of this size, and has the granularity of the bitmap if
 * that exists.
 */
static int check_file(const struct qcow2_bitmap_editor *editor, struct qcow2_bytes name,
		      const struct qcow2_bitmap_file *file, struct qcow2_error *err)
{
	uint64_t disk = editor->geometry->virtual_size_bytes;
	unsigned granularity_bits;
	size_t at = 0;

	if (qcow2_bitmap_file_bits(disk, QCOW2_LIMIT_QEMU_BITMAP_GRANULARITY_BITS_MIN) !=
	    qcow2_bitmap_file_bits(file->disk_size_bytes,
				   QCOW2_LIMIT_QEMU_BITMAP_GRANULARITY_BITS_MIN))
		return q2_fail(err, QCOW2_ERROR_ARGUMENT, QCOW2_NO_OFFSET,
			       "the export is of a disk of %" PRIu64 " bytes, and this one has "
			       "%" PRIu64,
			       file->disk_size_bytes, disk);
	if (q2_verb_count(editor, name, &at) == 0)
		return 0;
	granularity_bits = editor->bitmaps[at]->entry.granularity_bits;
	if (granularity_bits == file->granularity_bits)
		return 0;
	return q2_fail(err, QCOW2_ERROR_ARGUMENT, QCOW2_NO_OFFSET,
		       "its granularity is 2^%u bytes, and the export's 2^%u: import it under a "
		       "new name without -g, then merge",
		       granularity_bits, file->granularity_bits);
}

static int import_file(struct qcow2_bitmap_editor *editor, struct qcow2_bytes name,
		       struct qcow2_bytes bytes, struct qcow2_error *err)
{
	struct qcow2_bitmap_file file;
	struct qcow2_bytes bits;
	size_t at = 0;

	if (qcow2_bitmap_file_parse(bytes, &file, &bits, err) ||
	    check_file(editor, name, &file, err))
		return -1;
	if (q2_verb_count(editor, name, &at) == 0 &&
	    q2_verb_add(editor, name, UINT64_C(1) << file.granularity_bits, file.enabled, err))
		return -1;
	return import(editor, name, bits, err);
}

int qcow2_bitmap_import_file(struct qcow2_bitmap_editor *editor, struct qcow2_bytes name,
			     struct qcow2_bytes file, struct qcow2_error *err)
{
	return q2_verb_ended(editor, q2_verb_about(name, import_file(editor, name, file, err), err),
			     err);
}
