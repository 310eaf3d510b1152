/* SPDX-License-Identifier: MIT */
/*
 * What the guest's data says of the places of L2 tables. Copies of superblocks and of partition
 * tables say where on the disk, or in their partition, they are. A guest chooses what is there, so
 * this is only asked for by name; and a partition may be anywhere, so that its begin has to be one
 * that a partition table names, or that of the disk.
 */
#include "rescue/lost/state.h"

#include "base/bytes.h"

/* Clusters that are looked at in all, and what is read of each. */
#define LOOKS_MOST  (UINT64_C(1) << 20)
#define LOOK_BYTES  4096
#define STARTS_MOST 64
#define SECTOR      UINT64_C(512)

#define CONFIDENCE_SAYS  97
#define CONFIDENCE_BEGIN 80

/* Where things are in structures of the guest, in bytes. */
enum {
	GPT_MY_SECTOR = 24,
	GPT_ENTRY_FIRST_SECTOR = 32,
	GPT_ENTRY_BYTES = 128,
	MBR_PARTITIONS = 446,
	MBR_PARTITION_BYTES = 16,
	MBR_FIRST_SECTOR = 8,
	MBR_SIGNATURE = 510,
	EXT_BEGIN = 1024, /* of the first superblock, in its partition */
	EXT_BYTES = 1024,
	EXT_FIRST_BLOCK = 20,
	EXT_BLOCK_BITS = 24, /* above 10 */
	EXT_GROUP_BLOCKS = 32,
	EXT_SIGNATURE = 56,
	EXT_GROUP = 90,
	XFS_BLOCK_BYTES = 4,
	XFS_GROUP_BLOCKS = 84,
	XFS_GROUP = 8, /* in the sector behind the superblock */
	BTRFS_BYTE = 48,
	BTRFS_SIGNATURE = 64,
};

#define EXT_MAGIC 0xef53

enum magic { MAGIC_GPT, MAGIC_MBR, MAGIC_EXT, MAGIC_XFS, MAGIC_BTRFS };

static const char *const names[] = {
	[MAGIC_GPT] = "a GUID partition table",
	[MAGIC_MBR] = "the partition table of a boot sector",
	[MAGIC_EXT] = "a superblock of ext2, ext3 or ext4",
	[MAGIC_XFS] = "the header of an allocation group of XFS",
	[MAGIC_BTRFS] = "a superblock of Btrfs",
};

struct look {
	struct q2_lost_state *state;
	uint64_t starts[STARTS_MOST]; /* of partitions, in bytes; the first is the disk itself */
	size_t start_count;
	uint64_t left; /* clusters that may still be looked at */
	uint8_t bytes[LOOK_BYTES];
	size_t size; /* of them: less in small clusters */
};

const char *q2_lost_magic_name(uint64_t detail)
{
	return detail < sizeof(names) / sizeof(names[0]) ? names[detail] : "something";
}

static uint64_t load_le(const uint8_t *bytes, unsigned width)
{
	uint64_t value = 0;

	for (unsigned i = width; i-- > 0;)
		value = value << 8 | bytes[i];
	return value;
}

static bool has(const struct look *look, size_t offset, const char *magic)
{
	size_t length = strlen(magic);

	return offset + length <= look->size && memcmp(look->bytes + offset, magic, length) == 0;
}

/* Reads the begin of the cluster that an entry leads to. *there: it leads to plain data. */
static int read_begin(struct look *look, uint64_t entry, bool *there)
{
	const struct qcow2_geometry *geometry = look->state->geometry;
	uint64_t begin, end;

	*there = !qcow2_l2_is_compressed(entry) && look->left > 0 &&
		 q2_lost_target(geometry, entry, &begin, &end);
	if (!*there)
		return 0;
	look->left--;
	look->size = LOOK_BYTES;
	if (look->size > geometry->cluster_size_bytes)
		look->size = (size_t)geometry->cluster_size_bytes;
	if (look->size > geometry->file_size_bytes - begin)
		look->size = (size_t)(geometry->file_size_bytes - begin);
	return qcow2_source_read(look->state->source, begin, look->bytes, look->size,
				 look->state->err);
}

static int vote(struct look *look, uint32_t table, uint64_t slot, enum magic magic)
{
	const struct q2_lost_vote vote = {
		.table = table,
		.slot = (uint32_t)slot,
		.detail = magic,
		.confidence = magic == MAGIC_MBR ? CONFIDENCE_BEGIN : CONFIDENCE_SAYS,
		.why = Q2_WHY_GUEST,
	};

	return slot < look->state->slot_count ? q2_lost_vote(look->state, &vote) : 0;
}

/*
 * Votes for the place where a byte of a partition is, if it can be in that cluster of the table: for
 * just one partition, as else nothing is known.
 */
static int vote_at(struct look *look, uint32_t table, uint32_t index, uint64_t byte,
		   enum magic magic)
{
	const struct qcow2_geometry *geometry = look->state->geometry;
	uint64_t found = 0;
	size_t count = 0;

	for (size_t i = 0; i < look->start_count; i++) {
		uint64_t at = look->starts[i] + byte;

		if (at < byte || at >= geometry->virtual_size_bytes ||
		    at % geometry->cluster_size_bytes != 0 ||
		    (at >> geometry->cluster_bits) % geometry->l2_entries != index)
			continue;
		found = at;
		count++;
	}
	return count == 1 ? vote(look, table,
				 (found >> geometry->cluster_bits) / geometry->l2_entries, magic)
			  : 0;
}

