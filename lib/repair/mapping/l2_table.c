/* SPDX-License-Identifier: MIT */
/* See l2_table.h. */
#include "repair/mapping/l2_table.h"

#include <string.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/error.h"
#include "format/l2_table.h"
#include "image/guest.h"

/* The table that is mended. */
struct going {
	struct q2_l2_mender *mender;
	const struct q2_l2_sick *sick;
	uint64_t first, end; /* bytes of the table that have changed */
};

/* An entry of it. */
struct at {
	uint64_t index;
	struct q2_l2_pair pair;
	struct q2_l2_facts facts;
};

int q2_l2_mender_init(struct q2_l2_mender *mender, struct q2_repair *repair)
{
	size_t cluster = (size_t)repair->geometry->cluster_size_bytes;

	*mender = (struct q2_l2_mender){
		.repair = repair, .entries = q2_faults_entries(repair), .uses = {.repair = repair}};
	mender->table = q2_alloc_buffer(cluster);
	mender->data = q2_alloc_buffer(2 * cluster + 512);
	if (!mender->table || !mender->data)
		return q2_fail_memory(repair->err);
	mender->users.teller = &mender->teller;
	return q2_teller_init(&mender->teller, repair);
}

void q2_l2_mender_release(struct q2_l2_mender *mender)
{
	q2_uses_release(&mender->uses);
	q2_teller_release(&mender->teller);
	q2_inflater_free(mender->inflater);
	q2_l2_users_release(&mender->users);
	q2_free(mender->done);
	q2_free(mender->table);
	q2_free(mender->data);
}

static int read_table(struct q2_l2_mender *mender, const struct q2_l2_sick *sick)
{
	return q2_plan_read(mender->repair->plan, sick->offset_bytes, mender->table,
			    (size_t)mender->repair->geometry->cluster_size_bytes,
			    mender->repair->err);
}

static struct at entry_at(const struct q2_l2_mender *mender, const struct q2_l2_sick *sick,
			  uint64_t index)
{
	const struct qcow2_geometry *geometry = mender->repair->geometry;

	return (struct at){
		.index = index,
		.pair = {q2_l2_entry_at(mender->table, index, geometry->l2_entry_bytes),
			 q2_l2_subclusters_at(mender->table, index, geometry->l2_entry_bytes)},
		.facts.guest_byte = q2_guest_byte(geometry, sick->l1_index, index),
	};
}

static bool is_empty(const struct at *at)
{
	return at->pair.entry == 0 && at->pair.subclusters == 0;
}

int q2_l2_mender_ask(struct q2_l2_mender *mender, const struct q2_l2_sick *sick)
{
	const struct qcow2_geometry *geometry = mender->repair->geometry;
	const struct q2_use_area area = {
		.start = sick->offset_bytes,
		.end = sick->offset_bytes + geometry->cluster_size_bytes,
		.table = sick->offset_bytes,
		.part = QCOW2_CLAIM_L2_TABLE,
	};

	if (q2_uses_add_area(&mender->uses, &area) || read_table(mender, sick) ||
	    (sick->shared_by > 1 && q2_l2_users_ask(&mender->users, sick->offset_bytes)))
		return -1;
	for (uint64_t i = 0; i < geometry->l2_entries; i++) {
		struct at at = entry_at(mender, sick, i);
		const struct q2_use_key key = {sick->list, sick->l1_index, (uint32_t)i};
		uint64_t offset;

		if (is_empty(&at))
			continue;
		offset = q2_l2_candidate(&mender->entries, at.pair);
		if (offset != 0 && q2_uses_add_cluster(&mender->uses, offset, key))
			return -1;
	}
	return 0;
}

/* Whether compressed data inflates, from as many bytes as it takes. */
static int look_compressed(struct q2_l2_mender *mender, struct at *at)
{
	struct q2_repair *repair = mender->repair;
	uint64_t offset = q2_l2_compressed_at(&mender->entries, at->pair.entry);
	uint64_t size = repair->geometry->file_size_bytes;
	uint64_t most = 2 * repair->geometry->cluster_size_bytes + 512;
	size_t used = 0;

	if (repair->geometry->data_file || offset == 0 || offset >= size ||
	    repair->header->compression_type > 1)
		return 0;
	size = size - offset < most ? size - offset : most;
	if (!mender->inflater)
		mender->inflater = q2_inflater_new((size_t)repair->geometry->cluster_size_bytes,
						   repair->header->compression_type == 1);
	if (!mender->inflater)
		return q2_fail_memory(repair->err);
	if (q2_plan_read(repair->plan, offset, mender->data, (size_t)size, repair->err))
		return -1;
	at->facts.inflates = q2_inflate(mender->inflater,
					(struct qcow2_bytes){mender->data, (size_t)size}, &used);
	at->facts.used_bytes = used;
	return 0;
}

