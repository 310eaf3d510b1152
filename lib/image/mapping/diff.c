/* SPDX-License-Identifier: MIT */
/*
 * The stream of differences of two mappings: takes runs from both, compares them, and joins what
 * differs in the same way.
 */
#include <qcow2/mapping_diff.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/sized.h"
#include "image/mapping/shared.h"

/* Progress is told once in so many steps. */
#define PROGRESS_STEPS 65536

/* A difference as it grows. */
struct draft {
	struct qcow2_mapping_difference told;
	struct qcow2_mapping_side sides[2];
	bool ended[2];        /* the disk has ended before */
	uint64_t entry_at[2]; /* of the L2 entry, which tells compressed clusters apart */
};

struct qcow2_mapping_diff {
	struct qcow2_mapping *m[2];
	struct qcow2_mapping_diff_options options;
	bool one_image;
	uint64_t start, at, end; /* [at, end) has not been compared */
	uint64_t shared_end;     /* where the shorter of the two ranges ends */
	/* Up to here L1 entries are known to differ, so that L2 entries have to be looked at. */
	uint64_t differ_to;
	/* What is at `at`, if a run reaches beyond that. */
	struct qcow2_mapping_extent runs[2];
	/* One may still grow (length_bytes 0: there is none), the other was given out. */
	struct draft drafts[2];
	unsigned pending;
	unsigned blamed;
	uint32_t steps;
};

/* ---- comparing ---- */

/* Where the byte d->at lies. Of compressed data, where that starts. */
static uint64_t place_of(const struct qcow2_mapping_diff *d, const struct qcow2_mapping_extent *run)
{
	return q2_mapping_is_placed(run) ? run->host.byte + (d->at - run->start.byte)
					 : run->host.byte;
}

static bool have_equal_clusters(const struct qcow2_mapping_diff *d)
{
	return d->m[0]->image->geometry.cluster_bits == d->m[1]->image->geometry.cluster_bits;
}

/* Both are invalid. The copied flag is no part of the mapping. */
static bool are_alike_invalid(const struct qcow2_mapping_diff *d)
{
	const struct qcow2_mapping_extent *a = &d->runs[0], *b = &d->runs[1];

	if (a->problem != b->problem || !have_equal_clusters(d))
		return false;
	/* What entries of an L1 table say that cannot be read is not known. */
	if (a->entry_at.byte == QCOW2_NO_OFFSET || b->entry_at.byte == QCOW2_NO_OFFSET)
		return d->one_image && a->entry_at.byte == b->entry_at.byte &&
		       d->m[0]->l1.offset_bytes == d->m[1]->l1.offset_bytes;
	return ((a->entry ^ b->entry) & ~QCOW2_ENTRY_MASK(l2_entry, copied)) == 0 &&
	       a->subclusters == b->subclusters;
}

static bool are_alike(const struct qcow2_mapping_diff *d)
{
	const struct qcow2_mapping_extent *a = &d->runs[0], *b = &d->runs[1];

	if (a->kind != b->kind)
		return false;
	if (a->kind == QCOW2_L2_INVALID)
		return are_alike_invalid(d);
	if (d->options.ignore_places)
		return true;
	if (a->kind == QCOW2_L2_COMPRESSED)
		return a->host.byte == b->host.byte && a->host_bytes == b->host_bytes &&
		       have_equal_clusters(d);
	return place_of(d, a) == place_of(d, b);
}

static bool reads_zeros(const struct qcow2_mapping_diff *d, unsigned i)
{
	const enum qcow2_l2_kind kind = d->runs[i].kind;

	return kind == QCOW2_L2_ZERO || kind == QCOW2_L2_ZERO_ALLOCATED ||
	       (kind == QCOW2_L2_UNALLOCATED && qcow2_image_backing_name(d->m[i]->image).size == 0);
}

static bool reads_same(const struct qcow2_mapping_diff *d)
{
	if (reads_zeros(d, 0) && reads_zeros(d, 1))
		return true;
	return d->one_image && d->runs[0].kind == QCOW2_L2_UNALLOCATED &&
	       d->runs[1].kind == QCOW2_L2_UNALLOCATED;
}

/* ---- drafts ---- */

static bool has_ended(const struct qcow2_mapping_diff *d, unsigned i)
{
	return d->at >= d->m[i]->end;
}

