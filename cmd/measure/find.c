/* SPDX-License-Identifier: MIT */
/* Finds the sizes. See run.h. */
#include "measure/run.h"

#include <sys/stat.h>

#include "common/limits.h"

#include <qcow2/geometry.h>

#define SECTOR_BYTES UINT64_C(512)

/* ---- the data of the image ---- */

/* What a stack has from a byte on: that of the run, or what is below its first file. */
static int tally_range(struct measure_run *run, struct map_stack *stack, uint64_t start_bytes,
		       struct qcow2_measure_tally *tally, struct qcow2_error *err)
{
	const struct map_extent *extent;
	int more;

	map_stack_seek(stack, start_bytes, run->size_bytes - start_bytes);
	while ((more = map_stack_next(stack, &extent, err)) > 0) {
		if (extent->flags & MAP_INVALID) {
			if (run->invalid_bytes == 0) {
				run->first_invalid = *extent;
				run->first_invalid.depth += stack != &run->stack;
			}
			run->invalid_bytes += extent->length_bytes;
		}
		if ((extent->flags & MAP_DATA) && !(extent->flags & MAP_ZERO))
			qcow2_measure_tally_add(tally, extent->start_bytes, extent->length_bytes);
	}
	return more;
}

/* Behind the end of a snapshot's disk, a copy has what the backing files have. */
static int tally_stack(struct measure_run *run, struct qcow2_measure_tally *tally,
		       struct qcow2_error *err)
{
	const uint64_t end = run->stack.layers[0].size_bytes;
	struct map_stack below = {.layers = run->stack.layers + 1, .count = run->stack.count - 1};

	if (tally_range(run, &run->stack, 0, tally, err))
		return -1;
	if (end >= run->size_bytes || below.count == 0)
		return 0;
	return tally_range(run, &below, end, tally, err);
}

/* Of the copy: that of the active disk, as for qemu-img, which also cuts or fills up a snapshot's. */
static uint64_t find_size(const struct measure_run *run)
{
	const struct map_layer *layer = &run->stack.layers[0];
	const uint64_t bytes = qcow2_image_geometry(layer->image)->virtual_size_bytes;

	return bytes / SECTOR_BYTES * SECTOR_BYTES;
}

/*
 * The short way for an image by itself. Returns 1 if it was gone; 0, with the tally as it was, if
 * tally_stack() has to find out more, as something is invalid or too much; or -1.
 */
static int tally_image(struct measure_run *run, struct qcow2_measure_tally *tally,
		       struct qcow2_error *err)
{
	const struct map_layer *layer = &run->stack.layers[0];
	const struct qcow2_measure_tally before = *tally;
	uint64_t invalid_bytes;
	int failed;

	if (run->stack.count > 1 || !layer->mapping)
		return 0;
	map_stack_seek(&run->stack, 0, run->size_bytes);
	failed = qcow2_measure_tally_stored(tally, layer->mapping,
					    layer->has_holes ? layer->holes.source : NULL,
					    &invalid_bytes, err);
	if (!failed && invalid_bytes == 0)
		return 1;
	*tally = before;
	return failed && err->code != QCOW2_ERROR_LIMIT ? -1 : 0;
}

static int tally_disk(struct measure_run *run, struct qcow2_measure_tally *tally,
		      struct qcow2_error *err)
{
	const int done = tally_image(run, tally, err);

	if (done != 0)
		return done < 0 ? -1 : 0;
	return tally_stack(run, tally, err);
}

static int find_bitmaps(struct measure_run *run, struct qcow2_error *err)
{
	const struct qcow2_image *image = run->stack.layers[0].image;

	run->has_bitmaps =
		run->target.numbers.version >= 3 && qcow2_image_header(image)->version >= 3;
	return run->has_bitmaps ? qcow2_measure_bitmaps(image, run->target.numbers.cluster_bits,
							&run->bitmaps_bytes, err)
				: 0;
}

/* ---- the file as it is ---- */

static int find_usage(struct measure_run *run, struct qcow2_error *err)
{
	struct qcow2_usage_options options = {.size = sizeof(options),
					      .threads = run->threads,
					      .memory_limit_bytes = limits_memory(run->command),
					      .users = true};
	const struct map_layer *layer = &run->stack.layers[0];

	run->file_bytes = qcow2_source_size_bytes(layer->source);
	run->image.size = sizeof(run->image);
	if (qcow2_usage_open(layer->image, &options, &run->usage, err) ||
	    qcow2_measure_file(layer->image, run->usage, &run->image, err))
		return -1;
	run->has_image = true;
	return 0;
}

/* ---- a commit into the next file of the chain ---- */

/* Where a file ends: on a block device, where the image does. */
static int find_end(const struct map_layer *layer, uint64_t *bytes, struct qcow2_error *err)
{
	struct qcow2_usage *usage;
	struct stat status;

	*bytes = qcow2_source_size_bytes(layer->source);
	if (!layer->image || stat(layer->file, &status) != 0 || !S_ISBLK(status.st_mode))
		return 0;
	if (qcow2_usage_open(layer->image, NULL, &usage, err))
		return -1;
	*bytes = qcow2_usage_end_bytes(usage);
	qcow2_usage_close(usage);
	return 0;
}

static int find_commit(struct measure_run *run, struct qcow2_error *err)
{
	const struct map_layer *layers = run->stack.layers;

	if (run->stack.count < 2 || run->snapshot)
		return 0;
	run->has_commit = true;
	if (find_end(&layers[1], &run->base_bytes, err))
		return -1;
	if (layers[1].image)
		return qcow2_measure_commit(layers[1].image, layers[0].image, run->base_bytes,
					    &run->commit_bytes, err);
	run->commit_bytes =
		run->base_bytes > layers[0].size_bytes ? run->base_bytes : layers[0].size_bytes;
	return 0;
}

/* ---- all ---- */

/* A raw file has the size of the disk, in whole sectors. */
static int find_raw(struct measure_run *run)
{
	uint64_t bytes = run->size_bytes;

	if (bytes % SECTOR_BYTES != 0)
		bytes += SECTOR_BYTES - bytes % SECTOR_BYTES;
	run->size.required_bytes = run->size.fully_allocated_bytes = bytes;
	run->size.smallest_bytes = bytes;
	return 0;
}

int measure_all(struct measure_run *run, struct qcow2_error *err)
{
	struct qcow2_measure_tally tally = {.size = sizeof(tally)};

	run->size.size = sizeof(run->size);
	if (qcow2_measure_tally_begin(&tally, &run->target.numbers, err))
		return -1;
	if (run->file) {
		run->size_bytes = find_size(run);
		run->backing_left_out = !run->chain && run->stack.layers[0].has_backing;
		run->target.numbers.every_cluster |= run->target.backing;
	}
	if (run->target.raw)
		find_raw(run);
	else if ((run->file && (tally_disk(run, &tally, err) || find_bitmaps(run, err))) ||
		 qcow2_measure_new(&run->target.numbers, run->size_bytes, &tally, &run->size, err))
		return -1;
	if (!run->file)
		return 0;
	return find_usage(run, err) || find_commit(run, err) ? -1 : 0;
}
