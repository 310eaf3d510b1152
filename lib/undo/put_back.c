/* SPDX-License-Identifier: MIT */
/*
 * Puts back what a change changed, once judge.c has proved that it is right. An undo that is
 * interrupted can be repeated: each byte is then one that the undo file allows.
 */
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/sized.h"
#include "plan/places.h"
#include "undo/judge.h"
#include "undo/layout.h"
#include "undo/view.h"

/* The autoclear features; the last byte has the bit of the bitmaps. */
#define AUTOCLEAR_AT   ((uint64_t)offsetof(struct qcow2_header, autoclear_features))
#define AUTOCLEAR_LAST (AUTOCLEAR_AT + 7)
#define AUTOCLEAR_END  (AUTOCLEAR_AT + 8)
/* An undo file has fewer records than two to the power of this; there are five phases. */
#define RANK_SHIFT 24

/* One undo under way. */
struct undo_writing {
	struct q2_undoing *u;
	struct qcow2_source *restored;
	uint8_t *bytes, *overlap; /* Q2_PLACE_MOST_BYTES each */
	uint32_t *ranks;          /* of the writes that bytes come from */
	bool has_autoclear;
};

/*
 * Writes the patches that lie outside of all pieces. They come first, before the pieces make
 * anybody look at these bytes.
 */
static int write_patches(struct q2_undoing *u, struct qcow2_source *restored)
{
	const struct q2_undo_records *pieces = &u->undo->pieces;
	bool wrote = false;

	for (size_t i = 0; i < u->patches.count; i++) {
		uint64_t offset = u->patches.items[i].offset_bytes;
		size_t piece = q2_undo_find(pieces, offset);
		uint8_t byte;

		if (piece < pieces->count && pieces->items[piece].offset_bytes <= offset)
			continue;
		if (qcow2_source_read(restored, offset, &byte, 1, u->err) ||
		    q2_source_write(u->image, offset, &byte, 1, u->err))
			return -1;
		wrote = true;
	}
	return wrote ? q2_source_sync(u->image, u->err) : 0;
}

/*
 * Takes back bits that an earlier undo set in clusters that the change had freed. Only an undo that
 * insists on the saved bytes does this; all other bytes there are as they were.
 */
static int write_marks(struct q2_undoing *u)
{
	for (size_t i = 0; i < u->marks.count; i++) {
		uint64_t offset = u->marks.items[i].offset_bytes;
		uint8_t then, now;

		if (!u->is_exact || !q2_undo_freed_byte(u->undo, offset, &then))
			continue;
		if (qcow2_source_read(u->image, offset, &now, 1, u->err) ||
		    (now != then && q2_source_write(u->image, offset, &then, 1, u->err)))
			return -1;
	}
	return 0;
}

/*
 * Lays over w->bytes, the old bytes of a piece, what the phases before `phase` wrote there, so that
 * they are the bytes that the change had left when that phase began.
 */
static int lay_earlier_phases(struct undo_writing *w, const struct q2_undo_record *piece,
			      uint32_t phase)
{
	const struct qcow2_undo *undo = w->u->undo;
	uint64_t start = piece->offset_bytes;
	struct q2_undo_overlap overlap = q2_undo_overlaps(undo, start, start + piece->old_size);
	bool is_first = true;

	while (q2_undo_next_overlap(undo, &overlap)) {
		/* Of the writes to a byte, the one that was made last has the highest rank. */
		uint32_t rank = (overlap.record->phase << RANK_SHIFT) + overlap.record->order + 1;

		if (overlap.record->phase >= phase)
			continue;
		if (is_first)
			memset(w->ranks, 0, piece->old_size * sizeof(*w->ranks));
		is_first = false;
		if (q2_undo_read_overlap(undo, &overlap, w->overlap, w->u->err))
			return -1;
		for (uint64_t at = overlap.first; at < overlap.last; at++) {
			if (rank <= w->ranks[at - start])
				continue;
			w->ranks[at - start] = rank;
			w->bytes[at - start] = w->overlap[at - overlap.first];
		}
	}
	if (!is_first)
		q2_undo_patches_lay(&w->u->patches, start, w->bytes, piece->old_size);
	return 0;
}

