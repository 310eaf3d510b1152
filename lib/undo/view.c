/* SPDX-License-Identifier: MIT */
/* A source that shows an image as an undo would put it back. See view.h. */
#include "undo/view.h"

#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "source/source.h"

/* Copies the part of a record that lies in [offset, offset + bytes.size) to `bytes`. */
static int lay_record(const struct qcow2_undo *undo, const struct q2_undo_record *record,
		      uint64_t offset, struct qcow2_bytes bytes, struct qcow2_error *err)
{
	uint8_t *to = (uint8_t *)(uintptr_t)bytes.data;
	uint64_t first = record->offset_bytes > offset ? record->offset_bytes : offset;
	uint64_t last = record->offset_bytes + record->size;
	uint64_t stored = record->offset_bytes + record->old_size;

	if (last > offset + bytes.size)
		last = offset + bytes.size;
	memset(to + (first - offset), 0, (size_t)(last - first));
	if (stored > last)
		stored = last;
	return first < stored
		       ? qcow2_source_read(undo->file, record->at + (first - record->offset_bytes),
					   to + (first - offset), (size_t)(stored - first), err)
		       : 0;
}

static int read_all(const struct q2_undo_view *view, uint64_t offset, uint8_t *bytes, size_t size,
		    struct qcow2_error *err)
{
	const struct q2_undo_records *pieces = &view->undo->pieces;
	uint64_t there = qcow2_source_size_bytes(view->image);
	size_t stored = offset >= there         ? 0
			: there - offset < size ? (size_t)(there - offset)
						: size;

	memset(bytes + stored, 0, size - stored);
	if (stored > 0 && qcow2_source_read(view->image, offset, bytes, stored, err))
		return -1;
	for (size_t i = q2_undo_find(pieces, offset);
	     i < pieces->count && pieces->items[i].offset_bytes < offset + size; i++)
		if (lay_record(view->undo, &pieces->items[i], offset,
			       (struct qcow2_bytes){bytes, size}, err))
			return -1;
	if (view->patches)
		q2_undo_patches_lay(view->patches, offset, bytes, size);
	return 0;
}

static int view_read(void *opaque, uint64_t offset_bytes, void *buffer, size_t size)
{
	struct qcow2_error err = {.errnum = 0};

	if (read_all(opaque, offset_bytes, buffer, size, &err) == 0)
		return 0;
	return err.errnum ? err.errnum : EIO;
}

/* Returns where a hole of the restored image ends: a piece or a patch ends it. */
static uint64_t view_hole_end(void *opaque, uint64_t offset_bytes)
{
	const struct q2_undo_view *view = opaque;
	const struct q2_undo_records *pieces = &view->undo->pieces;
	size_t piece = q2_undo_find(pieces, offset_bytes);
	uint64_t there = qcow2_source_size_bytes(view->image);
	uint64_t end = offset_bytes < there ? qcow2_source_hole_end(view->image, offset_bytes)
					    : view->undo->info.old_size_bytes;

	if (end == there && end > offset_bytes && view->undo->info.old_size_bytes > end)
		end = view->undo->info.old_size_bytes;
	if (piece < pieces->count && pieces->items[piece].offset_bytes < end)
		end = pieces->items[piece].offset_bytes;
	if (view->patches) {
		size_t patch = q2_undo_patches_find(view->patches, offset_bytes);

		if (patch < view->patches->count && view->patches->items[patch].offset_bytes < end)
			end = view->patches->items[patch].offset_bytes;
	}
	return end > offset_bytes ? end : offset_bytes;
}

int q2_undo_view_open(struct q2_undo_view *view, struct qcow2_source **out, struct qcow2_error *err)
{
	static const struct qcow2_source_ops ops = {
		.size = sizeof(ops), .read = view_read, .hole_end = view_hole_end};

	if (qcow2_source_from_ops(&ops, view, view->undo->info.old_size_bytes, out, err))
		return -1;
	/* The number of stored bytes bounds what readers read of a hostile sparse file. */
	(*out)->allocated_bytes =
		qcow2_source_allocated_bytes(view->image) + view->undo->info.bytes;
	return 0;
}
