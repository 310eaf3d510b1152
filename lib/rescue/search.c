/* SPDX-License-Identifier: MIT */
/* Tries all cluster sizes, and keeps the candidates that explain the file best. */
#include "rescue/search.h"

#include "base/alloc.h"
#include "base/error.h"

#include <qcow2/image.h>
#include <qcow2/limits.h>

#define SHAPES (QCOW2_LIMIT_QEMU_CLUSTER_BITS + 1)

/* Which cluster sizes are worth a closer look: bits by cluster_bits. */
struct sizes {
	uint32_t tried, with_refcounts;
};

static uint32_t sizes_to_try(const struct qcow2_rescue_options *options)
{
	if (options->cluster_size_bytes)
		return UINT32_C(1) << __builtin_ctzll(options->cluster_size_bytes);
	return ((UINT32_C(1) << SHAPES) - 1) & ~((UINT32_C(1) << QCOW2_LIMIT_CLUSTER_BITS_MIN) - 1);
}

static struct q2_guess guess_of(struct qcow2_rescue *rescue, unsigned cluster_bits, bool extended)
{
	return (struct q2_guess){
		.scan = &rescue->scan,
		.options = &rescue->options,
		.memory = &rescue->memory,
		.shape = {.cluster_bits = cluster_bits,
			  .refcount_order = 4,
			  .extended_l2 = extended,
			  .data_file = rescue->options.data_file != NULL},
	};
}

/* Looks for a refcount table at each cluster size: the right one hardly ever has none. */
static int find_sizes(struct qcow2_rescue *rescue, struct sizes *sizes)
{
	for (unsigned bits = 0; bits < SHAPES; bits++) {
		struct q2_guess guess = guess_of(rescue, bits, false);
		int failed;

		if (!(sizes->tried >> bits & 1))
			continue;
		failed = q2_guess_open(&guess, rescue->err);
		if (guess.refcounts.table_bytes != 0)
			sizes->with_refcounts |= UINT32_C(1) << bits;
		q2_guess_release(&guess);
		if (failed)
			return -1;
	}
	return 0;
}

/* Puts a candidate at its place. The worst one goes if there are too many. */
static void insert(struct qcow2_rescue *rescue, struct q2_candidate *candidate)
{
	size_t at = rescue->count;

	if (rescue->count == Q2_CANDIDATES_MOST) {
		at--;
		if (!q2_is_better(candidate, rescue->candidates[at])) {
			q2_candidate_release(candidate);
			q2_free(candidate);
			return;
		}
		q2_candidate_release(rescue->candidates[at]);
		q2_free(rescue->candidates[at]);
	} else {
		rescue->count++;
	}
	for (; at > 0 && q2_is_better(candidate, rescue->candidates[at - 1]); at--)
		rescue->candidates[at] = rescue->candidates[at - 1];
	rescue->candidates[at] = candidate;
}

static int add_candidate(struct qcow2_rescue *rescue, struct q2_guess *guess)
{
	struct q2_candidate *candidate = q2_alloc(sizeof(*candidate));

	if (!candidate)
		return q2_fail_memory(rescue->err);
	if (q2_candidate_make(candidate, guess, rescue->err) ||
	    q2_judge_candidate(rescue, candidate, &guess->tables)) {
		q2_candidate_release(candidate);
		q2_free(candidate);
		/* A guess whose header has no room is none. */
		return rescue->err->code == QCOW2_ERROR_LIMIT && !guess->claimed.failed ? 0 : -1;
	}
	insert(rescue, candidate);
	return 0;
}

static int try_shape(struct qcow2_rescue *rescue, unsigned cluster_bits, bool extended)
{
	struct q2_guess guess = guess_of(rescue, cluster_bits, extended);
	int failed = q2_guess_open(&guess, rescue->err) || q2_guess_finish(&guess, rescue->err);

	if (!failed && (guess.active != SIZE_MAX || guess.refcounts.table_bytes != 0))
		failed = add_candidate(rescue, &guess);
	q2_guess_release(&guess);
	return failed ? -1 : 0;
}

/* Drops candidates that are less than half as sure as the best one. */
static void drop_unlikely(struct qcow2_rescue *rescue)
{
	while (rescue->count > 1 && rescue->candidates[rescue->count - 1]->public.confidence * 2 <
					    rescue->candidates[0]->public.confidence) {
		rescue->count--;
		q2_candidate_release(rescue->candidates[rescue->count]);
		q2_free(rescue->candidates[rescue->count]);
	}
}

int q2_search(struct qcow2_rescue *rescue)
{
	struct sizes sizes = {.tried = sizes_to_try(&rescue->options)};
	struct q2_candidate *kept;

	if (q2_keep_header(rescue, &kept))
		return -1;
	if (kept) {
		rescue->candidates[rescue->count++] = kept;
		return 0;
	}
	if (find_sizes(rescue, &sizes))
		return -1;
	if (sizes.with_refcounts != 0)
		sizes.tried = sizes.with_refcounts;
	for (unsigned bits = 0; bits < SHAPES; bits++) {
		if (!(sizes.tried >> bits & 1))
			continue;
		if (try_shape(rescue, bits, false) ||
		    (bits >= QCOW2_LIMIT_EXTENDED_L2_CLUSTER_BITS_MIN &&
		     try_shape(rescue, bits, true)))
			return -1;
	}
	drop_unlikely(rescue);
	return 0;
}
