/* SPDX-License-Identifier: MIT */
/* The public side of a rescue: see <qcow2/rescue.h>. */
#include "rescue/search.h"

#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/error.h"
#include "base/sized.h"

#include <qcow2/check.h>
#include <qcow2/image.h>
#include <qcow2/limits.h>

static bool is_size(uint64_t bytes)
{
	return bytes == 0 ||
	       (q2_is_power_of_two(bytes) && bytes >= UINT64_C(1) << QCOW2_LIMIT_CLUSTER_BITS_MIN &&
		bytes <= UINT64_C(1) << QCOW2_LIMIT_QEMU_CLUSTER_BITS);
}

static bool is_name(const char *name)
{
	return !name || strlen(name) <= QCOW2_LIMIT_BACKING_NAME_BYTES;
}

static int check_options(const struct qcow2_rescue_options *options, struct qcow2_error *err)
{
	const char *wrong = NULL;

	if (!is_size(options->cluster_size_bytes))
		wrong = "a cluster size is a power of two from 512 bytes to 2 MiB";
	else if (options->version != 0 && options->version != 2 && options->version != 3)
		wrong = "a version is 2 or 3";
	else if (options->refcount_bits > 64 ||
		 (options->refcount_bits & (options->refcount_bits - 1)))
		wrong = "refcounts have 1, 2, 4, 8, 16, 32 or 64 bits";
	else if (options->confidence_least > 100)
		wrong = "a confidence is at most 100";
	else if (!is_name(options->backing_file) || !is_name(options->backing_format) ||
		 !is_name(options->data_file))
		wrong = "a name is longer than 1023 bytes";
	return wrong ? q2_fail(err, QCOW2_ERROR_ARGUMENT, QCOW2_NO_OFFSET, "%s", wrong) : 0;
}

/* What a sibling says counts where nothing is stated. */
static void take_like(struct qcow2_rescue_options *options)
{
	const struct qcow2_geometry *geometry;

	if (!options->like)
		return;
	geometry = qcow2_image_geometry(options->like);
	if (!geometry)
		return;
	if (options->cluster_size_bytes == 0 && is_size(geometry->cluster_size_bytes))
		options->cluster_size_bytes = geometry->cluster_size_bytes;
	if (options->refcount_bits == 0)
		options->refcount_bits = geometry->refcount_bits;
	if (options->version == 0)
		options->version = qcow2_image_header(options->like)->version;
}

/* The evidence of a candidate does not change any more: it gets its pointers. */
static int point(struct q2_candidate *candidate, struct qcow2_error *err)
{
	size_t count = candidate->evidence.count;

	candidate->evidence_pointers = q2_alloc_array(count, sizeof(void *));
	if (!candidate->evidence_pointers)
		return q2_fail_memory(err);
	for (size_t i = 0; i < count; i++)
		candidate->evidence_pointers[i] = q2_vector_at(&candidate->evidence, i);
	candidate->public.evidence = candidate->evidence_pointers;
	candidate->public.evidence_count = count;
	return 0;
}

/* The same for its tables. */
static int point_tables(struct q2_candidate *candidate, struct qcow2_error *err)
{
	size_t count = candidate->lost.places.count;

	candidate->table_pointers = q2_alloc_array(count, sizeof(void *));
	if (!candidate->table_pointers)
		return q2_fail_memory(err);
	for (size_t i = 0; i < count; i++) {
		const struct q2_lost_place *place = q2_vector_at(&candidate->lost.places, i);

		candidate->table_pointers[i] = &place->public;
	}
	candidate->public.tables = candidate->table_pointers;
	candidate->public.table_count = count;
	return 0;
}

/* *has: whether the header of the file says that the guest's data is in another one. */
static int find_data_file(struct qcow2_rescue *rescue, bool *has)
{
	struct qcow2_image *image;

	*has = false;
	if (qcow2_image_open(rescue->source, &image, rescue->err))
		return q2_is_fault(rescue->err) ? -1 : 0;
	*has = qcow2_image_header(image)->incompatible_features & QCOW2_INCOMPATIBLE_DATA_FILE;
	qcow2_image_close(image);
	return 0;
}

