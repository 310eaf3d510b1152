/* SPDX-License-Identifier: MIT */
/*
 * Guards of what has several users: a write for one of them changes what the others have. There are
 * two such things. One is a cluster that is used for two things. The other is an L2 table that
 * several L1 entries lead to, as those of a snapshot and of the active image.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <qcow2/entry.h>
#include <qcow2/mapping.h>

#include "base/error.h"
#include "guards/guards.h"
#include "guards/touched.h"
#include "plan/plan.h"

#define TABLES_MOST ((size_t)1 << 22)

/* Whether a user of a cluster is an entry of an L2 table: "l2/5/17", "snapshots/0/l2/5/17". */
static bool is_guest_data(const struct qcow2_owner *owner)
{
	const char *l2 = strstr(owner->where, "l2/");

	return l2 && strchr(l2 + 3, '/');
}

/*
 * Whether a guest can read what an entry leads to. Of an entry that is broken itself, no program
 * reads anything, nor of one past the end of the disk.
 */
static bool is_read(const struct q2_trial *trial, const struct qcow2_owner *owner)
{
	const struct qcow2_mapping_extent *extent;
	struct qcow2_mapping *mapping;
	struct qcow2_error ignored;
	bool read = false;
	int failed;

	if (!owner->has_guest || owner->guest_count > 1)
		return true;
	failed = owner->part_of == QCOW2_PART_OF_SNAPSHOT
			 ? qcow2_mapping_open_snapshot(trial->after, owner->part_of_index, &mapping,
						       &ignored)
			 : qcow2_mapping_open(trial->after, &mapping, &ignored);
	if (failed)
		return true;
	qcow2_mapping_seek(mapping, (struct qcow2_guest){owner->guest_byte},
			   owner->guest_length_bytes);
	while (!read && (failed = qcow2_mapping_next(mapping, &extent, &ignored)) > 0)
		read = extent->kind == QCOW2_L2_DATA || extent->kind == QCOW2_L2_COMPRESSED;
	qcow2_mapping_close(mapping);
	return read || failed < 0;
}

/*
 * Whether a repair may write to such a cluster. It had to leave the cluster shared, and what users
 * besides the guest have there is as damaged as before.
 */
static bool is_repairable(const struct q2_trial *trial, const struct qcow2_problem *problem)
{
	uint64_t named = 0;

	for (unsigned i = 0; trial->repairs && i < problem->owner_count; i++) {
		const struct qcow2_owner *owner = problem->owners[i];

		if (is_guest_data(owner) && is_read(trial, owner))
			return false;
		named += owner->has_guest ? owner->guest_count : 1;
	}
	return trial->repairs && named >= problem->owners_total;
}

void q2_guards_shared_cluster(struct q2_trial *trial, const struct qcow2_problem *problem)
{
	const struct qcow2_geometry *geometry = qcow2_image_geometry(trial->after);
	char text[QCOW2_REFUSAL_TEXT];

	if (!geometry || !q2_plan_touches(trial->plan, problem->cluster_offset_bytes,
					  geometry->cluster_size_bytes))
		return;
	/* A repair changes the header, whatever else claims its place. */
	if ((trial->repairs && problem->cluster_offset_bytes == 0) || is_repairable(trial, problem))
		return;
	snprintf(text, sizeof(text), "%s and %s, at 0x%" PRIx64,
		 problem->owner_count > 0 ? problem->owners[0]->where : "one",
		 problem->owner_count > 1 ? problem->owners[1]->where : "another",
		 problem->cluster_offset_bytes);
	q2_guard_refuse(trial, QCOW2_GUARD_SHARED_CLUSTER, problem->where, text,
			(struct qcow2_bytes){NULL, 0});
}

/* ---- L2 tables ---- */

/* Compares the tables that the plan writes to. */
struct survey {
	struct q2_trial *trial;
	const struct qcow2_geometry *geometry;
	struct qcow2_table *before, *after; /* readers */
	struct q2_name_set tables;          /* by offset; with bit 0 set: seen a second time */
	bool dirty;                         /* the bit is set before and after */
};

/*
 * Sets *changed if the plan changes a table of `count` words. The copied flag, in the first word of
 * each entry, does not count: it says nothing of the contents.
 */
