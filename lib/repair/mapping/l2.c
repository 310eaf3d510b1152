/* SPDX-License-Identifier: MIT */
/*
 * Doctor of L2 entries ("Cluster mapping", "Extended L2 Entries"). Keeps which tables have faulty
 * entries, reads each of them twice: to ask what has to be known, and to mend.
 */
#include "repair/repair.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/error.h"
#include "repair/mapping/l2_table.h"

/* The most tables of a round; others wait for the next one. */
#define TABLES_MOST ((size_t)1 << 20)

struct notes {
	struct q2_l2_sick *tables;
	size_t count, capacity;
	bool heard[Q2_PROBLEM_NUMBERS];
	struct qcow2_repair_step unmapped; /* of a raw data file, if its kind is not NULL */
};

/* Why problems are left that no rule of an entry decides. */
static void leave_others(struct q2_repair *repair, enum qcow2_problem_id id)
{
	switch ((unsigned)id) {
	case QCOW2_PROBLEM_L2_ENTRY_BEYOND_SIZE:
		q2_repair_leave(repair, id,
				"nothing is wrong with the clusters: they may be data of a disk "
				"that was larger");
		break;
	case QCOW2_PROBLEM_L2_TABLE_EMPTY:
	case QCOW2_PROBLEM_L2_ENTRIES_EMPTY:
	case QCOW2_PROBLEM_L1_TABLE_EMPTY:
	case QCOW2_PROBLEM_L2_TABLE_ORPHANED:
	case QCOW2_PROBLEM_L2_TABLE_FREED:
		q2_repair_leave(repair, id,
				"what was mapped has to be found first: qcow2 rescue looks for it");
		break;
	case QCOW2_PROBLEM_COMPRESSED_INFLATE:
		q2_repair_leave(repair, id, "the data is damaged, and no entry can mend it");
		break;
	}
}

static bool is_mine(enum qcow2_problem_id id)
{
	for (const enum qcow2_problem_id *mine = q2_l2_kinds; *mine != QCOW2_PROBLEM_NONE; mine++)
		if (*mine == id)
			return true;
	return false;
}

static int by_offset(const void *left, const void *right)
{
	const struct q2_l2_sick *a = left, *b = right;

	return a->offset_bytes < b->offset_bytes ? -1 : a->offset_bytes > b->offset_bytes;
}

static int add(struct q2_repair *repair, struct notes *notes, const struct q2_l2_sick *sick)
{
	if (notes->count == notes->capacity) {
		size_t more = notes->capacity ? notes->capacity * 2 : 64;
		void *larger = q2_realloc_array(notes->tables, more, sizeof(*notes->tables));

		if (!larger)
			return q2_fail_memory(repair->err);
		notes->tables = larger;
		notes->capacity = more;
	}
	notes->tables[notes->count++] = *sick;
	return 0;
}

/* Notes that a raw data file does not read like the disk. Ranges are counted. */
static void note_unmapped(struct notes *notes, const struct qcow2_problem *problem)
{
	if (notes->unmapped.kind)
		notes->unmapped.count++;
	else
		notes->unmapped = q2_repair_step_of(problem, "");
}

/* Notes the table of a problem. Those of one table come one after the other. */
static void hear(struct q2_repair *repair, const struct qcow2_problem *problem)
{
	enum qcow2_problem_id id = (enum qcow2_problem_id)problem->kind->number;
	struct notes *notes = repair->notes[Q2_DOCTOR_L2];
	struct q2_fault_place place;
	struct q2_l2_sick sick;

	leave_others(repair, id);
	if (id != QCOW2_PROBLEM_DATA_FILE_RAW_UNMAPPED &&
	    (!is_mine(id) || !q2_faults_read_place(problem->where, true, &place)))
		return;
	if (!notes)
		repair->notes[Q2_DOCTOR_L2] = notes = q2_alloc(sizeof(*notes));
	if (!notes) {
		q2_fail_memory(repair->err);
		repair->failed = true;
		return;
	}
	notes->heard[id] = true;
	if (id == QCOW2_PROBLEM_DATA_FILE_RAW_UNMAPPED) {
		note_unmapped(notes, problem);
		return;
	}
	sick = (struct q2_l2_sick){
		.offset_bytes =
			problem->offset_bytes - place.entry * repair->geometry->l2_entry_bytes,
		.shared_by = problem->has_guest ? problem->guest_count : 1,
		.list = place.list,
		.l1_index = (uint32_t)place.l1_index,
	};
	if (notes->count > 0 && notes->tables[notes->count - 1].offset_bytes == sick.offset_bytes)
		return;
	if (notes->count < TABLES_MOST && add(repair, notes, &sick))
		repair->failed = true;
}

