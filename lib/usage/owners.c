/* SPDX-License-Identifier: MIT */
/*
 * The owners of runs: a window of runs is filled, then all claims are heard once more, and the first
 * one that has the first byte of a run is kept, or else the first one that touches its first cluster:
 * several compressed clusters lie in one, and nobody may have its first byte. Of guest data only the
 * number of the L2 table and the entry are kept, from which the claim is made when the run is told.
 */
#include "base/error.h"
#include "base/search.h"
#include "usage/l2_table.h"

/* So many runs have to fit in memory. */
#define WINDOW_RUNS_LEAST UINT64_C(64)

/* Values of owned_run.table that are no numbers of L2 tables. */
#define NO_OWNER     UINT32_MAX
#define BY_STRUCTURE (UINT32_MAX - 1)

/* How well a claim owns a run: one of a higher rank is better. */
enum rank {
	RANK_NONE,
	RANK_WEAK,   /* the claim passes the end of the file */
	RANK_INSIDE, /* it starts behind the first byte of its first cluster */
	RANK_BEST,
};

struct owned_run {
	uint64_t first; /* cluster */
	uint64_t hole_bytes;
	uint64_t entry; /* of an L2 table, raw */
	uint32_t table; /* number of an L2 table, or as above */
	uint32_t index; /* of the entry, or of the claim of a structure */
	uint8_t kind;   /* enum qcow2_usage_kind */
	uint8_t rank;   /* enum rank */
};

struct q2_owners_window {
	struct owned_run *runs;
	uint64_t capacity;
	uint64_t count, at;
	uint64_t end;     /* the cluster behind the last run */
	bool is_last;     /* no run follows the last one */
	uint64_t missing; /* runs that have no owner yet, but will have one */
	uint64_t hint;    /* the run that was looked for last */
	/*
	 * From each run the number of it or of a later one: those in between have their owners. One
	 * more than there are runs.
	 */
	uint32_t *next;
	struct qcow2_claim *claims; /* of structures */
	size_t claim_count, claim_capacity;
	struct qcow2_claim told;
};

