/* SPDX-License-Identifier: MIT */
/*
 * The header that the file has. If it obeys the rules and leads to refcounts or tables, nothing
 * about it has to be guessed: only tables are lost.
 */
#include "rescue/search.h"

#include "base/alloc.h"
#include "base/error.h"
#include "rules/rules.h"

#include <qcow2/features.h>
#include <qcow2/image.h>
#include <qcow2/limits.h>

#define CONFIDENCE 99

static void note_problem(void *opaque, const struct qcow2_problem *problem)
{
	/* A program that sets the bit has found something else that is wrong. */
	*(bool *)opaque |= problem->kind->severity == QCOW2_CORRUPTION &&
			   problem->kind->number != QCOW2_PROBLEM_FEATURE_CORRUPT;
}

static bool obeys_rules(const struct qcow2_image *image)
{
	bool faulty = false;
	const struct q2_reporter reporter = {.problem = note_problem, .opaque = &faulty};

	q2_rules_header(image, &reporter);
	return !faulty;
}

/* Whether the caller knows the image better than its header does. */
static bool is_contradicted(const struct qcow2_rescue_options *options,
			    const struct qcow2_header *header,
			    const struct qcow2_geometry *geometry)
{
	return (options->cluster_size_bytes &&
		options->cluster_size_bytes != geometry->cluster_size_bytes) ||
	       (options->virtual_size_bytes && options->virtual_size_bytes != header->size) ||
	       (options->version && options->version != header->version) ||
	       (options->refcount_bits && options->refcount_bits != geometry->refcount_bits) ||
	       options->backing_file || options->backing_format || options->data_file;
}

static bool overlap(uint64_t a_byte, uint64_t a_bytes, uint64_t b_byte, uint64_t b_bytes)
{
	return a_byte < b_byte ? b_byte - a_byte < a_bytes : a_byte - b_byte < b_bytes;
}

/*
 * Whether the L1 table shares a place with the header or the refcount table: it is elsewhere, and
 * entries that are put into it would overwrite them.
 */
static bool is_l1_misplaced(const struct qcow2_header *header,
			    const struct qcow2_geometry *geometry)
{
	const uint64_t cluster_bytes = geometry->cluster_size_bytes;
	uint64_t l1_bytes = geometry->l1_entries_needed * 8;

	return overlap(header->l1_table_offset, l1_bytes, 0, cluster_bytes) ||
	       overlap(header->l1_table_offset, l1_bytes, header->refcount_table_offset,
		       header->refcount_table_clusters * cluster_bytes);
}

static bool is_whole(const struct qcow2_rescue *rescue, const struct qcow2_image *image)
{
	const struct qcow2_header *header = qcow2_image_header(image);
	const struct qcow2_geometry *geometry = qcow2_image_geometry(image);

	return geometry && geometry->cluster_bits <= QCOW2_LIMIT_QEMU_CLUSTER_BITS &&
	       !(header->incompatible_features & ~QCOW2_INCOMPATIBLE_KNOWN) &&
	       !is_contradicted(&rescue->options, header, geometry) &&
	       !is_l1_misplaced(header, geometry) && obeys_rules(image);
}

static int fill(struct qcow2_rescue *rescue, struct q2_candidate *candidate,
		const struct qcow2_image *image)
{
	const struct q2_evidence_head head = {QCOW2_RESCUE_HEADER, CONFIDENCE, false};

	q2_vector_init(&candidate->evidence, sizeof(struct qcow2_rescue_evidence),
		       Q2_EVIDENCE_MOST);
	candidate->header = *qcow2_image_header(image);
	candidate->public.size = sizeof(candidate->public);
	candidate->public.header = &candidate->header;
	candidate->cluster_size_bytes = qcow2_image_geometry(image)->cluster_size_bytes;
	candidate->structure_confidence = CONFIDENCE;
	return q2_evidence_add(candidate, head, rescue->err,
			       "the header of the file is whole, and stays as it is");
}

/* Whether the header leads to something, as one that is right does. */
static bool leads_somewhere(const struct q2_candidate *candidate)
{
	return candidate->lost.has_refcounts || candidate->lost.mapped_clusters > 0 ||
	       candidate->lost.orphans > 0;
}

static int make(struct qcow2_rescue *rescue, struct q2_candidate *candidate,
		const struct qcow2_image *image)
{
	const struct qcow2_geometry *geometry = qcow2_image_geometry(image);
	const struct q2_rescue_shape shape = {
		.cluster_bits = geometry->cluster_bits,
		.refcount_order = qcow2_image_header(image)->refcount_order,
		.extended_l2 = geometry->extended_l2,
		.data_file = geometry->data_file,
		.file_size_bytes = geometry->file_size_bytes,
	};
	struct q2_vector tables = {0};
	int failed = fill(rescue, candidate, image) ||
		     q2_scan_tables(&rescue->scan, &shape, &tables, rescue->err) ||
		     q2_judge_candidate(rescue, candidate, &tables);

	q2_vector_release(&tables);
	if (!failed)
		candidate->has_refcounts = candidate->lost.has_refcounts;
	return failed ? -1 : 0;
}

static void drop(struct q2_candidate *candidate)
{
	if (candidate)
		q2_candidate_release(candidate);
	q2_free(candidate);
}

int q2_keep_header(struct qcow2_rescue *rescue, struct q2_candidate **kept)
{
	struct q2_candidate *candidate = NULL;
	struct qcow2_image *image;
	int failed = 0;

	*kept = NULL;
	if (qcow2_image_open(rescue->source, &image, rescue->err))
		return rescue->err->code == QCOW2_ERROR_MEMORY ? -1 : 0;
	if (is_whole(rescue, image)) {
		candidate = q2_alloc(sizeof(*candidate));
		failed = candidate ? make(rescue, candidate, image) : q2_fail_memory(rescue->err);
	}
	qcow2_image_close(image);
	if (failed || !candidate || !leads_somewhere(candidate)) {
		drop(candidate);
		return failed;
	}
	*kept = candidate;
	return 0;
}