static void note_start(struct look *look, uint64_t sector)
{
	if (sector != 0 && sector < look->state->geometry->virtual_size_bytes / SECTOR &&
	    look->start_count < STARTS_MOST)
		look->starts[look->start_count++] = sector * SECTOR;
}

/* Partitions of the table in the first cluster of a disk. */
static int read_partitions(struct look *look, uint32_t table)
{
	const uint8_t *b = look->bytes;

	if (has(look, SECTOR, "EFI PART") && load_le(b + SECTOR + GPT_MY_SECTOR, 8) == 1) {
		for (size_t at = 2 * SECTOR; at + GPT_ENTRY_BYTES <= look->size;
		     at += GPT_ENTRY_BYTES)
			note_start(look, load_le(b + at + GPT_ENTRY_FIRST_SECTOR, 8));
		return vote(look, table, 0, MAGIC_GPT);
	}
	if (!has(look, MBR_SIGNATURE, "\x55\xaa"))
		return 0;
	for (size_t at = MBR_PARTITIONS; at < MBR_SIGNATURE; at += MBR_PARTITION_BYTES)
		if (b[at] & 0x7f)
			return 0; /* no flag of a partition: a boot sector of another kind */
	for (size_t at = MBR_PARTITIONS; at < MBR_SIGNATURE; at += MBR_PARTITION_BYTES)
		note_start(look, load_le(b + at + MBR_FIRST_SECTOR, 4));
	return look->start_count > 1 ? vote(look, table, 0, MAGIC_MBR) : 0;
}

/*
 * A superblock of ext4 at an offset in the cluster. The first one lies behind 1024 bytes of its
 * partition, copies at the begin of their groups.
 */
static int judge_ext(struct look *look, uint32_t table, uint32_t index, size_t offset)
{
	const uint8_t *b = look->bytes + offset;
	uint64_t group, byte = offset;

	if (look->size < offset + EXT_BYTES || load_le(b + EXT_SIGNATURE, 2) != EXT_MAGIC ||
	    load_le(b + EXT_BLOCK_BITS, 4) > 6)
		return 0;
	group = load_le(b + EXT_GROUP, 2);
	if (group != 0)
		byte = (group * load_le(b + EXT_GROUP_BLOCKS, 4) + load_le(b + EXT_FIRST_BLOCK, 4))
		       << (10 + load_le(b + EXT_BLOCK_BITS, 4));
	else if (offset == 0)
		return 0;
	return byte < offset ? 0 : vote_at(look, table, index, byte - offset, MAGIC_EXT);
}

/* Looks for what says where it is. */
static int judge_cluster(struct look *look, uint32_t table, uint32_t index)
{
	const uint8_t *b = look->bytes;

	if (judge_ext(look, table, index, 0) || judge_ext(look, table, index, EXT_BEGIN))
		return -1;
	if (has(look, 0, "XFSB") && has(look, SECTOR, "XAGF"))
		return vote_at(look, table, index,
			       q2_load_be(b + SECTOR + XFS_GROUP, 4) *
				       q2_load_be(b + XFS_GROUP_BLOCKS, 4) *
				       q2_load_be(b + XFS_BLOCK_BYTES, 4),
			       MAGIC_XFS);
	if (has(look, BTRFS_SIGNATURE, "_BHRfS_M"))
		return vote_at(look, table, index, load_le(b + BTRFS_BYTE, 8), MAGIC_BTRFS);
	return 0;
}

/* Goes through the clusters of a table: its first one alone, or all, until one has voted. */
static int look_at_table(struct look *look, uint32_t table, bool first_only)
{
	struct q2_lost_state *state = look->state;
	const struct qcow2_geometry *geometry = state->geometry;
	const size_t votes = state->votes.count;
	const uint64_t count = first_only ? 1 : geometry->l2_entries;

	if (q2_lost_read_cluster(state, state->tables[table].cluster))
		return -1;
	for (uint32_t i = 0; i < count && state->votes.count == votes; i++) {
		uint64_t entry = q2_load_be64(state->buffer + i * geometry->l2_entry_bytes);
		bool there;

		if (read_begin(look, entry, &there))
			return -1;
		if (there &&
		    (first_only ? read_partitions(look, table) : judge_cluster(look, table, i)))
			return -1;
	}
	return 0;
}

/* Encrypted data says nothing, and that of a data file is not in this file. */
int q2_lost_ask_guest(struct q2_lost_state *state)
{
	struct look look = {.state = state, .start_count = 1, .left = LOOKS_MOST};

	if (state->header->crypt_method != 0 || state->geometry->data_file)
		return 0;
	for (unsigned pass = 0; pass < 2; pass++)
		for (uint32_t i = 0; i < state->table_count; i++) {
			const struct q2_lost_table *table = &state->tables[i];

			/* Tables that have their places may have the partition table. */
			if ((pass == 0 || (table->orphan && !table->shared)) &&
			    (pass == 1 || (table->first_index == 0 && table->data > 0)) &&
			    look_at_table(&look, i, pass == 0))
				return -1;
		}
	return 0;
}
