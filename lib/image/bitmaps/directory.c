/* SPDX-License-Identifier: MIT */
/* Iterates over the bitmap directory through a window, in memory that no image can make grow. */
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/error.h"
#include "image/extensions.h"
#include "image/internal.h"

#define FIXED_BYTES sizeof(struct qcow2_bitmap_dir_entry)
#define SIZE_MOST   (UINT64_C(64) << 20)

struct qcow2_bitmaps {
	struct qcow2_bitmaps_extension extension;
	struct q2_window window;
	uint64_t at;   /* host offset of the next entry */
	uint64_t used; /* bytes that the entries so far claim */
	uint64_t directory_end;
	uint64_t next_index;
	uint64_t most; /* entries */
	bool ended;
	struct qcow2_bitmap current; /* what the caller sees */
	/*
	 * Copies of parts of the current entry, since the window may slide on while the views live.
	 */
	uint8_t fixed[FIXED_BYTES];
	uint8_t extra_data[Q2_EXTRA_SHOWN];
};

int qcow2_bitmaps_open(const struct qcow2_image *image, struct qcow2_bitmaps **out,
		       struct qcow2_error *err)
{
	struct q2_extensions it;
	struct qcow2_extension extension;
	struct qcow2_bitmaps *bitmaps;
	bool found = false;
	uint64_t end;

	q2_extensions_begin(image, &it);
	while (!found && q2_extensions_next(&it, &extension))
		found = extension.header.magic == QCOW2_EXTENSION_BITMAPS &&
			extension.data.size >= sizeof(struct qcow2_bitmaps_extension);
	if (!found)
		return q2_fail(err, QCOW2_ERROR_NOT_FOUND, QCOW2_NO_OFFSET,
			       "this image has no bitmaps");
	if (!image->sane)
		return q2_fail(err, QCOW2_ERROR_BROKEN, QCOW2_NO_OFFSET,
			       "the cluster size is not known");
	bitmaps = q2_alloc(sizeof(*bitmaps));
	if (!bitmaps || !q2_window_init(&bitmaps->window, image, Q2_WINDOW_ENTRY_BYTES)) {
		q2_free(bitmaps);
		return q2_fail_memory(err);
	}
	qcow2_bitmaps_extension_decode(&bitmaps->extension, extension.data.data,
				       extension.data.size);
	bitmaps->at = bitmaps->extension.bitmap_directory_offset;
	bitmaps->most = bitmaps->extension.nb_bitmaps;
	if (q2_add_u64(bitmaps->at, bitmaps->extension.bitmap_directory_size, &end))
		end = UINT64_MAX;
	bitmaps->directory_end = end;
	if (end > image->geometry.file_size_bytes)
		end = image->geometry.file_size_bytes;
	if (bitmaps->at >= image->geometry.file_size_bytes) {
		uint64_t at = bitmaps->at;

		qcow2_bitmaps_close(bitmaps);
		return q2_fail(err, QCOW2_ERROR_BROKEN, at,
			       "the bitmap directory lies beyond the end of the file");
	}
	q2_window_begin(&bitmaps->window, bitmaps->at, end);
	*out = bitmaps;
	return 0;
}

const struct qcow2_bitmaps_extension *qcow2_bitmaps_header(const struct qcow2_bitmaps *bitmaps)
{
	return &bitmaps->extension;
}

/*
 * Fills the views of an entry whose fixed part is there. Extra data, name and padding are viewed in
 * one piece if the extra data is short. Else a copy of its start is shown, and the window moves to
 * the name.
 */
static int view_entry(struct qcow2_bitmaps *bitmaps, struct qcow2_error *err)
{
	struct qcow2_bitmap *out = &bitmaps->current;
	const struct qcow2_bitmap_dir_entry *e = &out->entry;
	uint64_t extra_at = out->offset_bytes + FIXED_BYTES;
	uint64_t name_at = extra_at + e->extra_data_size;
	size_t tail = (size_t)(out->size_bytes - FIXED_BYTES - e->extra_data_size);
	struct qcow2_bytes view;

	if (e->extra_data_size <= Q2_EXTRA_SHOWN) {
		size_t extra = e->extra_data_size;

		if (q2_window_view(&bitmaps->window, out->offset_bytes, FIXED_BYTES + extra + tail,
				   &view, err))
			return -1;
		if (view.size < FIXED_BYTES + extra)
			extra = view.size - FIXED_BYTES;
		out->extra_data = (struct qcow2_bytes){view.data + FIXED_BYTES, extra};
		view.data += FIXED_BYTES + extra;
		view.size -= FIXED_BYTES + extra;
	} else {
		if (q2_window_view(&bitmaps->window, extra_at, Q2_EXTRA_SHOWN, &view, err))
			return -1;
		if (view.size > 0)
			memcpy(bitmaps->extra_data, view.data, view.size);
		out->extra_data = (struct qcow2_bytes){bitmaps->extra_data, view.size};
		if (q2_window_view(&bitmaps->window, name_at, tail, &view, err))
			return -1;
	}
	out->name = (struct qcow2_bytes){view.data,
					 view.size < e->name_size ? view.size : e->name_size};
	if (view.size > e->name_size)
		out->padding =
			(struct qcow2_bytes){view.data + e->name_size, view.size - e->name_size};
	return 0;
}

