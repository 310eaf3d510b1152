/* SPDX-License-Identifier: MIT */
/* Drives a check, part by part. See check.h and internal.h. */
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/error.h"
#include "base/sized.h"
#include "check/check.h"
#include "check/internal.h"

#define THREADS_MAX        16
#define CLUSTER_MOST_BYTES (UINT64_C(2) << 20)
/* Metadata may claim so much beyond what the file stores; a hostile one may claim anything. */
#define CLAIMS_SLACK_BYTES (UINT64_C(4) << 30)

static void count_problems(struct qcow2_check *check, enum qcow2_problem_id id, uint64_t times)
{
	struct qcow2_check_result *result = check->result;

	check->by_kind[id] += times;
	switch (qcow2_problem_kind_get(id)->severity) {
	case QCOW2_CORRUPTION:
		result->corruptions += times;
		break;
	case QCOW2_LEAK:
		result->leaks += times;
		break;
	case QCOW2_WARNING:
		result->warnings += times;
	}
}

/* So many problems of a kind are told. */
static uint64_t told_most(const struct qcow2_check *check, enum qcow2_problem_id id)
{
	const struct qcow2_check_options *options = check->options;

	if (!options->problem || (options->only && options->only->number != (unsigned)id))
		return 0;
	return options->max_per_kind ? options->max_per_kind : UINT64_MAX;
}

/* Counts a problem that a rule found; whether the caller wants to hear of it. */
static bool problem_wanted(void *opaque, enum qcow2_problem_id id)
{
	struct qcow2_check *check = opaque;
	if (check->naming)
		return false;
	count_problems(check, id, 1);
	return check->by_kind[id] <= told_most(check, id);
}

static void problem_found(void *opaque, const struct qcow2_problem *problem)
{
	q2_check_tell(opaque, problem);
}

void q2_check_tell(struct qcow2_check *check, const struct qcow2_problem *problem)
{
	if (!check->stopped)
		check->stopped = check->options->problem(check->options->opaque, problem) != 0;
}

static int fail_stopped(struct qcow2_check *check)
{
	return q2_fail(check->err, QCOW2_ERROR_STOPPED, QCOW2_NO_OFFSET, "stopped");
}

int q2_check_fail_memory(struct qcow2_check *check, struct qcow2_error *err)
{
	if (check->memory.limited)
		return q2_fail(err, QCOW2_ERROR_LIMIT, QCOW2_NO_OFFSET,
			       "the check needs more than the memory limit of %llu bytes",
			       (unsigned long long)check->memory.limit_bytes);
	return q2_fail_memory(err);
}

bool q2_check_progress(struct qcow2_check *check)
{
	uint64_t done = check->done_bytes;

	if (!check->stopped &&
	    (!check->options->progress ||
	     !check->options->progress(check->options->opaque, done,
				       done > check->total_bytes ? done : check->total_bytes)))
		return true;
	fail_stopped(check);
	return false;
}

int q2_check_worker_failed(struct qcow2_check *check)
{
	for (unsigned i = 0; i < check->threads; i++) {
		if (!check->workers[i].failed)
			continue;
		*check->err = check->workers[i].err;
		return -1;
	}
	return -1; /* progress has filled it */
}

void q2_check_count(struct q2_check_worker *worker, const struct q2_claim *claim)
{
	const struct qcow2_geometry *geometry = worker->check->geometry;
	unsigned bits = geometry->cluster_bits;
	uint64_t end, first = claim->offset_bytes >> bits;

	/* As for QEMU: what passes the end by a cluster or more is a problem and no reference. */
	if (claim->length_bytes == 0 ||
	    q2_add_u64(claim->offset_bytes, claim->length_bytes, &end) ||
	    (end > geometry->file_size_bytes &&
	     end - geometry->file_size_bytes >= geometry->cluster_size_bytes))
		return;
	q2_clusters_mark(&worker->clusters, first, ((end - 1) >> bits) - first + 1, claim->use,
			 claim->weight);
}

