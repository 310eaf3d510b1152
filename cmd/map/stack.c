/* SPDX-License-Identifier: MIT */
/* See stack.h. */
#include "map/stack.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/chain.h"
#include "common/find_snapshot.h"

static int fail(struct qcow2_error *err, enum qcow2_error_code code, const char *text)
{
	*err = (struct qcow2_error){.code = code, .offset_bytes = QCOW2_NO_OFFSET};
	snprintf(err->text, sizeof(err->text), "%s", text);
	return -1;
}

/* ---- opening ---- */

/* Adds a layer that owns a source and an image, which are closed if this fails. */
static struct map_layer *add_layer(struct map_stack *stack, const struct chain_link *link,
				   struct qcow2_error *err)
{
	struct map_layer *grown = realloc(stack->layers, (stack->count + 1) * sizeof(*grown));
	struct map_layer *layer = NULL;

	if (grown) {
		stack->layers = grown;
		layer = &grown[stack->count++];
		*layer = (struct map_layer){.source = link->source, .image = link->image};
		layer->file = strdup(link->file);
	} else {
		qcow2_image_close(link->image);
		qcow2_source_close(link->source);
	}
	if (!layer || !layer->file) {
		(void)fail(err, QCOW2_ERROR_MEMORY, "out of memory");
		return NULL;
	}
	return layer;
}

static int open_layer(struct map_stack *stack, const struct chain_link *link, const char *snapshot,
		      bool follow, struct qcow2_error *err)
{
	struct map_layer *layer = add_layer(stack, link, err);
	uint64_t index;
	char text[128];

	if (!layer)
		return -1;
	if (!layer->image && strcmp(link->format, "raw") != 0) {
		snprintf(text, sizeof(text),
			 "its format is %.15s: only qcow2 and raw files can be mapped",
			 link->format);
		return fail(err, QCOW2_ERROR_UNSUPPORTED, text);
	}
	if (snapshot && find_snapshot(layer->image, snapshot, &index, err))
		return -1;
	return map_layer_open(layer, snapshot ? &index : NULL, follow, err);
}

int map_stack_open(struct map_stack *stack, const char *file, struct qcow2_source *source,
		   const char *snapshot, struct qcow2_error *err)
{
	struct chain_link link = {.file = file, .source = source};

	if (qcow2_image_open(link.source, &link.image, err)) {
		qcow2_source_close(link.source);
		return -1;
	}
	return open_layer(stack, &link, snapshot, false, err);
}

int map_stack_open_chain(struct map_stack *stack, const struct common *common, const char *file,
			 const char *snapshot, struct map_blame *blame)
{
	struct chain *chain = malloc(sizeof(*chain));
	struct qcow2_error *err = &blame->err;
	int more;

	blame->file = NULL;
	if (!chain)
		return fail(err, QCOW2_ERROR_MEMORY, "out of memory");
	chain_begin(chain, file);
	chain->keep = true;
	chain->common = common;
	while ((more = chain_next(chain, err)) > 0) {
		more = open_layer(stack, &chain->link, stack->count == 0 ? snapshot : NULL, true,
				  err);
		if (more < 0)
			break;
	}
	if (more < 0)
		blame->file = strdup(chain->link.file);
	/* The name of a json: file may say that there is no backing file, whatever the image says. */
	else if (stack->count > 0)
		stack->layers[stack->count - 1].has_backing = false;
	chain_end(chain);
	free(chain);
	return more;
}

/* ---- extents ---- */

void map_stack_seek(struct map_stack *stack, uint64_t start_bytes, uint64_t length_bytes)
{
	const uint64_t size = stack->layers[0].size_bytes;

	stack->at_bytes = start_bytes < size ? start_bytes : size;
	stack->end_bytes =
		length_bytes < size - stack->at_bytes ? stack->at_bytes + length_bytes : size;
	stack->extents[stack->pending].length_bytes = 0;
	for (size_t i = 0; i < stack->count; i++)
		map_layer_seek(&stack->layers[i], stack->at_bytes, stack->end_bytes);
}

/*
 * What reads where a layer says nothing: 0 if another one has to be asked, else what it is. A file
 * that ends above what it should fill up is made longer with zeros, which nobody stores.
 */
static bool is_last(const struct map_stack *stack, uint32_t depth, unsigned *flags)
{
	const struct map_layer *layer = &stack->layers[depth];

	*flags = MAP_ZERO;
	if (depth + 1 == stack->count && layer->has_backing)
		*flags = 0;
	return depth + 1 == stack->count || stack->at_bytes >= layer[1].size_bytes;
}

/*
 * Finds what is at stack->at_bytes: goes down until a file says something. Members are copied one by
 * one: copies of what was just written in other pieces would wait for the caches.
 */
static int find(struct map_stack *stack, struct map_extent *out, struct qcow2_error *err)
{
	const uint64_t at = stack->at_bytes;
	uint64_t end = stack->end_bytes, found;
	struct map_layer *layer = stack->layers;
	uint32_t depth = 0;
	unsigned flags;

	for (;; layer++, depth++) {
		if (map_layer_find(layer, at, err))
			return -1;
		found = layer->now.start_bytes + layer->now.length_bytes;
		end = found < end ? found : end;
		flags = layer->now.flags;
		if (flags != 0 || is_last(stack, depth, &flags))
			break;
		end = layer[1].size_bytes < end ? layer[1].size_bytes : end;
	}
	out->start_bytes = at;
	out->length_bytes = end - at;
	out->offset_bytes = layer->now.offset_bytes;
	if (out->offset_bytes != QCOW2_NO_OFFSET)
		out->offset_bytes += at - layer->now.start_bytes;
	out->depth = depth;
	out->flags = (uint16_t)flags;
	out->problem = layer->now.problem;
	return 0;
}

/* Gives out the pending extent, if there is one. Returns whether there was. */
static int tell_last(struct map_stack *stack, const struct map_extent **out)
{
	*out = &stack->extents[stack->pending];
	stack->pending ^= 1;
	stack->extents[stack->pending].length_bytes = 0;
	return (*out)->length_bytes > 0;
}

int map_stack_next(struct map_stack *stack, const struct map_extent **out, struct qcow2_error *err)
{
	while (stack->at_bytes < stack->end_bytes) {
		struct map_extent *pending = &stack->extents[stack->pending];
		struct map_extent *next = &stack->extents[stack->pending ^ 1];

		/* What was found before the fault is told first; the next call meets it again. */
		if (find(stack, next, err))
			return tell_last(stack, out) ? 1 : -1;
		stack->at_bytes += next->length_bytes;
		if (pending->length_bytes > 0 && map_extents_join(pending, next)) {
			pending->length_bytes += next->length_bytes;
			continue;
		}
		stack->pending ^= 1;
		if (pending->length_bytes > 0) {
			*out = pending;
			return 1;
		}
	}
	return tell_last(stack, out);
}

void map_stack_close(struct map_stack *stack)
{
	for (size_t i = 0; i < stack->count; i++)
		map_layer_close(&stack->layers[i]);
	free(stack->layers);
}
