/* SPDX-License-Identifier: MIT */
/* The public walk: all stages, for one listener who hears of claims alone. */
#include <qcow2/claims.h>

#include <inttypes.h>
#include <stdio.h>

#include "base/error.h"
#include "base/sized.h"
#include "claims/metadata.h"
#include "image/internal.h"

/* The caller of qcow2_claims_walk(). */
struct caller {
	int (*claim)(void *opaque, const struct qcow2_claim *claim);
	void *opaque;
	struct qcow2_error *err;
};

static int pass_on(void *opaque, const struct qcow2_claim *claim)
{
	const struct caller *caller = opaque;
	struct qcow2_claim told = *claim;

	told.size = sizeof(told);
	if (caller->claim(caller->opaque, &told) == 0)
		return 0;
	return q2_fail(caller->err, QCOW2_ERROR_STOPPED, QCOW2_NO_OFFSET, "stopped");
}

static int run_stages(struct q2_metadata *metadata, const struct q2_listener *listener,
		      bool with_data)
{
	if (q2_metadata_visit_structures(metadata, listener) ||
	    q2_metadata_follow_l1(metadata, listener) ||
	    q2_metadata_claim_l2_tables(metadata, listener))
		return -1;
	return with_data ? q2_metadata_claim_l2_entries(metadata, listener) : 0;
}

int qcow2_claims_walk(const struct qcow2_image *image, const struct qcow2_claims_options *options,
		      int (*claim)(void *opaque, const struct qcow2_claim *claim), void *opaque,
		      struct qcow2_error *err)
{
	struct qcow2_claims_options mine;
	struct q2_memory memory = {.user = "the walk through the metadata"};
	struct qcow2_error ignored;
	struct caller caller = {claim, opaque, err ? err : &ignored};
	struct q2_listener listener = {.opaque = &caller, .claim = pass_on};
	struct q2_metadata metadata;
	uint64_t buffer_bytes;
	int result;

	if (q2_sized_take(&mine, sizeof(mine), options, caller.err) ||
	    q2_image_check_known(image, caller.err))
		return -1;
	memory.limit_bytes =
		mine.memory_limit_bytes ? mine.memory_limit_bytes : QCOW2_CLAIMS_MEMORY_BYTES;
	q2_metadata_init(&metadata, image, &memory, caller.err);
	buffer_bytes = Q2_PIECE_BYTES + metadata.geometry->cluster_size_bytes;
	metadata.buffer = q2_memory_get(&memory, buffer_bytes, 1);
	if (metadata.buffer)
		result = run_stages(&metadata, &listener, !mine.without_data);
	else
		result = q2_memory_fail(&memory, caller.err);
	q2_memory_put(&memory, metadata.buffer, buffer_bytes, 1);
	q2_metadata_release(&metadata);
	return result;
}

/* The path of an L1 table, or of the list of L2 tables below it. */
static void list_path(const struct qcow2_claim *claim, char *path, size_t size)
{
	const char *what = claim->part == QCOW2_CLAIM_L1_TABLE ? "l1" : "l2";

	if (claim->part_of == QCOW2_PART_OF_SNAPSHOT)
		snprintf(path, size, "snapshots/%" PRIu64 "/%s", claim->part_of_index, what);
	else
		snprintf(path, size, "%s", what);
}

/* The name of a structure that is there once. */
static const char *once_name(enum qcow2_claim_part part)
{
	switch (part) {
	case QCOW2_CLAIM_HEADER:
		return "header";
	case QCOW2_CLAIM_REFCOUNT_TABLE:
		return "refcount_table";
	case QCOW2_CLAIM_SNAPSHOT_TABLE:
		return "snapshots";
	case QCOW2_CLAIM_BITMAP_DIRECTORY:
		return "bitmaps";
	default:
		return "luks";
	}
}

const char *qcow2_claim_where(const struct qcow2_claim *claim, char *text, size_t size_bytes)
{
	char list[64];

	text[0] = '\0'; /* a part that is not known here has no path */
	list_path(claim, list, sizeof(list));
	switch (claim->part) {
	case QCOW2_CLAIM_L1_TABLE:
		snprintf(text, size_bytes, "%s", list);
		break;
	case QCOW2_CLAIM_L2_TABLE:
		snprintf(text, size_bytes, "%s/%" PRIu64, list, claim->index);
		break;
	case QCOW2_CLAIM_DATA:
		snprintf(text, size_bytes, "%s/%" PRIu64 "/%" PRIu64, list, claim->index,
			 claim->entry);
		break;
	case QCOW2_CLAIM_REFCOUNT_BLOCK:
		snprintf(text, size_bytes, "refcounts/%" PRIu64, claim->index);
		break;
	case QCOW2_CLAIM_BITMAP_TABLE:
		snprintf(text, size_bytes, "bitmaps/%" PRIu64 "/table", claim->part_of_index);
		break;
	case QCOW2_CLAIM_BITMAP_DATA:
		snprintf(text, size_bytes, "bitmaps/%" PRIu64 "/table/%" PRIu64,
			 claim->part_of_index, claim->index);
		break;
	case QCOW2_CLAIM_HEADER:
	case QCOW2_CLAIM_REFCOUNT_TABLE:
	case QCOW2_CLAIM_SNAPSHOT_TABLE:
	case QCOW2_CLAIM_BITMAP_DIRECTORY:
	case QCOW2_CLAIM_LUKS:
		snprintf(text, size_bytes, "%s", once_name(claim->part));
		break;
	}
	return text;
}
