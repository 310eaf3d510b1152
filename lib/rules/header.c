/* SPDX-License-Identifier: MIT */
/*
 * The rules of the header: "Header", and the limits of QEMU. Rules of tables need a sane geometry
 * and are left out without one, since nobody knows then what their numbers mean.
 */
#include <qcow2/limits.h>

#include "base/checked.h"
#include "base/utf8.h"
#include "rules/rules.h"

#include <stddef.h>

#define AT(field) offsetof(struct qcow2_header, field)

bool q2_passes_end(const struct qcow2_geometry *geometry, uint64_t offset, uint64_t length)
{
	uint64_t end;

	if (q2_round_up_u64(geometry->file_size_bytes, geometry->cluster_size_bytes, &end))
		end = UINT64_MAX;
	return !q2_range_fits(offset, length, end);
}

void q2_expect_inside(struct q2_finding *finding, const struct qcow2_geometry *geometry,
		      uint64_t length)
{
	uint64_t end;

	if (q2_round_up_u64(geometry->file_size_bytes, geometry->cluster_size_bytes, &end))
		end = UINT64_MAX;
	finding->expectation = QCOW2_EXPECT_NOTHING;
	finding->expected = 0;
	if (length >= end)
		return;
	finding->expected = (end - length) & ~(geometry->cluster_size_bytes - 1);
	if (finding->expected != 0) /* where the header is */
		finding->expectation = QCOW2_EXPECT_AT_MOST;
}

/* All findings of the header have a value. */
static void complain(const struct qcow2_header *h, const struct q2_reporter *reporter,
		     struct q2_finding finding, const char *field)
{
	const struct q2_disk disk = {.size_bytes = h->size};

	q2_concern_disk(&finding, &disk);
	finding.has_found = true;
	q2_report(reporter, &finding, "header/%s", field);
}

/*
 * One fault at most: each bound is stricter than the one before. The format has no upper bound; the
 * library's own keeps shifts and buffers safe. With extended L2 entries, a cluster has 32
 * subclusters, which are no smaller than a sector.
 */
static void rule_cluster_bits(const struct qcow2_header *h, const struct q2_reporter *reporter)
{
	struct q2_finding finding = {.offset_bytes = AT(cluster_bits), .found = h->cluster_bits};

	if (h->cluster_bits < QCOW2_LIMIT_CLUSTER_BITS_MIN) {
		finding.id = QCOW2_PROBLEM_HEADER_CLUSTER_BITS;
		finding.expectation = QCOW2_EXPECT_AT_LEAST;
		finding.expected = QCOW2_LIMIT_CLUSTER_BITS_MIN;
	} else if (h->cluster_bits > QCOW2_LIMIT_CLUSTER_BITS_MAX) {
		finding.id = QCOW2_PROBLEM_HEADER_CLUSTER_BITS;
		finding.expectation = QCOW2_EXPECT_AT_MOST;
		finding.expected = QCOW2_LIMIT_CLUSTER_BITS_MAX;
	} else if (h->cluster_bits > QCOW2_LIMIT_QEMU_CLUSTER_BITS) {
		finding.id = QCOW2_PROBLEM_HEADER_CLUSTER_BITS_QEMU;
		finding.expectation = QCOW2_EXPECT_AT_MOST;
		finding.expected = QCOW2_LIMIT_QEMU_CLUSTER_BITS;
	} else if (h->cluster_bits < QCOW2_LIMIT_EXTENDED_L2_CLUSTER_BITS_MIN &&
		   (h->incompatible_features & QCOW2_INCOMPATIBLE_EXTENDED_L2)) {
		finding.id = QCOW2_PROBLEM_HEADER_CLUSTER_BITS_EXTENDED;
		finding.expectation = QCOW2_EXPECT_AT_LEAST;
		finding.expected = QCOW2_LIMIT_EXTENDED_L2_CLUSTER_BITS_MIN;
	} else {
		return;
	}
	complain(h, reporter, finding, "cluster_bits");
}

/*
 * Version 2 has no header_length: its header ends after 72 bytes. Extensions start where the header
 * ends, so that it has to end at a multiple of 8.
 */