static void leave_all(struct q2_repair *repair, const char *why)
{
	const struct notes *notes = repair->notes[Q2_DOCTOR_L2];

	for (const enum qcow2_problem_id *id = q2_l2_kinds; *id != QCOW2_PROBLEM_NONE; id++)
		if (notes->heard[*id] && q2_repair_may(repair, *id, false))
			q2_repair_leave(repair, *id, "%s", why);
}

/* Tables that programs refuse to read stay as they are: their bytes belong to something else. */
static size_t drop_unaligned(struct q2_repair *repair, struct notes *notes)
{
	size_t kept = 0;

	qsort(notes->tables, notes->count, sizeof(*notes->tables), by_offset);
	for (size_t i = 0; i < notes->count; i++)
		if (notes->tables[i].offset_bytes % repair->geometry->cluster_size_bytes == 0)
			notes->tables[kept++] = notes->tables[i];
	if (kept < notes->count)
		leave_all(repair, "the L2 table is not where an L2 table can be");
	return kept;
}

/* Mends a table that nothing keeps from being written. */
static int mend_table(struct q2_l2_mender *mender, const struct q2_l2_sick *sick)
{
	bool apart = false;

	if (mender->repair->geometry->data_file && sick->shared_by > 1 &&
	    q2_l2_apart(mender, sick, &apart))
		return -1;
	return apart ? 0 : q2_l2_mender_mend(mender, sick);
}

static int mend_tables(struct q2_l2_mender *mender, const struct notes *notes)
{
	for (size_t i = 0; i < notes->count; i++)
		if (q2_l2_mender_ask(mender, &notes->tables[i]))
			return -1;
	if (q2_uses_walk(&mender->uses) || q2_l2_users_find(&mender->users))
		return -1;
	for (size_t i = 0; i < notes->count; i++) {
		if (q2_uses_contests(&mender->uses, notes->tables[i].offset_bytes)) {
			leave_all(mender->repair,
				  "something else uses the cluster of the L2 table");
			continue;
		}
		if (notes->tables[i].shared_by > 1 && mender->users.stopped) {
			leave_all(mender->repair, "too many L1 entries share the L2 table");
			continue;
		}
		if (mend_table(mender, &notes->tables[i]))
			return -1;
	}
	return q2_teller_flush(&mender->teller);
}

/*
 * The data file alone does not read like the disk, so the image must not say that it does. Mapping
 * the clusters would let the guest read what the data file holds there, instead of zeros.
 */
static int mend_unmapped(struct q2_repair *repair, struct notes *notes)
{
	uint8_t bytes[8];

	if (!notes->unmapped.kind ||
	    !q2_repair_may(repair, QCOW2_PROBLEM_DATA_FILE_RAW_UNMAPPED, false))
		return 0;
	notes->unmapped.does = "says that the data file does not read like the disk by itself";
	if (q2_repair_tell(repair, &notes->unmapped) ||
	    q2_plan_read(repair->plan, offsetof(struct qcow2_header, autoclear_features), bytes,
			 sizeof(bytes), repair->err))
		return -1;
	return q2_plan_autoclear(repair->plan, QCOW2_PHASE_CLEAN,
				 q2_load_be64(bytes) & ~(uint64_t)QCOW2_AUTOCLEAR_DATA_FILE_RAW,
				 notes->unmapped.does, repair->err);
}

static int mend(struct q2_repair *repair)
{
	struct notes *notes = repair->notes[Q2_DOCTOR_L2];
	struct q2_l2_mender mender;
	int failed;

	if (notes && mend_unmapped(repair, notes))
		return -1;
	if (!notes || notes->count == 0)
		return 0;
	notes->count = drop_unaligned(repair, notes);
	if (notes->count == 0)
		return 0;
	failed = q2_l2_mender_init(&mender, repair) || mend_tables(&mender, notes);
	q2_l2_mender_release(&mender);
	return failed ? -1 : 0;
}

static void forget(struct q2_repair *repair)
{
	struct notes *notes = repair->notes[Q2_DOCTOR_L2];

	if (notes)
		q2_free(notes->tables);
	q2_free(notes);
}

const struct q2_doctor q2_doctor_l2 = {hear, mend, forget};
