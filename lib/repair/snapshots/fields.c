/* SPDX-License-Identifier: MIT */
/* Mends the fields of snapshot table entries, but for where their L1 tables are. */
#include "repair/snapshots/snapshots.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <qcow2/limits.h>
#include <qcow2/text.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/error.h"

#define EXTRA_DISK_SIZE_END 16
#define EXTRA_KNOWN         sizeof(struct qcow2_snapshot_extra)

int q2_snapshot_tell(struct q2_repair *repair, const struct q2_snapshot_entry *entry,
		     const struct q2_snapshot_step *told, const char *format, ...)
{
	char name[QCOW2_OWNER_NAME_MAX], id[32], what[160], does[320];
	struct qcow2_repair_step step = {
		.kind = qcow2_problem_kind_get(told->id),
		.does = does,
		.costs = told->costs,
		.has_guest = told->guest_length_bytes > 0,
		.guest_byte = told->guest_byte,
		.guest_length_bytes = told->guest_length_bytes,
		.guest_of = QCOW2_PART_OF_SNAPSHOT,
		.guest_of_index = entry->index,
		.before = told->before,
		.after = told->after,
	};
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(what, sizeof(what), format, arguments);
	va_end(arguments);
	qcow2_text_escape(entry->name, name, sizeof(name));
	qcow2_text_escape(entry->id, id, sizeof(id));
	snprintf(does, sizeof(does), "snapshot '%s' (ID %s) %s", name, id, what);
	snprintf(step.where, sizeof(step.where), "snapshots/%" PRIu64 "%s%s", entry->index,
		 told->field ? "/" : "", told->field ? told->field : "");
	qcow2_text_escape(entry->name, step.guest_of_name, sizeof(step.guest_of_name));
	return q2_repair_tell(repair, &step);
}

bool q2_snapshot_disk_size(const struct q2_repair *repair, const struct q2_snapshot_entry *entry,
			   uint64_t *size_bytes)
{
	*size_bytes = repair->header->size;
	if (entry->extra.size < EXTRA_DISK_SIZE_END)
		return false;
	*size_bytes =
		q2_load_be64(entry->extra.data + offsetof(struct qcow2_snapshot_extra, disk_size));
	return true;
}

static uint64_t vm_state_bytes(const struct q2_snapshot_entry *entry)
{
	return entry->extra.size >= 8 ? q2_load_be64(entry->extra.data)
				      : entry->header.vm_state_size;
}

uint64_t q2_snapshot_l1_needed(const struct q2_repair *repair,
			       const struct q2_snapshot_entry *entry)
{
	const struct qcow2_geometry *geometry = repair->geometry;
	uint64_t disk, state = vm_state_bytes(entry);

	q2_snapshot_disk_size(repair, entry, &disk);
	/* The saved state begins behind the last L1 entry of the disk. */
	return q2_div_ceil_u64(q2_div_ceil_u64(disk, geometry->cluster_size_bytes),
			       geometry->l2_entries) +
	       q2_div_ceil_u64(q2_div_ceil_u64(state, geometry->cluster_size_bytes),
			       geometry->l2_entries);
}

/* What the L1 table can map, at most: no disk of the snapshot was larger. */
static uint64_t l1_reach_bytes(const struct q2_repair *repair,
			       const struct q2_snapshot_entry *entry)
{
	uint64_t clusters = entry->header.l1_size * (uint64_t)repair->geometry->l2_entries;

	return clusters > UINT64_MAX >> repair->geometry->cluster_bits
		       ? UINT64_MAX
		       : clusters << repair->geometry->cluster_bits;
}

/* Replaces the extra data by the known part: the two fields that version 3 demands. */
static void make_extra(struct q2_snapshot_entry *entry, uint64_t disk_size_bytes)
{
	const struct qcow2_snapshot_extra extra = {.vm_state_size_large = vm_state_bytes(entry),
						   .disk_size = disk_size_bytes};

	qcow2_snapshot_extra_encode(&extra, entry->own_extra, sizeof(entry->own_extra));
	entry->extra = (struct qcow2_bytes){entry->own_extra, EXTRA_DISK_SIZE_END};
}

static int mend_extra_short(struct q2_repair *repair, struct q2_snapshot_entry *entry)
{
	const enum qcow2_problem_id id = QCOW2_PROBLEM_SNAPSHOT_EXTRA_SHORT;
	uint64_t active = repair->header->size, reach = l1_reach_bytes(repair, entry),
		 size = active;

	if (repair->header->version < 3 || entry->extra.size >= EXTRA_DISK_SIZE_END ||
	    !q2_repair_may(repair, id, false))
		return 0;
	if (entry->header.l1_size > 0 && entry->header.l1_size <= QCOW2_LIMIT_QEMU_L1_ENTRIES &&
	    reach < size)
		size = reach;
	make_extra(entry, size);
	return q2_snapshot_tell(repair, entry,
				&(struct q2_snapshot_step){.id = id, .field = "extra_data_size"},
				"gets %d bytes of extra data; its disk has %" PRIu64 " bytes, %s",
				EXTRA_DISK_SIZE_END, size,
				size == active ? "as the active one: nothing says otherwise"
					       : "as its L1 table can map no more");
}