/*
 * Writes the part of a piece in [first, last), with the bytes that the change had left when `phase`
 * began; phase 0 stands for the bytes of before the change.
 */
static int write_piece(struct undo_writing *w, const struct q2_undo_record *piece, uint32_t phase,
		       uint64_t first, uint64_t last)
{
	uint64_t start = piece->offset_bytes;
	/* Bytes that the change added behind the old end are cut off later. */
	uint64_t end = start + piece->old_size;

	first = first > start ? first : start;
	last = last < end ? last : end;
	if (first >= last)
		return 0;
	return qcow2_source_read(w->restored, start, w->bytes, piece->old_size, w->u->err) ||
			       lay_earlier_phases(w, piece, phase) ||
			       q2_source_write(w->u->image, first, w->bytes + (first - start),
					       (size_t)(last - first), w->u->err)
		       ? -1
		       : 0;
}

/* Whether a phase wrote to a piece: the last word there, or an earlier one. */
static bool wrote_to(const struct qcow2_undo *undo, const struct q2_undo_record *piece,
		     uint32_t phase)
{
	uint64_t start = piece->offset_bytes;
	struct q2_undo_overlap overlap;

	if (piece->phase <= phase)
		return piece->phase == phase;
	overlap = q2_undo_overlaps(undo, start, start + piece->size);
	while (q2_undo_next_overlap(undo, &overlap))
		if (overlap.record->phase == phase)
			return true;
	return false;
}

/* Takes back what a phase wrote, but for the autoclear features; all is synced. */
static int write_phase(struct undo_writing *w, uint32_t phase)
{
	const struct q2_undo_records *pieces = &w->u->undo->pieces;
	uint64_t skipped = w->has_autoclear ? AUTOCLEAR_AT : 0;
	uint64_t next = w->has_autoclear ? AUTOCLEAR_END : 0;
	bool wrote = false;

	for (size_t i = 0; i < pieces->count; i++) {
		const struct q2_undo_record *piece = &pieces->items[i];

		if (!wrote_to(w->u->undo, piece, phase))
			continue;
		if (write_piece(w, piece, phase, 0, skipped) ||
		    write_piece(w, piece, phase, next, UINT64_MAX))
			return -1;
		wrote = true;
	}
	return wrote ? q2_source_sync(w->u->image, w->u->err) : 0;
}

/* Puts the autoclear features back: what they vouch for is whole again. */
static int write_autoclear(struct undo_writing *w)
{
	const struct q2_undo_records *pieces = &w->u->undo->pieces;

	for (size_t i = 0; i < pieces->count && w->has_autoclear; i++)
		if (write_piece(w, &pieces->items[i], 0, AUTOCLEAR_AT, AUTOCLEAR_END))
			return -1;
	return 0;
}

/* Reads one byte of a record in the undo file. */
static int read_byte(const struct q2_undoing *u, const struct q2_undo_record *record, uint64_t skip,
		     uint8_t *byte)
{
	return qcow2_source_read(u->undo->file, record->at + skip, byte, 1, u->err);
}

/*
 * Sets *found if the change or its undo has the bitmaps bit clear at one time and set at another.
 */
