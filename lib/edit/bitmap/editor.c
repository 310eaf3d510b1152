/* SPDX-License-Identifier: MIT */
/* The list of bitmaps in memory. See bitmap_edit.h. */
#include "edit/bitmap/editor.h"

#include <qcow2/entry.h>

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"

#define FIXED_BYTES    sizeof(struct qcow2_bitmap_dir_entry)
#define COUNT_MOST     ((size_t)1 << 20)
#define GIVEN_UP_MOST  ((size_t)1 << 27)
#define FIRST_CAPACITY 16
/* File systems may count less than a file stores. */
#define SLACK_BYTES (UINT64_C(16) << 20)

struct qcow2_bytes q2_edited_name(const struct q2_edited_bitmap *bitmap)
{
	return (struct qcow2_bytes){bitmap->name, bitmap->entry.name_size};
}

static void release(struct qcow2_bitmap_editor *editor, struct q2_edited_bitmap *bitmap)
{
	q2_bitmap_release_bits(editor, bitmap);
	q2_free(bitmap->name);
	q2_free(bitmap->extra);
	q2_free(bitmap);
}

void qcow2_bitmap_editor_close(struct qcow2_bitmap_editor *editor)
{
	if (!editor)
		return;
	for (size_t i = 0; i < editor->count; i++)
		release(editor, editor->bitmaps[i]);
	q2_free(editor->bitmaps);
	q2_free(editor->hashes);
	q2_vector_release(&editor->given_up);
	q2_allocator_close(editor->allocator);
	qcow2_image_close(editor->image);
	qcow2_source_close(editor->view);
	q2_free(editor);
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
	if (!q2_plan_renames(editor->plan, q2_edited_name(editor->bitmaps[at]), name) ||
	    !set_name(editor->bitmaps[at], name))
		return false;
	editor->hashes[at] = q2_hash(&editor->key, name);
	return true;
}

/* Room for one more. */
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
	release(editor, editor->bitmaps[at]);
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
	/* The iterator shows the beginning of it only. */
	taken->extra = q2_alloc_buffer(extra);
	if (!taken->extra)
		return q2_fail_memory(err);
	return q2_plan_read(editor->plan, bitmap->offset_bytes + FIXED_BYTES, taken->extra, extra,
			    err);
}

int q2_give_up_clusters(struct qcow2_bitmap_editor *editor, uint64_t offset, uint64_t size,
			struct qcow2_error *err)
{
	unsigned bits = editor->geometry->cluster_bits;
	uint64_t end = editor->geometry->file_size_bytes;

	if (offset >= end || size == 0)
		return 0;
	if (size < end - offset)
		end = offset + size;
	/* Damaged pointers may lead into the middle of a cluster, and so touch one more. */
	for (uint64_t number = offset >> bits; number <= (end - 1) >> bits; number++) {
		if (q2_vector_push(&editor->given_up, &number) != QCOW2_ERROR_NONE)
			return q2_fail_memory(err);
	}
	return 0;
}

int q2_bitmap_give_up(struct qcow2_bitmap_editor *editor, struct q2_edited_bitmap *bitmap,
		      struct qcow2_error *err)
{
	uint64_t cluster = editor->geometry->cluster_size_bytes, there, entry;
	struct qcow2_table *table;
	int failed = 0;

	if (!bitmap->stored)
		return 0;
	bitmap->stored = false;
	/* What is no table may name any cluster, also one that somebody else has lost. */
	if (bitmap->entry.bitmap_table_offset == 0 ||
	    bitmap->entry.bitmap_table_offset % cluster != 0 ||
	    (editor->trust && !q2_trust_table(editor->trust, bitmap->index)))
		return 0;
	if (qcow2_table_new(editor->image, &table, err))
		return -1;
	there = qcow2_table_begin(table, bitmap->entry.bitmap_table_offset,
				  bitmap->entry.bitmap_table_size);
	if (there > editor->unread_entries)
		there = editor->unread_entries;
	editor->unread_entries -= there;
	failed = q2_give_up_clusters(editor, bitmap->entry.bitmap_table_offset, there * 8, err);
	for (uint64_t i = 0; i < there && !failed; i++) {
		uint64_t offset;

		failed = qcow2_table_entry(table, i, &entry, err);
		offset = failed ? 0 : qcow2_bitmap_table_entry_decode(entry).offset;
		if (offset != 0)
			failed = q2_give_up_clusters(editor, offset, cluster, err);
	}
	qcow2_table_free(table);
	return failed;
}

