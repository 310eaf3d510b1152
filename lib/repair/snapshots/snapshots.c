/* SPDX-License-Identifier: MIT */
/*
 * The doctor of the snapshot table ("Snapshots"), of its entries, and of where the L1 tables of
 * snapshots are. What an L1 table says is for the doctors of mappings. Snapshots are never dropped
 * unless they are named.
 */
#include "repair/snapshots/snapshots.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <qcow2/limits.h>

#include "base/alloc.h"
#include "base/error.h"

/* Orphaned L2 tables that are kept: of more, those beyond prove nothing. */
#define ORPHANS_MOST ((size_t)1 << 20)

#define OFFSET_AT offsetof(struct qcow2_header, snapshot_offset)

/* Which kinds of problems are this doctor's. */
static bool is_ours(enum qcow2_problem_id id)
{
	return (id >= QCOW2_PROBLEM_SNAPSHOTS_OFFSET && id <= QCOW2_PROBLEM_SNAPSHOT_DATE_NSEC) ||
	       id == QCOW2_PROBLEM_FEATURE_DATA_FILE_SNAPSHOTS;
}

static struct q2_snapshot_notes *notes_of(struct q2_repair *repair)
{
	void **notes = &repair->notes[Q2_DOCTOR_SNAPSHOTS];

	if (!*notes)
		*notes = q2_alloc(sizeof(struct q2_snapshot_notes));
	if (!*notes) {
		q2_fail_memory(repair->err);
		repair->failed = true;
	}
	return *notes;
}

static void note_orphan(struct q2_repair *repair, uint64_t offset_bytes)
{
	struct q2_snapshot_notes *notes = notes_of(repair);

	if (!notes || notes->orphan_count == ORPHANS_MOST)
		return;
	if (notes->orphan_count == notes->orphan_capacity) {
		size_t capacity = notes->orphan_capacity ? 2 * notes->orphan_capacity : 64;
		void *more = q2_realloc_array(notes->orphans, capacity, sizeof(*notes->orphans));

		if (!more) {
			q2_fail_memory(repair->err);
			repair->failed = true;
			return;
		}
		notes->orphans = more;
		notes->orphan_capacity = capacity;
	}
	notes->orphans[notes->orphan_count++] = offset_bytes;
}

static void hear(struct q2_repair *repair, const struct qcow2_problem *problem)
{
	enum qcow2_problem_id id = (enum qcow2_problem_id)problem->kind->number;
	struct q2_snapshot_notes *notes;

	if (id == QCOW2_PROBLEM_L2_TABLE_ORPHANED)
		note_orphan(repair, problem->offset_bytes);
	if (!is_ours(id))
		return;
	notes = notes_of(repair);
	if (notes)
		notes->heard[id] = true;
}

/* ---- the table as a whole ---- */

/* An offset that matters to nobody, as there are no snapshots. */
static int clear_offset(struct q2_repair *repair)
{
	const enum qcow2_problem_id id = QCOW2_PROBLEM_SNAPSHOTS_OFFSET;

	if (!q2_repair_may(repair, id, false))
		return 0;
	if (q2_repair_write_number(repair, QCOW2_PHASE_POINT, OFFSET_AT, 0, 8,
				   "there are no snapshots"))
		return -1;
	return q2_repair_tell(repair, &(struct qcow2_repair_step){
					      .kind = qcow2_problem_kind_get(id),
					      .where = "header/snapshot_offset",
					      .does = "clears the offset of the snapshot table: "
						      "there are no snapshots",
				      });
}

/* Reads the table where its entries are: at the offset, or at the start of the cluster. */
static int read_table(struct q2_repair *repair, struct q2_snapshot_notes *notes)
{
	uint64_t offset = repair->header->snapshot_offset;
	uint64_t aligned = offset - offset % repair->geometry->cluster_size_bytes;

	/* The header is no table, whatever its bytes look like. */
	if (offset == 0) {
		notes->table = (struct q2_snapshot_table){.is_reformed = true};
		return 0;
	}
	if (q2_snapshot_table_read(repair, offset, &notes->table))
		return -1;
	if (aligned == offset || aligned == 0 ||
	    q2_snapshot_score(repair, &notes->table, 0) >= Q2_SNAPSHOT_LIKELY)
		return 0;
	q2_snapshot_table_release(&notes->table);
	return q2_snapshot_table_read(repair, aligned, &notes->table);
}