static void rule_length(const struct qcow2_header *h, const struct qcow2_geometry *geometry,
			const struct q2_reporter *reporter)
{
	struct q2_finding finding = {.id = QCOW2_PROBLEM_HEADER_LENGTH,
				     .offset_bytes = AT(header_length),
				     .found = h->header_length,
				     .expectation = QCOW2_EXPECT_AT_LEAST,
				     .expected = QCOW2_HEADER_V3_BYTES};

	if (h->version < 3)
		return;
	if (h->header_length < QCOW2_HEADER_V3_BYTES)
		complain(h, reporter, finding, "header_length");
	if (h->header_length % 8 != 0) {
		finding.id = QCOW2_PROBLEM_HEADER_LENGTH_UNALIGNED;
		finding.expectation = QCOW2_EXPECT_MULTIPLE_OF;
		finding.expected = 8;
		complain(h, reporter, finding, "header_length");
	}
	if (geometry && h->header_length > geometry->cluster_size_bytes) {
		finding.id = QCOW2_PROBLEM_HEADER_LENGTH;
		finding.expectation = QCOW2_EXPECT_AT_MOST;
		finding.expected = geometry->cluster_size_bytes;
		complain(h, reporter, finding, "header_length");
	}
}

/*
 * Bytes between the last known field and the next multiple of 8 are padding, which has to be zero.
 * Those behind may be fields of a later specification, and are no fault whatever they are.
 */
static void rule_padding(const struct qcow2_header *h, struct qcow2_bytes cluster,
			 const struct q2_reporter *reporter)
{
	uint64_t end = h->header_length < sizeof(*h) ? h->header_length : sizeof(*h);

	if (h->version < 3)
		return;
	if (h->header_length > cluster.size)
		complain(h, reporter,
			 (struct q2_finding){.id = QCOW2_PROBLEM_HEADER_TRUNCATED,
					     .offset_bytes = AT(header_length),
					     .found = h->header_length,
					     .expectation = QCOW2_EXPECT_AT_MOST,
					     .expected = cluster.size},
			 "header_length");
	for (uint64_t at = AT(compression_type) + 1; at < end && at < cluster.size; at++) {
		if (cluster.data[at] == 0)
			continue;
		q2_report(reporter,
			  &(struct q2_finding){.id = QCOW2_PROBLEM_HEADER_PADDING,
					       .offset_bytes = at,
					       .has_found = true,
					       .found = cluster.data[at],
					       .expectation = QCOW2_EXPECT_VALUE},
			  "header");
		return;
	}
}

/* Fields with a list of legal values. */
static void rule_enums(const struct qcow2_header *h, const struct q2_reporter *reporter)
{
	bool bit = (h->incompatible_features & QCOW2_INCOMPATIBLE_COMPRESSION) != 0;
	const struct q2_disk disk = {.size_bytes = h->size};

	if (h->crypt_method > 2)
		complain(h, reporter,
			 (struct q2_finding){.id = QCOW2_PROBLEM_HEADER_CRYPT_METHOD,
					     .offset_bytes = AT(crypt_method),
					     .found = h->crypt_method,
					     .expectation = QCOW2_EXPECT_AT_MOST,
					     .expected = 2},
			 "crypt_method");
	if (h->refcount_order > QCOW2_LIMIT_REFCOUNT_ORDER_MAX)
		complain(h, reporter,
			 (struct q2_finding){.id = QCOW2_PROBLEM_HEADER_REFCOUNT_ORDER,
					     .offset_bytes = AT(refcount_order),
					     .found = h->refcount_order,
					     .expectation = QCOW2_EXPECT_AT_MOST,
					     .expected = QCOW2_LIMIT_REFCOUNT_ORDER_MAX},
			 "refcount_order");
	if (h->compression_type > 1)
		complain(h, reporter,
			 (struct q2_finding){.id = QCOW2_PROBLEM_HEADER_COMPRESSION_TYPE,
					     .offset_bytes = AT(compression_type),
					     .found = h->compression_type,
					     .expectation = QCOW2_EXPECT_AT_MOST,
					     .expected = 1},
			 "compression_type");
	/* The bit keeps programs out that do not know the field, so both have to say the same. */
	if (bit != (h->compression_type != 0))
		complain(h, reporter,
			 (struct q2_finding){.id = QCOW2_PROBLEM_HEADER_COMPRESSION_BIT,
					     .offset_bytes = AT(incompatible_features),
					     .found = h->incompatible_features},
			 "incompatible_features");
	if (h->size % 512 != 0)
		complain(h, reporter,
			 (struct q2_finding){.id = QCOW2_PROBLEM_HEADER_SIZE_SECTORS,
					     .offset_bytes = AT(size),
					     .found = h->size,
					     .expectation = QCOW2_EXPECT_MULTIPLE_OF,
					     .expected = 512,
					     .disk = &disk,
					     .guest = {h->size & ~UINT64_C(511), h->size % 512}},
			 "size");
}

