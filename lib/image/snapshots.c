/* SPDX-License-Identifier: MIT */
/* Iterates over the snapshot table through a window, in memory that no image can make grow. */
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "image/internal.h"

#define FIXED_BYTES sizeof(struct qcow2_snapshot_header)
#define EXTRA_SHOWN 4096

struct qcow2_snapshots {
	struct q2_window window;
	const struct qcow2_image *image;
	uint64_t at; /* host offset of the next entry */
	uint64_t next_index;
	bool ended;
	struct qcow2_snapshot current; /* what the caller sees */
	/*
	 * Copies of parts of the current entry, since the window may slide on while the views live.
	 */
	uint8_t fixed[FIXED_BYTES];
	uint8_t extra_data[EXTRA_SHOWN];
};

int qcow2_snapshots_open(const struct qcow2_image *image, struct qcow2_snapshots **out,
			 struct qcow2_error *err)
{
	struct qcow2_snapshots *snapshots;

	if (image->header.nb_snapshots == 0)
		return q2_fail(err, QCOW2_ERROR_NOT_FOUND, QCOW2_NO_OFFSET,
			       "there are no snapshots");
	if (!image->sane)
		return q2_fail(err, QCOW2_ERROR_BROKEN, QCOW2_NO_OFFSET,
			       "the cluster size is not known");
	if (image->header.snapshot_offset >= image->geometry.file_size_bytes)
		return q2_fail(err, QCOW2_ERROR_BROKEN, image->header.snapshot_offset,
			       "the snapshot table lies beyond the end of the file");
	snapshots = q2_alloc(sizeof(*snapshots));
	if (!snapshots || !q2_window_init(&snapshots->window, image, Q2_WINDOW_ENTRY_BYTES)) {
		q2_free(snapshots);
		return q2_fail_memory(err);
	}
	snapshots->image = image;
	snapshots->at = image->header.snapshot_offset;
	q2_window_begin(&snapshots->window, snapshots->at, image->geometry.file_size_bytes);
	*out = snapshots;
	return 0;
}

/*
 * Fills the views of an entry whose fixed part is there. ID and name follow the extra data. If that
 * is longer than what is shown, a copy of its start is shown and the window moves to the names.
 */
static int view_entry(struct qcow2_snapshots *snapshots, struct qcow2_error *err)
{
	struct qcow2_snapshot *out = &snapshots->current;
	const struct qcow2_snapshot_header *h = &out->header;
	size_t extra = h->extra_data_size < EXTRA_SHOWN ? h->extra_data_size : EXTRA_SHOWN;
	size_t names = (size_t)h->id_str_size + h->name_size;
	struct qcow2_bytes view;

	if (q2_window_view(&snapshots->window, out->offset_bytes, FIXED_BYTES + extra, &view, err))
		return -1;
	if (view.size < FIXED_BYTES + extra)
		extra = view.size - FIXED_BYTES;
	/* A field counts only if the extra data holds it whole. */
	qcow2_snapshot_extra_decode(&out->extra, view.data + FIXED_BYTES, extra & ~(size_t)7);
	if (h->extra_data_size <= EXTRA_SHOWN) {
		if (q2_window_view(&snapshots->window, out->offset_bytes,
				   FIXED_BYTES + extra + names, &view, err))
			return -1;
		out->extra_data = (struct qcow2_bytes){view.data + FIXED_BYTES, extra};
		view.data += FIXED_BYTES + extra;
		view.size -= FIXED_BYTES + extra;
	} else {
		memcpy(snapshots->extra_data, view.data + FIXED_BYTES, extra);
		out->extra_data = (struct qcow2_bytes){snapshots->extra_data, extra};
		if (q2_window_view(&snapshots->window,
				   out->offset_bytes + FIXED_BYTES + h->extra_data_size, names,
				   &view, err))
			return -1;
	}
	out->id = (struct qcow2_bytes){view.data,
				       view.size < h->id_str_size ? view.size : h->id_str_size};
	if (view.size > h->id_str_size)
		out->name = (struct qcow2_bytes){view.data + h->id_str_size,
						 view.size - h->id_str_size};
	return 0;
}

/* Derives the values that depend on which fields the extra data reaches ("Snapshots"). */
static void derive(struct qcow2_snapshots *snapshots)
{
	struct qcow2_snapshot *out = &snapshots->current;
	size_t extra = out->extra_data.size;

	out->vm_state_size_bytes =
		extra >= 8 ? out->extra.vm_state_size_large : out->header.vm_state_size;
	out->has_disk_size = extra >= 16;
	out->disk_size_bytes =
		out->has_disk_size ? out->extra.disk_size : snapshots->image->header.size;
	out->has_icount = extra >= 24 && out->extra.icount != UINT64_MAX;
}

int qcow2_snapshots_next(struct qcow2_snapshots *snapshots, const struct qcow2_snapshot **out,
			 struct qcow2_error *err)
{
	struct qcow2_snapshot *current = &snapshots->current;
	struct qcow2_bytes view;
	uint64_t size;

	if (snapshots->ended || snapshots->next_index >= snapshots->image->header.nb_snapshots ||
	    snapshots->at >= snapshots->window.end)
		return 0;
	*current = (struct qcow2_snapshot){.size = sizeof(*current),
					   .index = snapshots->next_index,
					   .offset_bytes = snapshots->at};
	if (q2_window_view(&snapshots->window, snapshots->at, FIXED_BYTES, &view, err))
		return -1;
	qcow2_snapshot_header_decode(&current->header, view.data, view.size);
	memcpy(snapshots->fixed, view.data, view.size);
	current->raw = (struct qcow2_bytes){snapshots->fixed, view.size};
	size = UINT64_C(40) + current->header.extra_data_size + current->header.id_str_size +
	       current->header.name_size;
	current->size_bytes = view.size < FIXED_BYTES ? FIXED_BYTES : (size + 7) & ~UINT64_C(7);
	/* The file may end before the padding of the last entry. */
	current->cut = view.size < FIXED_BYTES || size > snapshots->window.end - snapshots->at;
	snapshots->ended = current->cut;
	if (view.size == FIXED_BYTES && view_entry(snapshots, err))
		return -1;
	derive(snapshots);
	snapshots->next_index++;
	snapshots->at += current->size_bytes;
	*out = current;
	return 1;
}

void qcow2_snapshots_close(struct qcow2_snapshots *snapshots)
{
	if (!snapshots)
		return;
	q2_window_release(&snapshots->window);
	q2_free(snapshots);
}
