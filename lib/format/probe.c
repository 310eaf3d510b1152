/* SPDX-License-Identifier: MIT */
/* Tells kinds of files by fixed bytes at fixed places. Reads no byte outside of what it is given. */
#include "format/probe.h"

#include <string.h>

#include <qcow2/bitmap_file.h>

static const struct qcow2_file_kind kinds[] = {
#define QCOW2_FILE_KIND(row_number, ID, row_id, format, row_name, row_advice)                      \
	[row_number] = {.size = sizeof(struct qcow2_file_kind),                                    \
			.number = (row_number),                                                    \
			.id = (row_id),                                                            \
			.qemu_format = (format),                                                   \
			.name = (row_name),                                                        \
			.advice = (row_advice)},
#include <qcow2/def/file_kinds.def>
#undef QCOW2_FILE_KIND
};

/* Bytes that a kind of file has at an offset. */
struct signature {
	size_t at;
	const char *bytes;
	size_t size;
	enum qcow2_file_kind_number kind;
};

#define SIGNATURE(at, bytes, kind)                                                                 \
	{                                                                                          \
		at, bytes, sizeof(bytes) - 1, QCOW2_FILE_##kind                                    \
	}

/* The first that fits counts: what is more special stands in front. */
static const struct signature of_start[] = {
	SIGNATURE(0, "QFI\xfb\0\0\0\1", QCOW),
	SIGNATURE(0, "QFI\xfb", QCOW2),
	SIGNATURE(0, "KDMV", VMDK),
	SIGNATURE(0, "COWD", VMDK),
	SIGNATURE(0, "# Disk DescriptorFile", VMDK),
	SIGNATURE(64, "\x7f\x10\xda\xbe", VDI),
	SIGNATURE(0, "vhdxfile", VHDX),
	SIGNATURE(0, "conectix", VHD),
	SIGNATURE(0, "QED\0", QED),
	SIGNATURE(0, "WithoutFreeSpace\2\0\0\0", PARALLELS),
	SIGNATURE(0, "WithouFreSpacExt\2\0\0\0", PARALLELS),
	SIGNATURE(0, "LUKS\xba\xbe\0\1", LUKS),
	SIGNATURE(0, "LUKS\xba\xbe\0\2", LUKS2),
	SIGNATURE(0, "Bochs Virtual HD Image\0", BOCHS),
	SIGNATURE(0, "#!/bin/sh\n#V2.0 Format\n", CLOOP),
	SIGNATURE(0, "VMA\0", VMA),
	SIGNATURE(0, "QCOW2UND", UNDO_FILE),
	SIGNATURE(0, QCOW2_BITMAP_FILE_MAGIC, BITMAP_FILE),
	SIGNATURE(0, "\x1f\x8b\x08", GZIP),
	SIGNATURE(0,
		  "\xfd"
		  "7zXZ\0",
		  XZ),
	SIGNATURE(0, "\x28\xb5\x2f\xfd", ZSTD),
	SIGNATURE(0, "\x04\x22\x4d\x18", LZ4),
	SIGNATURE(0, "\x89LZO\0\r\n\x1a\n", LZOP),
	SIGNATURE(0, "\x1f\x9d", COMPRESS),
	SIGNATURE(0, "PK\3\4", ZIP),
	SIGNATURE(0, "7z\xbc\xaf\x27\x1c", SEVEN_ZIP),
	SIGNATURE(257, "ustar", TAR),
	SIGNATURE(0,
		  "\x7f"
		  "ELF",
		  ELF),
	SIGNATURE(0, "<!DOCTYPE html", HTML),
	SIGNATURE(0, "<!doctype html", HTML),
	SIGNATURE(0, "<html", HTML),
	SIGNATURE(0, "<HTML", HTML),
	SIGNATURE(0, "#!/", SCRIPT),
};

/* What the start of a disk may have as well as a footer that says more. */
static const struct signature of_disks[] = {
	SIGNATURE(0x8001, "CD001", ISO9660),
	SIGNATURE(510, "\x55\xaa", DISK),
};

