/* SPDX-License-Identifier: MIT */
/*
 * Decides the size of the virtual disk, which no table says: from what the caller states, what is
 * left of the header, the guest's partition table where asked, snapshots, and last the tables.
 */
#include <inttypes.h>
#include <string.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "format/l2_table.h"
#include "rescue/candidate.h"

#include <qcow2/entry.h>
#include <qcow2/geometry.h>
#include <qcow2/image.h>
#include <qcow2/limits.h>

#define MIB (UINT64_C(1) << 20)

/* What tables allow. */
struct bounds {
	uint64_t least_bytes, most_bytes;     /* the disk ends in [least, most] */
	uint64_t entries_least, entries_most; /* of the L1 table */
};

/* A size that somebody tells. */
struct told {
	uint64_t bytes;
	unsigned confidence;
	const char *by;
};

static const struct q2_guess_l1 *active_of(const struct q2_guess *guess)
{
	return guess->active == SIZE_MAX ? NULL : q2_vector_at(&guess->l1_tables, guess->active);
}

static struct bounds bounds_of(const struct q2_guess *guess)
{
	uint64_t cluster = UINT64_C(1) << guess->shape.cluster_bits, per = cluster / 8;
	unsigned l2_bits = q2_guess_l2_bits(&guess->shape);
	const struct q2_guess_l1 *l1 = active_of(guess);
	struct bounds bounds = {.entries_most = QCOW2_LIMIT_QEMU_L1_ENTRIES};

	if (l1) {
		bounds.entries_least = l1->entries_end;
		bounds.entries_most = l1->clusters * per;
		/* Refcounts have told where the table ends. */
		if (guess->refcounts.table_bytes != 0 &&
		    (l1->clusters - 1) * per >= l1->entries_end)
			bounds.entries_least = (l1->clusters - 1) * per + 1;
	}
	if (bounds.entries_most > QCOW2_LIMIT_QEMU_L1_ENTRIES)
		bounds.entries_most = QCOW2_LIMIT_QEMU_L1_ENTRIES;
	bounds.most_bytes = bounds.entries_most << l2_bits;
	if (guess->mapped_end_bytes > cluster)
		bounds.least_bytes = guess->mapped_end_bytes - cluster + 1;
	if (guess->bitmaps.disk_most_bytes != 0) {
		if (guess->bitmaps.disk_most_bytes < bounds.most_bytes &&
		    guess->bitmaps.disk_most_bytes >= bounds.least_bytes)
			bounds.most_bytes = guess->bitmaps.disk_most_bytes;
		if (guess->bitmaps.disk_least_bytes > bounds.least_bytes &&
		    guess->bitmaps.disk_least_bytes < bounds.most_bytes)
			bounds.least_bytes = guess->bitmaps.disk_least_bytes + 1;
	}
	return bounds;
}

/* As q2_pieces_read(). A failure is kept in deciding->failed, for who asks for no more than a hint. */
static bool take(struct q2_deciding *deciding, uint64_t offset_bytes, size_t size,
		 const uint8_t **bytes)
{
	deciding->failed =
		deciding->failed ||
		q2_pieces_read(&deciding->guess->pieces, offset_bytes, size, bytes, deciding->err);
	return !deciding->failed;
}