/*
 * One row: if value has any of these bits, report that. A row whose condition is not met has no
 * bits or no value, and never applies.
 */
struct bit_rule {
	enum qcow2_problem_id id;
	uint64_t bits;
	uint64_t value;
	uint64_t offset_bytes;
	const char *field;
	const struct q2_disk *disk; /* that is concerned, instead of the active one */
};

static void rule_features(const struct qcow2_header *h, const struct q2_reporter *reporter)
{
	bool data_file = (h->incompatible_features & QCOW2_INCOMPATIBLE_DATA_FILE) != 0;
	bool raw = (h->autoclear_features & QCOW2_AUTOCLEAR_DATA_FILE_RAW) != 0;
	static const struct q2_disk snapshots; /* those of snapshots, of which none is named */
	const struct bit_rule rules[] = {
		{QCOW2_PROBLEM_FEATURE_INCOMPATIBLE_UNKNOWN, ~QCOW2_INCOMPATIBLE_KNOWN,
		 h->incompatible_features, AT(incompatible_features), "incompatible_features",
		 NULL},
		{QCOW2_PROBLEM_FEATURE_DIRTY, QCOW2_INCOMPATIBLE_DIRTY, h->incompatible_features,
		 AT(incompatible_features), "incompatible_features", NULL},
		{QCOW2_PROBLEM_FEATURE_CORRUPT, QCOW2_INCOMPATIBLE_CORRUPT,
		 h->incompatible_features, AT(incompatible_features), "incompatible_features",
		 NULL},
		{QCOW2_PROBLEM_FEATURE_COMPATIBLE_UNKNOWN, ~QCOW2_COMPATIBLE_KNOWN,
		 h->compatible_features, AT(compatible_features), "compatible_features", NULL},
		{QCOW2_PROBLEM_FEATURE_AUTOCLEAR_UNKNOWN, ~QCOW2_AUTOCLEAR_KNOWN,
		 h->autoclear_features, AT(autoclear_features), "autoclear_features", NULL},
		{QCOW2_PROBLEM_FEATURE_RAW_WITHOUT_DATA_FILE, data_file ? 0 : UINT64_MAX,
		 raw ? h->autoclear_features : 0, AT(autoclear_features), "autoclear_features",
		 NULL},
		{QCOW2_PROBLEM_FEATURE_RAW_WITH_BACKING,
		 raw && h->backing_file_offset != 0 ? UINT64_MAX : 0, h->autoclear_features,
		 AT(autoclear_features), "autoclear_features", NULL},
		{QCOW2_PROBLEM_FEATURE_DATA_FILE_SNAPSHOTS, data_file ? UINT64_MAX : 0,
		 h->nb_snapshots, AT(nb_snapshots), "nb_snapshots", &snapshots},
	};

	for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++)
		if (rules[i].value & rules[i].bits)
			complain(h, reporter,
				 (struct q2_finding){.id = rules[i].id,
						     .offset_bytes = rules[i].offset_bytes,
						     .found = rules[i].value,
						     .disk = rules[i].disk},
				 rules[i].field);
}

