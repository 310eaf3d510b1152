/* SPDX-License-Identifier: MIT */
/* Which snapshots are dropped: those that the caller names by ID, by name, or as "#N". */
#include "repair/snapshots/snapshots.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <qcow2/text.h>

#include "base/error.h"
#include "base/number.h"
#include "repair/result.h"

/* What a name may mean. */
struct match {
	size_t count; /* of snapshots that are meant */
	size_t first; /* the place of the first in the list */
};

static bool is_text(struct qcow2_bytes bytes, const char *text)
{
	size_t size = strlen(text);

	return bytes.size == size && memcmp(bytes.data, text, size) == 0;
}

static void note(struct match *match, size_t at)
{
	if (match->count++ == 0)
		match->first = at;
}

/* "#N" as a number; UINT64_MAX if it is none. */
static uint64_t place_of(const char *wanted)
{
	uint64_t place;

	return wanted[0] == '#' && q2_index_parse(wanted + 1, strlen(wanted + 1), &place)
		       ? place
		       : UINT64_MAX;
}

/* An ID wins over a name. A place that is the name of another snapshot is ambiguous. */
static struct match find(const struct q2_snapshot_table *table, const char *wanted)
{
	struct match by_id = {0, 0}, by_name = {0, 0};
	uint64_t place = place_of(wanted);

	for (size_t i = 0; i < table->count; i++) {
		const struct q2_snapshot_entry *entry = &table->entries[i];
		bool is_there = entry->index == place;

		if (is_there || is_text(entry->id, wanted))
			note(&by_id, i);
		if (is_there || is_text(entry->name, wanted))
			note(&by_name, i);
	}
	if (place != UINT64_MAX)
		return by_name.count > by_id.count ? by_name : by_id;
	return by_id.count > 0 ? by_id : by_name;
}

/* Appends "#0 (ID 1, 'one')" for each snapshot that is meant, or for all. */
static void list(const struct q2_snapshot_table *table, const char *wanted, struct qcow2_error *err)
{
	size_t used = strlen(err->text), shown = 0, total = 0;
	char id[40], name[80];

	for (size_t i = 0; i < table->count; i++) {
		const struct q2_snapshot_entry *entry = &table->entries[i];
		char line[160];
		int length;

		if (wanted && !is_text(entry->id, wanted) && !is_text(entry->name, wanted) &&
		    entry->index != place_of(wanted))
			continue;
		total++;
		qcow2_text_escape(entry->id, id, sizeof(id));
		qcow2_text_escape(entry->name, name, sizeof(name));
		length = snprintf(line, sizeof(line), "%s#%" PRIu64 " (ID %s, '%s')",
				  total == 1 ? "" : ", ", entry->index, id, name);
		if (shown + 1 < total || length < 0 ||
		    (size_t)length + 24 >= sizeof(err->text) - used)
			continue;
		memcpy(err->text + used, line, (size_t)length + 1);
		used += (size_t)length;
		shown++;
	}
	if (shown < total)
		snprintf(err->text + used, sizeof(err->text) - used, " and %zu more",
			 total - shown);
}

static int fail(struct q2_repair *repair, const struct q2_snapshot_table *table, const char *wanted,
		size_t count)
{
	char shown[128];

	qcow2_text_escape((struct qcow2_bytes){(const uint8_t *)wanted, strlen(wanted)}, shown,
			  sizeof(shown));
	if (table->count == 0)
		return q2_fail(repair->err, QCOW2_ERROR_NOT_FOUND, QCOW2_NO_OFFSET,
			       "no snapshot has the ID or name '%.80s'; the image has no snapshots",
			       shown);
	if (count == 0)
		q2_fail(repair->err, QCOW2_ERROR_NOT_FOUND, QCOW2_NO_OFFSET,
			"no snapshot has the ID or name '%.80s'; there are ", shown);
	else
		q2_fail(repair->err, QCOW2_ERROR_NOT_FOUND, QCOW2_NO_OFFSET,
			"more than one snapshot is called '%.80s'; say which: ", shown);
	list(table, count == 0 ? NULL : wanted, repair->err);
	return -1;
}

/* The step has the first kind of problem that the snapshots have: that is why they are dropped. */
static enum qcow2_problem_id reason(const struct q2_repair *repair)
{
	const struct q2_check_totals *before = &repair->result->before;

	if (before->by_kind[QCOW2_PROBLEM_FEATURE_DATA_FILE_SNAPSHOTS] > 0)
		return QCOW2_PROBLEM_FEATURE_DATA_FILE_SNAPSHOTS;
	for (unsigned id = QCOW2_PROBLEM_SNAPSHOTS_OFFSET; id <= QCOW2_PROBLEM_SNAPSHOT_DATE_NSEC;
	     id++)
		if (before->by_kind[id] > 0)
			return (enum qcow2_problem_id)id;
	return QCOW2_PROBLEM_SNAPSHOTS_COUNT_QEMU;
}

static int drop(struct q2_repair *repair, struct q2_snapshot_entry *entry)
{
	enum qcow2_problem_id id = reason(repair);
	bool gave_up = repair->gave_up;

	entry->dropped = true;
	if (qcow2_plan_intend(repair->plan, QCOW2_INTENT_SNAPSHOT_GONE, entry->id, repair->err))
		return -1;
	if (q2_snapshot_tell(repair, entry, &(struct q2_snapshot_step){.id = id, .costs = true},
			     "is dropped; what only it uses becomes free"))
		return -1;
	/* Somebody asked for it: what only it uses is no lost data. */
	repair->gave_up = gave_up;
	return 0;
}

/* The table has its entries in the order of their indexes. */
static int remember(struct q2_repair *repair, const struct q2_snapshot_table *table)
{
	repair->dropped_in = repair->round;
	for (size_t i = 0; i < table->count; i++)
		if (table->entries[i].dropped &&
		    q2_vector_push(&repair->dropped, &table->entries[i].index))
			return q2_fail_memory(repair->err);
	return 0;
}

int q2_snapshots_drop(struct q2_repair *repair, struct q2_snapshot_table *table)
{
	const struct qcow2_repair_options *options = repair->options;

	/* All of them first: a wrong one changes nothing. */
	for (size_t i = 0; i < options->drop_count; i++) {
		struct match match = find(table, options->drop_snapshots[i]);

		if (match.count != 1)
			return fail(repair, table, options->drop_snapshots[i], match.count);
	}
	for (size_t i = 0; i < options->drop_count; i++) {
		struct match match = find(table, options->drop_snapshots[i]);

		if (!table->entries[match.first].dropped &&
		    drop(repair, &table->entries[match.first]))
			return -1;
	}
	return remember(repair, table);
}