/*
 * Sets what the fixed part does not give. Clearing the whole structure instead showed in profiles of
 * large directories: the compiler makes a slow string instruction of it.
 */
static void begin_entry(struct qcow2_bitmaps *bitmaps)
{
	const struct qcow2_bytes none = {NULL, 0};
	struct qcow2_bitmap *current = &bitmaps->current;

	current->size = sizeof(*current);
	current->index = bitmaps->next_index;
	current->offset_bytes = bitmaps->at;
	current->extra_data = none;
	current->name = none;
	current->padding = none;
}

int qcow2_bitmaps_next(struct qcow2_bitmaps *bitmaps, const struct qcow2_bitmap **out,
		       struct qcow2_error *err)
{
	struct qcow2_bitmap *current = &bitmaps->current;
	struct qcow2_bytes view;
	uint64_t size;

	if (bitmaps->ended || bitmaps->next_index >= bitmaps->most ||
	    bitmaps->at >= bitmaps->window.end)
		return 0;
	begin_entry(bitmaps);
	if (q2_window_view(&bitmaps->window, bitmaps->at, FIXED_BYTES, &view, err))
		return -1;
	qcow2_bitmap_dir_entry_decode(&current->entry, view.data, view.size);
	memcpy(bitmaps->fixed, view.data, view.size);
	current->raw = (struct qcow2_bytes){bitmaps->fixed, view.size};
	size = (uint64_t)FIXED_BYTES + current->entry.extra_data_size + current->entry.name_size;
	current->size_bytes = view.size < FIXED_BYTES ? FIXED_BYTES : (size + 7) & ~UINT64_C(7);
	/* The file may end before the padding of the last entry, but the directory may not. */
	current->cut = view.size < FIXED_BYTES || size > bitmaps->window.end - bitmaps->at ||
		       current->size_bytes > bitmaps->directory_end - bitmaps->at;
	bitmaps->ended = current->cut;
	if (view.size == FIXED_BYTES && view_entry(bitmaps, err))
		return -1;
	bitmaps->next_index++;
	bitmaps->at += current->size_bytes;
	bitmaps->used += current->size_bytes;
	*out = current;
	return 1;
}

void q2_bitmaps_go_beyond(struct qcow2_bitmaps *bitmaps)
{
	uint64_t end = q2_image_readable_end(bitmaps->window.image);

	if (end - bitmaps->at > SIZE_MOST)
		end = bitmaps->at + SIZE_MOST;
	bitmaps->directory_end = end;
	bitmaps->most = UINT32_MAX;
	q2_window_begin(&bitmaps->window, bitmaps->at, end);
}

int q2_bitmaps_skip_zeros(struct qcow2_bitmaps *bitmaps, uint64_t most_used_bytes,
			  struct qcow2_error *err)
{
	static const uint8_t zeros[8];
	struct qcow2_bytes view;

	while (bitmaps->used + sizeof(zeros) <= most_used_bytes &&
	       bitmaps->at + sizeof(zeros) <= bitmaps->window.end) {
		if (q2_window_view(&bitmaps->window, bitmaps->at, sizeof(zeros), &view, err))
			return -1;
		if (view.size < sizeof(zeros) || memcmp(view.data, zeros, sizeof(zeros)) != 0)
			break;
		bitmaps->at += sizeof(zeros);
		bitmaps->used += sizeof(zeros);
	}
	return 0;
}

uint64_t qcow2_bitmaps_used_bytes(const struct qcow2_bitmaps *bitmaps)
{
	return bitmaps->used;
}

void qcow2_bitmaps_close(struct qcow2_bitmaps *bitmaps)
{
	if (!bitmaps)
		return;
	q2_window_release(&bitmaps->window);
	q2_free(bitmaps);
}