/* Whether side i goes on at d->at as it was before, where the draft ends. */
static bool side_goes_on(const struct qcow2_mapping_diff *d, const struct draft *draft, unsigned i)
{
	const struct qcow2_mapping_side *side = &draft->sides[i];
	const struct qcow2_mapping_extent *run = &d->runs[i];

	if (draft->ended[i] || has_ended(d, i))
		return draft->ended[i] == has_ended(d, i);
	if (side->kind != run->kind || side->problem != run->problem)
		return false;
	if (side->kind == QCOW2_L2_COMPRESSED)
		return draft->entry_at[i] == run->entry_at.byte;
	if (side->host.byte == QCOW2_NO_OFFSET)
		return run->host.byte == QCOW2_NO_OFFSET;
	return side->host.byte + side->host_bytes == place_of(d, run);
}

static void begin_side(const struct qcow2_mapping_diff *d, struct draft *draft, unsigned i)
{
	struct qcow2_mapping_side *side = &draft->sides[i];
	const struct qcow2_mapping_extent *run = &d->runs[i];

	draft->ended[i] = has_ended(d, i);
	draft->told.sides[i] = draft->ended[i] ? NULL : side;
	if (draft->ended[i])
		return;
	draft->entry_at[i] = run->entry_at.byte;
	*side = (struct qcow2_mapping_side){
		.size = sizeof(*side),
		.kind = run->kind,
		.problem = run->problem,
		.host.byte = place_of(d, run),
		.host_bytes = run->kind == QCOW2_L2_COMPRESSED ? run->host_bytes : 0,
	};
}

/* Lets a draft grow by what the runs say of the next bytes. */
static void grow(const struct qcow2_mapping_diff *d, struct draft *draft, uint64_t length)
{
	draft->told.length_bytes += length;
	for (unsigned i = 0; i < 2; i++)
		if (!draft->ended[i] && q2_mapping_is_placed(&d->runs[i]))
			draft->sides[i].host_bytes += length;
}

static void begin(const struct qcow2_mapping_diff *d, struct draft *draft, uint64_t length)
{
	draft->told.size = sizeof(draft->told);
	draft->told.start.byte = d->at;
	draft->told.length_bytes = 0;
	for (unsigned i = 0; i < 2; i++)
		begin_side(d, draft, i);
	draft->told.reads_same = !draft->ended[0] && !draft->ended[1] && reads_same(d);
	grow(d, draft, length);
}

/* Gives out the pending draft, if there is one. Returns whether there was. */
static bool tell(struct qcow2_mapping_diff *d, const struct qcow2_mapping_difference **out)
{
	*out = &d->drafts[d->pending].told;
	d->pending ^= 1;
	d->drafts[d->pending].told.length_bytes = 0;
	return (*out)->length_bytes > 0;
}

/* ---- the stream ---- */

int qcow2_mapping_diff_open(struct qcow2_mapping *first, struct qcow2_mapping *second,
			    const struct qcow2_mapping_diff_options *options,
			    struct qcow2_mapping_diff **out, struct qcow2_error *err)
{
	struct qcow2_mapping_diff *d = q2_alloc(sizeof(*d));

	if (!d)
		return q2_fail_memory(err);
	if (q2_sized_take(&d->options, sizeof(d->options), options, err)) {
		q2_free(d);
		return -1;
	}
	d->m[0] = first;
	d->m[1] = second;
	d->one_image = first->image == second->image;
	qcow2_mapping_diff_seek(d, (struct qcow2_guest){0}, UINT64_MAX);
	*out = d;
	return 0;
}

void qcow2_mapping_diff_seek(struct qcow2_mapping_diff *diff, struct qcow2_guest start,
			     uint64_t length_bytes)
{
	struct qcow2_mapping *const *m = diff->m;

	for (unsigned i = 0; i < 2; i++) {
		qcow2_mapping_seek(m[i], start, length_bytes);
		diff->runs[i].length_bytes = 0;
	}
	diff->shared_end = m[0]->end < m[1]->end ? m[0]->end : m[1]->end;
	diff->end = m[0]->end < m[1]->end ? m[1]->end : m[0]->end;
	diff->at = start.byte < diff->end ? start.byte : diff->end;
	diff->start = diff->differ_to = diff->at;
	diff->drafts[diff->pending].told.length_bytes = 0;
}

static bool needs_run(const struct qcow2_mapping_diff *d, unsigned i)
{
	const struct qcow2_mapping_extent *run = &d->runs[i];

	return run->length_bytes == 0 || run->start.byte + run->length_bytes <= d->at;
}

/* Makes runs[i] cover d->at, unless its disk has ended. */
static int find_run(struct qcow2_mapping_diff *d, unsigned i, struct qcow2_error *err)
{
	struct qcow2_mapping *m = d->m[i];
	struct qcow2_mapping_extent *run = &d->runs[i];

	if (has_ended(d, i) || !needs_run(d, i))
		return 0;
	run->length_bytes = 0; /* a fault leaves none */
	if (!q2_mapping_find_ahead(m, run) && q2_mapping_find(m, run, err)) {
		run->length_bytes = 0;
		d->blamed = i;
		return -1;
	}
	m->at += run->length_bytes;
	return 0;
}

