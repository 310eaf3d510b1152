/* SPDX-License-Identifier: MIT */
/* See patches.h. */
#include "undo/patches.h"

#include <stdlib.h>

#include "base/alloc.h"

#define FIRST_CAPACITY 16

bool q2_undo_patch_add(struct q2_undo_patches *patches, struct q2_undo_patch patch)
{
	if (patches->count == patches->capacity) {
		size_t capacity = patches->capacity ? patches->capacity * 2 : FIRST_CAPACITY;
		void *grown = q2_realloc_array(patches->items, capacity, sizeof(*patches->items));

		if (!grown)
			return false;
		patches->items = grown;
		patches->capacity = capacity;
	}
	patches->items[patches->count++] = patch;
	return true;
}

static int by_offset(const void *left, const void *right)
{
	const struct q2_undo_patch *a = left, *b = right;

	return a->offset_bytes < b->offset_bytes ? -1 : a->offset_bytes > b->offset_bytes;
}

void q2_undo_patches_sort(struct q2_undo_patches *patches)
{
	if (patches->count > 1)
		qsort(patches->items, patches->count, sizeof(*patches->items), by_offset);
}

void q2_undo_patches_release(struct q2_undo_patches *patches)
{
	q2_free(patches->items);
	*patches = (struct q2_undo_patches){.items = NULL};
}

size_t q2_undo_patches_find(const struct q2_undo_patches *patches, uint64_t offset)
{
	size_t low = 0, high = patches->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (patches->items[middle].offset_bytes >= offset)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

void q2_undo_patches_lay(const struct q2_undo_patches *patches, uint64_t offset, uint8_t *bytes,
			 size_t size)
{
	for (size_t i = q2_undo_patches_find(patches, offset); i < patches->count; i++) {
		const struct q2_undo_patch *patch = &patches->items[i];

		if (patch->offset_bytes - offset >= size)
			break;
		bytes[patch->offset_bytes - offset] |= patch->set;
		bytes[patch->offset_bytes - offset] &= (uint8_t)~patch->clear;
	}
}
