/* SPDX-License-Identifier: MIT */
/*
 * The rules of single entries of L1, L2, refcount and bitmap tables. Refcounts themselves are not
 * looked at.
 */
#include <qcow2/entry.h>
#include <qcow2/limits.h>

#include "rules/rules.h"

/* The entry that is looked at, and who wants to know. */
struct context {
	const struct qcow2_geometry *geometry;
	const struct q2_entry_place *place;
	const struct q2_reporter *reporter;
	uint64_t entry;
	enum { MAPS_NOTHING, MAPS_CLUSTER, MAPS_TABLE } maps; /* of a virtual disk */
};

/* What the entry maps of the disk that its place names. */
static struct q2_guest_range guest_of(const struct context *c)
{
	uint64_t disk_bytes = c->place->disk->size_bytes;

	if (c->maps == MAPS_TABLE)
		return q2_guest_l1(c->geometry, disk_bytes, c->place->index, 1);
	if (c->maps == MAPS_NOTHING || c->place->guest_byte == UINT64_MAX)
		return (struct q2_guest_range){0, 0};
	return q2_guest_clusters(c->geometry, disk_bytes,
				 c->place->guest_byte >> c->geometry->cluster_bits, 1);
}

/* A finding is about the entry as a whole, whatever part of it is at fault. */
static void complain(const struct context *c, struct q2_finding finding)
{
	finding.disk = c->place->disk;
	if (finding.disk)
		finding.guest = guest_of(c);
	finding.shared_by = c->place->shared_by;
	finding.offset_bytes = c->place->offset_bytes;
	finding.has_found = true;
	finding.found = c->entry;
	q2_report(c->reporter, &finding, "%s/%llu", c->place->owner,
		  (unsigned long long)c->place->index);
}

static void complain_if(const struct context *c, bool wrong, enum qcow2_problem_id id)
{
	if (wrong)
		complain(c, (struct q2_finding){.id = id});
}

/*
 * Where an entry points: aligned, and inside the file. The last cluster may be cut by the end of
 * the file, so that only the start counts. Offset 0 means that there is nothing to point at.
 */
static void rule_place(const struct context *c, uint64_t offset, enum qcow2_problem_id unaligned,
		       enum qcow2_problem_id beyond)
{
	uint64_t last = (c->geometry->file_size_bytes - 1) & ~(c->geometry->cluster_size_bytes - 1);

	if (offset % c->geometry->cluster_size_bytes != 0)
		complain(c, (struct q2_finding){.id = unaligned,
						.expectation = QCOW2_EXPECT_MULTIPLE_OF,
						.expected = c->geometry->cluster_size_bytes});
	if (offset >= c->geometry->file_size_bytes && offset != 0)
		complain(c, (struct q2_finding){.id = beyond,
						.expectation = QCOW2_EXPECT_AT_MOST,
						.expected = (c->entry - offset) | last});
}

void q2_rules_l1_entry(const struct qcow2_geometry *geometry, const struct q2_entry_place *place,
		       uint64_t entry, const struct q2_reporter *reporter)
{
	struct context c = {geometry, place, reporter, entry, MAPS_TABLE};
	uint64_t offset = qcow2_l1_entry_decode(entry).offset;

	complain_if(&c, (entry & qcow2_l1_entry_reserved) != 0, QCOW2_PROBLEM_L1_ENTRY_RESERVED);
	complain_if(&c, entry != 0 && offset == 0, QCOW2_PROBLEM_L1_ENTRY_OFFSET_ZERO);
	rule_place(&c, offset, QCOW2_PROBLEM_L2_TABLE_UNALIGNED, QCOW2_PROBLEM_L2_TABLE_BEYOND_END);
}

void q2_rules_refcount_table_entry(const struct qcow2_geometry *geometry,
				   const struct q2_entry_place *place, uint64_t entry,
				   const struct q2_reporter *reporter)
{
	struct context c = {geometry, place, reporter, entry, MAPS_NOTHING};

	complain_if(&c, (entry & qcow2_refcount_table_entry_reserved) != 0,
		    QCOW2_PROBLEM_REFTABLE_ENTRY_RESERVED);
	rule_place(&c, qcow2_refcount_table_entry_decode(entry).offset,
		   QCOW2_PROBLEM_REFBLOCK_UNALIGNED, QCOW2_PROBLEM_REFBLOCK_BEYOND_END);
}

void q2_rules_bitmap_table_entry(const struct qcow2_geometry *geometry,
				 const struct q2_entry_place *place, uint64_t entry,
				 const struct q2_reporter *reporter)
{
	struct context c = {geometry, place, reporter, entry, MAPS_NOTHING};

	complain_if(&c, (entry & qcow2_bitmap_table_entry_reserved) != 0,
		    QCOW2_PROBLEM_BITMAP_ENTRY_RESERVED);
	complain_if(&c, qcow2_bitmap_entry_classify(entry) == QCOW2_BITMAP_ENTRY_INVALID,
		    QCOW2_PROBLEM_BITMAP_ENTRY_ALL_ONES);
	rule_place(&c, qcow2_bitmap_table_entry_decode(entry).offset,
		   QCOW2_PROBLEM_BITMAP_DATA_UNALIGNED, QCOW2_PROBLEM_BITMAP_DATA_BEYOND_END);
}

/*
 * What a descriptor that claims bytes past the end could be with the same number of sectors: any
 * offset may be too large if there are more of them than the file has.
 */