/* A claim of metadata. */
static bool count_claim(struct qcow2_check *check, const struct q2_claim *claim)
{
	if (claim->length_bytes > check->claims_left)
		return true;
	check->claims_left -= claim->length_bytes;
	q2_check_count(&check->workers[0], claim);
	if (!check->workers[0].clusters.failed)
		return true;
	q2_check_fail_memory(check, check->err);
	return false;
}

static unsigned choose_threads(const struct qcow2_check *check)
{
	long processors = sysconf(_SC_NPROCESSORS_ONLN);
	unsigned wanted = check->options->threads;

	/* Each has buffers of a cluster: what is larger than QEMU allows is not worth several. */
	if (check->geometry->cluster_size_bytes > CLUSTER_MOST_BYTES)
		return 1;
	if (wanted == 0)
		wanted = processors > 0 ? (unsigned)processors : 1;
	return wanted < THREADS_MAX ? wanted : THREADS_MAX;
}

static int start(struct qcow2_check *check)
{
	size_t buffer = Q2_PIECE_BYTES + (size_t)check->geometry->cluster_size_bytes;

	check->file_clusters = q2_div_ceil_u64(check->geometry->file_size_bytes,
					       check->geometry->cluster_size_bytes);
	check->claims_left =
		qcow2_source_allocated_bytes(qcow2_image_source(check->image)) + CLAIMS_SLACK_BYTES;
	check->threads = choose_threads(check);
	check->workers = q2_memory_get(&check->memory, check->threads, sizeof(*check->workers));
	if (!check->workers)
		return q2_check_fail_memory(check, check->err);
	for (unsigned i = 0; i < check->threads; i++) {
		struct q2_check_worker *worker = &check->workers[i];

		worker->check = check;
		worker->buffer = q2_memory_get(&check->memory, buffer, 1);
		/* The last cluster may be cut, and a compressed one may end in the next. */
		if (!q2_clusters_init(&worker->clusters, check->file_clusters + 2,
				      &check->memory) ||
		    !worker->buffer)
			return check->file_clusters >> 48 != 0
				       ? q2_fail(check->err, QCOW2_ERROR_LIMIT, QCOW2_NO_OFFSET,
						 "the file has more than 2^48 clusters")
				       : q2_check_fail_memory(check, check->err);
	}
	return 0;
}

static void release(struct qcow2_check *check)
{
	for (unsigned i = 0; check->workers && i < check->threads; i++) {
		struct q2_check_worker *worker = &check->workers[i];

		if (worker->clusters.memory)
			q2_clusters_release(&worker->clusters);
		q2_free(worker->buffer);
		for (unsigned kind = 0; kind < Q2_BAD_KINDS; kind++)
			q2_bad_list_release(check, &worker->bad[kind]);
	}
	q2_free(check->workers);
	q2_free(check->tables);
	q2_free(check->l1s);
	q2_free(check->blocks);
}

/* Refcounts of clusters that are not in the file count nothing; QEMU does not look at them. */
static void report_beyond_end(struct qcow2_check *check)
{
	uint64_t beyond = check->workers[0].beyond_end;

	if (beyond > 0)
		q2_report(&check->reporter,
			  &(struct q2_finding){.id = QCOW2_PROBLEM_REFCOUNT_BEYOND_END,
					       .offset_bytes = check->header->refcount_table_offset,
					       .has_found = true,
					       .found = beyond,
					       .expectation = QCOW2_EXPECT_VALUE},
			  "refcounts");
}

static void sum_up(struct qcow2_check *check)
{
	struct qcow2_check_result *result = check->result;
	uint64_t highest = check->workers[0].highest_cluster;

	for (unsigned kind = 0; kind < Q2_BAD_KINDS; kind++)
		count_problems(check, q2_bad_id(kind), check->workers[0].bad[kind].total);
	result->clusters_checked = true;
	result->image_end_offset_bytes = (highest ? highest : 1) << check->geometry->cluster_bits;
	/* As for QEMU, which cuts the disk to sectors. */
	result->total_clusters =
		q2_div_ceil_u64(check->geometry->virtual_size_bytes & ~UINT64_C(511),
				check->geometry->cluster_size_bytes);
}