static int is_changed(struct survey *survey, uint64_t offset, uint64_t count, unsigned words,
		      bool *changed)
{
	struct qcow2_error *err = survey->trial->err;
	const uint64_t copied = QCOW2_ENTRY_MASK(l2_entry, copied);
	uint64_t there = qcow2_table_begin(survey->before, offset, count), old, new;
	struct q2_touched_words part = {0, 0};

	*changed = false;
	if (qcow2_table_begin(survey->after, offset, count) < there)
		return 0;
	while (!*changed && q2_next_touched_words(survey->trial->plan, offset, there, &part))
		for (uint64_t i = part.first; i < part.end && !*changed; i++) {
			if (qcow2_table_entry(survey->before, i, &old, err) ||
			    qcow2_table_entry(survey->after, i, &new, err))
				return -1;
			*changed = ((old ^ new) & ~(i % words == 0 ? copied : 0)) != 0;
		}
	return 0;
}

static int ask_of_table(struct survey *survey, uint64_t offset, enum qcow2_guard_id guard)
{
	const struct qcow2_geometry *geometry = survey->geometry;
	char where[QCOW2_REFUSAL_WHERE];
	bool changed;

	if (is_changed(survey, offset, geometry->cluster_size_bytes / 8,
		       geometry->l2_entry_bytes / 8, &changed))
		return -1;
	if (!changed)
		return 0;
	snprintf(where, sizeof(where), "0x%" PRIx64, offset);
	q2_guard_refuse(survey->trial, guard, "l2", where, (struct qcow2_bytes){NULL, 0});
	return 0;
}

/* Hears of an L1 entry that leads to a table which the plan writes to. */
static int see_table(void *opaque, uint64_t offset)
{
	struct survey *survey = opaque;
	uint64_t earlier;

	if (q2_name_set_insert(&survey->tables, offset, 0, &earlier) == QCOW2_ERROR_MEMORY)
		return q2_fail_memory(survey->trial->err);
	if (earlier == Q2_NAME_SET_NEW)
		return survey->dirty ? ask_of_table(survey, offset, QCOW2_GUARD_DIRTY_IMAGE) : 0;
	/* The second entry that leads to the table; from the third on, it has been told. */
	if (q2_name_set_insert(&survey->tables, offset | 1, 1, &earlier) == QCOW2_ERROR_MEMORY)
		return q2_fail_memory(survey->trial->err);
	return earlier == Q2_NAME_SET_NEW ? ask_of_table(survey, offset, QCOW2_GUARD_SHARED_TABLE)
					  : 0;
}

/* Hears of an L1 table of a dirty image that the plan writes to. */
static int see_l1(void *opaque, uint64_t offset, uint64_t count)
{
	struct survey *survey = opaque;
	bool changed;

	if (is_changed(survey, offset, count, 1, &changed))
		return -1;
	if (changed)
		q2_guard_refuse(survey->trial, QCOW2_GUARD_DIRTY_IMAGE, "l1", "",
				(struct qcow2_bytes){NULL, 0});
	return 0;
}

int q2_guards_shared_tables(struct q2_trial *trial)
{
	const struct qcow2_header *header = qcow2_image_header(trial->before);
	const struct qcow2_geometry *geometry = qcow2_image_geometry(trial->before);
	const struct qcow2_geometry *now = qcow2_image_geometry(trial->after);
	struct survey survey = {.trial = trial, .geometry = geometry};
	struct q2_touched_tables told = {.opaque = &survey, .l2 = see_table};
	int failed;

	/* A repair mends a table for all that use it, and says so for each of them. */
	if (trial->repairs)
		return 0;
	/* Another guard refuses a change of the form of tables. */
	if (!geometry || !now || geometry->l2_entry_bytes != now->l2_entry_bytes ||
	    geometry->cluster_bits != now->cluster_bits)
		return 0;
	survey.dirty = (header->incompatible_features &
			qcow2_image_header(trial->after)->incompatible_features &
			QCOW2_INCOMPATIBLE_DIRTY) != 0;
	if (survey.dirty)
		told.l1 = see_l1;
	q2_name_set_init(&survey.tables, TABLES_MOST);
	failed = qcow2_table_open(trial->before, &survey.before, trial->err) ||
		 qcow2_table_open(trial->after, &survey.after, trial->err) ||
		 q2_each_touched_table(trial->before, trial->plan, &told, trial->err);
	qcow2_table_close(survey.before);
	qcow2_table_close(survey.after);
	q2_name_set_release(&survey.tables);
	return failed ? -1 : 0;
}