static bool is_zero(const uint8_t *bytes, size_t size)
{
	return bytes[0] == 0 && memcmp(bytes, bytes + 1, size - 1) == 0;
}

/* Which of the subclusters that are said to be data and zeros hold zeros. */
static int look_both(struct q2_l2_mender *mender, struct at *at)
{
	struct q2_repair *repair = mender->repair;
	size_t size = (size_t)repair->geometry->cluster_size_bytes / Q2_SUBCLUSTERS;
	uint32_t both = q2_l2_both(&mender->entries, at->pair);
	uint64_t offset = at->pair.entry & QCOW2_ENTRY_MASK(l2_entry, offset) &
			  ~(repair->geometry->cluster_size_bytes - 1);

	if (both == 0)
		return 0;
	if (q2_plan_read(repair->plan, offset, mender->data, size * Q2_SUBCLUSTERS, repair->err))
		return -1;
	for (unsigned i = 0; i < Q2_SUBCLUSTERS; i++)
		if (both >> i & 1 && is_zero(mender->data + i * size, size))
			at->facts.zeros |= UINT32_C(1) << i;
	return 0;
}

static int look(struct q2_l2_mender *mender, struct at *at)
{
	if (qcow2_l2_is_compressed(at->pair.entry) ? look_compressed(mender, at)
						   : look_both(mender, at))
		return -1;
	return q2_uses_owned(&mender->uses, q2_l2_candidate(&mender->entries, at->pair),
			     &at->facts.owned);
}

/* Keeps what is done, joined with what was done to the entry before if that is the same. */
static int keep(struct q2_l2_mender *mender, const struct q2_entry_told *told)
{
	size_t last = mender->last[told->id];

	if (last > 0 && q2_entry_told_continues(&mender->done[last - 1], told)) {
		mender->done[last - 1].end = told->end;
		mender->done[last - 1].count += told->count;
		return 0;
	}
	if (mender->done_count == mender->done_capacity) {
		size_t more = mender->done_capacity ? mender->done_capacity * 2 : 64;
		void *larger = q2_realloc_array(mender->done, more, sizeof(*mender->done));

		if (!larger)
			return q2_fail_memory(mender->repair->err);
		mender->done = larger;
		mender->done_capacity = more;
	}
	mender->done[mender->done_count++] = *told;
	mender->last[told->id] = mender->done_count;
	return 0;
}

/* Whether a guest reads otherwise. */
static bool changes(const struct q2_entry_told *told)
{
	return told->before != told->after;
}

/* Tells what was done to a table: what guests read otherwise is told to each of them. */
static int tell_table(struct q2_l2_mender *mender, const struct q2_l2_sick *sick)
{
	const struct q2_l1_user first = {sick->list, sick->l1_index};
	size_t count = 0;
	const struct q2_l2_use *uses = q2_l2_users_of(&mender->users, sick->offset_bytes, &count);
	int failed = 0;

	for (size_t i = 0; i < mender->done_count && !failed; i++) {
		mender->done[i].shared_by = sick->shared_by;
		if (!uses || !changes(&mender->done[i]))
			failed = q2_teller_add(&mender->teller, first, &mender->done[i]);
		mender->done[i].shared_by = 1;
	}
	for (size_t user = 0; uses && user < count && !failed; user++)
		for (size_t i = 0; i < mender->done_count && !failed; i++)
			if (changes(&mender->done[i]))
				failed = q2_teller_add(&mender->teller, uses[user].user,
						       &mender->done[i]);
	mender->done_count = 0;
	memset(mender->last, 0, sizeof(mender->last));
	return failed;
}

/* What is told of a part of an entry: the same before and after counts as one, whatever it is. */
struct change {
	enum qcow2_reads before, after;
};

static struct change change_of(const struct going *g, const struct at *at,
			       const struct q2_l2_mended *mended, unsigned subcluster)
{
	const struct q2_entries *entries = &g->mender->entries;
	struct change change = {
		q2_l2_reads(entries, at->pair, &at->facts, subcluster),
		mended->wants_zeros ? QCOW2_READS_ZEROS
				    : q2_l2_reads(entries, mended->pair, &at->facts, subcluster)};

	return change;
}

