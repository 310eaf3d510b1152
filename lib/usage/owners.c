/* SPDX-License-Identifier: MIT */
/*
 * The owners of runs: a window of runs is filled, then all claims are heard once more, and the first
 * one that has the first byte of a run is kept. If there is none, it is the first one that touches
 * the first cluster: the rest of a cluster's compressed data may be claimed alone.
 */
#include "base/error.h"
#include "usage/usage.h"

/* The most runs of a window; the memory limit may allow fewer. */
#define WINDOW_RUNS_MOST  (UINT64_C(1) << 18)
#define WINDOW_RUNS_LEAST UINT64_C(64)

struct owned_run {
	struct qcow2_usage_run run;
	struct qcow2_claim claim;
	bool has_claim;
};

struct q2_owners_window {
	struct owned_run *runs;
	uint64_t capacity;
	uint64_t count, at;
	bool is_last;     /* no run of the file is behind those of the window */
	uint64_t missing; /* runs that have no owner yet, but will have one */
	/*
	 * From each run the number of it or of a later one: those in between have their owners. One
	 * more than there are runs.
	 */
	uint32_t *next;
	struct q2_weak_claim range; /* of the claim that is heard */
};

void q2_usage_release_window(struct qcow2_usage *usage)
{
	struct q2_owners_window *window = usage->window;

	if (!window)
		return;
	q2_memory_put(&usage->memory, window->runs, window->capacity, sizeof(*window->runs));
	q2_memory_put(&usage->memory, window->next, window->capacity + 1, sizeof(*window->next));
	q2_memory_put(&usage->memory, window, 1, sizeof(*window));
	usage->window = NULL;
}

static int open_window(struct qcow2_usage *usage)
{
	const uint64_t left = usage->memory.limit_bytes - usage->memory.used_bytes;
	struct q2_owners_window *window = q2_memory_get(&usage->memory, 1, sizeof(*window));
	uint64_t runs = 0, most;

	usage->window = window;
	if (!window)
		return q2_memory_fail(&usage->memory, usage->metadata.err);
	for (unsigned i = 0; i < QCOW2_USAGE_KINDS; i++)
		runs += usage->totals[i].runs;
	most = left / 4 / sizeof(*window->runs);
	if (most > WINDOW_RUNS_MOST)
		most = WINDOW_RUNS_MOST;
	if (most < WINDOW_RUNS_LEAST)
		most = WINDOW_RUNS_LEAST;
	window->capacity = runs < most ? runs : most;
	window->runs = q2_memory_get(&usage->memory, window->capacity, sizeof(*window->runs));
	window->next = q2_memory_get(&usage->memory, window->capacity + 1, sizeof(*window->next));
	return window->runs && window->next ? 0
					    : q2_memory_fail(&usage->memory, usage->metadata.err);
}

static bool is_claimed(enum qcow2_usage_kind kind)
{
	return kind != QCOW2_USAGE_LEAKED && kind != QCOW2_USAGE_FREE && kind != QCOW2_USAGE_HOLE;
}

static void fill(struct qcow2_usage *usage)
{
	struct q2_owners_window *window = usage->window;

	window->count = 0;
	window->at = 0;
	window->missing = 0;
	window->is_last = false;
	while (window->count < window->capacity) {
		struct owned_run *owned = &window->runs[window->count];

		*owned = (struct owned_run){0};
		if (!q2_usage_next_run(usage, &owned->run)) {
			window->is_last = true;
			break;
		}
		window->next[window->count] =
			(uint32_t)(window->count + !is_claimed(owned->run.kind));
		window->missing += is_claimed(owned->run.kind);
		window->count++;
	}
	window->next[window->count] = (uint32_t)window->count;
}

/* The first run from number `from` on that has no owner, or the number of runs. */
static uint64_t without_owner(struct q2_owners_window *window, uint64_t from)
{
	uint64_t at = from;

	while (window->next[at] != at)
		at = window->next[at];
	while (window->next[from] != from) {
		const uint64_t next = window->next[from];

		window->next[from] = (uint32_t)at;
		from = next;
	}
	return at;
}

/* The first run that does not start before a cluster. */
static uint64_t first_run(const struct qcow2_usage *usage, uint64_t cluster)
{
	const struct q2_owners_window *window = usage->window;
	const uint64_t byte = q2_usage_byte(usage, cluster);
	uint64_t low = 0, high = window->count;

	while (low < high) {
		const uint64_t middle = low + (high - low) / 2;

		if (window->runs[middle].run.start.byte < byte)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/*
 * A claim that passes the end of the file owns only what nothing else does, and one that starts behind
 * the first byte of the run gives way to one that has this byte.
 */
static void keep_claim(struct q2_owners_window *window, uint64_t number,
		       const struct qcow2_claim *claim, bool is_weak)
{
	struct owned_run *owned = &window->runs[number];

	is_weak |= claim->offset_bytes > owned->run.start.byte;
	if (is_weak && owned->has_claim)
		return;
	window->missing -= !is_weak;
	owned->claim = *claim;
	owned->claim.size = sizeof(owned->claim);
	owned->has_claim = true;
	if (!is_weak)
		window->next[number] = (uint32_t)(number + 1);
}

static int hear_claim(void *opaque, const struct qcow2_claim *claim)
{
	struct qcow2_usage *usage = opaque;
	struct q2_owners_window *window = usage->window;
	struct q2_weak_claim range;
	uint64_t at, end;
	bool is_weak;

	if (window->missing == 0 || !q2_usage_clusters(usage->geometry, claim, &range, &is_weak))
		return 0;
	end = q2_usage_byte(usage, range.first + range.count);
	at = without_owner(window, first_run(usage, range.first));
	while (at < window->count && window->runs[at].run.start.byte < end) {
		keep_claim(window, at, claim, is_weak);
		at = without_owner(window, at + 1);
	}
	return 0;
}

static int hear_progress(void *opaque)
{
	return q2_usage_progress(opaque);
}

static int find_owners(struct qcow2_usage *usage)
{
	const struct q2_listener listener = {
		.opaque = usage, .claim = hear_claim, .go_on = hear_progress};
	const struct q2_owners_window *window = usage->window;
	struct q2_metadata *metadata = &usage->metadata;

	if (window->missing == 0)
		return 0;
	if (q2_metadata_visit_structures(metadata, &listener) ||
	    q2_metadata_claim_l2_tables(metadata, &listener))
		return -1;
	return window->missing == 0 ? 0 : q2_metadata_claim_l2_entries(metadata, &listener);
}

int q2_usage_next_owned(struct qcow2_usage *usage, const struct qcow2_usage_run **run)
{
	struct q2_owners_window *window = usage->window;
	struct owned_run *owned;

	if (!window && open_window(usage))
		return -1;
	window = usage->window;
	if (window->at == window->count && !window->is_last) {
		fill(usage);
		if (find_owners(usage))
			return -1;
	}
	if (window->at == window->count) {
		/* The scan has started again, and so does the next window. */
		window->is_last = false;
		return 0;
	}
	owned = &window->runs[window->at++];
	owned->run.owner = owned->has_claim ? &owned->claim : NULL;
	*run = &owned->run;
	return 1;
}
