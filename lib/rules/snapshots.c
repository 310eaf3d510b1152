/* SPDX-License-Identifier: MIT */
/*
 * The rules of snapshot table entries ("Snapshots"). The entries of their L1 tables are judged by
 * tables.c.
 */
#include <qcow2/limits.h>

#include "base/checked.h"
#include "base/utf8.h"
#include "rules/rules.h"

#include <stddef.h>

#define AT(field) offsetof(struct qcow2_snapshot_header, field)

/* QEMU's limits. */

/* The entry that is looked at, and who wants to know. */
struct context {
	const struct qcow2_image *image;
	const struct qcow2_snapshot *snapshot;
	const struct q2_reporter *reporter;
	struct q2_disk disk;
};

/* finding.offset_bytes is relative to the entry. */
static void complain(const struct context *c, struct q2_finding finding, const char *field)
{
	finding.offset_bytes += c->snapshot->offset_bytes;
	q2_concern_disk(&finding, &c->disk);
	q2_report(c->reporter, &finding, "snapshots/%llu/%s",
		  (unsigned long long)c->snapshot->index, field);
}

/* How many L1 entries the snapshot's disk needs; its VM state lies beyond. */
static uint64_t l1_entries_needed(const struct qcow2_geometry *geometry, uint64_t disk_size_bytes)
{
	uint64_t clusters = q2_div_ceil_u64(disk_size_bytes, geometry->cluster_size_bytes);

	return q2_div_ceil_u64(clusters, geometry->l2_entries);
}

/*
 * The place of the L1 table is judged like that of the active image's. Its size has to suffice for
 * the disk as it was; if the entry does not say how large that was, any size will do.
 */
static void rule_l1(const struct context *c)
{
	const struct qcow2_geometry *geometry = qcow2_image_geometry(c->image);
	const struct qcow2_snapshot_header *s = &c->snapshot->header;
	struct q2_finding finding = {.id = QCOW2_PROBLEM_SNAPSHOT_L1_OFFSET,
				     .offset_bytes = AT(l1_table_offset),
				     .has_found = true,
				     .found = s->l1_table_offset,
				     .expectation = QCOW2_EXPECT_MULTIPLE_OF};

	if (!geometry)
		return;
	finding.expected = geometry->cluster_size_bytes;
	if (s->l1_table_offset % geometry->cluster_size_bytes != 0)
		complain(c, finding, "l1_table_offset");
	if (s->l1_size > 0 &&
	    q2_passes_end(geometry, s->l1_table_offset, s->l1_size * UINT64_C(8))) {
		finding.id = QCOW2_PROBLEM_SNAPSHOT_L1_BEYOND_END;
		finding.disk = &c->disk;
		finding.guest = q2_guest_l1_past_end(geometry, c->disk.size_bytes,
						     s->l1_table_offset, s->l1_size);
		q2_expect_inside(&finding, geometry, s->l1_size * UINT64_C(8));
		complain(c, finding, "l1_table_offset");
	}
	finding.offset_bytes = AT(l1_size);
	finding.found = s->l1_size;
	finding.expected = l1_entries_needed(geometry, c->snapshot->disk_size_bytes);
	if (c->snapshot->has_disk_size && s->l1_size < finding.expected) {
		finding.id = QCOW2_PROBLEM_SNAPSHOT_L1_TOO_SMALL;
		finding.disk = &c->disk;
		finding.expectation = QCOW2_EXPECT_AT_LEAST;
		finding.guest =
			q2_guest_l1(geometry, c->disk.size_bytes, s->l1_size, Q2_GUEST_REST);
		complain(c, finding, "l1_size");
	}
	if (s->l1_size > QCOW2_LIMIT_QEMU_L1_ENTRIES) {
		finding.id = QCOW2_PROBLEM_SNAPSHOT_L1_TOO_LARGE;
		finding.disk = NULL;
		finding.expectation = QCOW2_EXPECT_AT_MOST;
		finding.expected = QCOW2_LIMIT_QEMU_L1_ENTRIES;
		complain(c, finding, "l1_size");
	}
}