int q2_bitmap_editor_new(struct qcow2_plan *plan, struct qcow2_bitmap_editor **out,
			 struct qcow2_error *err)
{
	struct qcow2_bitmap_editor *editor = q2_alloc(sizeof(*editor));

	if (!editor)
		return q2_fail_memory(err);
	editor->plan = plan;
	q2_hash_key_make(&editor->key);
	q2_vector_init(&editor->given_up, sizeof(uint64_t), GIVEN_UP_MOST);
	if (qcow2_plan_view(plan, &editor->view, err) ||
	    qcow2_image_open(editor->view, &editor->image, err)) {
		qcow2_bitmap_editor_close(editor);
		return -1;
	}
	editor->unread_entries = (qcow2_source_allocated_bytes(editor->view) + SLACK_BYTES) / 8;
	editor->geometry = qcow2_image_geometry(editor->image);
	if (!editor->geometry)
		q2_fail(err, QCOW2_ERROR_BROKEN, 20,
			"the header's cluster_bits or refcount_order make no sense");
	else if (qcow2_image_header(editor->image)->version < 3)
		q2_fail(err, QCOW2_ERROR_ARGUMENT, 4, "images of version 2 have no bitmaps");
	else {
		*out = editor;
		return 0;
	}
	qcow2_bitmap_editor_close(editor);
	return -1;
}

/* All of the directory, which must be what the extension says. */
static int take_directory(struct qcow2_bitmap_editor *editor, struct qcow2_bitmaps *bitmaps,
			  struct qcow2_error *err)
{
	const struct qcow2_bitmaps_extension *extension = qcow2_bitmaps_header(bitmaps);
	struct qcow2_bitmap bitmap = {.cut = false};
	int more;

	editor->has_extension = true;
	editor->directory_offset = extension->bitmap_directory_offset;
	editor->directory_size = extension->bitmap_directory_size;
	while ((more = qcow2_bitmaps_next(bitmaps, &bitmap, err)) > 0 && !bitmap.cut)
		if (q2_bitmap_editor_take(editor, &bitmap, err))
			return -1;
	if (more < 0)
		return -1;
	if (bitmap.cut || editor->count != extension->nb_bitmaps ||
	    qcow2_bitmaps_used_bytes(bitmaps) != extension->bitmap_directory_size ||
	    extension->bitmap_directory_offset % editor->geometry->cluster_size_bytes != 0)
		return q2_fail(err, QCOW2_ERROR_BROKEN, extension->bitmap_directory_offset,
			       "the bitmap directory is damaged: 'qcow2 bitmap repair' mends "
			       "what can be mended");
	return 0;
}

int qcow2_bitmap_editor_open(struct qcow2_plan *plan, struct qcow2_bitmap_editor **out,
			     struct qcow2_error *err)
{
	struct qcow2_bitmap_editor *editor;
	struct qcow2_bitmaps *bitmaps;
	struct qcow2_extension extension;
	int failed;

	if (q2_bitmap_editor_new(plan, &editor, err))
		return -1;
	if (!qcow2_image_find_extension(editor->image, QCOW2_EXTENSION_BITMAPS, &extension)) {
		*out = editor;
		return 0;
	}
	if (!(qcow2_image_header(editor->image)->autoclear_features & QCOW2_AUTOCLEAR_BITMAPS)) {
		failed = q2_fail(err, QCOW2_ERROR_BROKEN, 88,
				 "the bitmaps bit is not set: all bitmaps are stale ('qcow2 "
				 "bitmap repair' drops them, or makes them all dirty)");
	} else {
		failed = qcow2_bitmaps_open(editor->image, &bitmaps, err);
		if (!failed) {
			failed = take_directory(editor, bitmaps, err);
			qcow2_bitmaps_close(bitmaps);
		}
	}
	if (failed)
		qcow2_bitmap_editor_close(editor);
	else
		*out = editor;
	return failed;
}