void q2_usage_release_window(struct qcow2_usage *usage)
{
	struct q2_owners_window *window = usage->window;
	struct q2_memory *memory = &usage->memory;

	if (!window)
		return;
	q2_memory_put(memory, window->runs, window->capacity, sizeof(*window->runs));
	q2_memory_put(memory, window->next, window->capacity + 1, sizeof(*window->next));
	q2_memory_put(memory, window->claims, window->claim_capacity, sizeof(*window->claims));
	q2_memory_put(memory, window, 1, sizeof(*window));
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
	if (most < WINDOW_RUNS_LEAST)
		most = WINDOW_RUNS_LEAST;
	if (most > usage->window_runs_most)
		most = usage->window_runs_most;
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
	struct qcow2_usage_run run;

	window->count = window->at = window->missing = window->hint = 0;
	window->claim_count = 0;
	/* The scan starts again behind the last run, but this passage is over then. */
	while (!window->is_last && window->count < window->capacity) {
		uint64_t end;

		window->is_last = !q2_usage_next_run(usage, &run);
		if (window->is_last)
			break;
		end = run.start.byte + run.length_bytes;
		window->runs[window->count] = (struct owned_run){
			.first = run.start.byte >> usage->geometry->cluster_bits,
			.hole_bytes = run.hole_bytes,
			.table = NO_OWNER,
			.kind = (uint8_t)run.kind,
		};
		window->next[window->count] = (uint32_t)(window->count + !is_claimed(run.kind));
		window->missing += is_claimed(run.kind);
		window->count++;
		window->end = end == usage->geometry->file_size_bytes
				      ? usage->file_clusters
				      : end >> usage->geometry->cluster_bits;
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

/* Whether a run is the first one that does not start before a cluster. */
static bool is_first_run(const struct q2_owners_window *window, uint64_t at, uint64_t cluster)
{
	return (at == window->count || window->runs[at].first >= cluster) &&
	       (at == 0 || window->runs[at - 1].first < cluster);
}

/* The first run that does not start before a cluster. Often it is near the one before. */
static uint64_t first_run(struct q2_owners_window *window, uint64_t cluster)
{

	for (uint64_t at = window->hint; at <= window->hint + 2 && at <= window->count; at++)
		if (is_first_run(window, at, cluster))
			return window->hint = at;
	return window->hint = q2_rising_lower(
		       Q2_RISING(window->runs, (size_t)window->count, struct owned_run, first),
		       cluster);
}

/*
 * The first run without an owner that starts in count clusters from first on. False if there is none.
 */
static bool find_run(struct q2_owners_window *window, uint64_t first, uint64_t count, uint64_t *at)
{
	if (window->missing == 0 || first >= window->end || first + count <= window->runs[0].first)
		return false;
	*at = without_owner(window, first_run(window, first));
	return *at < window->count && window->runs[*at].first - first < count;
}

/* Gives runs that start in the range an owner. Those in the middle of L2 entries in a row come with
 * the entry of that cluster. */
static void keep_owner(struct q2_owners_window *window, const struct q2_weak_claim *range,
		       const struct owned_run *owner, uint64_t step)
{
	uint64_t first = range->first, at;
	const uint64_t end = range->first + range->count;

	while (first < end && find_run(window, first, end - first, &at)) {
		struct owned_run *run = &window->runs[at];
		const uint64_t into = run->first - range->first;
		const uint8_t rank =
			owner->rank == RANK_INSIDE && into > 0 ? RANK_BEST : owner->rank;

		first = run->first + 1;
		if (rank <= run->rank)
			continue;
		run->table = owner->table;
		run->index = owner->index + (step ? (uint32_t)into : 0);
		run->entry = owner->entry + into * step;
		run->rank = rank;
		if (rank < RANK_BEST)
			continue;
		window->missing--;
		window->next[at] = (uint32_t)(at + 1);
	}
}

/* Gives the clusters of a claim and its rank. False if it touches none. */
static bool place(const struct qcow2_usage *usage, const struct qcow2_claim *claim,
		  struct q2_weak_claim *range, uint8_t *rank)
{
	const bool inside = claim->offset_bytes % usage->geometry->cluster_size_bytes != 0;
	bool is_weak;

	if (!q2_usage_clusters(usage->geometry, claim, range, &is_weak))
		return false;
	*rank = is_weak ? RANK_WEAK : inside ? RANK_INSIDE : RANK_BEST;
	return true;
}

static int hear_claim(void *opaque, const struct qcow2_claim *claim)
{
	struct qcow2_usage *usage = opaque;
	struct q2_owners_window *window = usage->window;
	struct owned_run owner = {.table = BY_STRUCTURE, .index = (uint32_t)window->claim_count};
	struct q2_weak_claim range;
	uint64_t at;

	if (!place(usage, claim, &range, &owner.rank) ||
	    !find_run(window, range.first, range.count, &at))
		return 0;
	if (window->claim_count == window->claim_capacity &&
	    !q2_memory_grow(&usage->memory, (void **)&window->claims, &window->claim_capacity,
			    sizeof(*window->claims)))
		return q2_memory_fail(&usage->memory, usage->metadata.err);
	window->claims[window->claim_count++] = *claim;
	keep_owner(window, &range, &owner, 0);
	return 0;
}

/* The clusters of the entries of an L2 table. */
static bool visit_table(void *opaque, struct q2_marker *marker, size_t number, const uint8_t *bytes)
{
	struct qcow2_usage *usage = opaque;
	const struct q2_l2_bytes table = q2_l2_bytes_of(usage, number, bytes);
	uint64_t run;

	(void)marker;
	for (uint64_t i = 0; i < table.entries; i += run ? run : 1) {
		struct owned_run owner = {.entry = q2_l2_load(&table, i),
					  .table = (uint32_t)number,
					  .index = (uint32_t)i,
					  .rank = RANK_BEST};
		struct q2_weak_claim range = {.first = q2_l2_cluster(&table, owner.entry)};
		struct qcow2_claim claim;

		run = owner.entry ? q2_l2_run(&table, i, owner.entry) : 1;
		range.count = run;
		if (run == 0 && q2_l2_claim(usage->geometry, &usage->metadata.tables[number],
					    owner.entry, &claim))
			place(usage, &claim, &range, &owner.rank);
		if (owner.entry != 0 && range.count > 0)
			keep_owner(usage->window, &range, &owner,
				   run ? usage->geometry->cluster_size_bytes : 0);
	}
	return usage->window->missing > 0;
}

static int hear_progress(void *opaque)
{
	return q2_usage_progress(opaque);
}

static int find_owners(struct qcow2_usage *usage)
{
	const struct q2_listener listener = {
		.opaque = usage, .claim = hear_claim, .go_on = hear_progress};
	const struct q2_l2_visitor visitor = {.visit = visit_table, .opaque = usage, .threads = 1};
	struct q2_metadata *metadata = &usage->metadata;

	if (usage->window->missing == 0)
		return 0;
	if (q2_metadata_visit_structures(metadata, &listener) ||
	    q2_metadata_claim_l2_tables(metadata, &listener))
		return -1;
	return usage->window->missing == 0 ? 0 : q2_usage_read_l2(usage, &visitor);
}

/* The claim that owns a run, or NULL. */
static const struct qcow2_claim *owner_of(struct qcow2_usage *usage, const struct owned_run *run)
{
	struct qcow2_claim *claim = &usage->window->told;
	const struct q2_l2_ref *ref;

	if (run->table == NO_OWNER)
		return NULL;
	if (run->table == BY_STRUCTURE) {
		*claim = usage->window->claims[run->index];
	} else {
		ref = &usage->metadata.tables[run->table];
		q2_l2_claim(usage->geometry, ref, run->entry, claim);
		q2_l2_claim_name(usage->geometry, ref,
				 q2_metadata_disk(&usage->metadata, ref->list).size_bytes,
				 run->index, claim);
	}
	claim->size = sizeof(*claim);
	return claim;
}

static void tell(struct qcow2_usage *usage, uint64_t number)
{
	const struct q2_owners_window *window = usage->window;
	const struct owned_run *run = &window->runs[number];
	const uint64_t end = number + 1 < window->count ? run[1].first : window->end;
	const uint64_t start = q2_usage_byte(usage, run->first);

	usage->told = (struct qcow2_usage_run){
		.size = sizeof(usage->told),
		.start.byte = start,
		.length_bytes = q2_usage_byte(usage, end) - start,
		.hole_bytes = run->hole_bytes,
		.kind = (enum qcow2_usage_kind)run->kind,
		.owner = owner_of(usage, run),
	};
}

int q2_usage_next_owned(struct qcow2_usage *usage)
{
	struct q2_owners_window *window = usage->window;

	if (!window && open_window(usage))
		return -1;
	window = usage->window;
	if (window->at == window->count) {
		fill(usage);
		if (find_owners(usage))
			return -1;
		if (window->count == 0) {
			window->is_last = false;
			return 0;
		}
	}
	tell(usage, window->at++);
	return 1;
}