static int find_withdrawing(struct q2_undoing *u, bool *found)
{
	const struct qcow2_undo *undo = u->undo;
	const struct q2_undo_record *piece;
	size_t i = q2_undo_find(&undo->pieces, AUTOCLEAR_LAST);
	uint8_t all = QCOW2_AUTOCLEAR_BITMAPS, any = 0, byte;
	uint64_t skip;

	*found = false;
	piece = &undo->pieces.items[i];
	if (i == undo->pieces.count || piece->offset_bytes > AUTOCLEAR_LAST)
		return 0;
	skip = AUTOCLEAR_LAST - piece->offset_bytes;
	for (unsigned k = 0; k < 2; k++) {
		byte = 0;
		if (skip < (k ? piece->new_size : piece->old_size) &&
		    read_byte(u, piece, skip + (k ? piece->old_size : 0), &byte))
			return -1;
		all &= byte;
		any |= byte;
	}
	for (i = 0; i < undo->possible.count; i++) {
		const struct q2_undo_record *record = &undo->possible.items[i];

		if (record->offset_bytes > AUTOCLEAR_LAST ||
		    record->offset_bytes + record->size <= AUTOCLEAR_LAST)
			continue;
		if (read_byte(u, record, AUTOCLEAR_LAST - record->offset_bytes, &byte))
			return -1;
		all &= byte;
		any |= byte;
	}
	*found = all == 0 && (any & QCOW2_AUTOCLEAR_BITMAPS) != 0;
	return 0;
}

/*
 * Clears the bitmaps bit before the undo changes bitmaps, as a change does: nobody may rely on them
 * meanwhile. A file that the change has cut to less than a header is no image, and has no such bit.
 */
static int withdraw(struct q2_undoing *u)
{
	bool found;
	uint8_t byte;

	if (qcow2_source_size_bytes(u->image) < AUTOCLEAR_END)
		return 0;
	if (find_withdrawing(u, &found))
		return -1;
	if (!found)
		return 0;
	if (qcow2_source_read(u->image, AUTOCLEAR_LAST, &byte, 1, u->err))
		return -1;
	if (!(byte & QCOW2_AUTOCLEAR_BITMAPS))
		return 0;
	byte &= (uint8_t)~QCOW2_AUTOCLEAR_BITMAPS;
	return q2_source_write(u->image, AUTOCLEAR_LAST, &byte, 1, u->err) ||
			       q2_source_sync(u->image, u->err)
		       ? -1
		       : 0;
}

/* Finds out whether the image that comes back has autoclear features. */
static int find_autoclear(struct undo_writing *w)
{
	struct qcow2_image *image;

	if (q2_undo_open_image(w->u, w->restored, &image))
		return -1;
	w->has_autoclear = image && qcow2_image_header(image)->version >= 3;
	qcow2_image_close(image);
	return 0;
}

/*
 * Takes back phase after phase, the last one first. Each byte goes through the same values as in
 * the change, in reverse: so at any time the image is one that the change went through as well, but
 * for bitmaps, for which nobody vouches until the end. The last word alone would not do. A byte may
 * hold several refcounts, of which one phase counts a new cluster and a later one frees an old one:
 * to take back both at once would leave the new cluster uncounted while something points to it.
 */
static int write_in_order(struct undo_writing *w)
{
	if (find_autoclear(w) || write_marks(w->u) || (w->has_autoclear && withdraw(w->u)) ||
	    write_patches(w->u, w->restored))
		return -1;
	for (uint32_t phase = Q2_PHASES; phase-- > 0;)
		if (write_phase(w, phase))
			return -1;
	return write_autoclear(w);
}

static int put_back(struct q2_undoing *u)
{
	struct q2_undo_view view = {.undo = u->undo, .image = u->image, .patches = &u->patches};
	struct undo_writing w = {.u = u};
	int failed;

	if (q2_undo_view_open(&view, &w.restored, u->err))
		return -1;
	w.bytes = q2_alloc_buffer(2 * Q2_PLACE_MOST_BYTES);
	w.overlap = w.bytes ? w.bytes + Q2_PLACE_MOST_BYTES : NULL;
	w.ranks = u->undo->possible.count > 0
			  ? q2_alloc_array(Q2_PLACE_MOST_BYTES, sizeof(*w.ranks))
			  : NULL;
	failed = w.bytes && (w.ranks || u->undo->possible.count == 0) ? write_in_order(&w)
								      : q2_fail_memory(u->err);
	q2_free(w.bytes);
	q2_free(w.ranks);
	qcow2_source_close(w.restored);
	if (failed)
		return -1;
	if (qcow2_source_size_bytes(u->image) != u->undo->info.old_size_bytes &&
	    (q2_source_sync(u->image, u->err) ||
	     q2_source_resize(u->image, u->undo->info.old_size_bytes, u->err)))
		return -1;
	return q2_source_sync(u->image, u->err);
}

