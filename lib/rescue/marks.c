/* SPDX-License-Identifier: MIT */
/* See marks.h. */
#include "rescue/marks.h"

#include <string.h>

#include "base/bytes.h"
#include "base/utf8.h"

#include <qcow2/limits.h>

#define FIELD_BYTES(structure) (qcow2_##structure##_structure.size_bytes)
/* IDs are numbers, and names are short: longer ones are no sign of anything. */
#define ID_MOST   63
#define NAME_MOST 1023

static bool is_header(const uint8_t *sector)
{
	struct qcow2_header header;

	qcow2_header_decode(&header, sector, Q2_SECTOR_BYTES);
	return header.magic == QCOW2_MAGIC && (header.version == 2 || header.version == 3);
}

static bool is_luks(const uint8_t *sector)
{
	struct qcow2_luks1 luks;

	qcow2_luks1_decode(&luks, sector, Q2_SECTOR_BYTES);
	return memcmp(luks.magic, "LUKS\xba\xbe", sizeof(luks.magic)) == 0 &&
	       (luks.version == 1 || luks.version == 2);
}

/* Whether bytes are text, of which a name may consist. */
static bool is_text(const uint8_t *bytes, size_t size)
{
	uint32_t codepoint;
	bool valid;

	for (size_t at = 0; at < size;) {
		at += q2_utf8_next(bytes + at, size - at, &codepoint, &valid);
		if (!valid && at + 4 <= size)
			return false;
		if (codepoint < ' ' || codepoint == 0x7f)
			return false;
	}
	return true;
}

/* The part of [at, at + size) that lies in the sector. */
static size_t within(size_t at, size_t size)
{
	if (at >= Q2_SECTOR_BYTES)
		return 0;
	return size < Q2_SECTOR_BYTES - at ? size : Q2_SECTOR_BYTES - at;
}

static bool is_place(uint64_t offset, uint64_t file_size_bytes)
{
	return offset != 0 && offset % Q2_SECTOR_BYTES == 0 && offset < file_size_bytes;
}

bool q2_is_snapshot(const uint8_t *sector, uint64_t file_size_bytes)
{
	struct qcow2_snapshot_header head;
	size_t at;

	qcow2_snapshot_header_decode(&head, sector, Q2_SECTOR_BYTES);
	if (!is_place(head.l1_table_offset, file_size_bytes) || head.l1_size == 0 ||
	    head.l1_size > QCOW2_LIMIT_QEMU_L1_ENTRIES || head.date_nsec >= 1000000000 ||
	    head.id_str_size == 0 || head.id_str_size > ID_MOST || head.name_size > NAME_MOST ||
	    head.extra_data_size > QCOW2_LIMIT_QEMU_SNAPSHOT_EXTRA_BYTES)
		return false;
	at = FIELD_BYTES(snapshot) + head.extra_data_size;
	return is_text(sector + (at < Q2_SECTOR_BYTES ? at : 0), within(at, head.id_str_size)) &&
	       within(at, head.id_str_size) == head.id_str_size;
}

bool q2_is_bitmap(const uint8_t *sector, uint64_t file_size_bytes)
{
	struct qcow2_bitmap_dir_entry entry;
	size_t at = FIELD_BYTES(bitmap_dir_entry);

	qcow2_bitmap_dir_entry_decode(&entry, sector, Q2_SECTOR_BYTES);
	return is_place(entry.bitmap_table_offset, file_size_bytes) &&
	       entry.bitmap_table_size != 0 &&
	       entry.bitmap_table_size <= QCOW2_LIMIT_QEMU_BITMAP_TABLE_ENTRIES &&
	       entry.flags < 8 && entry.type == 1 && entry.granularity_bits >= 9 &&
	       entry.granularity_bits <= 31 && entry.extra_data_size == 0 && entry.name_size != 0 &&
	       entry.name_size <= NAME_MOST && is_text(sector + at, within(at, entry.name_size));
}

bool q2_mark_kind(const uint8_t *sector, uint64_t file_size_bytes, enum q2_scan_mark_kind *kind)
{
	if (is_header(sector))
		*kind = Q2_MARK_QCOW2;
	else if (is_luks(sector))
		*kind = Q2_MARK_LUKS;
	else if (q2_is_snapshot(sector, file_size_bytes))
		*kind = Q2_MARK_SNAPSHOTS;
	else if (q2_is_bitmap(sector, file_size_bytes))
		*kind = Q2_MARK_BITMAPS;
	else
		return false;
	return true;
}
