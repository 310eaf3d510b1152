/* SPDX-License-Identifier: MIT */
/* See layer.h. The rules of what is present, zero and data are those of QEMU's block status. */
#include "map/layer.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/chain.h"
#include "map/preallocated.h"

#include <qcow2/extension.h>
#include <qcow2/geometry.h>

#define SECTOR_BYTES UINT64_C(512)

static int out_of_memory(struct qcow2_error *err)
{
	*err = (struct qcow2_error){.code = QCOW2_ERROR_MEMORY,
				    .offset_bytes = QCOW2_NO_OFFSET,
				    .text = "out of memory"};
	return -1;
}

/* Finds the path of what offsets lead into. An external data file may have no name. */
static int find_offset_file(struct map_layer *layer, struct qcow2_error *err)
{
	struct qcow2_bytes name = {NULL, 0};

	if (layer->image && qcow2_image_geometry(layer->image)->data_file) {
		qcow2_image_find_extension(layer->image, QCOW2_EXTENSION_DATA_FILE, &name);
		if (name.size == 0 || memchr(name.data, 0, name.size))
			return 0;
		layer->offset_file = chain_full_name(layer->file, name);
	} else {
		layer->offset_file = strdup(layer->file);
	}
	return layer->offset_file ? 0 : out_of_memory(err);
}

/*
 * Finds out whether holes have to be looked for, and where. The data file is one that the image
 * names: without `follow` it is left alone, and what is there counts as data.
 */
static int find_holes(struct map_layer *layer, bool follow, struct qcow2_error *err)
{
	struct qcow2_error ignored;

	layer->holes.source = layer->source;
	if (layer->encrypted)
		return 0;
	if (map_is_preallocated(layer->image, &layer->has_holes, err))
		return -1;
	if (!layer->has_holes || !qcow2_image_geometry(layer->image)->data_file)
		return 0;
	layer->has_holes = follow && layer->offset_file && !qcow2_source_is_nbd(layer->file) &&
			   qcow2_source_open(layer->offset_file, &layer->data, &ignored) == 0;
	layer->holes.source = layer->data;
	return 0;
}

static int open_mapping(struct map_layer *layer, struct qcow2_error *err)
{
	if (layer->of_snapshot)
		return qcow2_mapping_open_snapshot(layer->image, layer->snapshot, &layer->mapping,
						   err);
	return qcow2_mapping_open(layer->image, &layer->mapping, err);
}

static int open_image(struct map_layer *layer, const uint64_t *snapshot, struct qcow2_error *err)
{
	layer->of_snapshot = snapshot != NULL;
	layer->snapshot = snapshot ? *snapshot : 0;
	if (open_mapping(layer, err))
		return -1;
	layer->size_bytes = qcow2_mapping_size_bytes(layer->mapping) / SECTOR_BYTES * SECTOR_BYTES;
	layer->encrypted = qcow2_image_header(layer->image)->crypt_method != 0;
	layer->has_backing = qcow2_image_backing_name(layer->image).size > 0;
	return 0;
}

static void open_raw(struct map_layer *layer)
{
	const uint64_t size = qcow2_source_size_bytes(layer->source);

	layer->holes.source = layer->source;
	/* Of an image, QEMU leaves out half a sector at the end; of a raw file, it fills it up. */
	layer->size_bytes = size / SECTOR_BYTES * SECTOR_BYTES;
	if (size % SECTOR_BYTES != 0)
		layer->size_bytes += SECTOR_BYTES;
}

int map_layer_open(struct map_layer *layer, const uint64_t *snapshot, bool follow,
		   struct qcow2_error *err)
{
	if (!layer->image)
		open_raw(layer);
	else if (open_image(layer, snapshot, err))
		return -1;
	if (find_offset_file(layer, err))
		return -1;
	return layer->image ? find_holes(layer, follow, err) : 0;
}

int map_layer_copy(const struct map_layer *layer, struct map_layer *copy, struct qcow2_error *err)
{
	*copy = *layer;
	copy->mapping = NULL;
	return layer->image ? open_mapping(copy, err) : 0;
}

void map_layer_close_copy(struct map_layer *copy)
{
	qcow2_mapping_close(copy->mapping);
}