static int tell(const struct going *g, const struct at *at, enum qcow2_problem_id id,
		const struct q2_l2_mended *mended)
{
	unsigned count = g->mender->repair->geometry->extended_l2 ? Q2_SUBCLUSTERS : 1, first = 0;
	struct change change = change_of(g, at, mended, 0);

	for (unsigned i = 1; i <= count; i++) {
		struct change next = change;
		unsigned end = count == 1 ? Q2_SUBCLUSTERS : i;

		if (i < count) {
			next = change_of(g, at, mended, i);
			if (next.before == change.before && next.after == change.after)
				continue;
		}
		if (keep(g->mender,
			 &(struct q2_entry_told){.id = id,
						 .does = mended->does,
						 .costs = mended->costs,
						 .first = at->index * Q2_SUBCLUSTERS + first,
						 .end = at->index * Q2_SUBCLUSTERS + end,
						 .count = first == 0,
						 .before = change.before,
						 .after = change.after}))
			return -1;
		first = i;
		change = next;
	}
	return 0;
}

/* Takes a cluster of zeros for an entry of version 2, which cannot say it otherwise. */
static int take_zeros(struct q2_l2_mender *mender, struct q2_l2_pair *pair)
{
	size_t size = (size_t)mender->repair->geometry->cluster_size_bytes;
	uint64_t offset;

	if (q2_space_take(mender->repair, 1, &offset))
		return -1;
	memset(mender->data, 0, size);
	if (q2_repair_write(mender->repair, QCOW2_PHASE_NEW, offset,
			    (struct qcow2_bytes){mender->data, size}, "a cluster of zeros"))
		return -1;
	pair->entry = offset | QCOW2_ENTRY_MASK(l2_entry, copied);
	pair->subclusters = 0;
	return 0;
}

/*
 * Whether entries of the table would have to lead to several places of the data file: it is the
 * table of one L1 entry, and the others are wrong.
 */
static bool is_torn(const struct going *g, enum qcow2_problem_id id)
{
	return g->sick->shared_by > 1 &&
	       (id == QCOW2_PROBLEM_DATA_FILE_OFFSET || id == QCOW2_PROBLEM_COMPRESSED_DATA_FILE);
}

/*
 * Mends one fault, if that may be done. *done: the entry leads to a new cluster, which the rules take
 * for one past the end of the file until the next round.
 */
static int mend_fault(const struct going *g, struct at *at, enum qcow2_problem_id id, bool *done)
{
	struct q2_repair *repair = g->mender->repair;
	struct q2_l2_mended mended;

	if (is_torn(g, id)) {
		q2_repair_leave(repair, id,
				"several L1 entries lead to the L2 table, and each would need "
				"another place in the data file");
		return 0;
	}
	if (!q2_l2_mend(&g->mender->entries, id, at->pair, &at->facts, &mended))
		return 0;
	if (!q2_repair_may(repair, id, mended.costs)) {
		q2_faults_leave(repair, id);
		return 0;
	}
	if (tell(g, at, id, &mended) || (mended.wants_zeros && take_zeros(g->mender, &mended.pair)))
		return -1;
	at->pair = mended.pair;
	*done = mended.wants_zeros;
	return 0;
}

static void put(struct going *g, const struct at *at)
{
	unsigned width = g->mender->repair->geometry->l2_entry_bytes;
	const uint64_t words[2] = {at->pair.entry, at->pair.subclusters};

	q2_l2_put(g->mender->table, at->index, width, words);
	if (g->end == 0)
		g->first = at->index * width;
	g->end = (at->index + 1) * width;
}

static int mend_entry(struct going *g, struct at *at)
{
	const struct q2_l2_pair old = at->pair;
	bool done = false;

	if (look(g->mender, at))
		return -1;
	for (const enum qcow2_problem_id *id = q2_l2_kinds; *id != QCOW2_PROBLEM_NONE && !done;
	     id++) {
		struct q2_faults now =
			q2_faults_of_l2(g->mender->repair, at->pair, at->facts.guest_byte);

		if (q2_faults_has(&now, *id) && mend_fault(g, at, *id, &done))
			return -1;
	}
	if (old.entry != at->pair.entry || old.subclusters != at->pair.subclusters)
		put(g, at);
	return 0;
}

int q2_l2_mender_mend(struct q2_l2_mender *mender, const struct q2_l2_sick *sick)
{
	const struct qcow2_geometry *geometry = mender->repair->geometry;
	struct going g = {.mender = mender, .sick = sick};

	if (read_table(mender, sick))
		return -1;
	for (uint64_t i = 0; i < geometry->l2_entries; i++) {
		struct at at = entry_at(mender, sick, i);

		if (!is_empty(&at) &&
		    q2_faults_of_l2(mender->repair, at.pair, at.facts.guest_byte).count > 0 &&
		    mend_entry(&g, &at))
			return -1;
	}
	if (tell_table(mender, sick))
		return -1;
	if (g.end == 0)
		return 0;
	return q2_repair_write(
		mender->repair, QCOW2_PHASE_POINT, sick->offset_bytes + g.first,
		(struct qcow2_bytes){mender->table + g.first, (size_t)(g.end - g.first)},
		"entries of an L2 table");
}