static void add_header(struct qcow2_check *check)
{
	struct qcow2_bytes first = qcow2_image_first_cluster(check->image);

	check->digesting = check->options->digest;
	q2_check_digest(&check->workers[0], 0, first.data, first.size);
}

/* All metadata has been read once; what is read again from here on only names owners. */
static void take_digest(struct qcow2_check *check)
{
	struct q2_digest digest = {{0, 0}};

	for (unsigned i = 0; i < check->threads; i++)
		q2_digest_join(&digest, &check->workers[i].digest);
	/* The bounds depend on how much the file stores, and so on more than the metadata. */
	check->result->has_digest = check->digesting && !check->digest_is_cut;
	if (check->result->has_digest)
		memcpy(check->result->metadata_digest, digest.sum, sizeof(digest.sum));
	check->digesting = false;
}

static int check_clusters(struct qcow2_check *check)
{
	if (start(check))
		return -1;
	add_header(check);
	if (q2_check_metadata(check) || q2_check_l1_tables(check) || q2_check_l2_tables(check) ||
	    q2_check_report_l2(check) || q2_check_raw(check) || q2_check_deep(check) ||
	    q2_check_refcounts(check))
		return -1;
	take_digest(check);
	report_beyond_end(check);
	sum_up(check);
	return q2_check_tell_clusters(check);
}

int q2_check(const struct qcow2_image *image, const struct qcow2_check_options *options,
	     struct q2_check_totals *totals, struct qcow2_error *err)
{
	static const struct qcow2_check_options defaults;
	struct qcow2_error ignored;
	struct qcow2_check check = {
		.image = image,
		.header = qcow2_image_header(image),
		.geometry = qcow2_image_geometry(image),
		.options = options ? options : &defaults,
		.result = &totals->sum,
		.by_kind = totals->by_kind,
		.err = err ? err : &ignored,
		.claim = count_claim,
	};
	int failed = 0;

	*totals = (struct q2_check_totals){.sum = {.size = sizeof(totals->sum)}};
	totals->sum.has_data_file =
		(check.header->incompatible_features & QCOW2_INCOMPATIBLE_DATA_FILE) != 0;
	for (unsigned kind = 0; kind < Q2_BAD_KINDS; kind++)
		check.bad_left[kind] = told_most(&check, q2_bad_id(kind));
	check.reporter = (struct q2_reporter){problem_found, &check, problem_wanted};
	check.memory.limit_bytes = check.options->memory_limit_bytes
					   ? check.options->memory_limit_bytes
					   : QCOW2_CHECK_MEMORY_BYTES;
	q2_hash_key_make(&check.hash_key);
	q2_rules_header(image, &check.reporter);
	q2_rules_extensions(image, &check.reporter);
	/* What unknown features mean for the clusters, nobody here knows. */
	if (check.geometry && !(check.header->incompatible_features & ~QCOW2_INCOMPATIBLE_KNOWN))
		failed = check_clusters(&check);
	release(&check);
	return check.stopped && !failed ? fail_stopped(&check) : failed;
}

int qcow2_check(const struct qcow2_image *image, const struct qcow2_check_options *options,
		struct qcow2_check_result **out, struct qcow2_error *err)
{
	struct qcow2_check_options mine;
	struct q2_check_totals *totals;

	if (q2_sized_take(&mine, sizeof(mine), options, err))
		return -1;
	totals = q2_alloc(sizeof(*totals));
	if (!totals)
		return q2_fail_memory(err);
	if (q2_check(image, &mine, totals, err)) {
		q2_free(totals);
		return -1;
	}
	if (out)
		*out = &totals->sum;
	else
		q2_free(totals);
	return 0;
}

uint64_t qcow2_check_result_count(const struct qcow2_check_result *result, unsigned number)
{
	/* The library alone makes results, and each is the first member of totals. */
	const struct q2_check_totals *totals = (const void *)result;

	return number < Q2_PROBLEM_NUMBERS ? totals->by_kind[number] : 0;
}

void qcow2_check_result_free(struct qcow2_check_result *result)
{
	q2_free(result);
}