void map_layer_seek(struct map_layer *layer, uint64_t start_bytes, uint64_t end_bytes)
{
	layer->end_bytes = end_bytes < layer->size_bytes ? end_bytes : layer->size_bytes;
	layer->now = (struct map_extent){.start_bytes = start_bytes};
	layer->rest_bytes = 0;
	if (layer->mapping && start_bytes < layer->end_bytes)
		qcow2_mapping_seek(layer->mapping, (struct qcow2_guest){start_bytes},
				   layer->end_bytes - start_bytes);
}

/* What the extents of each kind are. */
static const uint16_t flags_of[] = {
	[QCOW2_L2_UNALLOCATED] = 0,
	[QCOW2_L2_ZERO] = MAP_PRESENT | MAP_ZERO,
	[QCOW2_L2_ZERO_ALLOCATED] = MAP_PRESENT | MAP_ZERO,
	[QCOW2_L2_DATA] = MAP_PRESENT | MAP_DATA,
	[QCOW2_L2_COMPRESSED] = MAP_PRESENT | MAP_DATA | MAP_COMPRESSED,
	/* Who reads it has to meet the fault. */
	[QCOW2_L2_INVALID] = MAP_PRESENT | MAP_DATA | MAP_INVALID,
};

static void take(struct map_layer *layer, const struct qcow2_mapping_extent *extent)
{
	struct map_extent *now = &layer->now;
	/* Also where nothing is stored, but a subcluster of the same cluster is. */
	const bool placed = extent->kind != QCOW2_L2_COMPRESSED && !layer->encrypted;

	now->start_bytes = extent->start.byte;
	now->length_bytes = extent->length_bytes;
	now->offset_bytes = placed ? extent->host.byte : QCOW2_NO_OFFSET;
	now->flags = flags_of[extent->kind];
	now->problem = (uint16_t)extent->problem;
}

/* Goes on behind `now` in the same extent of the image. */
static void take_rest(struct map_layer *layer)
{
	struct map_extent *now = &layer->now;

	now->start_bytes += now->length_bytes;
	now->offset_bytes += now->length_bytes;
	now->length_bytes = layer->rest_bytes;
	now->flags &= (uint16_t)~MAP_ZERO;
}

/* Cuts `now` where a hole begins or ends, and marks it if it lies in one. */
static void look_for_hole(struct map_layer *layer)
{
	struct map_extent *now = &layer->now;
	uint64_t length;

	layer->rest_bytes = 0;
	if (now->offset_bytes == QCOW2_NO_OFFSET || !(now->flags & MAP_DATA))
		return;
	map_holes_find(&layer->holes, now->offset_bytes);
	if (layer->holes.hole)
		now->flags |= MAP_ZERO;
	length = layer->holes.end_bytes - now->offset_bytes;
	if (length < now->length_bytes) {
		layer->rest_bytes = now->length_bytes - length;
		now->length_bytes = length;
	}
}

static int next_of_image(struct map_layer *layer, struct qcow2_error *err)
{
	const struct qcow2_mapping_extent *extent;
	int more;

	if (layer->rest_bytes > 0) {
		take_rest(layer);
	} else {
		more = qcow2_mapping_next(layer->mapping, &extent, err);
		if (more < 0)
			return -1;
		assert(more > 0); /* nobody asks for what is behind the range */
		take(layer, extent);
	}
	if (layer->has_holes)
		look_for_hole(layer);
	return 0;
}

static void next_of_raw(struct map_layer *layer)
{
	const uint64_t at = layer->now.start_bytes + layer->now.length_bytes;
	uint64_t end;

	map_holes_find(&layer->holes, at);
	end = layer->holes.end_bytes < layer->end_bytes ? layer->holes.end_bytes : layer->end_bytes;
	layer->now = (struct map_extent){
		.start_bytes = at,
		.length_bytes = end - at,
		.offset_bytes = at,
		.flags = MAP_PRESENT | (layer->holes.hole ? MAP_ZERO : MAP_DATA),
	};
}

int map_layer_go_on(struct map_layer *layer, uint64_t at, struct qcow2_error *err)
{
	while (layer->now.start_bytes + layer->now.length_bytes <= at) {
		if (!layer->mapping)
			next_of_raw(layer);
		else if (next_of_image(layer, err))
			return -1;
	}
	return 0;
}

void map_layer_close(struct map_layer *layer)
{
	qcow2_mapping_close(layer->mapping);
	qcow2_image_close(layer->image);
	qcow2_source_close(layer->source);
	qcow2_source_close(layer->data);
	free(layer->offset_file);
	free(layer->file);
}