static int run(struct qcow2_rescue *rescue)
{
	struct qcow2_rescue_options how = rescue->options;
	bool has_data_file;

	if (find_data_file(rescue, &has_data_file))
		return -1;
	/* Then offsets of tables are not bounded by this file. */
	if (!how.data_file && has_data_file)
		how.data_file = "";
	if (q2_scan_file(&rescue->scan, rescue->source, &how, rescue->err) || q2_search(rescue))
		return -1;
	for (size_t i = 0; i < rescue->count; i++)
		if (point(rescue->candidates[i], rescue->err) ||
		    point_tables(rescue->candidates[i], rescue->err))
			return -1;
	return 0;
}

int qcow2_rescue_open(struct qcow2_source *source, const struct qcow2_rescue_options *options,
		      struct qcow2_rescue **out, struct qcow2_error *err)
{
	struct qcow2_rescue_options mine;
	struct qcow2_rescue *rescue;
	struct qcow2_error ignored;

	if (q2_sized_take(&mine, sizeof(mine), options, err) || check_options(&mine, err))
		return -1;
	take_like(&mine);
	rescue = q2_alloc(sizeof(*rescue));
	if (!rescue)
		return q2_fail_memory(err);
	rescue->source = source;
	rescue->options = mine;
	rescue->err = err ? err : &ignored;
	rescue->memory.limit_bytes =
		mine.memory_limit_bytes ? mine.memory_limit_bytes : QCOW2_CHECK_MEMORY_BYTES;
	rescue->memory.user = "the rescue";
	if (run(rescue)) {
		qcow2_rescue_close(rescue);
		return -1;
	}
	rescue->err = NULL;
	*out = rescue;
	return 0;
}

size_t qcow2_rescue_count(const struct qcow2_rescue *rescue)
{
	return rescue->count;
}

const struct qcow2_rescue_candidate *qcow2_rescue_at(const struct qcow2_rescue *rescue,
						     size_t index)
{
	return index < rescue->count ? &rescue->candidates[index]->public : NULL;
}

int qcow2_rescue_plan(struct qcow2_rescue *rescue, size_t index, struct qcow2_plan *plan,
		      struct qcow2_error *err)
{
	if (index >= rescue->count)
		return q2_fail(err, QCOW2_ERROR_ARGUMENT, QCOW2_NO_OFFSET,
			       "there is no such candidate");
	return q2_candidate_plan(rescue->candidates[index], plan, err);
}

void qcow2_rescue_close(struct qcow2_rescue *rescue)
{
	if (!rescue)
		return;
	for (size_t i = 0; i < rescue->count; i++) {
		q2_candidate_release(rescue->candidates[i]);
		q2_free(rescue->candidates[i]);
	}
	q2_scan_release(&rescue->scan);
	q2_free(rescue);
}

const char *qcow2_rescue_topic_name(enum qcow2_rescue_topic topic)
{
	static const char *const names[] = {
		[QCOW2_RESCUE_HEADER] = "header",
		[QCOW2_RESCUE_CLUSTERS] = "clusters",
		[QCOW2_RESCUE_REFCOUNTS] = "refcounts",
		[QCOW2_RESCUE_L1] = "l1",
		[QCOW2_RESCUE_L2] = "l2",
		[QCOW2_RESCUE_SIZE] = "size",
		[QCOW2_RESCUE_VERSION] = "version",
		[QCOW2_RESCUE_SNAPSHOTS] = "snapshots",
		[QCOW2_RESCUE_BITMAPS] = "bitmaps",
		[QCOW2_RESCUE_ENCRYPTION] = "encryption",
		[QCOW2_RESCUE_BACKING] = "backing",
		[QCOW2_RESCUE_CHECK] = "check",
	};

	return (unsigned)topic < sizeof(names) / sizeof(names[0]) ? names[topic] : "unknown";
}
