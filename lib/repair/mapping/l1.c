/* SPDX-License-Identifier: MIT */
/*
 * Doctor of L1 tables ("Cluster mapping"): where the active one is (l1_place.c), and the entries of
 * all. Keeps which tables have faulty entries; those of one table are written at once.
 */
#include "repair/repair.h"

#include <string.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/error.h"
#include "format/l2_table.h"
#include "format/problems.h"
#include "image/guest.h"
#include "repair/mapping/l1_place.h"
#include "repair/mapping/l2_tell.h"

/* Entries of a table that are mended, and written, at once: those of so many bytes. */
#define PIECE_BYTES ((size_t)1 << 18)

/* A table with faulty entries, the first and the last of them. */
struct sick {
	uint64_t offset, first, last;
	uint32_t list;
};

struct notes {
	struct q2_l1_place place;
	struct sick *tables;
	size_t count, capacity;
	bool heard[Q2_PROBLEM_NUMBERS];
};

/* The work on entries. */
struct mender {
	struct q2_repair *repair;
	const struct notes *notes;
	struct q2_entries entries;
	struct q2_uses uses;
	struct q2_teller teller;
	uint8_t *piece;
	uint8_t *cluster;
};

/* An entry. */
struct at {
	const struct sick *sick;
	uint64_t index, entry;
};

static bool is_mine(enum qcow2_problem_id id)
{
	for (const enum qcow2_problem_id *mine = q2_l1_kinds; *mine != QCOW2_PROBLEM_NONE; mine++)
		if (*mine == id)
			return true;
	return false;
}

static int add(struct q2_repair *repair, struct notes *notes, const struct sick *sick)
{
	if (notes->count == notes->capacity) {
		size_t more = notes->capacity ? notes->capacity * 2 : 8;
		void *larger = q2_realloc_array(notes->tables, more, sizeof(*notes->tables));

		if (!larger)
			return q2_fail_memory(repair->err);
		notes->tables = larger;
		notes->capacity = more;
	}
	notes->tables[notes->count++] = *sick;
	return 0;
}

/* Problems of one table come one after the other, and there are as many tables as snapshots. */
static int note_entry(struct q2_repair *repair, struct notes *notes,
		      const struct qcow2_problem *problem)
{
	struct q2_fault_place place;
	struct sick *last = notes->count ? &notes->tables[notes->count - 1] : NULL;
	uint64_t offset;

	if (!q2_faults_read_place(problem->where, false, &place))
		return 0;
	offset = problem->offset_bytes - place.l1_index * 8;
	notes->heard[problem->kind->number] = true;
	if (last && last->offset == offset && last->list == place.list) {
		last->last = place.l1_index;
		return 0;
	}
	return add(repair, notes,
		   &(struct sick){offset, place.l1_index, place.l1_index, place.list});
}

static void hear(struct q2_repair *repair, const struct qcow2_problem *problem)
{
	struct notes *notes = repair->notes[Q2_DOCTOR_L1];
	struct q2_l1_place place;

	if (!is_mine((enum qcow2_problem_id)problem->kind->number) &&
	    !q2_l1_place_hear(&place, problem))
		return;
	if (!notes)
		repair->notes[Q2_DOCTOR_L1] = notes = q2_alloc(sizeof(*notes));
	if (!notes) {
		q2_fail_memory(repair->err);
		repair->failed = true;
		return;
	}
	if (!q2_l1_place_hear(&notes->place, problem) && note_entry(repair, notes, problem))
		repair->failed = true;
}

/*
 * Whether a cluster reads as an L2 table: its entries obey all rules, and some lead to clusters.
 * That it lacks a reference is asked elsewhere.
 */
static int reads_as_table(struct mender *m, uint64_t offset, uint64_t l1_index, bool *is_table)
{
	const struct qcow2_geometry *geometry = m->repair->geometry;
	uint64_t leading = 0;

	*is_table = false;
	if (offset == 0 || offset >= geometry->file_size_bytes)
		return 0;
	if (q2_plan_read(m->repair->plan, offset, m->cluster, (size_t)geometry->cluster_size_bytes,
			 m->repair->err))
		return -1;
	for (uint64_t i = 0; i < geometry->l2_entries; i++) {
		struct q2_l2_pair pair = {
			q2_l2_entry_at(m->cluster, i, geometry->l2_entry_bytes),
			q2_l2_subclusters_at(m->cluster, i, geometry->l2_entry_bytes)};

		if (pair.entry == 0 && pair.subclusters == 0)
			continue;
		if (q2_faults_of_l2(m->repair, pair, q2_guest_byte(geometry, l1_index, i)).count)
			return 0;
		leading += qcow2_l2_has_offset(pair.entry, geometry->data_file) ||
			   qcow2_l2_is_compressed(pair.entry);
	}
	*is_table = leading > 0;
	return 0;
}