static int mend_extra_long(struct q2_repair *repair, struct q2_snapshot_entry *entry)
{
	const enum qcow2_problem_id id = QCOW2_PROBLEM_SNAPSHOT_EXTRA_QEMU;
	size_t size = entry->extra.size;

	if (size <= QCOW2_LIMIT_QEMU_SNAPSHOT_EXTRA_BYTES)
		return 0;
	if (!q2_repair_may(repair, id, true)) {
		q2_repair_leave(repair, id,
				"what the extra data mean beyond byte %zu is not known here: "
				"cutting them gives that up",
				EXTRA_KNOWN);
		return 0;
	}
	entry->extra.size = EXTRA_KNOWN;
	return q2_snapshot_tell(
		repair, entry,
		&(struct q2_snapshot_step){.id = id, .field = "extra_data_size", .costs = true},
		"keeps %zu of its %zu bytes of extra data, all that are known", EXTRA_KNOWN, size);
}

static int mend_date(struct q2_repair *repair, struct q2_snapshot_entry *entry)
{
	const enum qcow2_problem_id id = QCOW2_PROBLEM_SNAPSHOT_DATE_NSEC;
	uint32_t nsec = entry->header.date_nsec;

	if (nsec <= QCOW2_LIMIT_DATE_NSEC_MAX || !q2_repair_may(repair, id, false))
		return 0;
	entry->header.date_nsec = 0;
	return q2_snapshot_tell(
		repair, entry, &(struct q2_snapshot_step){.id = id, .field = "date_nsec"},
		"was taken at a full second; %" PRIu32 " nanoseconds are none", nsec);
}

/* ---- IDs ---- */

static bool is_same(struct qcow2_bytes one, struct qcow2_bytes other)
{
	return one.size == other.size &&
	       (one.size == 0 || memcmp(one.data, other.data, one.size) == 0);
}

/* The highest ID that is a number; as QEMU, which gives the next one. */
static uint64_t highest_id(const struct q2_snapshot_table *table)
{
	uint64_t highest = 0;

	for (size_t i = 0; i < table->count; i++) {
		struct qcow2_bytes id = table->entries[i].id;
		uint64_t number = 0;

		for (size_t k = 0; k < id.size && k < 18; k++)
			number = id.data[k] >= '0' && id.data[k] <= '9'
					 ? number * 10 + (uint64_t)(id.data[k] - '0')
					 : 0;
		if (number > highest)
			highest = number;
	}
	return highest;
}

static void give_id(struct q2_snapshot_entry *entry, uint64_t number)
{
	int length = snprintf(entry->own_id, sizeof(entry->own_id), "%" PRIu64, number);

	entry->id = (struct qcow2_bytes){(const uint8_t *)entry->own_id, (size_t)length};
}

/* Whether an entry before has the same ID. */
static bool is_taken(const struct q2_snapshot_table *table, size_t at)
{
	for (size_t i = 0; i < at; i++)
		if (!table->entries[i].dropped &&
		    is_same(table->entries[i].id, table->entries[at].id))
			return true;
	return false;
}

/* Entries that are compared with all before: IDs that repeat are few in any image that is used. */
#define COMPARED_MOST 65536

static int mend_ids(struct q2_repair *repair, struct q2_snapshot_table *table)
{
	const enum qcow2_problem_id id = QCOW2_PROBLEM_SNAPSHOT_ID_DUPLICATE;
	uint64_t next = highest_id(table) + 1;

	if (!q2_repair_may(repair, id, true)) {
		q2_repair_leave(repair, id,
				"programs may know the snapshots by their IDs: names "
				"tell them apart as well");
		return 0;
	}
	for (size_t i = 1; i < table->count && i < COMPARED_MOST; i++) {
		struct q2_snapshot_entry *entry = &table->entries[i];

		if (entry->dropped || entry->id.size == 0 || !is_taken(table, i))
			continue;
		if (q2_snapshot_tell(
			    repair, entry,
			    &(struct q2_snapshot_step){.id = id, .field = "id", .costs = true},
			    "gets the ID %" PRIu64 ": another one has its ID", next) ||
		    qcow2_plan_intend(repair->plan, QCOW2_INTENT_SNAPSHOT_GONE, entry->id,
				      repair->err))
			return -1;
		give_id(entry, next++);
	}
	return 0;
}

void q2_snapshots_name_nameless(struct q2_snapshot_table *table)
{
	uint64_t next = highest_id(table) + 1;

	for (size_t i = 0; i < table->count; i++)
		if (table->entries[i].refitted && table->entries[i].id.size == 0)
			give_id(&table->entries[i], next++);
}

int q2_snapshots_mend_fields(struct q2_repair *repair, struct q2_snapshot_notes *notes)
{
	struct q2_snapshot_table *table = &notes->table;

	q2_snapshots_name_nameless(table);
	for (size_t i = 0; i < table->count; i++) {
		struct q2_snapshot_entry *entry = &table->entries[i];

		if (entry->dropped)
			continue;
		if (mend_extra_short(repair, entry) || mend_extra_long(repair, entry) ||
		    mend_date(repair, entry))
			return -1;
	}
	return notes->heard[QCOW2_PROBLEM_SNAPSHOT_ID_DUPLICATE] ? mend_ids(repair, table) : 0;
}
