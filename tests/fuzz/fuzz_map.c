/* SPDX-License-Identifier: MIT */
/*
 * Fuzzes the extents of `qcow2 map`: the image alone, and as the top of a chain with itself, or a
 * snapshot of it, and its bytes as a raw file below. Extents must cover the range without gaps,
 * neighbours must differ, and their text must be that of printf().
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "map/stack.h"
#include "map/text.h"

#define IMAGE_MOST   ((size_t)1 << 18)
#define EXTENTS_MOST 20000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(bool truth)
{
	if (!truth)
		abort();
}

static bool open_source(struct map_layer *layer, const uint8_t *data, size_t size, bool raw)
{
	struct qcow2_error err;

	*layer = (struct map_layer){.file = strdup("image")};
	demand(layer->file && qcow2_source_from_memory(data, size, &layer->source, &err) == 0);
	return raw || qcow2_image_open(layer->source, &layer->image, &err) == 0;
}

/* Opens the image; with `deep`, also what lies below. False: it cannot be mapped. */
static bool open_stack(struct map_stack *stack, const uint8_t *data, size_t size, bool deep)
{
	static const uint64_t first;
	struct qcow2_error err;

	stack->layers = calloc(3, sizeof(*stack->layers));
	demand(stack->layers != NULL);
	stack->count = 1;
	if (!open_source(&stack->layers[0], data, size, false) ||
	    map_layer_open(&stack->layers[0], NULL, false, &err))
		return false;
	if (!deep)
		return true;
	stack->count = 3;
	demand(open_source(&stack->layers[1], data, size, false) &&
	       open_source(&stack->layers[2], data, size, true));
	demand(map_layer_open(&stack->layers[1], &first, false, &err) == 0 ||
	       map_layer_open(&stack->layers[1], NULL, false, &err) == 0);
	demand(map_layer_open(&stack->layers[2], NULL, false, &err) == 0);
	stack->layers[2].has_backing = false;
	return true;
}

static const char *truth(bool flag)
{
	return flag ? "true" : "false";
}

static void judge_text(struct map_text *text, const struct map_extent *e)
{
	char wanted[512], offset[64] = "", problem[64] = "";
	struct spool out;

	if (e->offset_bytes != QCOW2_NO_OFFSET)
		snprintf(offset, sizeof(offset), ", \"offset\": %" PRIu64, e->offset_bytes);
	if (e->flags & MAP_INVALID)
		snprintf(problem, sizeof(problem), ", \"invalid\": \"%s\"",
			 qcow2_problem_kind_get(e->problem)->id);
	snprintf(wanted, sizeof(wanted),
		 "{ \"start\": %" PRIu64 ", \"length\": %" PRIu64 ", \"depth\": %" PRIu32
		 ", \"present\": %s, \"zero\": %s, \"data\": %s, \"compressed\": %s%s%s",
		 e->start_bytes, e->length_bytes, e->depth, truth(e->flags & MAP_PRESENT),
		 truth(e->flags & MAP_ZERO), truth(e->flags & MAP_DATA),
		 truth(e->flags & MAP_COMPRESSED), offset, problem);
	spool_init(&out, -1);
	map_text_object(text, &out, e, NULL);
	demand(out.size == strlen(wanted) && memcmp(out.kept, wanted, out.size) == 0);
	spool_release(&out);
}

static void judge_extent(const struct map_stack *stack, const struct map_extent *e)
{
	const bool placed = e->offset_bytes != QCOW2_NO_OFFSET;

	demand(e->length_bytes > 0 && e->depth < stack->count);
	demand(!(e->flags & MAP_COMPRESSED) || (!placed && e->flags & MAP_DATA));
	demand(!(e->flags & MAP_INVALID) == (e->problem == 0));
	demand(!(e->flags & MAP_DATA) || e->flags & MAP_PRESENT);
	demand(!(e->flags & MAP_PRESENT) || e->flags & (MAP_DATA | MAP_ZERO));
}

static void judge_range(struct map_stack *stack, uint64_t start, uint64_t length)
{
	struct map_text *text = calloc(1, sizeof(*text));
	const struct map_extent *e;
	struct map_extent last = {0};
	struct qcow2_error err;
	unsigned count = 0;
	uint64_t at;
	int more;

	demand(text != NULL);
	map_text_begin(text, MAP_NDJSON);
	map_stack_seek(stack, start, length);
	at = stack->at_bytes;
	while ((more = map_stack_next(stack, &e, &err)) > 0 && count++ < EXTENTS_MOST) {
		demand(e->start_bytes == at);
		demand(count == 1 || !map_extents_join(&last, e));
		judge_extent(stack, e);
		judge_text(text, e);
		at += e->length_bytes;
		last = *e;
	}
	demand(more != 0 || at == stack->end_bytes);
	demand(more >= 0 || err.code == QCOW2_ERROR_LIMIT);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size > IMAGE_MOST)
		return 0;
	for (int deep = 0; deep < 2; deep++) {
		struct map_stack stack = {0};

		if (open_stack(&stack, data, size, deep)) {
			judge_range(&stack, 0, UINT64_MAX);
			judge_range(&stack, stack.layers[0].size_bytes / 3, 70000);
		}
		map_stack_close(&stack);
	}
	return 0;
}