static int ask_entry(struct mender *m, struct at *at)
{
	const struct q2_use_key none = {.entry = Q2_USE_OF_NONE};
	uint64_t offset = q2_l1_candidate(&m->entries, at->entry);

	return offset ? q2_uses_add_cluster(&m->uses, offset, none) : 0;
}

/* Takes a cluster for an L2 table that is all zeros. */
static int take_zeros(struct mender *m, const struct sick *sick, uint64_t *entry)
{
	const struct qcow2_geometry *geometry = m->repair->geometry;
	struct q2_l2_pair zeros;
	uint64_t offset;

	q2_l2_zeros(&m->entries, &zeros);
	for (uint64_t i = 0; i < geometry->l2_entries; i++) {
		const uint64_t words[2] = {zeros.entry, zeros.subclusters};

		q2_l2_put(m->cluster, i, geometry->l2_entry_bytes, words);
	}
	if (q2_space_take(m->repair, 1, &offset) ||
	    q2_repair_write(m->repair, QCOW2_PHASE_NEW, offset,
			    (struct qcow2_bytes){m->cluster, (size_t)geometry->cluster_size_bytes},
			    "an L2 table of zeros"))
		return -1;
	*entry = offset | (sick->list == 0 ? QCOW2_ENTRY_MASK(l1_entry, copied) : 0);
	return 0;
}

/* What guests read otherwise is told to each disk that has its L1 table there. */
static int tell(struct mender *m, const struct at *at, enum qcow2_problem_id id,
		const struct q2_l1_mended *mended)
{
	const struct q2_entry_told told = {.id = id,
					   .does = mended->does,
					   .costs = mended->costs,
					   .is_l1 = true,
					   .count = 1,
					   .before = mended->before,
					   .after = mended->after};
	struct q2_l1_user user = {at->sick->list, (uint32_t)at->index};

	if (q2_teller_add(&m->teller, user, &told))
		return -1;
	if (told.before == told.after)
		return 0;
	for (user.list++; user.list < m->teller.disk_count; user.list++) {
		const struct q2_teller_disk *disk = &m->teller.disks[user.list];

		if (disk->l1_offset == at->sick->offset && disk->l1_entries > at->index &&
		    q2_teller_add(&m->teller, user, &told))
			return -1;
	}
	return 0;
}

static int mend_entry(struct mender *m, struct at *at)
{
	enum q2_owned owned;
	bool is_table;

	if (q2_uses_owned(&m->uses, q2_l1_candidate(&m->entries, at->entry), &owned) ||
	    reads_as_table(m, q2_l1_candidate(&m->entries, at->entry), at->index, &is_table))
		return -1;
	for (const enum qcow2_problem_id *id = q2_l1_kinds; *id != QCOW2_PROBLEM_NONE; id++) {
		struct q2_faults faults = q2_faults_of_l1(m->repair, at->entry);
		struct q2_l1_mended mended;

		if (!q2_faults_has(&faults, *id) ||
		    !q2_l1_mend(&m->entries, *id, at->entry, is_table && owned == Q2_OWNED_SURE,
				&mended))
			continue;
		if (!q2_repair_may(m->repair, *id, mended.costs)) {
			q2_faults_leave(m->repair, *id);
			continue;
		}
		if (tell(m, at, *id, &mended) ||
		    (mended.wants_zeros && take_zeros(m, at->sick, &mended.entry)))
			return -1;
		at->entry = mended.entry;
		/* The rules take the new table for one past the end of the file. */
		if (mended.wants_zeros)
			break;
	}
	return 0;
}

