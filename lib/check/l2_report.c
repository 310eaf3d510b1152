/* SPDX-License-Identifier: MIT */
/*
 * Reports the entries of L2 tables that break a rule. The threads that counted have only noted
 * which tables have such entries; here they are read again, in the order of their owners, by one
 * thread, so that the report depends on nothing but the image.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "check/stages.h"
#include "format/l2_table.h"

static int by_owner(const void *left, const void *right)
{
	const struct q2_l2_ref *a = *(struct q2_l2_ref *const *)left;
	const struct q2_l2_ref *b = *(struct q2_l2_ref *const *)right;

	if (a->list != b->list)
		return a->list < b->list ? -1 : 1;
	return a->index < b->index ? -1 : a->index > b->index;
}

/* "Cluster mapping": what the active image maps past its end, no guest can reach. */
static void rule_beyond_size(const struct q2_check *check, const struct q2_entry_place *place,
			     uint64_t entry)
{
	const struct q2_finding finding = {
		.id = QCOW2_PROBLEM_L2_ENTRY_BEYOND_SIZE,
		.offset_bytes = place->offset_bytes,
		.has_found = true,
		.found = entry,
		.disk = place->disk,
		.guest = place->guest_byte == UINT64_MAX
				 ? (struct q2_guest_range){0, 0}
				 : q2_guest_clusters(
					   check->geometry, place->disk->size_bytes,
					   place->guest_byte >> check->geometry->cluster_bits, 1),
		.shared_by = place->shared_by,
	};
	bool placed = qcow2_l2_is_compressed(entry) || qcow2_l2_has_offset(entry, false);

	if (placed && place->guest_byte >= check->geometry->virtual_size_bytes)
		q2_report(&check->reporter, &finding, "%s/%" PRIu64, place->owner, place->index);
}

static void report_entry(struct q2_check *check, const struct q2_l2_ref *ref,
			 struct q2_entry_place *place, const uint8_t *bytes)
{
	const struct qcow2_geometry *geometry = check->geometry;
	uint64_t entry = q2_l2_entry_at(bytes, 0, geometry->l2_entry_bytes);
	uint64_t subclusters = q2_l2_subclusters_at(bytes, 0, geometry->l2_entry_bytes);

	if (entry == 0 && subclusters == 0)
		return;
	place->guest_byte = q2_guest_byte(geometry, ref->index, place->index);
	place->offset_bytes = ref->offset_bytes + place->index * geometry->l2_entry_bytes;
	check->damage.at.entry = (uint32_t)place->index;
	q2_missing_note_l2_entry(check, ref, entry, subclusters);
	if (ref->faulty)
		q2_rules_l2_entry(check->image, place, entry, subclusters, &check->reporter);
	if (ref->beyond_size)
		rule_beyond_size(check, place, entry);
}

static int report_table(struct q2_check *check, const struct q2_l2_ref *ref)
{
	unsigned width = check->geometry->l2_entry_bytes;
	const struct q2_disk disk = q2_metadata_disk(&check->metadata, ref->list);
	struct q2_entry_place place = {.disk = &disk, .shared_by = ref->weight};
	struct qcow2_claim claim = {.part = QCOW2_CLAIM_L2_TABLE, .index = ref->index};
	char owner[QCOW2_CLAIM_WHERE_MAX];
	uint64_t size;

	q2_claim_set_list(&claim, ref->list);
	place.owner = qcow2_claim_where(&claim, owner, sizeof(owner));
	if (q2_metadata_read_l2(&check->metadata, ref->offset_bytes, &size))
		return -1;
	check->damage.at.judged = Q2_JUDGED_L2_ENTRY;
	check->damage.at.index = (uint64_t)(ref - check->metadata.tables);
	for (; (place.index + 1) * width <= size; place.index++)
		report_entry(check, ref, &place, check->workers[0].buffer + place.index * width);
	check->damage.at.judged = Q2_JUDGED_OTHER;
	return q2_check_progress(check);
}

int q2_check_report_l2(struct q2_check *check)
{
	const struct q2_l2_ref **faulty;
	size_t count = 0, at = 0;
	int result = 0;

	for (size_t i = 0; i < check->metadata.table_count; i++)
		count += check->metadata.tables[i].faulty || check->metadata.tables[i].beyond_size;
	if (count == 0)
		return 0;
	faulty = q2_memory_get(&check->memory, count, sizeof(struct q2_l2_ref *));
	if (!faulty)
		return q2_memory_fail(&check->memory, check->err);
	for (size_t i = 0; i < check->metadata.table_count; i++)
		if (check->metadata.tables[i].faulty || check->metadata.tables[i].beyond_size)
			faulty[at++] = &check->metadata.tables[i];
	qsort(faulty, count, sizeof(struct q2_l2_ref *), by_owner);
	for (size_t i = 0; i < count && result == 0; i++)
		result = report_table(check, faulty[i]);
	q2_memory_put(&check->memory, faulty, count, sizeof(struct q2_l2_ref *));
	return result;
}