/* Reads a sector of the guest's disk. False if it is not stored as it is. */
static bool read_guest(struct q2_deciding *deciding, uint64_t offset, uint8_t *sector)
{
	const struct q2_guess *guess = deciding->guess;
	const struct q2_guess_l1 *l1 = active_of(guess);
	unsigned entry_bytes = guess->shape.extended_l2 ? 16 : 8, bits = guess->shape.cluster_bits;
	uint64_t index = offset >> q2_guess_l2_bits(&guess->shape);
	uint64_t within = offset >> bits & ((UINT64_C(1) << bits) / entry_bytes - 1), entry;
	const uint8_t *bytes;

	if (!l1 || guess->shape.data_file || index >= l1->entries_end ||
	    !take(deciding, l1->offset_bytes + index * 8, 8, &bytes))
		return false;
	entry = q2_load_be64(bytes) & QCOW2_ENTRY_MASK(l1_entry, offset);
	if (entry == 0 || !take(deciding, entry + within * entry_bytes, entry_bytes, &bytes))
		return false;
	entry = q2_l2_entry_at(bytes, 0, entry_bytes);
	if (qcow2_l2_classify(entry, guess->shape.extended_l2, false) != QCOW2_L2_DATA ||
	    !take(deciding,
		  (entry & QCOW2_ENTRY_MASK(l2_entry, offset)) +
			  (offset & ((UINT64_C(1) << bits) - 1)),
		  Q2_SECTOR_BYTES, &bytes))
		return false;
	memcpy(sector, bytes, Q2_SECTOR_BYTES);
	return true;
}

static uint64_t load_le(const uint8_t *bytes, unsigned width)
{
	uint64_t value = 0;

	while (width-- > 0)
		value = value << 8 | bytes[width];
	return value;
}

/* GPT: the backup of its header is in the last sector ("alternate LBA"). */
static bool told_by_gpt(struct q2_deciding *deciding, struct told *told)
{
	uint8_t sector[Q2_SECTOR_BYTES];
	uint64_t last;

	if (!read_guest(deciding, Q2_SECTOR_BYTES, sector) || memcmp(sector, "EFI PART", 8) != 0)
		return false;
	last = load_le(sector + 32, 8);
	if (last == 0 || last >= UINT64_MAX / Q2_SECTOR_BYTES)
		return false;
	*told = (struct told){(last + 1) * Q2_SECTOR_BYTES, 95,
			      "the guest's GPT, whose backup is in the last sector"};
	return true;
}

/* MBR: the disk is not smaller than the end of its last partition. */
static bool told_by_mbr(struct q2_deciding *deciding, struct told *told)
{
	uint8_t sector[Q2_SECTOR_BYTES];
	uint64_t end = 0;

	if (!read_guest(deciding, 0, sector) || sector[510] != 0x55 || sector[511] != 0xaa)
		return false;
	for (const uint8_t *entry = sector + 446; entry < sector + 510; entry += 16) {
		uint64_t first = load_le(entry + 8, 4), count = load_le(entry + 12, 4);

		if (entry[0] & 0x7f)
			return false;
		if (entry[4] != 0 && first + count > end)
			end = first + count;
	}
	*told = (struct told){end * Q2_SECTOR_BYTES, 60,
			      "the guest's MBR, as the end of its last partition"};
	return end != 0;
}

/* The last resort: what is mapped, or as far as the L1 table reaches if it has several clusters. */
static struct told told_by_tables(const struct q2_guess *guess, const struct bounds *bounds)
{
	const struct q2_guess_l1 *l1 = active_of(guess);
	uint64_t end = guess->mapped_end_bytes, least = bounds->entries_least;

	if (l1 && l1->clusters > 1 && bounds->most_bytes > 0)
		return (struct told){bounds->most_bytes, 50, "the length of the L1 table"};
	if (least > 0 && (least - 1) << q2_guess_l2_bits(&guess->shape) >= end)
		end = ((least - 1) << q2_guess_l2_bits(&guess->shape)) + 1;
	if (q2_round_up_u64(end ? end : 1, MIB, &end) || end > bounds->most_bytes)
		end = bounds->most_bytes;
	return (struct told){end, 30, "the last cluster that is mapped, rounded up to 1 MiB"};
}

static bool fits(const struct bounds *bounds, uint64_t bytes)
{
	return bytes != 0 && bytes >= bounds->least_bytes && bytes <= bounds->most_bytes;
}