/* Lets each see the faulty entries of a piece, and plans a write of those that it changed. */
static int visit_piece(struct mender *m, const struct sick *sick, uint64_t first, uint64_t count,
		       int (*each)(struct mender *m, struct at *at))
{
	uint64_t changed = count, end = 0, from = sick->offset + first * 8;

	if (q2_plan_read(m->repair->plan, from, m->piece, (size_t)count * 8, m->repair->err))
		return -1;
	for (uint64_t i = 0; i < count; i++) {
		struct at at = {sick, first + i, q2_load_be64(m->piece + i * 8)};
		uint64_t old = at.entry;

		if (old == 0 || q2_faults_of_l1(m->repair, old).count == 0)
			continue;
		if (each(m, &at))
			return -1;
		if (at.entry == old)
			continue;
		q2_store_be64(m->piece + i * 8, at.entry);
		changed = changed < i ? changed : i;
		end = i + 1;
	}
	if (end == 0)
		return 0;
	return q2_repair_write(
		m->repair, QCOW2_PHASE_POINT, from + changed * 8,
		(struct qcow2_bytes){m->piece + changed * 8, (size_t)(end - changed) * 8},
		"entries of an L1 table");
}

/* Goes through the entries from the first to the last faulty one; holes have none. */
static int visit(struct mender *m, const struct sick *sick,
		 int (*each)(struct mender *m, struct at *at))
{
	uint64_t first = sick->first;

	while (first <= sick->last) {
		uint64_t at = sick->offset + first * 8;
		uint64_t hole = (qcow2_source_hole_end(m->repair->view, at) - at) / 8;
		uint64_t count = sick->last - first + 1;

		if (hole > 0) {
			first += hole;
			continue;
		}
		if (count > PIECE_BYTES / 8)
			count = PIECE_BYTES / 8;
		if (visit_piece(m, sick, first, count, each))
			return -1;
		first += count;
	}
	return 0;
}

static void leave_contested(const struct mender *m)
{
	for (const enum qcow2_problem_id *id = q2_l1_kinds; *id != QCOW2_PROBLEM_NONE; id++)
		if (m->notes->heard[*id] && q2_repair_may(m->repair, *id, false))
			q2_repair_leave(m->repair, *id,
					"something else uses the bytes of the L1 table");
}

static int ask(struct mender *m)
{
	for (size_t i = 0; i < m->notes->count; i++) {
		const struct sick *sick = &m->notes->tables[i];
		const struct q2_use_area area = {
			.start = sick->offset + sick->first * 8,
			.end = sick->offset + sick->last * 8 + 8,
			.table = sick->offset,
			.part = QCOW2_CLAIM_L1_TABLE,
		};

		if (q2_uses_add_area(&m->uses, &area) || visit(m, sick, ask_entry))
			return -1;
	}
	return q2_uses_walk(&m->uses);
}

static int mend_tables(struct mender *m)
{
	size_t planned = qcow2_plan_count(m->repair->plan);

	if (ask(m))
		return -1;
	for (size_t i = 0; i < m->notes->count; i++) {
		const struct sick *sick = &m->notes->tables[i];

		if (q2_uses_contests(&m->uses, sick->offset + sick->first * 8))
			leave_contested(m);
		else if (visit(m, sick, mend_entry))
			return -1;
	}
	/* What was heard of L2 tables may be of those that no entry leads to any more. */
	m->repair->begin_again |= qcow2_plan_count(m->repair->plan) != planned;
	return q2_teller_flush(&m->teller);
}

static int mend_entries(struct q2_repair *repair, const struct notes *notes)
{
	struct mender m = {.repair = repair,
			   .notes = notes,
			   .entries = q2_faults_entries(repair),
			   .uses = {.repair = repair}};
	int failed;

	m.piece = q2_alloc_buffer(PIECE_BYTES);
	m.cluster = q2_alloc_buffer((size_t)repair->geometry->cluster_size_bytes);
	if (!m.piece || !m.cluster)
		failed = q2_fail_memory(repair->err);
	else
		failed = q2_teller_init(&m.teller, repair) || mend_tables(&m);
	q2_teller_release(&m.teller);
	q2_uses_release(&m.uses);
	q2_free(m.piece);
	q2_free(m.cluster);
	return failed ? -1 : 0;
}

static int mend(struct q2_repair *repair)
{
	struct notes *notes = repair->notes[Q2_DOCTOR_L1];

	if (!notes)
		return 0;
	if (q2_l1_place_mend(repair, &notes->place))
		return -1;
	if (repair->begin_again || notes->count == 0)
		return 0;
	return mend_entries(repair, notes);
}

static void forget(struct q2_repair *repair)
{
	struct notes *notes = repair->notes[Q2_DOCTOR_L1];

	if (notes)
		q2_free(notes->tables);
	q2_free(notes);
}

const struct q2_doctor q2_doctor_l1 = {hear, mend, forget};
