/* SPDX-License-Identifier: MIT */
/* Decides the numbers of a candidate's header but for the size, and says why. */
#include <inttypes.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "codec/inflate.h"
#include "rescue/candidate.h"

#include <qcow2/entry.h>
#include <qcow2/features.h>
#include <qcow2/limits.h>

/* So many L2 entries that all stand at even places hardly do so by chance. */
#define EVEN_LEAST 6

#define SAY(topic, confidence) ((struct q2_evidence_head){(topic), (confidence), false})
#define ASK(topic, confidence) ((struct q2_evidence_head){(topic), (confidence), true})

static uint64_t cluster_size(const struct q2_guess *guess)
{
	return UINT64_C(1) << guess->shape.cluster_bits;
}

/* Where a new table goes: behind the end of the file, and behind other new ones. */
static uint64_t take_new(struct q2_deciding *deciding, uint64_t clusters)
{
	struct q2_candidate *candidate = deciding->candidate;
	uint64_t size = cluster_size(deciding->guess), at;

	if (candidate->new_zeros_bytes == 0) {
		candidate->new_zeros_bytes = q2_guess_clusters(deciding->guess) * size;
		candidate->new_zeros_end_bytes = candidate->new_zeros_bytes;
	}
	at = candidate->new_zeros_end_bytes;
	candidate->new_zeros_end_bytes += clusters * size;
	return at;
}

static unsigned order_of(unsigned refcount_bits)
{
	return refcount_bits ? (unsigned)__builtin_ctz(refcount_bits) : 4;
}

static int decide_refcounts(struct q2_deciding *deciding)
{
	const struct q2_guess_refcounts *found = &deciding->guess->refcounts;
	struct q2_candidate *candidate = deciding->candidate;
	struct qcow2_header *header = &candidate->header;

	if (found->table_bytes != 0) {
		header->refcount_table_offset = found->table_bytes;
		header->refcount_table_clusters = found->clusters;
		header->refcount_order = deciding->guess->shape.refcount_order;
		return q2_evidence_add(
			candidate,
			SAY(QCOW2_RESCUE_REFCOUNTS, found->agree == found->asked ? 99 : 85),
			deciding->err,
			"refcount table at 0x%" PRIx64 " with %zu block%s: by refcounts of %u "
			"bits, %" PRIu32 " of %" PRIu32 " clusters (header, table, blocks) are in "
			"use once",
			found->table_bytes, found->blocks_there,
			found->blocks_there == 1 ? "" : "s", 1U << header->refcount_order,
			found->agree, found->asked);
	}
	header->refcount_table_offset = take_new(deciding, 1);
	header->refcount_table_clusters = 1;
	header->refcount_order = order_of(deciding->options->refcount_bits);
	return q2_evidence_add(candidate, ASK(QCOW2_RESCUE_REFCOUNTS, 30), deciding->err,
			       "no refcount table was found: an empty one is added, and the repair "
			       "has to count anew, with %u bits",
			       1U << header->refcount_order);
}

/* An L1 table that is added, as none was found. Its entries are for the search for lost tables. */
static int decide_new_l1(struct q2_deciding *deciding)
{
	struct q2_candidate *candidate = deciding->candidate;

	candidate->header.l1_table_offset = 0; /* q2_decide_size() adds it */
	candidate->structure_confidence = 20;
	return q2_evidence_add(candidate, SAY(QCOW2_RESCUE_L1, 10), deciding->err,
			       "no active L1 table was found: an empty one is added");
}

