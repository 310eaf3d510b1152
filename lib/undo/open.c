/* SPDX-License-Identifier: MIT */
/*
 * Opens undo files. An undo file is trusted as little as an image: its checksums and lengths are
 * compared before a byte of it is used.
 */
#include <string.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/checked.h"
#include "base/error.h"
#include "undo/file.h"
#include "undo/layout.h"

#define TEXTS_MOST 8192

static int broken(struct qcow2_error *err, uint64_t at, const char *what)
{
	return q2_fail(err, QCOW2_ERROR_BROKEN, at, "the undo file is damaged: %s", what);
}

static int read_head(struct qcow2_undo *undo, uint8_t *head, struct qcow2_error *err)
{
	uint64_t size = qcow2_source_size_bytes(undo->file);

	if (size < 12)
		return q2_fail(err, QCOW2_ERROR_NOT_QCOW2, 0, "not an undo file: too short");
	memset(head, 0, Q2_UNDO_HEAD_BYTES);
	if (qcow2_source_read(undo->file, 0, head,
			      size < Q2_UNDO_HEAD_BYTES ? (size_t)size : Q2_UNDO_HEAD_BYTES, err))
		return -1;
	/*
	 * The head is written last: without it, the change was interrupted before it changed
	 * anything.
	 */
	if (memcmp(head, Q2_UNDO_MAGIC, 8) != 0)
		return q2_fail(err, QCOW2_ERROR_NOT_QCOW2, 0,
			       "not an undo file, or one of a change that never began");
	if (q2_load_be32(head + 8) != Q2_UNDO_VERSION)
		return q2_fail(err, QCOW2_ERROR_UNSUPPORTED, 8,
			       "an undo file of layout %u, which another version of this "
			       "program wrote; this one reads layout %u",
			       q2_load_be32(head + 8), Q2_UNDO_VERSION);
	if (size < Q2_UNDO_TEXTS_AT || q2_load_be64(head + 16) != size)
		return broken(err, 16, "its length is not what it says");
	return 0;
}

static int take_head(struct qcow2_undo *undo, const uint8_t *head, struct qcow2_error *err)
{
	struct qcow2_undo_info *info = &undo->info;

	info->size = sizeof(*info);
	undo->flags = q2_load_be32(head + 12);
	undo->identity.is_device = (undo->flags & Q2_UNDO_OF_DEVICE) != 0;
	undo->identity.device = q2_load_be64(head + 24);
	undo->identity.inode = q2_load_be64(head + 32);
	undo->identity.filesystem = q2_load_be64(head + 168);
	undo->identity.modified_seconds = q2_load_be64(head + 88);
	undo->identity.modified_nanoseconds = q2_load_be32(head + 96);
	info->old_size_bytes = q2_load_be64(head + 40);
	info->new_size_bytes = q2_load_be64(head + 48);
	info->pieces = q2_load_be64(head + 56);
	undo->possible_count = q2_load_be64(head + 64);
	undo->freed_count = q2_load_be64(head + 72);
	info->time_seconds = q2_load_be64(head + 80);
	info->proves_metadata = (undo->flags & Q2_UNDO_HAS_BEFORE) != 0;
	info->is_device = undo->identity.is_device;
	for (size_t i = 0; i < 2; i++) {
		undo->digest_before[i] = q2_load_be64(head + 112 + 8 * i);
		undo->digest_after[i] = q2_load_be64(head + 128 + 8 * i);
	}
	undo->first_sum = q2_load_be64(head + 144);
	info->bytes = q2_load_be64(head + 152);
	info->freed_bytes = q2_load_be64(head + 160);
	if (info->old_size_bytes > INT64_MAX || info->new_size_bytes > INT64_MAX)
		return broken(err, 40, "a size is too large");
	return 0;
}

static int read_texts(struct qcow2_undo *undo, const uint8_t *head, struct qcow2_error *err)
{
	size_t path_size = q2_load_be32(head + 100), command_size = q2_load_be32(head + 104);
	struct qcow2_bytes texts, numbers = {head + 8, 168};

	if (path_size > TEXTS_MOST || command_size > TEXTS_MOST)
		return broken(err, 100, "a text is too long");
	texts.size = path_size + command_size;
	undo->texts = q2_alloc_buffer(texts.size);
	if (!undo->texts)
		return q2_fail_memory(err);
	texts.data = (const uint8_t *)undo->texts;
	if (qcow2_source_read(undo->file, Q2_UNDO_TEXTS_AT, undo->texts, texts.size, err))
		return -1;
	if (q2_load_be64(head + 176) !=
	    q2_undo_checksum(q2_undo_checksum(Q2_UNDO_SEED_HEAD, numbers), texts))
		return broken(err, 0, "the head's checksum is wrong");
	undo->info.image_path = (struct qcow2_bytes){texts.data, path_size};
	undo->info.command = (struct qcow2_bytes){texts.data + path_size, command_size};
	return 0;
}

int q2_undo_refresh(struct qcow2_undo *undo, struct qcow2_error *err)
{
	if (q2_undo_read_mark(undo->file, &undo->mark, err))
		return -1;
	undo->info.state = undo->mark.state;
	return 0;
}

static int open_file(struct qcow2_undo *undo, const char *path, struct qcow2_error *err)
{
	uint8_t head[Q2_UNDO_HEAD_BYTES];
	size_t size = strlen(path) + 1;

	undo->path = q2_alloc_buffer(size);
	if (!undo->path)
		return q2_fail_memory(err);
	memcpy(undo->path, path, size);
	return qcow2_source_open(path, &undo->file, err) || read_head(undo, head, err) ||
			       take_head(undo, head, err) || read_texts(undo, head, err) ||
			       q2_undo_refresh(undo, err)
		       ? -1
		       : 0;
}

int qcow2_undo_open(const char *path, struct qcow2_undo **out, struct qcow2_error *err)
{
	struct qcow2_undo *undo = q2_alloc(sizeof(*undo));

	if (!undo)
		return q2_fail_memory(err);
	if (open_file(undo, path, err)) {
		qcow2_undo_close(undo);
		return -1;
	}
	*out = undo;
	return 0;
}

void qcow2_undo_close(struct qcow2_undo *undo)
{
	if (!undo)
		return;
	qcow2_source_close(undo->file);
	q2_free(undo->path);
	q2_free(undo->texts);
	q2_free(undo->pieces.items);
	q2_free(undo->possible.items);
	q2_free(undo->freed.items);
	q2_free(undo->buffer);
	q2_free(undo);
}

const struct qcow2_undo_info *qcow2_undo_describe(const struct qcow2_undo *undo)
{
	return &undo->info;
}

bool qcow2_undo_is_of(const struct qcow2_undo *undo, const struct qcow2_source *image)
{
	struct q2_source_identity found;

	q2_source_identify(image, &found);
	return q2_source_is_same(&found, &undo->identity);
}

bool qcow2_undo_follows(const struct qcow2_undo *later, const struct qcow2_undo *earlier)
{
	return later->info.proves_metadata && (earlier->flags & Q2_UNDO_HAS_AFTER) &&
	       later->info.old_size_bytes == earlier->info.new_size_bytes &&
	       memcmp(later->digest_before, earlier->digest_after, sizeof(later->digest_before)) ==
		       0;
}
