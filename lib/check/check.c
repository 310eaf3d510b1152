/* SPDX-License-Identifier: MIT */
/* Drives a check, stage by stage: see check.h for what it promises, stages.h for the order. */
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/error.h"
#include "base/sized.h"
#include "check/check.h"
#include "check/stages.h"
#include "check/structures.h"

static void count_problems(struct q2_check *check, enum qcow2_problem_id id, uint64_t times)
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

/* Returns how many problems of a kind are told. */
static uint64_t told_most(const struct q2_check *check, enum qcow2_problem_id id)
{
	const struct qcow2_check_options *options = check->options;

	if (!options->problem || (options->only && options->only->number != (unsigned)id))
		return 0;
	return options->max_per_kind ? options->max_per_kind : UINT64_MAX;
}

/* Counts a problem that a rule found; whether somebody wants to hear of it. */
static bool problem_wanted(void *opaque, enum qcow2_problem_id id)
{
	struct q2_check *check = opaque;

	count_problems(check, id, 1);
	check->for_caller = check->by_kind[id] <= told_most(check, id);
	return q2_damage_hear_kind(check, id) || check->for_caller;
}

/*
 * Rules of a snapshot's tables know its index. Its name is read only now, as sound images never need
 * it; that of a snapshot whose entry is judged is known already.
 */
static void problem_found(void *opaque, const struct qcow2_problem *problem)
{
	struct q2_check *check = opaque;
	struct qcow2_problem named;

	q2_damage_hear(check, problem);
	if (!check->for_caller)
		return;
	if (problem->guest_of != QCOW2_PART_OF_SNAPSHOT || problem->guest_of_name[0] != '\0') {
		q2_check_tell(check, problem);
		return;
	}
	named = *problem;
	if (q2_metadata_snapshot_name(&check->metadata, named.guest_of_index, named.guest_of_name,
				      sizeof(named.guest_of_name)))
		q2_worker_fail(&check->workers[0], check->err);
	q2_check_tell(check, &named);
}

/* Refcounts of clusters that are not in the file count nothing; QEMU does not look at them. */
static void report_beyond_end(struct q2_check *check)
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

/* Totals of problems that threads counted, and the numbers that qemu-img prints as well. */
static void sum_up(struct q2_check *check)
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

static void add_header(struct q2_check *check)
{
	struct qcow2_bytes first = qcow2_image_first_cluster(check->image);

	q2_worker_digest(&check->workers[0], 0, first.data, first.size);
}

/* All metadata has been read once; what is read again from here on only names owners. */
static void take_digest(struct q2_check *check)
{
	struct q2_digest digest = {{0, 0}};

	for (unsigned i = 0; i < check->threads; i++) {
		q2_digest_join(&digest, &check->workers[i].digest);
		check->workers[i].digesting = false;
	}
	/* The bounds depend on how much the file stores, and so on more than the metadata. */
	check->result->has_digest = check->options->digest && !check->digest_is_cut;
	if (check->result->has_digest)
		memcpy(check->result->metadata_digest, digest.sum, sizeof(digest.sum));
}

static int check_clusters(struct q2_check *check)
{
	if (q2_check_start(check))
		return -1;
	add_header(check);
	if (q2_check_metadata(check))
		return -1;
	if (check->structures)
		q2_structures_note(check);
	if (check->header_alone)
		return q2_check_read_rest(check);
	if (check->structures_alone)
		return 0;
	if (q2_check_l2_tables(check) || q2_check_report_l2(check) || q2_check_raw(check) ||
	    q2_check_deep(check) || q2_check_refcounts(check))
		return -1;
	take_digest(check);
	report_beyond_end(check);
	sum_up(check);
	return q2_check_tell_clusters(check) || q2_check_lost(check) ? -1 : 0;
}

int q2_check(const struct qcow2_image *image, const struct qcow2_check_options *options,
	     struct q2_check_totals *totals, struct qcow2_error *err)
{
	return q2_check_keep(image, options, totals, NULL, err);
}

/* Clusters are looked at only if it is known what they mean. */
static int run_all(struct q2_check *check, struct q2_references **kept)
{
	/* What unknown features mean for the clusters, nobody here knows. */
	if (check->geometry && !(check->header->incompatible_features & ~QCOW2_INCOMPATIBLE_KNOWN))
		if (check_clusters(check))
			return -1;
	if (q2_check_damage(check))
		return -1;
	return kept && check->workers ? q2_references_take(check, kept) : 0;
}

/* What else a check is given, and what it fills. */
struct task {
	struct q2_check_totals *totals;
	struct q2_references **kept;        /* or NULL */
	const struct q2_presumed *presumed; /* or NULL */
	struct q2_structures *structures;   /* or NULL */
	bool structures_alone;
	struct q2_header_alone *header_alone; /* or NULL */
};

