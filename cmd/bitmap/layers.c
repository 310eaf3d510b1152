/* SPDX-License-Identifier: MIT */
/* See layers.h. */
#include "bitmap/layers.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/chain.h"

#include <qcow2/text.h>

static int out_of_memory(struct qcow2_error *err)
{
	*err = (struct qcow2_error){.code = QCOW2_ERROR_MEMORY,
				    .offset_bytes = QCOW2_NO_OFFSET,
				    .text = "out of memory"};
	return -1;
}

/* Puts the name of a file in front of an error. */
static int blame(const char *file, struct qcow2_error *err)
{
	struct qcow2_error copy = *err;
	char name[96];

	qcow2_text_escape(bitmap_bytes(file), name, sizeof(name));
	snprintf(err->text, sizeof(err->text), "%s: %.150s", name, copy.text);
	return -1;
}

/* Keeps a file of the chain, if it is an image. */
static int keep(struct layers *layers, const struct chain_link *link, struct qcow2_error *err)
{
	struct layer *items = NULL;
	char *file = link->image ? strdup(link->file) : NULL;

	if (!link->image) {
		qcow2_source_close(link->source);
		return 0;
	}
	if (file)
		items = realloc(layers->items, (layers->count + 1) * sizeof(*items));
	if (!items) {
		free(file);
		qcow2_image_close(link->image);
		qcow2_source_close(link->source);
		return out_of_memory(err);
	}
	layers->items = items;
	items[layers->count++] = (struct layer){file, link->source, link->image};
	return 0;
}

int layers_open(struct layers *layers, const struct command *command, const char *file,
		struct qcow2_error *err)
{
	struct chain chain;
	int more, failed = 0;

	*layers = (struct layers){0};
	chain_begin(&chain, file);
	chain.keep = true;
	chain.common = command->common;
	while (!failed && (more = chain_next(&chain, err)) != 0)
		failed = more < 0 ? blame(chain.link.file, err) : keep(layers, &chain.link, err);
	chain_end(&chain);
	return failed;
}

void layers_close(struct layers *layers)
{
	for (size_t i = 0; i < layers->count; i++) {
		qcow2_image_close(layers->items[i].image);
		qcow2_source_close(layers->items[i].source);
		free(layers->items[i].file);
	}
	free(layers->items);
	*layers = (struct layers){0};
}

/* Whether an image has a bitmap of a name: 1 or 0, or -1 with *err filled. */
static int has(const struct layer *layer, const char *name, struct qcow2_error *err)
{
	struct qcow2_bitmap_dir_entry entry;

	if (qcow2_bitmap_find(layer->image, bitmap_bytes(name), &entry, err) == 0)
		return 1;
	return err->code == QCOW2_ERROR_NOT_FOUND ? 0 : blame(layer->file, err);
}

static uint64_t disk_bytes(const struct layer *layer)
{
	return qcow2_image_header(layer->image)->size & ~UINT64_C(511);
}

static int refuse(const struct layer *layer, const char *name, struct qcow2_error *err)
{
	*err = (struct qcow2_error){
		.code = QCOW2_ERROR_ARGUMENT,
		.offset_bytes = QCOW2_NO_OFFSET,
		.text = "there is none of that name here, but in a file below: what "
			"was written meanwhile is not known (--force passes it)"};
	qcow2_bitmap_error(err, bitmap_bytes(name));
	return blame(layer->file, err);
}

static int refuse_size(const struct layers *layers, size_t index, struct qcow2_error *err)
{
	*err = (struct qcow2_error){.code = QCOW2_ERROR_ARGUMENT, .offset_bytes = QCOW2_NO_OFFSET};
	snprintf(err->text, sizeof(err->text),
		 "its disk has %" PRIu64 " bytes, that of the top %" PRIu64
		 ": bitmaps of disks of different sizes cannot be united",
		 disk_bytes(&layers->items[index]), disk_bytes(&layers->items[0]));
	return blame(layers->items[index].file, err);
}

int layers_with(const struct layers *layers, const char *name, bool force, size_t *count,
		struct qcow2_error *err)
{
	size_t first_gap = layers->count;

	*count = 0;
	for (size_t i = 0; i < layers->count; i++) {
		const int there = has(&layers->items[i], name, err);

		if (there < 0)
			return -1;
		if (there && disk_bytes(&layers->items[i]) != disk_bytes(&layers->items[0]))
			return refuse_size(layers, i, err);
		if (there)
			*count = i + 1;
		else if (first_gap == layers->count)
			first_gap = i;
	}
	if (*count == 0) {
		*err = (struct qcow2_error){
			.code = QCOW2_ERROR_ARGUMENT,
			.offset_bytes = QCOW2_NO_OFFSET,
			.text = "no image of the chain has a bitmap of that name"};
		qcow2_bitmap_error(err, bitmap_bytes(name));
		return -1;
	}
	return first_gap < *count && !force ? refuse(&layers->items[first_gap], name, err) : 0;
}

int layers_extents(const struct layer *layer, const char *name, bool force,
		   struct qcow2_dirty_extents **out, struct qcow2_error *err)
{
	struct qcow2_bitmap_dir_entry entry;

	*out = NULL;
	if (bitmap_find_usable(layer->image, name, force, &entry, err) == 0 &&
	    qcow2_dirty_extents_open(layer->image, &entry, force ? QCOW2_DIRTY_EXTENTS_LENIENT : 0,
				     out, err) == 0)
		return 0;
	if (err->code == QCOW2_ERROR_NOT_FOUND)
		return 0;
	qcow2_bitmap_error(err, bitmap_bytes(name));
	return blame(layer->file, err);
}
