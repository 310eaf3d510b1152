/* SPDX-License-Identifier: MIT */
/* Opens an editor over the bitmaps of a planned image. See bitmap_edit.h and open.h. */
#include "edit/bitmap/open.h"

#include "base/alloc.h"
#include "base/error.h"
#include "edit/bitmap/given_up.h"
#include "edit/bitmap/list.h"
#include "image/extensions.h"

#define HEADER_AT(field) offsetof(struct qcow2_header, field)

/* A file system may report fewer allocated bytes than the file stores. */
#define SLACK_BYTES (UINT64_C(16) << 20)

void qcow2_bitmap_editor_close(struct qcow2_bitmap_editor *editor)
{
	if (!editor)
		return;
	for (size_t i = 0; i < editor->count; i++)
		q2_edited_release(editor, editor->bitmaps[i]);
	q2_free(editor->bitmaps);
	q2_free(editor->hashes);
	q2_vector_release(&editor->given_up);
	q2_allocator_close(editor->allocator);
	qcow2_image_close(editor->image);
	qcow2_source_close(editor->view);
	q2_free(editor);
}

int q2_bitmap_editor_new(struct qcow2_plan *plan, struct qcow2_bitmap_editor **out,
			 struct qcow2_error *err)
{
	struct qcow2_bitmap_editor *editor = q2_alloc(sizeof(*editor));

	if (!editor)
		return q2_fail_memory(err);
	editor->plan = plan;
	q2_hash_key_make(&editor->key);
	q2_given_up_init(&editor->given_up);
	if (qcow2_plan_view(plan, &editor->view, err) ||
	    qcow2_image_open(editor->view, &editor->image, err)) {
		qcow2_bitmap_editor_close(editor);
		return -1;
	}
	editor->unread_entries = (qcow2_source_allocated_bytes(editor->view) + SLACK_BYTES) / 8;
	editor->geometry = qcow2_image_geometry(editor->image);
	if (!editor->geometry)
		q2_fail(err, QCOW2_ERROR_BROKEN, HEADER_AT(cluster_bits),
			"the header's cluster_bits or refcount_order make no sense");
	else if (qcow2_image_header(editor->image)->version < 3)
		q2_fail(err, QCOW2_ERROR_ARGUMENT, HEADER_AT(version),
			"images of version 2 have no bitmaps");
	else {
		*out = editor;
		return 0;
	}
	qcow2_bitmap_editor_close(editor);
	return -1;
}

/* Takes the whole directory, which must be what the extension says. */
static int take_directory(struct qcow2_bitmap_editor *editor, struct qcow2_bitmaps *bitmaps,
			  struct qcow2_error *err)
{
	const struct qcow2_bitmaps_extension *extension = qcow2_bitmaps_header(bitmaps);
	const struct qcow2_bitmap *bitmap = NULL;
	int more;

	editor->has_extension = true;
	editor->directory_offset = extension->bitmap_directory_offset;
	editor->directory_size = extension->bitmap_directory_size;
	while ((more = qcow2_bitmaps_next(bitmaps, &bitmap, err)) > 0 && !bitmap->cut)
		if (q2_bitmap_editor_take(editor, bitmap, err))
			return -1;
	if (more < 0)
		return -1;
	if ((bitmap && bitmap->cut) || editor->count != extension->nb_bitmaps ||
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
	if (!q2_find_extension(editor->image, QCOW2_EXTENSION_BITMAPS, &extension)) {
		*out = editor;
		return 0;
	}
	if (!(qcow2_image_header(editor->image)->autoclear_features & QCOW2_AUTOCLEAR_BITMAPS)) {
		failed = q2_fail(err, QCOW2_ERROR_BROKEN, HEADER_AT(autoclear_features),
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