static bool told_by_backing(const struct q2_deciding *deciding, struct told *told)
{
	const struct qcow2_rescue_options *options = deciding->options;

	if (!options->backing_size || deciding->backing.size == 0)
		return false;
	*told = (struct told){options->backing_size(options->opaque, deciding->backing), 80,
			      "that of the backing file"};
	return told->bytes != 0;
}

static struct told choose(struct q2_deciding *deciding, const struct bounds *bounds)
{
	const struct qcow2_rescue_options *options = deciding->options;
	const struct q2_guess *guess = deciding->guess;
	const struct q2_remains *remains = &deciding->remains;
	struct told told;

	if (options->virtual_size_bytes)
		return (struct told){options->virtual_size_bytes, 100, "the one stated"};
	if (remains->has_header && fits(bounds, remains->header.size))
		return (struct told){remains->header.size, 95, "the field that is left"};
	if (options->look_at_guest && told_by_gpt(deciding, &told) && fits(bounds, told.bytes))
		return told;
	if (options->like && fits(bounds, qcow2_image_header(options->like)->size))
		return (struct told){qcow2_image_header(options->like)->size, 80,
				     "that of the sibling"};
	if (told_by_backing(deciding, &told) && fits(bounds, told.bytes))
		return told;
	if (fits(bounds, guess->snapshots.disk_size_bytes))
		return (struct told){guess->snapshots.disk_size_bytes, 90,
				     "that of the last snapshot"};
	if (options->look_at_guest && told_by_mbr(deciding, &told) && fits(bounds, told.bytes))
		return told;
	return told_by_tables(guess, bounds);
}

/* The entries of the L1 table: enough for the disk, and as many as it surely has. */
static uint64_t l1_entries_for(const struct q2_guess *guess, const struct bounds *bounds,
			       uint64_t bytes)
{
	unsigned l2_bits = q2_guess_l2_bits(&guess->shape);
	uint64_t entries = q2_div_ceil_u64(bytes, UINT64_C(1) << l2_bits);

	if (entries < bounds->entries_least)
		entries = bounds->entries_least;
	if (entries > QCOW2_LIMIT_QEMU_L1_ENTRIES)
		entries = QCOW2_LIMIT_QEMU_L1_ENTRIES;
	return entries;
}

/* Adds a new L1 table, of zeros, if none was found. */
static void place_new_l1(struct q2_deciding *deciding)
{
	struct q2_candidate *candidate = deciding->candidate;
	uint64_t size = candidate->cluster_size_bytes;
	uint64_t clusters = q2_div_ceil_u64((uint64_t)candidate->header.l1_size * 8, size);

	if (candidate->header.l1_table_offset != 0)
		return;
	if (candidate->new_zeros_bytes == 0) {
		candidate->new_zeros_bytes = q2_guess_clusters(deciding->guess) * size;
		candidate->new_zeros_end_bytes = candidate->new_zeros_bytes;
	}
	candidate->header.l1_table_offset = candidate->new_zeros_end_bytes;
	candidate->new_zeros_end_bytes += (clusters ? clusters : 1) * size;
}

int q2_decide_size(struct q2_deciding *deciding)
{
	const struct q2_guess *guess = deciding->guess;
	struct q2_candidate *candidate = deciding->candidate;
	struct bounds bounds = bounds_of(guess);
	struct told told = choose(deciding, &bounds);

	if (deciding->failed)
		return -1;
	candidate->header.size = told.bytes;
	candidate->header.l1_size = (uint32_t)l1_entries_for(guess, &bounds, told.bytes);
	place_new_l1(deciding);
	return q2_evidence_add(
		candidate,
		(struct q2_evidence_head){QCOW2_RESCUE_SIZE, told.confidence, told.confidence < 70},
		deciding->err,
		"virtual size %" PRIu64 ": %s; by the tables it is between %" PRIu64 " and %" PRIu64
		" bytes",
		told.bytes, told.by, bounds.least_bytes, bounds.most_bytes);
}