/* The kind of problem that a table written anew mends. */
static enum qcow2_problem_id table_problem(const struct q2_snapshot_notes *notes)
{
	static const enum qcow2_problem_id kinds[] = {
		QCOW2_PROBLEM_SNAPSHOTS_OFFSET,       QCOW2_PROBLEM_SNAPSHOTS_BEYOND_END,
		QCOW2_PROBLEM_SNAPSHOTS_COUNT_QEMU,   QCOW2_PROBLEM_SNAPSHOT_EXTRA_QEMU,
		QCOW2_PROBLEM_SNAPSHOT_EXTRA_SHORT,   QCOW2_PROBLEM_SNAPSHOT_L1_OFFSET,
		QCOW2_PROBLEM_SNAPSHOT_L1_BEYOND_END, QCOW2_PROBLEM_SNAPSHOT_L1_TOO_LARGE,
		QCOW2_PROBLEM_SNAPSHOT_L1_TOO_SMALL,  QCOW2_PROBLEM_SNAPSHOT_TEXT,
		QCOW2_PROBLEM_SNAPSHOT_ID_DUPLICATE,  QCOW2_PROBLEM_SNAPSHOT_DATE_NSEC,
	};

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (notes->heard[kinds[i]])
			return kinds[i];
	return QCOW2_PROBLEM_NONE;
}

/*
 * Whether snapshots would be given up: no entry is found anywhere, or fewer than the header counts,
 * and nothing says that the count is wrong or the end of the file cuts the table.
 */
static bool is_lost(const struct q2_repair *repair, const struct q2_snapshot_notes *notes)
{
	bool cut = notes->heard[QCOW2_PROBLEM_SNAPSHOTS_OFFSET] ||
		   notes->heard[QCOW2_PROBLEM_SNAPSHOTS_BEYOND_END];

	if (notes->table.count == 0 && cut)
		return true;
	return notes->table.count < repair->header->nb_snapshots && !cut &&
	       !notes->heard[QCOW2_PROBLEM_SNAPSHOTS_COUNT_QEMU];
}

static int tell_table(struct q2_repair *repair, const struct q2_snapshot_notes *notes, bool costs)
{
	char does[200];
	uint64_t had = repair->header->nb_snapshots;
	size_t has = notes->table.count;

	if (has < had)
		snprintf(does, sizeof(does),
			 "writes the snapshot table anew: %zu of the %" PRIu64
			 " snapshots that the header counts are in the file",
			 has, had);
	else
		snprintf(does, sizeof(does), "writes the snapshot table anew, all %zu snapshots",
			 has);
	return q2_repair_tell(repair, &(struct qcow2_repair_step){
					      .kind = qcow2_problem_kind_get(table_problem(notes)),
					      .where = "snapshots",
					      .does = does,
					      .costs = costs,
				      });
}

/* A name of no bytes; without data it would be any name. */
static const struct qcow2_bytes empty_name = {(const uint8_t *)"", 0};

/* Entries up to this many are compared with those that are found. */
#define COMPARED_MOST 4096

static bool is_same(struct qcow2_bytes one, struct qcow2_bytes other)
{
	return one.size == other.size &&
	       (one.size == 0 || memcmp(one.data, other.data, one.size) == 0);
}

static bool is_found(const struct q2_snapshot_table *table, const struct qcow2_snapshot *snapshot)
{
	for (size_t i = 0; i < table->count; i++)
		if (is_same(table->entries[i].id, snapshot->id) &&
		    is_same(table->entries[i].name, snapshot->name))
			return true;
	return false;
}

/*
 * What programs took for entries where lengths or the count were wrong are none: their names go,
 * which nobody gave.
 */
static int intend_names(struct q2_repair *repair, const struct q2_snapshot_table *table)
{
	static const struct qcow2_bytes any = {NULL, 0};
	const struct qcow2_snapshot *snapshot;
	struct qcow2_snapshots *snapshots;
	int more = 0, failed = 0;
	/* The bytes of the header, which a repair changes, are no names. */
	bool all = table->count > COMPARED_MOST || repair->header->snapshot_offset == 0;

	if (qcow2_snapshots_open(repair->image, &snapshots, repair->err))
		return q2_is_fault(repair->err) ? -1 : 0;
	for (unsigned i = 0; !all && !failed; i++) {
		more = qcow2_snapshots_next(snapshots, &snapshot, repair->err);
		if (more <= 0)
			break;
		all = i == COMPARED_MOST;
		if (!is_found(table, snapshot))
			failed = qcow2_plan_intend(repair->plan, QCOW2_INTENT_SNAPSHOT_GONE,
						   snapshot->id.size ? snapshot->id : empty_name,
						   repair->err);
	}
	if (all && !failed)
		failed = qcow2_plan_intend(repair->plan, QCOW2_INTENT_SNAPSHOT_GONE, any,
					   repair->err);
	qcow2_snapshots_close(snapshots);
	return failed || more < 0 ? -1 : 0;
}