static struct q2_finding expect_compressed(const struct context *c,
					   const struct qcow2_compressed_extent *extent)
{
	struct q2_finding finding = {.id = QCOW2_PROBLEM_COMPRESSED_BEYOND_END};
	uint64_t size = c->geometry->file_size_bytes, last = size - 1;
	/* The last sector has to end here, or before. */
	uint64_t end = (last + c->geometry->cluster_size_bytes) & ~UINT64_C(511);

	if (extent->sectors * 512 > end)
		return finding;
	end -= extent->sectors * 512;
	if (last > end + 511)
		last = end + 511;
	finding.expectation = QCOW2_EXPECT_AT_MOST;
	finding.expected = (c->entry - extent->offset_bytes) | last;
	return finding;
}

static void rule_compressed(const struct context *c, uint64_t subclusters)
{
	const struct qcow2_l2_compressed fields =
		qcow2_l2_compressed_decode(c->entry, c->geometry->cluster_bits);
	const struct qcow2_compressed_extent extent =
		qcow2_compressed_split(c->entry, c->geometry->cluster_bits);
	uint64_t offset = extent.offset_bytes, end = offset + extent.length_bytes;

	complain_if(c, fields.copied != 0, QCOW2_PROBLEM_COMPRESSED_COPIED);
	complain_if(c, offset >> QCOW2_LIMIT_HOST_OFFSET_BITS != 0,
		    QCOW2_PROBLEM_COMPRESSED_OFFSET);
	complain_if(c, c->geometry->data_file, QCOW2_PROBLEM_COMPRESSED_DATA_FILE);
	complain_if(c, subclusters != 0, QCOW2_PROBLEM_SUBCLUSTER_COMPRESSED);
	/* The last sectors may be cut; a cluster or more of them may not. */
	if (offset >= c->geometry->file_size_bytes ||
	    end >= c->geometry->file_size_bytes + c->geometry->cluster_size_bytes)
		complain(c, expect_compressed(c, &extent));
}

/*
 * A subcluster is allocated, or reads as zeros, or neither: not both ("Extended L2 Entries"). Only
 * a cluster that has a place in the file can have allocated ones.
 */
static void rule_subclusters(const struct context *c, uint64_t subclusters)
{
	const struct qcow2_l2_subclusters bits = qcow2_l2_subclusters_decode(subclusters);

	complain_if(c, (bits.allocated & bits.zeroes) != 0, QCOW2_PROBLEM_SUBCLUSTER_BOTH);
	complain_if(c,
		    bits.allocated != 0 && !qcow2_l2_has_offset(c->entry, c->geometry->data_file),
		    QCOW2_PROBLEM_SUBCLUSTER_WITHOUT_OFFSET);
}

/*
 * In an external data file, a guest cluster lies at its guest offset or nowhere. Offset 0 is the
 * first cluster of the data file if the copied flag is set, and no cluster if it is not.
 */
static void rule_data_file(const struct context *c, uint64_t offset)
{
	if (qcow2_l2_has_offset(c->entry, true) && offset != c->place->guest_byte)
		complain(c, (struct q2_finding){.id = QCOW2_PROBLEM_DATA_FILE_OFFSET,
						.expectation = QCOW2_EXPECT_VALUE,
						.expected = c->place->guest_byte});
	/* Nothing shares a cluster of the data file: its refcount counts as one. */
	complain_if(c, offset != 0 && !qcow2_l2_entry_decode(c->entry).copied,
		    QCOW2_PROBLEM_DATA_FILE_COPIED_CLEAR);
}

/*
 * Whether a cluster has no data in the file, although it has a place there: it reads as zeros, or
 * none of its subclusters is allocated.
 */
static bool has_no_data(const struct qcow2_image *image, uint64_t entry, uint64_t subclusters)
{
	if (qcow2_image_geometry(image)->extended_l2)
		return qcow2_l2_subclusters_decode(subclusters).allocated == 0;
	/* Version 2 has no zero flag, so that nobody knows what it should mean there. */
	return qcow2_image_header(image)->version >= 3 && qcow2_l2_entry_decode(entry).zero;
}

void q2_rules_l2_entry(const struct qcow2_image *image, const struct q2_entry_place *place,
		       uint64_t entry, uint64_t subclusters, const struct q2_reporter *reporter)
{
	const struct qcow2_geometry *geometry = qcow2_image_geometry(image);
	struct context c = {geometry, place, reporter, entry, MAPS_CLUSTER};
	const struct qcow2_l2_entry fields = qcow2_l2_entry_decode(entry);

	if (fields.compressed) {
		rule_compressed(&c, subclusters);
		return;
	}
	complain_if(&c, (entry & qcow2_l2_entry_reserved) != 0, QCOW2_PROBLEM_L2_ENTRY_RESERVED);
	complain_if(&c,
		    fields.zero &&
			    (geometry->extended_l2 || qcow2_image_header(image)->version < 3),
		    QCOW2_PROBLEM_L2_ENTRY_ZERO_FLAG);
	if (geometry->extended_l2)
		rule_subclusters(&c, subclusters);
	if (geometry->data_file) {
		rule_data_file(&c, fields.offset);
		return;
	}
	complain_if(&c, fields.offset == 0 && fields.copied, QCOW2_PROBLEM_L2_ENTRY_OFFSET_ZERO);
	rule_place(&c, fields.offset, QCOW2_PROBLEM_DATA_UNALIGNED,
		   has_no_data(image, entry, subclusters) ? QCOW2_PROBLEM_ZERO_BEYOND_END
							  : QCOW2_PROBLEM_DATA_BEYOND_END);
}
