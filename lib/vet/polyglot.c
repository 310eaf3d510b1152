/* SPDX-License-Identifier: MIT */
/*
 * Other formats that the file is valid as. A qcow2 image has its magic number at the start, so that
 * only formats count that are told by bytes elsewhere: libblkid, file, QEMU, partition scanners and
 * archivers look there. Two bytes alone say little; where more follows from them, it is looked at.
 */
#include <string.h>

#include "base/checked.h"
#include "vet/vet.h"

/* Bytes at a place from the start of the file, or, if from_end is set, from its end. */
struct signature {
	uint64_t at;
	const char *bytes;
	size_t size;
	const char *name;
	bool from_end;
};

#define START(at, bytes, name)                                                                     \
	{                                                                                          \
		at, bytes, sizeof(bytes) - 1, name, false                                          \
	}
#define END(at, bytes, name)                                                                       \
	{                                                                                          \
		at, bytes, sizeof(bytes) - 1, name, true                                           \
	}

static const struct signature signatures[] = {
	/* disk images */
	START(64, "\x7f\x10\xda\xbe", "a vdi image"),
	END(512, "conectix", "a vhd image of fixed size"),
	END(511, "conectix", "a vhd image of fixed size"),
	END(512, "koly", "a dmg image"),
	/* disks and volumes */
	START(510, "\x55\xaa", "a disk with a boot sector or partitions"),
	START(512, "EFI PART", "a disk with a GPT"),
	START(4096, "EFI PART", "a disk with a GPT"),
	START(0x4000, "SKUL\xba\xbe", "a LUKS2 volume"),
	START(0x8000, "SKUL\xba\xbe", "a LUKS2 volume"),
	START(0x10000, "SKUL\xba\xbe", "a LUKS2 volume"),
	START(512, "LABELONE", "an LVM volume"),
	START(1024, "LABELONE", "an LVM volume"),
	START(1536, "LABELONE", "an LVM volume"),
	START(4096, "\xfc\x4e\x2b\xa9", "a part of a RAID"),
	START(4096 + 24, "\xc6\x85\x73\xf6\x4e\x1a\x45\xca\x82\x65\xf5\x7f\x48\xba\x6d\x81",
	      "a bcache device"),
	START(4086, "SWAPSPACE2", "a swap area"),
	START(8182, "SWAPSPACE2", "a swap area"),
	START(16374, "SWAPSPACE2", "a swap area"),
	START(65526, "SWAPSPACE2", "a swap area"),
	/* file systems */
	START(0x8001, "CD001", "an ISO 9660 image"),
	START(0x8801, "CD001", "an ISO 9660 image"),
	START(0x9001, "CD001", "an ISO 9660 image"),
	START(0x8001, "BEA01", "a UDF image"),
	START(0x8801, "NSR0", "a UDF image"),
	START(0x9001, "NSR0", "a UDF image"),
	START(65536 + 64, "_BHRfS_M", "a btrfs file system"),
	START(65536 + 52, "ReIsEr", "a reiserfs file system"),
	START(8192 + 52, "ReIsEr", "a reiserfs file system"),
	START(32768, "JFS1", "a jfs file system"),
	START(1024, "\x10\x20\xf5\xf2", "an f2fs file system"),
	START(1024, "H+\0\4", "an hfs+ file system"),
	START(1024, "HX\0\5", "an hfs+ file system"),
	START(1030, "\x34\x34\2\0\0\0", "a nilfs file system"),
	/* archives */
	START(257, "ustar", "a tar archive"),
};

static void tell(struct q2_vet *vet, uint64_t at, const char *name)
{
	q2_vet_tell(vet,
		    &(struct q2_vet_finding){.rule = QCOW2_VET_RULE_POLYGLOT,
					     .offset_bytes = at,
					     .name = {(const uint8_t *)name, strlen(name)}},
		    "file");
}

/* Views size bytes at an offset of the file, if they are among those that were read. */
static const uint8_t *view(const struct q2_vet *vet, uint64_t at, size_t size)
{
	uint64_t tail_at = vet->result.file_size_bytes - vet->tail.size;

	if (q2_range_fits(at, size, vet->head.size))
		return vet->head.data + at;
	if (at >= tail_at && q2_range_fits(at - tail_at, size, vet->tail.size))
		return vet->tail.data + (at - tail_at);
	return NULL;
}

