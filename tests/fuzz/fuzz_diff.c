/* SPDX-License-Identifier: MIT */
/*
 * Fuzzes comparing: the input is an image, and behind it patches that make a second one of it. An
 * image is the same as itself, and two images differ in as much the other way round if all of both
 * was compared. Ranges do not overlap, and have as many entries as were counted.
 */
#include <stdlib.h>
#include <string.h>

#include <qcow2/qcow2.h>

#include "mutator/mutator.h"

#define IMAGE_MOST  ((size_t)1 << 17)
#define PATCHES     8
#define PATCH_BYTES 4 /* three of an offset, and the new byte */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

const size_t fuzz_command_bytes = (size_t)PATCHES * PATCH_BYTES;

/* What a comparison told. */
struct told {
	uint64_t differences, entries, gaps;
	unsigned elements; /* that are open */
	char last_path[1400];
	uint64_t last;
};

static void demand(bool truth)
{
	if (!truth)
		abort();
}

/* Paths are text that may be printed. */
static void judge_path(const char *path)
{
	struct qcow2_bytes rest = {(const uint8_t *)path, strlen(path)};
	uint32_t codepoint;
	bool valid;

	demand(rest.size > 0);
	while (rest.size > 0) {
		size_t used = qcow2_text_next(rest, &codepoint, &valid);

		demand(valid && qcow2_text_is_printable(codepoint));
		rest.data += used;
		rest.size -= used;
	}
}

static int take_field(void *opaque, const struct qcow2_diff_field *field)
{
	struct told *told = opaque;

	judge_path(field->path);
	demand(field->values[0] || field->values[1]);
	demand(!told->elements || !field->values[0] || !field->values[1]);
	told->differences += !told->elements;
	/* Of two bitmaps extensions, both have a bitmap 0: what follows is of another one. */
	told->last_path[0] = '\0';
	return 0;
}

static int take_range(void *opaque, const struct qcow2_diff_range *range)
{
	struct told *told = opaque;
	const size_t list = (size_t)(strrchr(range->path, '/') - range->path);

	judge_path(range->path);
	demand(range->first <= range->last && list < sizeof(told->last_path));
	if (strlen(told->last_path) == list && memcmp(told->last_path, range->path, list) == 0)
		demand(range->first > told->last);
	memcpy(told->last_path, range->path, list);
	told->last_path[list] = '\0';
	told->last = range->last;
	told->differences++;
	told->entries += range->last - range->first + 1;
	return 0;
}

static int begin_element(void *opaque, const struct qcow2_diff_element *element)
{
	struct told *told = opaque;

	judge_path(element->path);
	demand(told->elements++ == 0 && element->side != QCOW2_DIFF_NEITHER);
	told->differences++;
	return 0;
}

static int end_element(void *opaque, const struct qcow2_diff_element *element)
{
	(void)element;
	demand(((struct told *)opaque)->elements-- == 1);
	return 0;
}

static int take_gap(void *opaque, const struct qcow2_diff_gap *gap)
{
	judge_path(gap->path);
	demand(gap->reason[0] != '\0');
	((struct told *)opaque)->gaps++;
	return 0;
}

/* Compares, and holds what was told to what was counted. False if it failed. */
static bool compare(const struct qcow2_image *a, const struct qcow2_image *b, struct told *told)
{
	const struct qcow2_image *images[2] = {a, b};
	const struct qcow2_diff_visitor visitor = {.size = sizeof(visitor),
						   .field = take_field,
						   .range = take_range,
						   .begin_element = begin_element,
						   .end_element = end_element,
						   .gap = take_gap};
	struct qcow2_diff_result result = {.size = sizeof(result)};
	struct qcow2_error err;

	*told = (struct told){0};
	if (qcow2_diff(images, &visitor, told, &result, &err))
		return false;
	demand(result.differences == told->differences && result.entries == told->entries);
	demand(result.gaps == told->gaps && told->elements == 0);
	return true;
}

static struct qcow2_image *open_image(const uint8_t *data, size_t size,
				      struct qcow2_source **source)
{
	struct qcow2_image *image = NULL;
	struct qcow2_error err;

	if (qcow2_source_from_memory(data, size, source, &err) == 0 &&
	    qcow2_image_open(*source, &image, &err) == 0)
		return image;
	return NULL;
}

static void judge(const struct qcow2_image *a, const struct qcow2_image *b)
{
	struct told one, other;

	if (compare(a, a, &one))
		demand(one.differences == 0);
	if (!compare(a, b, &one) || !compare(b, a, &other))
		return;
	demand(one.gaps == other.gaps);
	/* What is left out of tables that claim too much depends on which comes first. */
	if (one.gaps == 0)
		demand(one.differences == other.differences && one.entries == other.entries);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct qcow2_source *sources[2] = {NULL, NULL};
	struct qcow2_image *images[2];
	const uint8_t *patch;
	uint8_t *twin;

	if (size <= PATCHES * PATCH_BYTES || size > IMAGE_MOST)
		return 0;
	size -= PATCHES * PATCH_BYTES;
	patch = data + size;
	twin = malloc(size);
	demand(twin != NULL);
	memcpy(twin, data, size);
	for (size_t i = 0; i < PATCHES; i++, patch += PATCH_BYTES) {
		const size_t at = (size_t)patch[0] << 16 | (size_t)patch[1] << 8 | patch[2];

		/* A patch of zeros is none: images end with zeros, and the magic must stay. */
		if (at != 0)
			twin[at % size] = patch[3];
	}
	images[0] = open_image(data, size, &sources[0]);
	images[1] = open_image(twin, size, &sources[1]);
	if (images[0] && images[1])
		judge(images[0], images[1]);
	for (size_t i = 0; i < 2; i++) {
		qcow2_image_close(images[i]);
		qcow2_source_close(sources[i]);
	}
	free(twin);
	return 0;
}