/* Whether the table may be written as it was found; says why if it is left. */
static bool may_reform(struct q2_repair *repair, const struct q2_snapshot_notes *notes)
{
	const struct q2_snapshot_table *table = &notes->table;
	enum qcow2_problem_id id = table_problem(notes);

	if (table->is_cut) {
		q2_repair_leave(repair, QCOW2_PROBLEM_SNAPSHOTS_COUNT_QEMU,
				"the table is longer than what is read of it");
		return false;
	}
	if (id == QCOW2_PROBLEM_NONE)
		return false;
	if (q2_repair_may(repair, id, is_lost(repair, notes)))
		return true;
	if (is_lost(repair, notes))
		q2_repair_leave(repair, id,
				notes->table.count > 0
					? "an entry is lost: its snapshot would be given up"
					: "no snapshot table is found: without it, the snapshots "
					  "are given up");
	return false;
}

/* ---- */

/* What is left of kinds that nothing here mends. */
static void leave(struct q2_repair *repair, const struct q2_snapshot_notes *notes)
{
	static const struct {
		enum qcow2_problem_id id;
		bool drop;
		const char *why;
	} rows[] = {
		{QCOW2_PROBLEM_FEATURE_DATA_FILE_SNAPSHOTS, true,
		 "the snapshots have to be dropped, one by one: the data file has changed since"},
		{QCOW2_PROBLEM_SNAPSHOTS_COUNT_QEMU, true,
		 "the snapshots are all there: only QEMU has this limit, and dropping some mends "
		 "it"},
		{QCOW2_PROBLEM_SNAPSHOT_TEXT, false,
		 "another name would be no better known: nothing but people reads it"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (!notes->heard[rows[i].id])
			continue;
		q2_repair_leave(repair, rows[i].id, "%s", rows[i].why);
		repair->why[rows[i].id].wants_drop |= rows[i].drop;
	}
}

static int mend_table(struct q2_repair *repair, struct q2_snapshot_notes *notes)
{
	struct q2_snapshot_table *table = &notes->table;
	uint64_t old = repair->header->snapshot_offset;
	bool drops = repair->options->drop_count > 0 && !repair->snapshots_dropped;

	if (read_table(repair, notes))
		return -1;
	if (drops && q2_snapshots_drop(repair, table))
		return -1;
	repair->snapshots_dropped = true;
	leave(repair, notes);
	if (table->is_reformed || table->offset_bytes != old ||
	    notes->heard[QCOW2_PROBLEM_SNAPSHOTS_OFFSET]) {
		if (may_reform(repair, notes)) {
			q2_snapshots_name_nameless(table);
			if (tell_table(repair, notes, is_lost(repair, notes)) ||
			    intend_names(repair, table))
				return -1;
		} else if (!drops) {
			repair->is_header_claimed = old == 0;
			return 0;
		}
	}
	if (q2_snapshots_mend_fields(repair, notes) || q2_snapshots_mend_l1s(repair, notes))
		return -1;
	return q2_snapshot_table_store(repair, table);
}

static int mend(struct q2_repair *repair)
{
	struct q2_snapshot_notes *notes = notes_of(repair);
	bool drops = repair->options->drop_count > 0 && !repair->snapshots_dropped;

	if (!notes)
		return -1;
	if (!drops && table_problem(notes) == QCOW2_PROBLEM_NONE &&
	    (repair->found->by_kind[QCOW2_PROBLEM_CLUSTER_OWNERS] == 0 ||
	     repair->options->extent == QCOW2_REPAIR_LEAKS) &&
	    !notes->heard[QCOW2_PROBLEM_FEATURE_DATA_FILE_SNAPSHOTS])
		return 0;
	if (repair->header->nb_snapshots > 0) {
		const size_t before = qcow2_plan_count(repair->plan);

		if (mend_table(repair, notes))
			return -1;
		/* What a damaged table claimed must not make others move. */
		repair->begin_again = qcow2_plan_count(repair->plan) != before;
		return 0;
	}
	if (drops && q2_snapshots_drop(repair, &notes->table))
		return -1;
	return notes->heard[QCOW2_PROBLEM_SNAPSHOTS_OFFSET] ? clear_offset(repair) : 0;
}

static void forget(struct q2_repair *repair)
{
	struct q2_snapshot_notes *notes = repair->notes[Q2_DOCTOR_SNAPSHOTS];

	if (!notes)
		return;
	q2_snapshot_table_release(&notes->table);
	q2_free(notes->orphans);
	q2_free(notes);
}

const struct q2_doctor q2_doctor_snapshots = {hear, mend, forget};
