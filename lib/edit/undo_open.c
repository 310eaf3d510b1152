/* SPDX-License-Identifier: MIT */
/*
 * Opens undo files: an undo file is as little trusted as an image. Everything in it is proved by
 * its checksums and lengths before a byte of it is used.
 */
#include <string.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/checked.h"
#include "base/error.h"
#include "edit/undo_file.h"

#define TEXTS_MOST 8192

static int broken(struct qcow2_error *err, uint64_t at, const char *what)
{
	return qcow2_fail(err, QCOW2_ERROR_BROKEN, at, "the undo file is damaged: %s", what);
}

static int read_head(struct qcow2_undo *undo, uint8_t *head, struct qcow2_error *err)
{
	uint64_t size = qcow2_source_size_bytes(undo->file);

	if (size < QCOW2_UNDO_HEAD_BYTES)
		return qcow2_fail(err, QCOW2_ERROR_NOT_QCOW2, 0, "not an undo file: too short");
	if (qcow2_source_read(undo->file, 0, head, QCOW2_UNDO_HEAD_BYTES, err))
		return -1;
	/* The head comes last: the edit was interrupted before it changed anything. */
	if (memcmp(head, QCOW2_UNDO_MAGIC, 8) != 0)
		return qcow2_fail(err, QCOW2_ERROR_NOT_QCOW2, 0,
				  "not an undo file, or one of an edit that never began");
	if (qcow2_load_be32(head + 8) != QCOW2_UNDO_VERSION)
		return qcow2_fail(err, QCOW2_ERROR_UNSUPPORTED, 8,
				  "undo files of version %u are not supported",
				  qcow2_load_be32(head + 8));
	if (qcow2_load_be64(head + 16) != size)
		return broken(err, 16, "its length is not what it says");
	return 0;
}

static int take_head(struct qcow2_undo *undo, const uint8_t *head, struct qcow2_error *err)
{
	struct qcow2_undo_info *info = &undo->info;
	uint32_t state = qcow2_load_be32(head + QCOW2_UNDO_STATE_AT);

	if (state < QCOW2_UNDO_APPLYING || state > QCOW2_UNDO_UNDONE)
		return broken(err, QCOW2_UNDO_STATE_AT, "no such state");
	info->state = (enum qcow2_undo_state)state;
	undo->identity.device = qcow2_load_be64(head + 24);
	undo->identity.inode = qcow2_load_be64(head + 32);
	info->old_size_bytes = qcow2_load_be64(head + 40);
	info->new_size_bytes = qcow2_load_be64(head + 48);
	info->pieces = qcow2_load_be64(head + 56);
	info->time_seconds = qcow2_load_be64(head + 72);
	undo->first_sum = qcow2_load_be64(head + 80);
	if (info->old_size_bytes > INT64_MAX || info->new_size_bytes > INT64_MAX)
		return broken(err, 40, "a size is too large");
	return 0;
}

static int read_texts(struct qcow2_undo *undo, const uint8_t *head, struct qcow2_error *err)
{
	size_t path_size = qcow2_load_be32(head + 88), command_size = qcow2_load_be32(head + 92);
	struct qcow2_bytes texts;

	if (path_size > TEXTS_MOST || command_size > TEXTS_MOST)
		return broken(err, 88, "a text is too long");
	texts.size = path_size + command_size;
	undo->texts = qcow2_alloc_buffer(texts.size);
	if (!undo->texts)
		return qcow2_fail_memory(err);
	texts.data = (const uint8_t *)undo->texts;
	if (qcow2_source_read(undo->file, QCOW2_UNDO_HEAD_BYTES, undo->texts, texts.size, err))
		return -1;
	if (qcow2_load_be64(head + 96) !=
	    qcow2_undo_checksum(qcow2_undo_checksum(3, (struct qcow2_bytes){head + 16, 80}), texts))
		return broken(err, 0, "the head's checksum is wrong");
	undo->info.image_path = (struct qcow2_bytes){texts.data, path_size};
	undo->info.command = (struct qcow2_bytes){texts.data + path_size, command_size};
	return 0;
}

/* Reads the bytes of a record at *at and compares the checksum. */
static int prove(struct qcow2_undo *undo, const struct qcow2_undo_record *record, uint64_t seed,
		 uint64_t sum, struct qcow2_error *err)
{
	size_t size = (size_t)record->old_size + record->new_size;

	if (qcow2_source_read(undo->file, record->at, undo->buffer, size, err))
		return -1;
	if (qcow2_undo_checksum(seed, (struct qcow2_bytes){undo->buffer, size}) != sum)
		return broken(err, record->at, "a checksum is wrong");
	undo->info.bytes += record->old_size;
	return 0;
}

static int take_piece(struct qcow2_undo *undo, uint64_t *at, struct qcow2_undo_record *record,
		      struct qcow2_error *err)
{
	const struct qcow2_undo_info *info = &undo->info;
	uint8_t head[QCOW2_UNDO_PIECE_BYTES];
	uint64_t end;

	if (qcow2_source_read(undo->file, *at, head, sizeof(head), err))
		return -1;
	record->offset_bytes = qcow2_load_be64(head);
	record->size = qcow2_load_be32(head + 8);
	record->old_size = qcow2_load_be32(head + 12);
	record->new_size = qcow2_load_be32(head + 16);
	record->at = *at + sizeof(head);
	if (qcow2_add_u64(record->offset_bytes, record->size, &end) ||
	    record->size > QCOW2_PLACE_MOST_BYTES || record->old_size > record->size ||
	    record->new_size > record->size ||
	    (record->old_size > 0 &&
	     record->offset_bytes + record->old_size > info->old_size_bytes) ||
	    (record->new_size > 0 &&
	     record->offset_bytes + record->new_size > info->new_size_bytes))
		return broken(err, *at, "a piece has impossible lengths");
	*at = record->at + record->old_size + record->new_size;
	return prove(undo, record, qcow2_undo_checksum(0, (struct qcow2_bytes){head, 24}),
		     qcow2_load_be64(head + 24), err);
}

