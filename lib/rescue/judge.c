/* SPDX-License-Identifier: MIT */
/* Checks the image as a candidate would make it: see search.h. */
#include "rescue/search.h"

#include <inttypes.h>

#include "base/alloc.h"
#include "base/error.h"

#include <qcow2/check.h>
#include <qcow2/image.h>

/* The image as a candidate would make it. */
struct planned {
	struct qcow2_plan *plan;
	struct qcow2_source *view;
	struct qcow2_image *image;
};

static int check(struct qcow2_rescue *rescue, struct q2_candidate *candidate,
		 const struct qcow2_image *image)
{
	const struct qcow2_check_options how = {
		.size = sizeof(how),
		.threads = rescue->options.threads,
		.memory_limit_bytes = rescue->options.memory_limit_bytes,
		.clusters_untold = true,
		.lost_mappings = true,
	};

	return qcow2_check(image, &how, &candidate->check, rescue->err);
}

static uint64_t problems_of(const struct q2_candidate *candidate)
{
	if (!candidate->check)
		return UINT64_MAX;
	return candidate->check->corruptions + candidate->check->leaks;
}

/*
 * The largest power of two at multiples of which the tables lie. QEMU puts the refcount table right
 * behind the header, so that larger clusters are more likely if that is more than a cluster.
 */
static uint64_t alignment_of(const struct q2_candidate *candidate)
{
	const struct qcow2_header *header = &candidate->header;
	uint64_t offsets = header->l1_table_offset | header->refcount_table_offset;

	if (header->l1_table_offset == 0 || header->refcount_table_offset == 0)
		return 0;
	if (header->nb_snapshots > 0)
		offsets |= header->snapshot_offset;
	return offsets & -offsets;
}

static bool is_aligned_to_more(const struct q2_candidate *candidate)
{
	return alignment_of(candidate) > candidate->cluster_size_bytes;
}

/* Larger disks than that are rare, and so are those of which almost nothing is mapped. */
#define LARGE_DISK_BYTES  (UINT64_C(1) << 46)
#define SPARSE_DISK_TIMES (UINT64_C(1) << 20)

/* Whether it may be, but other candidates are more likely. */
static bool is_odd(const struct q2_candidate *candidate)
{
	uint64_t size = candidate->header.size;

	return is_aligned_to_more(candidate) ||
	       (size > LARGE_DISK_BYTES && candidate->mapped_bytes < size / SPARSE_DISK_TIMES);
}

/* How sure a candidate is: by its tables, and no more than what the check leaves of that. */
static unsigned confidence_of(const struct q2_candidate *candidate)
{
	uint64_t problems = problems_of(candidate), right = candidate->public.mapped_clusters + 4;
	unsigned confidence = candidate->structure_confidence, by_check;

	if (!candidate->check)
		return 0;
	by_check =
		problems == 0 ? 99 : (unsigned)(95.0 * (double)right / (double)(right + problems));
	if (by_check < confidence)
		confidence = by_check;
	return candidate->is_unlikely || is_odd(candidate) ? confidence * 6 / 10 : confidence;
}

static int say_alignment(struct qcow2_rescue *rescue, struct q2_candidate *candidate)
{
	const struct q2_evidence_head head = {QCOW2_RESCUE_CLUSTERS, 40, false};

	if (!is_aligned_to_more(candidate))
		return 0;
	return q2_evidence_add(candidate, head, rescue->err,
			       "all tables lie at multiples of %" PRIu64
			       " bytes: clusters of that size would be more likely",
			       alignment_of(candidate));
}

static int say_check(struct qcow2_rescue *rescue, struct q2_candidate *candidate)
{
	const struct qcow2_check_result *result = candidate->check;
	const struct q2_evidence_head head = {QCOW2_RESCUE_CHECK, candidate->public.confidence,
					      false};

	if (!result)
		return q2_evidence_add(candidate, head, rescue->err,
				       "the image could not be opened then");
	if (result->corruptions + result->leaks == 0)
		return q2_evidence_add(candidate, head, rescue->err,
				       "the check finds nothing wrong with the image then");
	return q2_evidence_add(candidate, head, rescue->err,
			       "the check finds %" PRIu64 " corruption%s and %" PRIu64
			       " leak%s in the image then",
			       result->corruptions, result->corruptions == 1 ? "" : "s",
			       result->leaks, result->leaks == 1 ? "" : "s");
}

/* Opens the image as a candidate would make it; *image is NULL if that cannot be opened. */
static int open_planned(struct qcow2_rescue *rescue, struct q2_candidate *candidate,
			struct planned *planned)
{
	if (qcow2_plan_open(rescue->source, &planned->plan, rescue->err) ||
	    q2_candidate_plan(candidate, planned->plan, rescue->err) ||
	    qcow2_plan_view(planned->plan, &planned->view, rescue->err))
		return -1;
	if (qcow2_image_open(planned->view, &planned->image, rescue->err))
		return q2_is_fault(rescue->err) ? -1 : 0;
	return 0;
}

