/* SPDX-License-Identifier: MIT */
/* The doctor of clusters with two owners: see owners.h. It opens and closes passes. */
#include "repair/owners/owners.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/checked.h"

/* Each pass moves one level of the users that one list has room for. */
#define PASSES_MOST 64
/*
 * Of those, passes whose list had room for all. There are four levels; more passes have something
 * to do only where damage makes new conflicts of copies, and each looks at every table.
 */
#define WHOLE_PASSES_MOST 6
/* Rounds of the repair in which anything is moved. */
#define ROUNDS_MOST 8
/* Compressed clusters inside others that are moved in one round. */
#define OVERLAPS_MOST ((size_t)1 << 20)

/* What is kept of the problems of a round. */
struct notes {
	uint64_t *overlaps; /* host offsets */
	size_t count, capacity;
};

static void hear(struct q2_repair *repair, const struct qcow2_problem *problem)
{
	struct notes *notes = repair->notes[Q2_DOCTOR_OWNERS];
	uint64_t *more;
	size_t capacity;

	if (problem->kind->number != QCOW2_PROBLEM_COMPRESSED_OVERLAP)
		return;
	if (!notes)
		notes = repair->notes[Q2_DOCTOR_OWNERS] = q2_alloc(sizeof(*notes));
	if (notes && notes->count == notes->capacity && notes->capacity < OVERLAPS_MOST) {
		capacity = notes->capacity ? notes->capacity * 2 : 64;
		more = q2_realloc_array(notes->overlaps, capacity, sizeof(*more));
		notes->overlaps = more ? more : notes->overlaps;
		notes->capacity = more ? capacity : notes->capacity;
	}
	/* Those that find no room wait for the next round. */
	if (notes && notes->count < notes->capacity)
		notes->overlaps[notes->count++] = problem->offset_bytes;
}

static void forget(struct q2_repair *repair)
{
	struct notes *notes = repair->notes[Q2_DOCTOR_OWNERS];

	if (notes)
		q2_free(notes->overlaps);
	q2_free(notes);
}

static void close_pass(struct q2_parting *owners)
{
	struct q2_memory *memory = &owners->memory;

	q2_memory_put(memory, owners->movers, owners->count, sizeof(struct q2_party *));
	q2_memory_put(memory, owners->list, owners->capacity, sizeof(*owners->list));
	q2_clusters_release(&owners->clusters);
	q2_memory_put(memory, owners->metadata.buffer,
		      Q2_PIECE_BYTES + owners->geometry->cluster_size_bytes, 1);
	q2_metadata_release(&owners->metadata);
	qcow2_image_close(owners->image);
	qcow2_source_close(owners->view);
}

static int open_pass(struct q2_parting *owners)
{
	struct q2_repair *repair = owners->repair;
	const uint64_t limit = repair->options->memory_limit_bytes;

	owners->memory.user = "finding who uses a cluster";
	owners->memory.limit_bytes = limit ? limit : QCOW2_CLAIMS_MEMORY_BYTES;
	owners->geometry = repair->geometry;
	owners->metadata.memory = &owners->memory;
	if (qcow2_plan_view(repair->plan, &owners->view, repair->err) ||
	    qcow2_image_open(owners->view, &owners->image, repair->err))
		return -1;
	/* The header's doctor leaves geometries alone, or begins again. */
	if (!qcow2_image_geometry(owners->image))
		return 0;
	owners->geometry = qcow2_image_geometry(owners->image);
	q2_metadata_init(&owners->metadata, owners->image, &owners->memory, repair->err);
	owners->metadata.buffer = q2_memory_get(
		&owners->memory, Q2_PIECE_BYTES + owners->geometry->cluster_size_bytes, 1);
	owners->file_clusters = q2_div_ceil_u64(owners->geometry->file_size_bytes,
						owners->geometry->cluster_size_bytes);
	if (!owners->metadata.buffer ||
	    !q2_clusters_init(&owners->clusters, owners->file_clusters, &owners->memory))
		return q2_memory_fail(&owners->memory, repair->err);
	return 0;
}

static int move(struct q2_parting *owners)
{
	switch (owners->mover_count ? owners->movers[0]->level : Q2_PARTY_STAYS) {
	case Q2_PARTY_STRUCTURE:
	case Q2_PARTY_SNAPSHOT_L1:
		return q2_parting_move_structures(owners);
	case Q2_PARTY_L2:
		return q2_parting_move_l2_tables(owners);
	case Q2_PARTY_DATA:
		return q2_parting_move_data(owners);
	case Q2_PARTY_STAYS:
		break;
	}
	return 0;
}

/* One pass over what the first round has found; owners is its beginning. */
static int run_pass(struct q2_parting owners, bool *moved, bool *cut)
{
	int failed = open_pass(&owners);

	if (!failed && owners.image && qcow2_image_geometry(owners.image))
		failed = q2_parting_find(&owners) || q2_parting_judge(&owners) || move(&owners);
	*moved = owners.moved;
	*cut = owners.cut_cluster != UINT64_MAX;
	close_pass(&owners);
	return failed ? -1 : 0;
}

static int by_number(const void *left, const void *right)
{
	const uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;

	return a < b ? -1 : a > b;
}

/* Whether clusters that are used too often may be copied. */
static bool overflows_wanted(struct q2_repair *repair)
{
	const uint64_t count = repair->found->by_kind[QCOW2_PROBLEM_REFCOUNT_OVERFLOW];

	if (count == 0 || !q2_repair_may(repair, QCOW2_PROBLEM_REFCOUNT_OVERFLOW, false))
		return false;
	if (count <= Q2_PARTING_COPIES_BYTES >> repair->geometry->cluster_bits)
		return true;
	q2_repair_leave(repair, QCOW2_PROBLEM_REFCOUNT_OVERFLOW,
			"%" PRIu64 " clusters would need copies, more than 1 GiB: wider refcounts "
			"hold the count (qemu-img amend -o refcount_bits=16)",
			count);
	return false;
}

static int mend(struct q2_repair *repair)
{
	struct notes *notes = repair->notes[Q2_DOCTOR_OWNERS];
	const uint64_t *by_kind = repair->found->by_kind;
	struct q2_parting owners = {.repair = repair};
	unsigned whole = 0; /* passes that had all parties before them */
	bool moved = true, cut;

	owners.overflows_wanted = overflows_wanted(repair);
	owners.owners_wanted = by_kind[QCOW2_PROBLEM_CLUSTER_OWNERS] > 0 &&
			       q2_repair_may(repair, QCOW2_PROBLEM_CLUSTER_OWNERS, false);
	if (notes && notes->count > 0 &&
	    q2_repair_may(repair, QCOW2_PROBLEM_COMPRESSED_OVERLAP, false)) {
		qsort(notes->overlaps, notes->count, sizeof(*notes->overlaps), by_number);
		owners.overlaps = notes->overlaps;
		owners.overlap_count = notes->count;
	}
	/* Damage that puts one word in two tables could go on for ever. */
	if (repair->round >= ROUNDS_MOST)
		return 0;
	if (!owners.overflows_wanted && !owners.owners_wanted && owners.overlap_count == 0)
		return 0;
	for (unsigned i = 0; moved && i < PASSES_MOST && whole < WHOLE_PASSES_MOST; i++) {
		owners.pass = i;
		if (run_pass(owners, &moved, &cut))
			return -1;
		whole += !cut;
		/* Others write into tables: they have to know where these are. */
		repair->begin_again |= moved;
	}
	return 0;
}

const struct q2_doctor q2_doctor_owners = {hear, mend, forget};