static bool fits(const struct signature *s, struct qcow2_bytes bytes)
{
	return bytes.size >= s->at && bytes.size - s->at >= s->size &&
	       memcmp(bytes.data + s->at, s->bytes, s->size) == 0;
}

static const struct qcow2_file_kind *find(const struct signature *list, size_t count,
					  struct qcow2_bytes bytes)
{
	for (size_t i = 0; i < count; i++)
		if (fits(&list[i], bytes))
			return &kinds[list[i].kind];
	return NULL;
}

/* Whether text starts so at `at`, which is within it. */
static bool says(struct qcow2_bytes text, size_t at, const char *words)
{
	size_t size = strlen(words);

	return text.size - at >= size && memcmp(text.data + at, words, size) == 0;
}

/*
 * Whether it is the descriptor of a vmdk image, which is text: comments and empty lines, and then
 * its version. QEMU looks at the first 512 bytes.
 */
static bool is_vmdk_descriptor(struct qcow2_bytes start)
{
	size_t at = 0;

	if (start.size > 512)
		start.size = 512;
	while (at < start.size && strchr("# \r\n", start.data[at]) && start.data[at] != 0) {
		bool comment = start.data[at] == '#';

		while (comment && at < start.size && start.data[at] != '\n')
			at++;
		at++;
	}
	return at < start.size &&
	       (says(start, at, "version=1\n") || says(start, at, "version=1\r\n") ||
		says(start, at, "version=2\n") || says(start, at, "version=2\r\n") ||
		says(start, at, "version=3\n") || says(start, at, "version=3\r\n"));
}

/* A bzip2 file has the size of its blocks as a digit. */
static bool is_bzip2(struct qcow2_bytes start)
{
	return start.size >= 10 && memcmp(start.data, "BZh", 3) == 0 && start.data[3] >= '1' &&
	       start.data[3] <= '9' &&
	       (memcmp(start.data + 4, "1AY&SY", 6) == 0 ||
		memcmp(start.data + 4, "\x17\x72\x45\x38\x50\x90", 6) == 0);
}

/* The footer of a fixed vhd image is 512 bytes long, or 511 if an old program made it. */
static const struct qcow2_file_kind *of_end(struct qcow2_bytes end)
{
	static const struct signature footers[] = {
		SIGNATURE(0, "conectix", VHD_FIXED),
		SIGNATURE(1, "conectix", VHD_FIXED),
		SIGNATURE(0, "koly", DMG),
	};

	return end.size < Q2_PROBE_END_BYTES
		       ? NULL
		       : find(footers, sizeof(footers) / sizeof(footers[0]), end);
}

static bool is_zero(struct qcow2_bytes bytes)
{
	return bytes.data[0] == 0 && memcmp(bytes.data, bytes.data + 1, bytes.size - 1) == 0;
}

const struct qcow2_file_kind *q2_probe_bytes(struct qcow2_bytes start, struct qcow2_bytes end)
{
	const struct qcow2_file_kind *kind;

	if (start.size == 0)
		return &kinds[QCOW2_FILE_EMPTY];
	/* QEMU looks for a descriptor before all else that is text. */
	if (is_vmdk_descriptor(start))
		return &kinds[QCOW2_FILE_VMDK];
	kind = find(of_start, sizeof(of_start) / sizeof(of_start[0]), start);
	if (kind)
		return kind;
	if (is_bzip2(start))
		return &kinds[QCOW2_FILE_BZIP2];
	kind = of_end(end);
	if (!kind)
		kind = find(of_disks, sizeof(of_disks) / sizeof(of_disks[0]), start);
	if (kind)
		return kind;
	return &kinds[is_zero(start) ? QCOW2_FILE_ZEROS : QCOW2_FILE_UNKNOWN];
}

const struct qcow2_file_kind *qcow2_file_kind_get(unsigned number)
{
	return number < sizeof(kinds) / sizeof(kinds[0]) && kinds[number].id ? &kinds[number]
									     : NULL;
}