/* A table that is larger than the disk needs is legal. One without entries may be anywhere. */
static void rule_l1(const struct qcow2_header *h, const struct qcow2_geometry *geometry,
		    const struct q2_reporter *reporter)
{
	const struct q2_disk disk = {.size_bytes = h->size};
	struct q2_finding finding = {.offset_bytes = AT(l1_table_offset),
				     .found = h->l1_table_offset};

	if (h->l1_table_offset % geometry->cluster_size_bytes != 0) {
		finding.id = QCOW2_PROBLEM_L1_OFFSET_UNALIGNED;
		finding.expectation = QCOW2_EXPECT_MULTIPLE_OF;
		finding.expected = geometry->cluster_size_bytes;
		complain(h, reporter, finding, "l1_table_offset");
	}
	if (h->l1_size > 0 &&
	    q2_passes_end(geometry, h->l1_table_offset, h->l1_size * UINT64_C(8))) {
		finding.id = QCOW2_PROBLEM_L1_BEYOND_END;
		finding.disk = &disk;
		finding.guest =
			q2_guest_l1_past_end(geometry, h->size, h->l1_table_offset, h->l1_size);
		q2_expect_inside(&finding, geometry, h->l1_size * UINT64_C(8));
		complain(h, reporter, finding, "l1_table_offset");
	}
	finding = (struct q2_finding){.offset_bytes = AT(l1_size), .found = h->l1_size};
	if (h->l1_size < geometry->l1_entries_needed) {
		finding.id = QCOW2_PROBLEM_L1_TOO_SMALL;
		finding.disk = &disk;
		finding.guest = q2_guest_l1(geometry, h->size, h->l1_size, Q2_GUEST_REST);
		finding.expectation = QCOW2_EXPECT_AT_LEAST;
		finding.expected = geometry->l1_entries_needed;
		complain(h, reporter, finding, "l1_size");
	}
	if (h->l1_size > QCOW2_LIMIT_QEMU_L1_ENTRIES) {
		finding.id = QCOW2_PROBLEM_L1_TOO_LARGE;
		finding.disk = NULL;
		finding.expectation = QCOW2_EXPECT_AT_MOST;
		finding.expected = QCOW2_LIMIT_QEMU_L1_ENTRIES;
		complain(h, reporter, finding, "l1_size");
	}
}

/* Without a refcount table, data can be read but nothing can be allocated. */
static void rule_refcount_table(const struct qcow2_header *h, const struct qcow2_geometry *geometry,
				const struct q2_reporter *reporter)
{
	uint64_t bytes = (uint64_t)h->refcount_table_clusters << geometry->cluster_bits;
	struct q2_finding finding = {.offset_bytes = AT(refcount_table_offset),
				     .found = h->refcount_table_offset};

	if (h->refcount_table_offset % geometry->cluster_size_bytes != 0) {
		finding.id = QCOW2_PROBLEM_REFTABLE_OFFSET_UNALIGNED;
		finding.expectation = QCOW2_EXPECT_MULTIPLE_OF;
		finding.expected = geometry->cluster_size_bytes;
		complain(h, reporter, finding, "refcount_table_offset");
	}
	if (h->refcount_table_offset == 0 || bytes == 0) {
		finding.id = QCOW2_PROBLEM_REFTABLE_MISSING;
		finding.expectation = QCOW2_EXPECT_NOTHING;
		complain(h, reporter, finding, "refcount_table_offset");
	} else if (q2_passes_end(geometry, h->refcount_table_offset, bytes)) {
		finding.id = QCOW2_PROBLEM_REFTABLE_BEYOND_END;
		q2_expect_inside(&finding, geometry, bytes);
		complain(h, reporter, finding, "refcount_table_offset");
	}
	if (bytes > QCOW2_LIMIT_QEMU_REFCOUNT_TABLE_BYTES)
		complain(h, reporter,
			 (struct q2_finding){.id = QCOW2_PROBLEM_REFTABLE_TOO_LARGE,
					     .offset_bytes = AT(refcount_table_clusters),
					     .found = h->refcount_table_clusters,
					     .expectation = QCOW2_EXPECT_AT_MOST,
					     .expected = QCOW2_LIMIT_QEMU_REFCOUNT_TABLE_BYTES >>
							 geometry->cluster_bits},
			 "refcount_table_clusters");
}

/* Snapshots that cannot be found do no harm to the active disk. */
static void complain_snapshots(const struct q2_reporter *reporter, struct q2_finding finding)
{
	finding.offset_bytes = AT(snapshot_offset);
	finding.has_found = true;
	q2_report(reporter, &finding, "header/snapshot_offset");
}