static void close_planned(struct planned *planned)
{
	qcow2_image_close(planned->image);
	qcow2_source_close(planned->view);
	qcow2_plan_close(planned->plan);
	*planned = (struct planned){NULL, NULL, NULL};
}

/* Looks for lost tables, if anything is wrong without them. */
static int find_lost(struct qcow2_rescue *rescue, struct q2_candidate *candidate,
		     const struct q2_vector *tables, const struct qcow2_image *image)
{
	const struct q2_lost_how how = {
		.tables = tables,
		.confidence_least = rescue->options.confidence_least,
		.look_at_guest = rescue->options.look_at_guest,
		.memory_limit_bytes = rescue->options.memory_limit_bytes,
	};

	if (!image || !qcow2_image_geometry(image) || !candidate->check)
		return 0;
	if (q2_lost_find(&candidate->lost, image, &how, rescue->err) == 0)
		return 0;
	/* A guess that is wrong may be too much to search; the check has judged it already. */
	return rescue->err->code == QCOW2_ERROR_LIMIT ? 0 : -1;
}

/* How sure the planned places are together: as sure as most of their clusters. */
static unsigned lost_confidence(const struct q2_lost *lost)
{
	double sum = 0, clusters = 0;

	for (size_t i = 0; i < lost->places.count; i++) {
		const struct q2_lost_place *place = q2_vector_at(&lost->places, i);
		const double weight = (double)place->public.clusters + 1;

		if (!place->public.planned)
			continue;
		sum += weight * place->public.confidence;
		clusters += weight;
	}
	return clusters > 0 ? (unsigned)(sum / clusters) : 100;
}

static int say_lost(struct qcow2_rescue *rescue, struct q2_candidate *candidate)
{
	const struct q2_lost *lost = &candidate->lost;
	const unsigned confidence = lost_confidence(lost);
	const struct q2_evidence_head head = {QCOW2_RESCUE_L2, confidence, lost->unplaced > 0};

	if (lost->orphans + lost->places.count == 0)
		return 0;
	if (confidence < candidate->structure_confidence)
		candidate->structure_confidence = confidence;
	candidate->public.mapped_clusters = lost->mapped_clusters;
	candidate->mapped_bytes = lost->mapped_clusters * candidate->cluster_size_bytes;
	return q2_evidence_add(candidate, head, rescue->err,
			       "L2 tables that nothing leads to: %" PRIu64
			       "; L1 entries that lead to none: %" PRIu64
			       "; tables that get a place: %" PRIu64
			       "; tables that stay without one: %" PRIu64,
			       lost->orphans, lost->holes, lost->planned, lost->unplaced);
}

static int check_planned(struct qcow2_rescue *rescue, struct q2_candidate *candidate,
			 const struct planned *planned)
{
	qcow2_check_result_free(candidate->check);
	candidate->check = NULL;
	return planned->image ? check(rescue, candidate, planned->image) : 0;
}

int q2_judge_candidate(struct qcow2_rescue *rescue, struct q2_candidate *candidate,
		       const struct q2_vector *tables)
{
	struct planned planned = {NULL, NULL, NULL};
	int failed = open_planned(rescue, candidate, &planned) ||
		     check_planned(rescue, candidate, &planned) ||
		     find_lost(rescue, candidate, tables, planned.image);

	close_planned(&planned);
	if (!failed && candidate->lost.planned > 0)
		failed = open_planned(rescue, candidate, &planned) ||
			 check_planned(rescue, candidate, &planned);
	close_planned(&planned);
	if (failed || say_lost(rescue, candidate))
		return -1;
	candidate->public.check = candidate->check;
	candidate->public.confidence = confidence_of(candidate);
	return say_alignment(rescue, candidate) || say_check(rescue, candidate) ? -1 : 0;
}

bool q2_is_better(const struct q2_candidate *candidate, const struct q2_candidate *other)
{
	uint64_t mine = problems_of(candidate), theirs = problems_of(other);

	/* Without refcounts every cluster is a problem: what counts is how much is explained. */
	if (!candidate->has_refcounts || !other->has_refcounts) {
		if (candidate->has_refcounts != other->has_refcounts)
			return candidate->has_refcounts;
		return candidate->mapped_bytes > other->mapped_bytes;
	}
	/* A disk that maps nothing has no problems either, and explains nothing. */
	if ((candidate->mapped_bytes > 0) != (other->mapped_bytes > 0) && candidate->check &&
	    other->check && candidate->check->corruptions == other->check->corruptions)
		return candidate->mapped_bytes > 0;
	if (is_odd(candidate) != is_odd(other) && candidate->check && other->check &&
	    candidate->check->corruptions == other->check->corruptions)
		return is_odd(other);
	if (mine != theirs)
		return mine < theirs;
	if (candidate->public.confidence != other->public.confidence)
		return candidate->public.confidence > other->public.confidence;
	return candidate->mapped_bytes > other->mapped_bytes;
}