static int check_image(const struct qcow2_image *image, const struct qcow2_check_options *options,
		       const struct task *task, struct qcow2_error *err)
{
	static const struct qcow2_check_options defaults;
	struct qcow2_error ignored;
	struct q2_check_totals *totals = task->totals;
	struct q2_references **kept = task->kept;
	struct q2_check check = {
		.image = image,
		.header = qcow2_image_header(image),
		.geometry = qcow2_image_geometry(image),
		.options = options ? options : &defaults,
		.result = &totals->sum,
		.totals = totals,
		.by_kind = totals->by_kind,
		.err = err ? err : &ignored,
		.keeps = kept != NULL,
		.presumed = task->presumed,
		.structures = task->structures,
		.structures_alone = task->structures_alone,
		.header_alone = task->header_alone,
	};
	int failed;

	if (kept)
		*kept = NULL;
	if (task->header_alone)
		*task->header_alone = (struct q2_header_alone){.is_alone = false};
	if (task->structures)
		*task->structures = (struct q2_structures){.is_whole = false};
	*totals = (struct q2_check_totals){.sum = {.size = sizeof(totals->sum)}};
	totals->sum.has_data_file =
		(check.header->incompatible_features & QCOW2_INCOMPATIBLE_DATA_FILE) != 0;
	for (unsigned kind = 0; kind < Q2_BAD_KINDS; kind++)
		check.bad_left[kind] =
			check.options->clusters_untold ? 0 : told_most(&check, q2_bad_id(kind));
	check.reporter = (struct q2_reporter){problem_found, &check, problem_wanted};
	check.memory.limit_bytes = check.options->memory_limit_bytes
					   ? check.options->memory_limit_bytes
					   : QCOW2_CHECK_MEMORY_BYTES;
	check.memory.user = "the check";
	q2_damage_start(&check);
	q2_rules_header(image, &check.reporter);
	q2_rules_extensions(image, &check.reporter);
	failed = run_all(&check, kept);
	q2_damage_release(&check);
	q2_check_release(&check);
	return check.stopped && !failed ? q2_check_fail_stopped(&check) : failed;
}

int q2_check_keep(const struct qcow2_image *image, const struct qcow2_check_options *options,
		  struct q2_check_totals *totals, struct q2_references **kept,
		  struct qcow2_error *err)
{
	return check_image(image, options, &(struct task){.totals = totals, .kept = kept}, err);
}

int q2_check_presumed(const struct qcow2_image *image, const struct qcow2_check_options *options,
		      const struct q2_presumed *presumed, bool *may_be_data,
		      struct qcow2_error *err)
{
	struct q2_check_totals totals;
	const struct task task = {.totals = &totals, .presumed = presumed};

	if (check_image(image, options, &task, err))
		return -1;
	*may_be_data = totals.sum.leaks_may_be_data;
	q2_check_totals_release(&totals);
	return 0;
}

int q2_check_noting(const struct qcow2_image *image, const struct qcow2_check_options *options,
		    struct q2_check_totals *totals, struct q2_structures *structures,
		    struct qcow2_error *err)
{
	return check_image(image, options,
			   &(struct task){.totals = totals, .structures = structures}, err);
}

int q2_check_structures(const struct qcow2_image *image, const struct qcow2_check_options *options,
			struct q2_structures *structures, struct qcow2_error *err)
{
	struct q2_check_totals totals;
	const struct task task = {
		.totals = &totals, .structures = structures, .structures_alone = true};

	return check_image(image, options, &task, err);
}

int q2_check_header_alone(const struct qcow2_image *image,
			  const struct qcow2_check_options *options,
			  struct q2_structures *structures, struct q2_header_alone *alone,
			  struct qcow2_error *err)
{
	struct q2_check_totals totals;
	const struct task task = {
		.totals = &totals, .structures = structures, .header_alone = alone};

	return check_image(image, options, &task, err);
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
		qcow2_check_result_free(&totals->sum);
		return -1;
	}
	if (out)
		*out = &totals->sum;
	else
		qcow2_check_result_free(&totals->sum);
	return 0;
}

const struct qcow2_damage_total *qcow2_check_result_damage(const struct qcow2_check_result *result,
							   size_t index)
{
	/* As above: the library alone makes results. */
	const struct q2_check_totals *totals = (const void *)result;

	return index < totals->damage_count ? &totals->damages[index] : NULL;
}

void q2_check_totals_release(struct q2_check_totals *totals)
{
	q2_free(totals->damages);
	totals->damages = NULL;
	totals->damage_count = 0;
}

uint64_t qcow2_check_result_count(const struct qcow2_check_result *result, unsigned number)
{
	/* The library alone makes results, and each is the first member of totals. */
	const struct q2_check_totals *totals = (const void *)result;

	return number < Q2_PROBLEM_NUMBERS ? totals->by_kind[number] : 0;
}

void qcow2_check_result_free(struct qcow2_check_result *result)
{
	if (result)
		q2_check_totals_release((void *)result);
	q2_free(result);
}