/* Version 3 demands vm_state_size and disk_size; more extra data is for later versions. */
static void rule_extra(const struct context *c)
{
	const struct qcow2_snapshot_header *s = &c->snapshot->header;
	struct q2_finding finding = {.offset_bytes = AT(extra_data_size),
				     .has_found = true,
				     .found = s->extra_data_size};

	if (qcow2_image_header(c->image)->version >= 3 &&
	    s->extra_data_size < QCOW2_LIMIT_SNAPSHOT_EXTRA_BYTES_MIN) {
		finding.id = QCOW2_PROBLEM_SNAPSHOT_EXTRA_SHORT;
		finding.expectation = QCOW2_EXPECT_AT_LEAST;
		finding.expected = QCOW2_LIMIT_SNAPSHOT_EXTRA_BYTES_MIN;
		complain(c, finding, "extra_data_size");
	}
	if (s->extra_data_size > QCOW2_LIMIT_QEMU_SNAPSHOT_EXTRA_BYTES) {
		finding.id = QCOW2_PROBLEM_SNAPSHOT_EXTRA_QEMU;
		finding.expectation = QCOW2_EXPECT_AT_MOST;
		finding.expected = QCOW2_LIMIT_QEMU_SNAPSHOT_EXTRA_BYTES;
		complain(c, finding, "extra_data_size");
	}
	if (s->date_nsec > QCOW2_LIMIT_DATE_NSEC_MAX)
		complain(c,
			 (struct q2_finding){.id = QCOW2_PROBLEM_SNAPSHOT_DATE_NSEC,
					     .offset_bytes = AT(date_nsec),
					     .has_found = true,
					     .found = s->date_nsec,
					     .expectation = QCOW2_EXPECT_AT_MOST,
					     .expected = QCOW2_LIMIT_DATE_NSEC_MAX},
			 "date_nsec");
}

/* Behind the fixed part come extra data, ID and name. IDs tell snapshots apart, names need not. */
static void rule_names(const struct context *c, struct q2_names_seen *seen)
{
	const struct qcow2_snapshot *snapshot = c->snapshot;
	uint64_t id_at = sizeof(struct qcow2_snapshot_header) + snapshot->header.extra_data_size;
	uint64_t earlier = Q2_NAME_SET_NEW;

	if (!q2_utf8_printable(snapshot->id))
		complain(c,
			 (struct q2_finding){.id = QCOW2_PROBLEM_SNAPSHOT_TEXT,
					     .offset_bytes = id_at,
					     .found_text = snapshot->id},
			 "id");
	if (!q2_utf8_printable(snapshot->name))
		complain(c,
			 (struct q2_finding){.id = QCOW2_PROBLEM_SNAPSHOT_TEXT,
					     .offset_bytes = id_at + snapshot->header.id_str_size,
					     .found_text = snapshot->name},
			 "name");
	if (!snapshot->cut)
		earlier = q2_seen_before(seen, &seen->set, q2_hash(&seen->key, snapshot->id),
					 snapshot->index);
	if (earlier != Q2_NAME_SET_NEW)
		complain(c,
			 (struct q2_finding){.id = QCOW2_PROBLEM_SNAPSHOT_ID_DUPLICATE,
					     .offset_bytes = id_at,
					     .found_text = snapshot->id},
			 "id");
}

void q2_rules_snapshot(const struct qcow2_image *image, const struct qcow2_snapshot *snapshot,
		       struct q2_names_seen *seen, const struct q2_reporter *reporter)
{
	struct context c = {
		.image = image,
		.snapshot = snapshot,
		.reporter = reporter,
		.disk = {snapshot->disk_size_bytes, true, snapshot->index, snapshot->name},
	};

	if (snapshot->cut) {
		struct q2_finding finding = {.id = QCOW2_PROBLEM_SNAPSHOTS_BEYOND_END,
					     .offset_bytes = snapshot->offset_bytes};

		q2_concern_disk(&finding, &c.disk);
		q2_report(reporter, &finding, "snapshots/%llu",
			  (unsigned long long)snapshot->index);
	}
	if (snapshot->raw.size < qcow2_snapshot_structure.size_bytes)
		return; /* the values below were never there */
	rule_l1(&c);
	rule_extra(&c);
	rule_names(&c, seen);
}