static int decide_l1(struct q2_deciding *deciding)
{
	const struct q2_guess *guess = deciding->guess;
	struct q2_candidate *candidate = deciding->candidate;
	const struct q2_guess_l1 *l1;
	unsigned confidence;

	if (guess->active == SIZE_MAX)
		return decide_new_l1(deciding);
	l1 = q2_vector_at(&guess->l1_tables, guess->active);
	candidate->header.l1_table_offset = l1->offset_bytes;
	if (l1->entries == 0) {
		candidate->structure_confidence = 80;
		return q2_evidence_add(candidate, SAY(QCOW2_RESCUE_L1, 80), deciding->err,
				       "L1 table at 0x%" PRIx64 ": %" PRIu64 " cluster%s of zeros "
				       "that refcounts say are in use, and nothing else uses",
				       l1->offset_bytes, l1->clusters,
				       l1->clusters == 1 ? "" : "s");
	}
	confidence = (unsigned)(99 * l1->hits / l1->entries);
	candidate->structure_confidence = confidence;
	return q2_evidence_add(candidate, SAY(QCOW2_RESCUE_L1, confidence), deciding->err,
			       "L1 table at 0x%" PRIx64 ": %" PRIu64 " of %" PRIu64
			       " entries lead to L2 tables, which map %" PRIu64
			       " clusters (%" PRIu64 " compressed)",
			       l1->offset_bytes, l1->hits, l1->entries, guess->mapped_clusters,
			       guess->compressed_clusters);
}

/*
 * Whether the size of L2 entries is the less likely one. Few tables read both ways, and then every
 * second word is 0: by chance if there are few entries, else because of their size.
 */
static bool is_unlikely_entry_size(const struct q2_deciding *deciding)
{
	const struct q2_guess *guess = deciding->guess;
	const struct qcow2_header *left = &deciding->remains.header;
	bool looks_extended =
		guess->odd_words > 0 ? guess->shape.extended_l2 : guess->l2_entries >= EVEN_LEAST;

	if (guess->l2_entries == 0 && deciding->remains.has_header && left->version == 3)
		looks_extended = left->incompatible_features & QCOW2_INCOMPATIBLE_EXTENDED_L2;
	else if (guess->l2_entries == 0)
		looks_extended = false;
	return looks_extended != guess->shape.extended_l2;
}

static int decide_clusters(struct q2_deciding *deciding)
{
	const struct q2_guess *guess = deciding->guess;
	struct q2_candidate *candidate = deciding->candidate;

	candidate->header.cluster_bits = guess->shape.cluster_bits;
	if (guess->shape.extended_l2)
		candidate->header.incompatible_features |= QCOW2_INCOMPATIBLE_EXTENDED_L2;
	if (deciding->options->cluster_size_bytes)
		return q2_evidence_add(candidate, SAY(QCOW2_RESCUE_CLUSTERS, 100), deciding->err,
				       "clusters of %" PRIu64 " bytes, as stated",
				       cluster_size(guess));
	return q2_evidence_add(
		candidate, SAY(QCOW2_RESCUE_CLUSTERS, candidate->has_refcounts ? 99 : 70),
		deciding->err, "clusters of %" PRIu64 " bytes%s: %s at this size",
		cluster_size(guess), guess->shape.extended_l2 ? " with extended L2 entries" : "",
		candidate->has_refcounts ? "the refcounts count themselves"
					 : "most clusters are mapped");
}

/* Whether compressed data of the image is zstd; false if there is none, or it cannot be told. */
static int find_zstd(struct q2_deciding *deciding, bool *zstd)
{
	struct q2_guess *guess = deciding->guess;
	struct qcow2_compressed_extent extent =
		qcow2_compressed_split(guess->a_compressed, guess->shape.cluster_bits);
	struct q2_inflater *inflater = q2_inflater_new((size_t)cluster_size(guess), true);
	struct qcow2_bytes bytes = {NULL, (size_t)extent.length_bytes};
	size_t used;
	int failed;

	if (!inflater)
		return q2_fail_memory(deciding->err);
	if (bytes.size > cluster_size(guess))
		bytes.size = (size_t)cluster_size(guess);
	failed = q2_pieces_read(&guess->pieces, extent.offset_bytes, bytes.size, &bytes.data,
				deciding->err);
	if (!failed)
		*zstd = q2_inflate(inflater, bytes, &used);
	q2_inflater_free(inflater);
	return failed;
}