static void rule_snapshots(const struct qcow2_header *h, const struct qcow2_geometry *geometry,
			   const struct q2_reporter *reporter)
{
	/* No entry is shorter than its fixed part: the table passes the end without their room. */
	uint64_t least = h->nb_snapshots * (uint64_t)sizeof(struct qcow2_snapshot_header);
	struct q2_finding finding = {.id = QCOW2_PROBLEM_SNAPSHOTS_OFFSET,
				     .found = h->snapshot_offset,
				     .expectation = QCOW2_EXPECT_MULTIPLE_OF,
				     .expected = geometry->cluster_size_bytes};

	/* QEMU looks at the offset even if there are none, and counts in signed numbers. */
	if (h->nb_snapshots == 0 && h->snapshot_offset > INT64_MAX)
		complain_snapshots(reporter,
				   (struct q2_finding){.id = QCOW2_PROBLEM_SNAPSHOTS_OFFSET,
						       .found = h->snapshot_offset,
						       .expectation = QCOW2_EXPECT_AT_MOST,
						       .expected = INT64_MAX});
	if ((h->snapshot_offset == 0 && h->nb_snapshots > 0) ||
	    h->snapshot_offset % geometry->cluster_size_bytes != 0)
		complain_snapshots(reporter, finding);
	if (h->nb_snapshots == 0)
		return;
	if (q2_passes_end(geometry, h->snapshot_offset, least)) {
		finding.id = QCOW2_PROBLEM_SNAPSHOTS_BEYOND_END;
		q2_expect_inside(&finding, geometry, least);
		complain_snapshots(reporter, finding);
	}
	if (h->nb_snapshots > QCOW2_LIMIT_QEMU_SNAPSHOTS)
		complain(h, reporter,
			 (struct q2_finding){.id = QCOW2_PROBLEM_SNAPSHOTS_COUNT_QEMU,
					     .offset_bytes = AT(nb_snapshots),
					     .found = h->nb_snapshots,
					     .expectation = QCOW2_EXPECT_AT_MOST,
					     .expected = QCOW2_LIMIT_QEMU_SNAPSHOTS},
			 "nb_snapshots");
}

/*
 * The name lies in the first cluster, behind the header and its extensions. If it starts past the
 * cluster, its size means nothing and is not judged.
 */
static void rule_backing(const struct qcow2_image *image, const struct q2_reporter *reporter)
{
	const struct qcow2_header *h = qcow2_image_header(image);
	const struct qcow2_geometry *geometry = qcow2_image_geometry(image);
	uint64_t cluster = geometry ? geometry->cluster_size_bytes : UINT64_MAX;
	struct qcow2_bytes name = qcow2_image_backing_name(image);
	uint64_t room = QCOW2_LIMIT_BACKING_NAME_BYTES;
	struct q2_finding finding = {.id = QCOW2_PROBLEM_BACKING_OFFSET,
				     .offset_bytes = AT(backing_file_offset),
				     .found = h->backing_file_offset,
				     .expectation = QCOW2_EXPECT_AT_MOST,
				     .expected = cluster};

	if (h->backing_file_offset == 0)
		return;
	if (h->backing_file_offset > cluster) {
		complain(h, reporter, finding, "backing_file_offset");
		return;
	}
	if (h->backing_file_offset < h->header_length) {
		finding.expectation = QCOW2_EXPECT_AT_LEAST;
		finding.expected = h->header_length;
		complain(h, reporter, finding, "backing_file_offset");
	}
	if (cluster - h->backing_file_offset < room)
		room = cluster - h->backing_file_offset;
	finding = (struct q2_finding){.offset_bytes = AT(backing_file_size),
				      .found = h->backing_file_size,
				      .expectation = QCOW2_EXPECT_AT_MOST,
				      .expected = room};
	if (h->backing_file_size > room) {
		finding.id = QCOW2_PROBLEM_BACKING_SIZE;
		complain(h, reporter, finding, "backing_file_size");
	} else if (h->backing_file_size == 0) {
		/* Nothing forbids it, and QEMU takes it for no backing file. */
		finding.id = QCOW2_PROBLEM_BACKING_NAME_EMPTY;
		finding.expectation = QCOW2_EXPECT_AT_LEAST;
		finding.expected = 1;
		complain(h, reporter, finding, "backing_file_size");
	}
	if (!q2_utf8_printable(name))
		q2_report(reporter,
			  &(struct q2_finding){.id = QCOW2_PROBLEM_BACKING_NAME_TEXT,
					       .offset_bytes = h->backing_file_offset,
					       .found_text = name},
			  "backing_file/name");
}

void q2_rules_header(const struct qcow2_image *image, const struct q2_reporter *reporter)
{
	const struct qcow2_header *h = qcow2_image_header(image);
	const struct qcow2_geometry *geometry = qcow2_image_geometry(image);

	rule_cluster_bits(h, reporter);
	rule_length(h, geometry, reporter);
	rule_padding(h, qcow2_image_first_cluster(image), reporter);
	rule_enums(h, reporter);
	rule_features(h, reporter);
	if (geometry) {
		rule_l1(h, geometry, reporter);
		rule_refcount_table(h, geometry, reporter);
		rule_snapshots(h, geometry, reporter);
	}
	rule_backing(image, reporter);
}