/* Notes a state. The undo file says nothing of a copy, and keeps its state then. */
static int mark(struct q2_undoing *u, struct qcow2_source *file, enum qcow2_undo_state state)
{
	uint32_t flags = (u->result->is_exact ? Q2_UNDO_WAS_EXACT : 0) |
			 (u->result->doubt == QCOW2_UNDO_NO_DOUBT ? Q2_UNDO_WAS_PROVED : 0);

	if (u->is_copy)
		return 0;
	if (q2_undo_mark(file, state, u->image, flags, u->err))
		return -1;
	return q2_undo_refresh(u->undo, u->err);
}

/* Opens the undo file for writing: the very file that was proved, or none. */
static int reopen(struct q2_undoing *u, struct qcow2_source **file)
{
	struct q2_source_identity proved, found;

	if (q2_source_reopen(u->undo->path, file, u->err))
		return -1;
	q2_source_identify(u->undo->file, &proved);
	q2_source_identify(*file, &found);
	if (q2_source_is_same(&proved, &found))
		return 0;
	qcow2_source_close(*file);
	return q2_undo_mismatch(u, QCOW2_NO_OFFSET,
				"the undo file was replaced by another one meanwhile");
}

/* A program that knows no locks may have written since the image was judged. */
static int check_unchanged(struct q2_undoing *u)
{
	struct q2_source_identity now;

	q2_source_identify(u->image, &now);
	if (!now.is_file || (now.size_bytes == u->identity.size_bytes &&
			     now.modified_seconds == u->identity.modified_seconds &&
			     now.modified_nanoseconds == u->identity.modified_nanoseconds))
		return 0;
	return q2_undo_mismatch(u, QCOW2_NO_OFFSET,
				"another program wrote to the image while the undo was judged");
}

static int undo_now(struct q2_undoing *u)
{
	struct qcow2_source *file = NULL;
	int failed = -1;

	if (check_unchanged(u) || (!u->is_copy && reopen(u, &file)))
		return -1;
	if (mark(u, file, QCOW2_UNDO_UNDOING))
		q2_error_append(u->err, "that was the undo file, and the image is as it was");
	else if (put_back(u))
		q2_error_append(u->err,
				"the image is put back in part: undo it again before it is used");
	else if (mark(u, file, QCOW2_UNDO_UNDONE))
		q2_error_append(u->err, "that was the undo file; the image was put back");
	else
		failed = 0;
	if (!failed)
		q2_source_settle(u->image);
	qcow2_source_close(file);
	return failed;
}

int qcow2_undo_apply(struct qcow2_undo *undo, struct qcow2_source *image,
		     const struct qcow2_undo_options *options, struct qcow2_undo_result *result,
		     struct qcow2_error *err)
{
	struct qcow2_error ignored;
	struct qcow2_undo_options mine;
	struct qcow2_undo_result found = {.size = sizeof(found)};
	struct q2_undoing u = {.undo = undo,
			       .image = image,
			       .options = &mine,
			       .result = &found,
			       .err = err ? err : &ignored};
	int failed;

	err = u.err;
	if (q2_undo_take_options(&mine, options, result, err))
		return -1;
	if (!q2_source_is_writable(image))
		return q2_fail(err, QCOW2_ERROR_ARGUMENT, QCOW2_NO_OFFSET,
			       "it was opened for reading only");
	failed = q2_undo_find_out(&u);
	if (!failed && !u.result->is_undone)
		failed = undo_now(&u);
	if (result)
		q2_sized_give(result, &found, sizeof(found));
	q2_undoing_release(&u);
	return failed;
}