static int decide_compression(struct q2_deciding *deciding)
{
	struct qcow2_header *header = &deciding->candidate->header;
	bool zstd = false;

	if (deciding->guess->a_compressed == 0) {
		/* Nothing to tell it from but the header. */
		zstd = deciding->remains.has_header &&
		       deciding->remains.header.compression_type == 1;
	} else if (find_zstd(deciding, &zstd)) {
		return -1;
	}
	if (!zstd)
		return 0;
	header->incompatible_features |= QCOW2_INCOMPATIBLE_COMPRESSION;
	header->compression_type = 1;
	return q2_evidence_add(deciding->candidate, SAY(QCOW2_RESCUE_VERSION, 95), deciding->err,
			       "compressed clusters are zstd");
}

/* Why the image must be of version 3, or NULL. */
static const char *needs_3(const struct q2_deciding *deciding)
{
	const struct qcow2_header *header = &deciding->candidate->header;

	if (header->refcount_order != 4)
		return "refcounts are not 16 bits wide";
	if (header->incompatible_features != 0)
		return "it uses features of version 3";
	if (deciding->guess->zero_clusters > 0)
		return "L2 entries have the zero flag";
	if (deciding->guess->bitmaps.count > 0)
		return "it has bitmaps";
	return NULL;
}

static int decide_version(struct q2_deciding *deciding)
{
	struct q2_candidate *candidate = deciding->candidate;
	struct qcow2_header *header = &candidate->header;
	const struct q2_remains *remains = &deciding->remains;
	const char *why = needs_3(deciding);

	header->version = 3;
	if (deciding->options->version)
		header->version = deciding->options->version;
	else if (!why && remains->has_header && remains->header.version == 2)
		header->version = 2;
	else if (!why && deciding->guess->snapshots.count > 0 &&
		 deciding->guess->snapshots.least_extra_bytes <
			 QCOW2_LIMIT_SNAPSHOT_EXTRA_BYTES_MIN)
		header->version = 2;
	if (header->version == 2)
		return q2_evidence_add(candidate, SAY(QCOW2_RESCUE_VERSION, why ? 20 : 80),
				       deciding->err, "version 2%s%s",
				       why ? ", although " : ": nothing needs version 3",
				       why ? why : "");
	return q2_evidence_add(candidate, SAY(QCOW2_RESCUE_VERSION, why ? 99 : 70), deciding->err,
			       "version 3%s%s",
			       why ? ": "
				   : "; it may have been version 2, but "
				     "reads the same in both",
			       why ? why : "");
}

static int decide_snapshots(struct q2_deciding *deciding)
{
	const struct q2_guess_snapshots *found = &deciding->guess->snapshots;
	struct qcow2_header *header = &deciding->candidate->header;

	if (found->count == 0)
		return 0;
	header->nb_snapshots = found->count;
	header->snapshot_offset = found->offset_bytes;
	return q2_evidence_add(deciding->candidate, SAY(QCOW2_RESCUE_SNAPSHOTS, 95), deciding->err,
			       "snapshot table at 0x%" PRIx64 " with %" PRIu32 " snapshot%s",
			       found->offset_bytes, found->count, found->count == 1 ? "" : "s");
}

int q2_decide_numbers(struct q2_deciding *deciding)
{
	struct qcow2_header *header = &deciding->candidate->header;

	header->magic = QCOW2_MAGIC;
	if (deciding->options->data_file)
		header->incompatible_features |= QCOW2_INCOMPATIBLE_DATA_FILE;
	if (decide_clusters(deciding) || decide_refcounts(deciding) || decide_l1(deciding) ||
	    decide_snapshots(deciding) || decide_compression(deciding))
		return -1;
	deciding->candidate->is_unlikely = is_unlikely_entry_size(deciding);
	return decide_version(deciding);
}
