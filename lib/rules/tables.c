/* SPDX-License-Identifier: MIT */
/* The rules of single L1, L2 and refcount table entries. Refcounts themselves are not looked at. */
#include "rules/rules.h"

#define L1_RESERVED       UINT64_C(0x7f000000000001ff)
#define L2_RESERVED       UINT64_C(0x3f000000000001fe)
#define OFFSET_MASK       UINT64_C(0x00fffffffffffe00)
#define REFTABLE_RESERVED UINT64_C(0x1ff)
#define COPIED            (UINT64_C(1) << 63)
#define COMPRESSED        (UINT64_C(1) << 62)
#define ZERO              UINT64_C(1)
#define SECTOR_BYTES      512

/* The entry that is looked at, and who wants to know. */
struct context {
	const struct qcow2_geometry *geometry;
	const struct q2_entry_place *place;
	const struct q2_reporter *reporter;
	uint64_t entry;
};

static void complain(const struct context *c, struct q2_finding finding)
{
	finding.offset_bytes = c->place->offset_bytes;
	if (!finding.has_found)
		finding.found = c->entry;
	finding.has_found = true;
	q2_report(c->reporter, &finding, "%s/%llu", c->place->owner,
		  (unsigned long long)c->place->index);
}

static void complain_if(const struct context *c, bool wrong, enum qcow2_problem_id id)
{
	if (wrong)
		complain(c, (struct q2_finding){.id = id});
}

/* Where an entry points: aligned, and inside the file. */
static void rule_place(const struct context *c, uint64_t offset, enum qcow2_problem_id unaligned,
		       enum qcow2_problem_id beyond)
{
	if (offset % c->geometry->cluster_size_bytes != 0)
		complain(c, (struct q2_finding){.id = unaligned,
						.expectation = QCOW2_EXPECT_MULTIPLE_OF,
						.expected = c->geometry->cluster_size_bytes});
	if (offset >= c->geometry->file_size_bytes && offset != 0)
		complain(c, (struct q2_finding){.id = beyond,
						.has_found = true,
						.found = offset,
						.expectation = QCOW2_EXPECT_AT_MOST,
						.expected = c->geometry->file_size_bytes - 1});
}

void q2_rules_l1_entry(const struct qcow2_geometry *geometry, const struct q2_entry_place *place,
		       uint64_t entry, const struct q2_reporter *reporter)
{
	struct context c = {geometry, place, reporter, entry};

	complain_if(&c, (entry & L1_RESERVED) != 0, QCOW2_PROBLEM_L1_ENTRY_RESERVED);
	complain_if(&c, entry != 0 && (entry & OFFSET_MASK) == 0,
		    QCOW2_PROBLEM_L1_ENTRY_OFFSET_ZERO);
	rule_place(&c, entry & OFFSET_MASK, QCOW2_PROBLEM_L2_TABLE_UNALIGNED,
		   QCOW2_PROBLEM_L2_TABLE_BEYOND_END);
}

void q2_rules_refcount_table_entry(const struct qcow2_geometry *geometry,
				   const struct q2_entry_place *place, uint64_t entry,
				   const struct q2_reporter *reporter)
{
	struct context c = {geometry, place, reporter, entry};

	complain_if(&c, (entry & REFTABLE_RESERVED) != 0, QCOW2_PROBLEM_REFTABLE_ENTRY_RESERVED);
	rule_place(&c, entry & ~REFTABLE_RESERVED, QCOW2_PROBLEM_REFBLOCK_UNALIGNED,
		   QCOW2_PROBLEM_REFBLOCK_BEYOND_END);
}

static void rule_compressed(const struct context *c, uint64_t subclusters)
{
	unsigned x = c->geometry->compressed_offset_bits;
	uint64_t offset = c->entry & ((UINT64_C(1) << x) - 1);
	uint64_t sectors = ((c->entry & ~(COPIED | COMPRESSED)) >> x) + 1;
	uint64_t end = offset - offset % SECTOR_BYTES + sectors * SECTOR_BYTES;

	complain_if(c, (c->entry & COPIED) != 0, QCOW2_PROBLEM_COMPRESSED_COPIED);
	complain_if(c, offset >> 56 != 0, QCOW2_PROBLEM_COMPRESSED_OFFSET);
	complain_if(c, c->geometry->data_file, QCOW2_PROBLEM_COMPRESSED_DATA_FILE);
	complain_if(c, subclusters != 0, QCOW2_PROBLEM_SUBCLUSTER_COMPRESSED);
	/* The last sectors may be cut; a cluster or more of them may not. */
	if (offset >= c->geometry->file_size_bytes ||
	    end >= c->geometry->file_size_bytes + c->geometry->cluster_size_bytes)
		complain(c, (struct q2_finding){.id = QCOW2_PROBLEM_COMPRESSED_BEYOND_END,
						.has_found = true,
						.found = end,
						.expectation = QCOW2_EXPECT_AT_MOST,
						.expected = c->geometry->file_size_bytes});
}

static void rule_subclusters(const struct context *c, uint64_t subclusters)
{
	uint64_t offset = c->entry & OFFSET_MASK;
	bool placed = offset != 0 || (c->geometry->data_file && (c->entry & COPIED));

	complain_if(c, (subclusters >> 32 & subclusters & UINT32_MAX) != 0,
		    QCOW2_PROBLEM_SUBCLUSTER_BOTH);
	complain_if(c, (subclusters & UINT32_MAX) != 0 && !placed,
		    QCOW2_PROBLEM_SUBCLUSTER_WITHOUT_OFFSET);
}

static void rule_data_file(const struct context *c, uint64_t offset)
{
	bool placed = offset != 0 || (c->entry & COPIED) != 0;

	if (placed && offset != c->place->guest_byte)
		complain(c, (struct q2_finding){.id = QCOW2_PROBLEM_DATA_FILE_OFFSET,
						.expectation = QCOW2_EXPECT_VALUE,
						.expected = c->place->guest_byte});
	/* Nothing shares a cluster of the data file: its refcount counts as one. */
	complain_if(c, offset != 0 && !(c->entry & COPIED), QCOW2_PROBLEM_DATA_FILE_COPIED_CLEAR);
}

void q2_rules_l2_entry(const struct qcow2_image *image, const struct q2_entry_place *place,
		       uint64_t entry, uint64_t subclusters, const struct q2_reporter *reporter)
{
	const struct qcow2_geometry *geometry = qcow2_image_geometry(image);
	struct context c = {geometry, place, reporter, entry};
	uint64_t offset = entry & OFFSET_MASK;

	if (entry & COMPRESSED) {
		rule_compressed(&c, subclusters);
		return;
	}
	complain_if(&c, (entry & L2_RESERVED) != 0, QCOW2_PROBLEM_L2_ENTRY_RESERVED);
	complain_if(&c,
		    (entry & ZERO) &&
			    (geometry->extended_l2 || qcow2_image_header(image)->version < 3),
		    QCOW2_PROBLEM_L2_ENTRY_ZERO_FLAG);
	if (geometry->extended_l2)
		rule_subclusters(&c, subclusters);
	if (geometry->data_file) {
		rule_data_file(&c, offset);
		return;
	}
	complain_if(&c, offset == 0 && (entry & COPIED), QCOW2_PROBLEM_L2_ENTRY_OFFSET_ZERO);
	rule_place(&c, offset, QCOW2_PROBLEM_DATA_UNALIGNED, QCOW2_PROBLEM_DATA_BEYOND_END);
}