static void tell_signatures(struct q2_vet *vet)
{
	uint64_t size = vet->result.file_size_bytes, at;
	const struct signature *s;
	const uint8_t *bytes;

	for (size_t i = 0; i < sizeof(signatures) / sizeof(signatures[0]); i++) {
		s = &signatures[i];
		if (s->from_end && s->at > size)
			continue;
		at = s->from_end ? size - s->at : s->at;
		bytes = view(vet, at, s->size);
		if (bytes && memcmp(bytes, s->bytes, s->size) == 0)
			tell(vet, at, s->name);
	}
}

static uint32_t load_le32(const uint8_t *bytes)
{
	return bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 |
	       (uint32_t)bytes[3] << 24;
}

static uint32_t load_le16(const uint8_t *bytes)
{
	return bytes[0] | (uint32_t)bytes[1] << 8;
}

static uint64_t load_le64(const uint8_t *bytes)
{
	return load_le32(bytes) | (uint64_t)load_le32(bytes + 4) << 32;
}

/*
 * The last sector of a disk with a GPT holds a copy of its header, which programs use if the first
 * one is broken. The last cluster of an image is often the last one of its guest's disk, and ends
 * with the copy of the guest. A copy names its own sector: only if that is the file's last one does
 * it make the file a disk.
 */
static void tell_gpt(struct q2_vet *vet, uint64_t sector_bytes)
{
	uint64_t size = vet->result.file_size_bytes, last = size / sector_bytes - 1;
	const uint8_t *header;

	if (size == 0 || size % sector_bytes != 0)
		return;
	header = view(vet, last * sector_bytes, 32);
	if (header && memcmp(header, "EFI PART", 8) == 0 && load_le64(header + 24) == last)
		tell(vet, last * sector_bytes, "a disk with a GPT");
}

/* The magic number of ext2 to ext4 has two bytes: inodes, blocks and their size have to fit. */
static void tell_ext(struct q2_vet *vet)
{
	const uint8_t *super = view(vet, 1024, 1024);

	if (super && load_le16(super + 56) == 0xef53 && load_le32(super) != 0 &&
	    load_le32(super + 4) != 0 && load_le32(super + 24) <= 6 && load_le32(super + 76) <= 1)
		tell(vet, 1024 + 56, "an ext2, ext3 or ext4 file system");
}

/* Readers of PDF look for its header in the first 1024 bytes. */
static void tell_pdf(struct q2_vet *vet)
{
	size_t size = vet->head.size < 1024 ? vet->head.size : 1024;
	const uint8_t *found = memmem(vet->head.data, size, "%PDF-", 5);

	if (found)
		tell(vet, (uint64_t)(found - vet->head.data), "a PDF document");
}

/*
 * An archiver finds a zip archive by the record at its end, with a comment of up to 64 KiB behind
 * it. Guest data may hold such a record: it counts if its comment ends the file and its directory
 * is in front of it.
 */
static bool is_zip_end(const struct q2_vet *vet, uint64_t at)
{
	const uint8_t *record = view(vet, at, 22), *entry;
	uint64_t directory_bytes = load_le32(record + 12);

	if (at + 22 + load_le16(record + 20) != vet->result.file_size_bytes)
		return false;
	if (directory_bytes == 0 || directory_bytes > at)
		return load_le16(record + 10) == 0; /* an archive of no files */
	entry = view(vet, at - directory_bytes, 4);
	return !entry || memcmp(entry, "PK\1\2", 4) == 0;
}

static void tell_zip(struct q2_vet *vet)
{
	uint64_t tail_at = vet->result.file_size_bytes - vet->tail.size;
	const uint8_t *found = vet->tail.data, *end;

	if (vet->tail.size == 0)
		return; /* the end is not known yet */
	end = found + vet->tail.size;
	/* Most of it has no P at all, which is quickly seen. */
	while ((found = memchr(found, 'P', (size_t)(end - found))) != NULL) {
		if (end - found >= 22 && memcmp(found, "PK\5\6", 4) == 0 &&
		    is_zip_end(vet, tail_at + (uint64_t)(found - vet->tail.data))) {
			tell(vet, tail_at + (uint64_t)(found - vet->tail.data), "a zip archive");
			return;
		}
		found++;
	}
}

void q2_vet_polyglots(struct q2_vet *vet)
{
	if (!q2_vet_denies(vet, QCOW2_VET_RULE_POLYGLOT))
		return;
	tell_signatures(vet);
	tell_gpt(vet, 512);
	tell_gpt(vet, 4096);
	tell_ext(vet);
	tell_pdf(vet);
	tell_zip(vet);
}