/* Passes L2 tables that both L1 tables lead to. */
static int pass_tables(struct qcow2_mapping_diff *d, struct qcow2_error *err)
{
	const struct qcow2_mapping *m = d->m[0];
	const unsigned bits = m->image->geometry.cluster_bits + m->l2_bits;
	uint64_t to;

	if (d->at < d->differ_to)
		return 0;
	if (q2_mapping_shared_tables(d->m, d->shared_end, &to, &d->blamed, err))
		return -1;
	if (to == d->at) {
		/* To the end of what this L1 entry maps, unless 64 bits cannot say it. */
		d->differ_to = ((d->at >> bits) + 1) << bits;
		if (d->differ_to <= d->at)
			d->differ_to = UINT64_MAX;
		return 0;
	}
	for (unsigned i = 0; i < 2; i++)
		q2_mapping_move(d->m[i], to);
	d->at = to;
	return 0;
}

/* Passes what both disks share, if both streams stand at d->at: nothing is left of their runs. */
static int pass_shared(struct qcow2_mapping_diff *d, struct qcow2_error *err)
{
	const uint64_t before = d->at;

	if (!d->one_image || d->at >= d->shared_end || !needs_run(d, 0) || !needs_run(d, 1))
		return 0;
	if (pass_tables(d, err))
		return -1;
	if (d->at == before)
		d->at = q2_mapping_skip_equal(d->m, d->shared_end);
	return 0;
}

/* How many bytes from d->at on neither disk changes. */
static uint64_t common_length(const struct qcow2_mapping_diff *d)
{
	uint64_t end = d->end;

	for (unsigned i = 0; i < 2; i++) {
		const uint64_t reaches = d->runs[i].start.byte + d->runs[i].length_bytes;

		if (!has_ended(d, i) && reaches < end)
			end = reaches;
	}
	return end - d->at;
}

/* Compares the next bytes. Returns 1 with *out set if a difference is whole, else 0. */
static int compare(struct qcow2_mapping_diff *d, const struct qcow2_mapping_difference **out)
{
	struct draft *draft = &d->drafts[d->pending];
	const bool is_pending = draft->told.length_bytes > 0;
	const uint64_t length = common_length(d);
	int whole = 0;

	if (!has_ended(d, 0) && !has_ended(d, 1) && are_alike(d)) {
		whole = is_pending && tell(d, out);
	} else if (is_pending && side_goes_on(d, draft, 0) && side_goes_on(d, draft, 1)) {
		grow(d, draft, length);
	} else {
		whole = is_pending && tell(d, out);
		begin(d, &d->drafts[d->pending], length);
	}
	d->at += length;
	return whole;
}

static int tell_progress(struct qcow2_mapping_diff *d, struct qcow2_error *err)
{
	if (++d->steps % PROGRESS_STEPS != 0 || !d->options.progress ||
	    d->options.progress(d->options.opaque, d->at - d->start, d->end - d->start) == 0)
		return 0;
	d->steps--; /* the next call asks again */
	return q2_fail(err, QCOW2_ERROR_STOPPED, QCOW2_NO_OFFSET, "stopped");
}

/* One step: passes what is shared, or compares. Returns 1 with *out set, 0, or -1. */
static int step(struct qcow2_mapping_diff *d, const struct qcow2_mapping_difference **out,
		struct qcow2_error *err)
{
	const uint64_t before = d->at;

	if (tell_progress(d, err) || pass_shared(d, err))
		return -1;
	if (d->at != before)
		return tell(d, out);
	if (find_run(d, 0, err) || find_run(d, 1, err))
		return -1;
	return compare(d, out);
}

int qcow2_mapping_diff_next(struct qcow2_mapping_diff *diff,
			    const struct qcow2_mapping_difference **out, struct qcow2_error *err)
{
	int result;

	while (diff->at < diff->end) {
		result = step(diff, out, err);
		if (result > 0)
			return 1;
		/* What was found before the fault is told first; the next call meets it again. */
		if (result < 0)
			return tell(diff, out) ? 1 : -1;
	}
	return tell(diff, out);
}

unsigned qcow2_mapping_diff_blamed(const struct qcow2_mapping_diff *diff)
{
	return diff->blamed;
}

void qcow2_mapping_diff_close(struct qcow2_mapping_diff *diff)
{
	q2_free(diff);
}
