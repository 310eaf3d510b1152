/* SPDX-License-Identifier: MIT */
/*
 * Fuzzes the sizes of files: the input is an image. Whatever it claims, sizes are whole clusters, what
 * keeps more is not smaller, what one user keeps is between the least and all, and a tally of clusters
 * agrees with one that was counted cluster by cluster.
 */
#include <stdlib.h>

#include <qcow2/qcow2.h>

#define IMAGE_MOST   ((size_t)1 << 22)
#define MEMORY_BYTES (UINT64_C(64) << 20)
#define USERS_MOST   50
#define CLUSTER_MOST 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(bool truth)
{
	if (!truth)
		abort();
}

static bool is_whole(uint64_t bytes, unsigned cluster_bits)
{
	return bytes == QCOW2_MEASURE_TOO_LARGE || bytes % (UINT64_C(1) << cluster_bits) == 0;
}

/* Tallies the mapping, and counts it cluster by cluster where that does not take too long. */
static bool tally_mapping(const struct qcow2_image *image,
			  const struct qcow2_measure_target *target,
			  struct qcow2_measure_tally *tally)
{
	const struct qcow2_mapping_extent *extent;
	uint64_t counted = 0, next = 0;
	struct qcow2_mapping *mapping;
	struct qcow2_error err;
	int more;

	tally->size = sizeof(*tally);
	demand(qcow2_measure_tally_begin(tally, target, &err) == 0);
	if (qcow2_mapping_open(image, &mapping, &err))
		return false;
	while (counted < CLUSTER_MOST && (more = qcow2_mapping_next(mapping, &extent, &err)) > 0) {
		uint64_t i = extent->start.byte >> target->cluster_bits;
		const uint64_t last =
			(extent->start.byte + extent->length_bytes - 1) >> target->cluster_bits;

		if (extent->kind != QCOW2_L2_DATA && extent->kind != QCOW2_L2_COMPRESSED &&
		    extent->kind != QCOW2_L2_INVALID)
			continue;
		for (i = i > next ? i : next; i <= last && counted < CLUSTER_MOST; i++)
			counted++;
		next = i;
	}
	qcow2_mapping_seek(mapping, (struct qcow2_guest){0}, UINT64_MAX);
	more = qcow2_measure_tally_mapping(tally, mapping, &err);
	qcow2_mapping_close(mapping);
	if (more == 0 && counted < CLUSTER_MOST)
		demand(tally->data_clusters == counted);
	demand(tally->l2_tables <= tally->data_clusters);
	return more == 0;
}

static void judge_new(const struct qcow2_image *image, unsigned way)
{
	const struct qcow2_measure_target target = {
		.size = sizeof(target),
		.cluster_bits = way % 2 ? 9 : 21,
		.refcount_bits = way / 2 % 2 ? 64 : 1,
		.extended_l2 = way % 2 == 0 && way / 2 % 2,
	};
	const struct qcow2_geometry *geometry = qcow2_image_geometry(image);
	struct qcow2_measure_size out = {.size = sizeof(out)};
	struct qcow2_measure_tally tally;
	struct qcow2_error err;

	if (!geometry || !tally_mapping(image, &target, &tally))
		return;
	if (qcow2_measure_new(&target, geometry->virtual_size_bytes, &tally, &out, &err)) {
		demand(err.code == QCOW2_ERROR_LIMIT);
		return;
	}
	demand(out.smallest_bytes <= out.required_bytes);
	demand(out.required_bytes <= out.fully_allocated_bytes);
	demand(is_whole(out.required_bytes, target.cluster_bits));
}

static void judge_users(const struct qcow2_image *image, const struct qcow2_usage *usage,
			const struct qcow2_measure_image *sizes)
{
	uint64_t least, kept;
	struct qcow2_error err;

	demand(qcow2_measure_kept(image, usage, 0, &least, &err) == 0);
	demand(least <= sizes->with_snapshots_bytes && least <= sizes->with_bitmaps_bytes);
	for (uint64_t i = 1; i < qcow2_usage_user_count(usage) && i < USERS_MOST; i++) {
		demand(qcow2_measure_kept(image, usage, i, &kept, &err) == 0);
		demand(least <= kept && kept <= sizes->with_all_bytes);
	}
}

static void judge_file(const struct qcow2_image *image)
{
	const struct qcow2_usage_options options = {
		.size = sizeof(options), .memory_limit_bytes = MEMORY_BYTES, .users = true};
	struct qcow2_measure_image sizes = {.size = sizeof(sizes)};
	const struct qcow2_geometry *geometry = qcow2_image_geometry(image);
	struct qcow2_usage *usage;
	struct qcow2_error err;

	if (qcow2_usage_open(image, &options, &usage, &err))
		return;
	if (qcow2_measure_file(image, usage, &sizes, &err) == 0) {
		demand(sizes.with_snapshots_bytes <= sizes.with_all_bytes);
		demand(sizes.with_bitmaps_bytes <= sizes.with_all_bytes);
		demand(sizes.smallest_bytes <= sizes.fully_allocated_bytes);
		demand(sizes.with_all_bytes != QCOW2_MEASURE_TOO_LARGE);
		demand(is_whole(sizes.largest_bytes, geometry->cluster_bits));
		demand(is_whole(sizes.commit_growth_bytes, geometry->cluster_bits));
		judge_users(image, usage, &sizes);
	}
	qcow2_usage_close(usage);
}

/* The image is its own overlay. */
static void judge_commit(const struct qcow2_image *image, uint64_t size)
{
	uint64_t bytes;
	struct qcow2_error err;

	if (qcow2_measure_commit(image, image, size, &bytes, &err) == 0)
		demand(bytes >= size && is_whole(bytes, qcow2_image_geometry(image)->cluster_bits));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct qcow2_source *source;
	struct qcow2_image *image;
	struct qcow2_error err;

	if (size > IMAGE_MOST)
		return 0;
	demand(qcow2_source_from_memory(data, size, &source, &err) == 0);
	if (qcow2_image_open(source, &image, &err) == 0) {
		for (unsigned way = 0; way < 4; way++)
			judge_new(image, way);
		judge_file(image);
		judge_commit(image, size);
		qcow2_image_close(image);
	}
	qcow2_source_close(source);
	return 0;
}
