/* SPDX-License-Identifier: MIT */
/*
 * Undoes: proves that the image is the one, in a state that the edit can have left, and puts the
 * old bytes back. Interrupted, it can be repeated: each byte is then an old one or a new one.
 */
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/error.h"
#include "edit/undo_file.h"

struct undoing {
	struct qcow2_undo *undo;
	struct qcow2_source *image;
	uint8_t *now, *old_bytes, *new_bytes; /* of one piece */
	struct qcow2_error *err;
};

static int mismatch(struct undoing *u, uint64_t offset, const char *text)
{
	return qcow2_fail(u->err, QCOW2_ERROR_MISMATCH, offset, "%s; nothing was written", text);
}

/* The image as it is now; zeros past its end. */
static int read_now(struct undoing *u, uint64_t offset, uint8_t *bytes, size_t size)
{
	uint64_t there = qcow2_source_size_bytes(u->image);
	size_t stored = offset >= there         ? 0
			: there - offset < size ? (size_t)(there - offset)
						: size;

	memset(bytes + stored, 0, size - stored);
	return stored == 0 ? 0 : qcow2_source_read(u->image, offset, bytes, stored, u->err);
}

static int check_size(struct undoing *u)
{
	const struct qcow2_undo_info *info = &u->undo->info;
	uint64_t low = info->old_size_bytes, high = info->new_size_bytes;
	uint64_t now = qcow2_source_size_bytes(u->image);

	if (info->state == QCOW2_UNDO_APPLIED)
		low = high;
	if (info->state == QCOW2_UNDO_UNDONE)
		high = low;
	if (now < (low < high ? low : high) || now > (low < high ? high : low))
		return mismatch(u, QCOW2_NO_OFFSET,
				"the image's size is not what the edit left: it was changed since");
	return 0;
}

/* With the old bytes put back, the beginning must be what it was. */
static int check_first(struct undoing *u)
{
	struct qcow2_undo *undo = u->undo;
	size_t size = undo->info.old_size_bytes < QCOW2_UNDO_FIRST_BYTES
			      ? (size_t)undo->info.old_size_bytes
			      : QCOW2_UNDO_FIRST_BYTES;

	if (read_now(u, 0, u->now, size))
		return -1;
	for (size_t i = 0; i < undo->piece_count; i++) {
		const struct qcow2_undo_record *record = &undo->records[i];
		size_t length = record->old_size;

		if (record->offset_bytes >= size)
			break;
		if (length > size - record->offset_bytes)
			length = size - (size_t)record->offset_bytes;
		if (qcow2_undo_read(undo, record, u->old_bytes, u->new_bytes, u->err))
			return -1;
		memcpy(u->now + record->offset_bytes, u->old_bytes, length);
	}
	if (qcow2_undo_checksum(2, (struct qcow2_bytes){u->now, size}) != undo->first_sum)
		return mismatch(u, 0,
				"the image begins unlike the one that was edited, or was changed "
				"since");
	return 0;
}

/* Whether a byte is one that a plan which writes a place twice may have left in between. */
static bool is_possible(struct undoing *u, uint64_t offset, uint8_t byte)
{
	const struct qcow2_undo *undo = u->undo;

	for (size_t i = undo->piece_count; i < undo->record_count; i++) {
		const struct qcow2_undo_record *record = &undo->records[i];
		uint8_t there;

		if (offset >= record->offset_bytes &&
		    offset - record->offset_bytes < record->size &&
		    qcow2_source_read(undo->file, record->at + (offset - record->offset_bytes),
				      &there, 1, NULL) == 0 &&
		    there == byte)
			return true;
	}
	return false;
}

static int check_piece(struct undoing *u, const struct qcow2_undo_record *record)
{
	enum qcow2_undo_state state = u->undo->info.state;
	bool old_allowed = state != QCOW2_UNDO_APPLIED, new_allowed = state != QCOW2_UNDO_UNDONE;

	if (qcow2_undo_read(u->undo, record, u->old_bytes, u->new_bytes, u->err) ||
	    read_now(u, record->offset_bytes, u->now, record->size))
		return -1;
	for (uint32_t i = 0; i < record->size; i++) {
		if ((old_allowed && u->now[i] == u->old_bytes[i]) ||
		    (new_allowed && u->now[i] == u->new_bytes[i]))
			continue;
		if (old_allowed && new_allowed &&
		    is_possible(u, record->offset_bytes + i, u->now[i]))
			continue;
		return mismatch(u, record->offset_bytes + i,
				"the image was changed since: undo later changes first");
	}
	return 0;
}

static int check(struct undoing *u, unsigned flags)
{
	const struct qcow2_source_identity *meant = &u->undo->identity;
	struct qcow2_source_identity found;

	qcow2_source_identify(u->image, &found);
	if (!(flags & QCOW2_UNDO_ELSEWHERE) &&
	    (found.device != meant->device || found.inode != meant->inode))
		return mismatch(u, QCOW2_NO_OFFSET,
				"not the file that was edited, but another one of its name");
	if (check_size(u) || check_first(u))
		return -1;
	for (size_t i = 0; i < u->undo->piece_count; i++)
		if (check_piece(u, &u->undo->records[i]))
			return -1;
	return 0;
}

static int put_back(struct undoing *u)
{
	for (size_t i = 0; i < u->undo->piece_count; i++) {
		const struct qcow2_undo_record *record = &u->undo->records[i];

		if (qcow2_undo_read(u->undo, record, u->old_bytes, u->new_bytes, u->err) ||
		    qcow2_source_write(u->image, record->offset_bytes, u->old_bytes,
				       record->old_size, u->err))
			return -1;
	}
	return qcow2_source_resize(u->image, u->undo->info.old_size_bytes, u->err) ||
			       qcow2_source_sync(u->image, u->err)
		       ? -1
		       : 0;
}

static int mark(struct undoing *u, struct qcow2_source *file, enum qcow2_undo_state state)
{
	if (qcow2_undo_mark(file, state, u->err))
		return -1;
	u->undo->info.state = state;
	return 0;
}

static int undo_now(struct undoing *u)
{
	struct qcow2_source *file;
	int failed;

	if (qcow2_source_reopen(u->undo->path, &file, u->err))
		return -1;
	failed = mark(u, file, QCOW2_UNDO_UNDOING) || put_back(u) ||
		 mark(u, file, QCOW2_UNDO_UNDONE);
	qcow2_source_close(file);
	return failed ? -1 : 0;
}

int qcow2_undo_apply(struct qcow2_undo *undo, struct qcow2_source *image, unsigned flags,
		     struct qcow2_error *err)
{
	struct undoing u = {.undo = undo, .image = image, .err = err};
	int failed;

	if (!qcow2_source_is_writable(image))
		return qcow2_fail(err, QCOW2_ERROR_ARGUMENT, QCOW2_NO_OFFSET,
				  "it was opened for reading only");
	u.now = qcow2_alloc_buffer(3 * QCOW2_PLACE_MOST_BYTES);
	if (!u.now)
		return qcow2_fail_memory(err);
	u.old_bytes = u.now + QCOW2_PLACE_MOST_BYTES;
	u.new_bytes = u.old_bytes + QCOW2_PLACE_MOST_BYTES;
	failed = check(&u, flags);
	if (!failed && undo->info.state != QCOW2_UNDO_UNDONE)
		failed = undo_now(&u);
	qcow2_free(u.now);
	return failed;
}
