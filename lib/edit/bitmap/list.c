/* SPDX-License-Identifier: MIT */
/* See list.h. */
#include "edit/bitmap/list.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "edit/bitmap/bits.h"
#include "plan/plan.h"

#define FIXED_BYTES    sizeof(struct qcow2_bitmap_dir_entry)
#define COUNT_MOST     ((size_t)1 << 20)
#define FIRST_CAPACITY 16

struct qcow2_bytes q2_edited_name(const struct q2_edited_bitmap *bitmap)
{
	return (struct qcow2_bytes){bitmap->name, bitmap->entry.name_size};
}

void q2_edited_release(struct qcow2_bitmap_editor *editor, struct q2_edited_bitmap *bitmap)
{
	q2_bitmap_release_bits(editor, bitmap);
	q2_free(bitmap->name);
	q2_free(bitmap->extra);
	q2_free(bitmap);
}

static bool set_name(struct q2_edited_bitmap *bitmap, struct qcow2_bytes name)
{
	uint8_t *copy = q2_alloc_buffer(name.size + 1);

	if (!copy)
		return false;
	if (name.size > 0)
		memcpy(copy, name.data, name.size);
	q2_free(bitmap->name);
	bitmap->name = copy;
	bitmap->entry.name_size = (uint16_t)name.size;
	return true;
}

bool q2_bitmap_editor_rename(struct qcow2_bitmap_editor *editor, size_t at, struct qcow2_bytes name)
{
	if (!q2_intents_rename(&editor->plan->intents, q2_edited_name(editor->bitmaps[at]), name) ||
	    !set_name(editor->bitmaps[at], name))
		return false;
	editor->hashes[at] = q2_hash(&editor->key, name);
	return true;
}

/* Makes room for one more bitmap. */
static bool grow(struct qcow2_bitmap_editor *editor)
{
	size_t capacity = editor->capacity ? editor->capacity * 2 : FIRST_CAPACITY;
	void *grown;

	if (editor->count < editor->capacity)
		return true;
	grown = q2_realloc_array(editor->bitmaps, capacity, sizeof(editor->bitmaps[0]));
	if (!grown)
		return false;
	editor->bitmaps = grown;
	grown = q2_realloc_array(editor->hashes, capacity, sizeof(editor->hashes[0]));
	if (!grown)
		return false;
	editor->hashes = grown;
	editor->capacity = capacity;
	return true;
}

struct q2_edited_bitmap *q2_bitmap_editor_append(struct qcow2_bitmap_editor *editor,
						 struct qcow2_bytes name)
{
	struct q2_edited_bitmap *bitmap = q2_alloc(sizeof(*bitmap));

	if (!bitmap || !grow(editor) || !set_name(bitmap, name)) {
		q2_free(bitmap);
		return NULL;
	}
	bitmap->index = UINT64_MAX;
	bitmap->entry.type = 1;
	editor->hashes[editor->count] = q2_hash(&editor->key, name);
	editor->bitmaps[editor->count++] = bitmap;
	return bitmap;
}

void q2_bitmap_editor_drop(struct qcow2_bitmap_editor *editor, size_t at)
{
	q2_edited_release(editor, editor->bitmaps[at]);
	editor->count--;
	memmove(&editor->bitmaps[at], &editor->bitmaps[at + 1],
		(editor->count - at) * sizeof(editor->bitmaps[0]));
	memmove(&editor->hashes[at], &editor->hashes[at + 1],
		(editor->count - at) * sizeof(editor->hashes[0]));
	editor->changed = true;
}

int q2_bitmap_editor_take(struct qcow2_bitmap_editor *editor, const struct qcow2_bitmap *bitmap,
			  struct qcow2_error *err)
{
	struct q2_edited_bitmap *taken;
	size_t extra = bitmap->entry.extra_data_size;

	if (editor->count == COUNT_MOST)
		return q2_fail(err, QCOW2_ERROR_LIMIT, QCOW2_NO_OFFSET,
			       "there are over %zu bitmaps", COUNT_MOST);
	taken = q2_bitmap_editor_append(editor, bitmap->name);
	if (!taken)
		return q2_fail_memory(err);
	taken->entry = bitmap->entry;
	taken->index = bitmap->index;
	taken->stored = true;
	if (extra == 0)
		return 0;
	/* The iterator shows at most 4,096 bytes of extra data. */
	taken->extra = q2_alloc_buffer(extra);
	if (!taken->extra)
		return q2_fail_memory(err);
	return q2_plan_read(editor->plan, bitmap->offset_bytes + FIXED_BYTES, taken->extra, extra,
			    err);
}
