/* SPDX-License-Identifier: MIT */
/* Bytes that an undo puts back with other bits than the saved ones. doubt.c decides which. */
#ifndef Q2_UNDO_PATCHES_H
#define Q2_UNDO_PATCHES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct q2_undo_patch {
	uint64_t offset_bytes;
	uint8_t set, clear; /* bits */
};

/* In the order of the file. All zeros: empty. */
struct q2_undo_patches {
	struct q2_undo_patch *items;
	size_t count, capacity;
};

/* Adds a patch; offsets rise from call to call, or q2_undo_patches_sort() follows. False if memory
 * is short. */
bool q2_undo_patch_add(struct q2_undo_patches *patches, struct q2_undo_patch patch);
void q2_undo_patches_sort(struct q2_undo_patches *patches);
void q2_undo_patches_release(struct q2_undo_patches *patches);

/* The index of the first patch at or behind offset; patches->count if there is none. */
size_t q2_undo_patches_find(const struct q2_undo_patches *patches, uint64_t offset_bytes);

/* Applies the patches of [offset_bytes, offset_bytes + size) to bytes that were read from there. */
void q2_undo_patches_lay(const struct q2_undo_patches *patches, uint64_t offset_bytes,
			 uint8_t *bytes, size_t size);

#endif