static int take_possible(struct qcow2_undo *undo, uint64_t *at, struct qcow2_undo_record *record,
			 struct qcow2_error *err)
{
	uint8_t head[QCOW2_UNDO_POSSIBLE_BYTES];
	uint64_t bytes = undo->info.bytes;
	int failed;

	if (qcow2_source_read(undo->file, *at, head, sizeof(head), err))
		return -1;
	record->offset_bytes = qcow2_load_be64(head);
	record->size = record->old_size = qcow2_load_be32(head + 8);
	record->at = *at + sizeof(head);
	if (record->size > QCOW2_PLACE_MOST_BYTES || record->offset_bytes > INT64_MAX)
		return broken(err, *at, "possible bytes have impossible lengths");
	*at = record->at + record->size;
	failed = prove(undo, record, qcow2_undo_checksum(1, (struct qcow2_bytes){head, 16}),
		       qcow2_load_be64(head + 16), err);
	undo->info.bytes = bytes;
	return failed;
}

static int read_records(struct qcow2_undo *undo, uint64_t at, uint64_t possible,
			struct qcow2_error *err)
{
	uint64_t size = qcow2_source_size_bytes(undo->file);
	uint64_t pieces = undo->info.pieces, last = 0;

	/* Each takes some bytes of the file. */
	if (pieces > size / QCOW2_UNDO_PIECE_BYTES || possible > size / QCOW2_UNDO_POSSIBLE_BYTES)
		return broken(err, 56, "it says that it has more than it can have");
	if (pieces + possible > 2 * QCOW2_WRITES_MOST)
		return qcow2_fail(err, QCOW2_ERROR_LIMIT, 56, "the undo file has over %zu pieces",
				  2 * QCOW2_WRITES_MOST);
	undo->records = qcow2_alloc_array((size_t)(pieces + possible), sizeof(*undo->records));
	undo->buffer = qcow2_alloc_buffer(2 * QCOW2_PLACE_MOST_BYTES);
	if (!undo->records || !undo->buffer)
		return qcow2_fail_memory(err);
	for (; undo->record_count < pieces; undo->record_count++) {
		struct qcow2_undo_record *record = &undo->records[undo->record_count];

		if (take_piece(undo, &at, record, err))
			return -1;
		if (record->offset_bytes < last)
			return broken(err, record->at, "pieces are not in order");
		last = record->offset_bytes + record->size;
	}
	undo->piece_count = undo->record_count;
	for (; undo->record_count < pieces + possible; undo->record_count++)
		if (take_possible(undo, &at, &undo->records[undo->record_count], err))
			return -1;
	return at == size ? 0 : broken(err, at, "there is more than it says");
}

static int open_file(struct qcow2_undo *undo, const char *path, struct qcow2_error *err)
{
	uint8_t head[QCOW2_UNDO_HEAD_BYTES];
	size_t size = strlen(path) + 1;

	undo->path = qcow2_alloc_buffer(size);
	if (!undo->path)
		return qcow2_fail_memory(err);
	memcpy(undo->path, path, size);
	if (qcow2_source_open(path, &undo->file, err) || read_head(undo, head, err) ||
	    take_head(undo, head, err) || read_texts(undo, head, err))
		return -1;
	return read_records(
		undo, QCOW2_UNDO_HEAD_BYTES + undo->info.image_path.size + undo->info.command.size,
		qcow2_load_be64(head + 64), err);
}

int qcow2_undo_open(const char *path, struct qcow2_undo **out, struct qcow2_error *err)
{
	struct qcow2_undo *undo = qcow2_alloc(sizeof(*undo));

	if (!undo)
		return qcow2_fail_memory(err);
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
	qcow2_free(undo->path);
	qcow2_free(undo->texts);
	qcow2_free(undo->records);
	qcow2_free(undo->buffer);
	qcow2_free(undo);
}

void qcow2_undo_describe(const struct qcow2_undo *undo, struct qcow2_undo_info *out)
{
	*out = undo->info;
}

int qcow2_undo_at(struct qcow2_undo *undo, uint64_t index, struct qcow2_undo_piece *out,
		  struct qcow2_error *err)
{
	const struct qcow2_undo_record *record = &undo->records[index];

	if (qcow2_source_read(undo->file, record->at, undo->buffer,
			      (size_t)record->old_size + record->new_size, err))
		return -1;
	*out = (struct qcow2_undo_piece){
		.offset_bytes = record->offset_bytes,
		.old_bytes = {undo->buffer, record->old_size},
		.new_bytes = {undo->buffer + record->old_size, record->new_size},
	};
	return 0;
}

int qcow2_undo_read(struct qcow2_undo *undo, const struct qcow2_undo_record *record,
		    uint8_t *old_bytes, uint8_t *new_bytes, struct qcow2_error *err)
{
	if (qcow2_source_read(undo->file, record->at, old_bytes, record->old_size, err) ||
	    qcow2_source_read(undo->file, record->at + record->old_size, new_bytes,
			      record->new_size, err))
		return -1;
	memset(old_bytes + record->old_size, 0, record->size - record->old_size);
	memset(new_bytes + record->new_size, 0, record->size - record->new_size);
	return 0;
}
