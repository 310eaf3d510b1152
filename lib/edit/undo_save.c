/* SPDX-License-Identifier: MIT */
/* Writes undo files. See undo.h. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/checked.h"
#include "base/error.h"
#include "base/hash.h"
#include "edit/undo.h"

/* Where the next bytes go, and what they are made of. */
struct saving {
	const struct qcow2_plan *plan;
	struct qcow2_source *file;
	uint64_t at;
	uint8_t *buffer; /* a head and two pieces */
	struct qcow2_error *err;
};

uint64_t qcow2_undo_checksum(uint64_t seed, struct qcow2_bytes bytes)
{
	const struct qcow2_hash_key key = {seed, 0};

	return qcow2_hash(&key, bytes);
}

int qcow2_undo_mark(struct qcow2_source *file, enum qcow2_undo_state state, struct qcow2_error *err)
{
	uint8_t bytes[4];

	qcow2_store_be32(bytes, (uint32_t)state);
	return qcow2_source_write(file, QCOW2_UNDO_STATE_AT, bytes, sizeof(bytes), err) ||
			       qcow2_source_sync(file, err)
		       ? -1
		       : 0;
}

/* As much of [offset, offset + size) as lies before end. */
static size_t within(uint64_t offset, uint64_t size, uint64_t end)
{
	uint64_t left = offset >= end ? 0 : end - offset;

	return (size_t)(left < size ? left : size);
}

static int put(struct saving *s, const uint8_t *bytes, size_t size)
{
	if (qcow2_source_write(s->file, s->at, bytes, size, s->err))
		return -1;
	s->at += size;
	return 0;
}

static int save_piece(struct saving *s, const struct qcow2_place *place)
{
	size_t old_size = within(place->offset_bytes, place->size_bytes, s->plan->old_size_bytes);
	size_t new_size = within(place->offset_bytes, place->size_bytes, s->plan->size_bytes);
	uint8_t *old_bytes = s->buffer + QCOW2_UNDO_PIECE_BYTES, *new_bytes = old_bytes + old_size;
	size_t size = old_size + new_size;

	memset(s->buffer, 0, QCOW2_UNDO_PIECE_BYTES);
	qcow2_store_be64(s->buffer, place->offset_bytes);
	qcow2_store_be32(s->buffer + 8, (uint32_t)place->size_bytes);
	qcow2_store_be32(s->buffer + 12, (uint32_t)old_size);
	qcow2_store_be32(s->buffer + 16, (uint32_t)new_size);
	if (qcow2_plan_read(s->plan, 0, place->offset_bytes, old_bytes, old_size, s->err) ||
	    qcow2_plan_read(s->plan, s->plan->count, place->offset_bytes, new_bytes, new_size,
			    s->err))
		return -1;
	qcow2_store_be64(
		s->buffer + 24,
		qcow2_undo_checksum(qcow2_undo_checksum(0, (struct qcow2_bytes){s->buffer, 24}),
				    (struct qcow2_bytes){old_bytes, size}));
	return put(s, s->buffer, QCOW2_UNDO_PIECE_BYTES + size);
}

/* Whether another write of the plan touches the same bytes. */
static bool is_rewritten(const struct qcow2_plan *plan, size_t index)
{
	const struct qcow2_planned_write *write = plan->writes[index];

	for (size_t i = 0; i < plan->count; i++)
		if (i != index &&
		    qcow2_ranges_overlap(write->offset_bytes, write->size,
					 plan->writes[i]->offset_bytes, plan->writes[i]->size))
			return true;
	return false;
}

static int save_possible_piece(struct saving *s, uint64_t offset, struct qcow2_bytes bytes)
{
	uint8_t head[QCOW2_UNDO_POSSIBLE_BYTES] = {0};

	qcow2_store_be64(head, offset);
	qcow2_store_be32(head + 8, (uint32_t)bytes.size);
	qcow2_store_be64(
		head + 16,
		qcow2_undo_checksum(qcow2_undo_checksum(1, (struct qcow2_bytes){head, 16}), bytes));
	return put(s, head, sizeof(head)) || put(s, bytes.data, bytes.size) ? -1 : 0;
}

/* What a write leaves for a while; *count rises by the records that it takes. */
static int save_possible(struct saving *s, const struct qcow2_planned_write *write, uint64_t *count)
{
	for (size_t at = 0; at < write->size; at += QCOW2_PLACE_MOST_BYTES) {
		struct qcow2_bytes bytes = {write->bytes + at, write->size - at};

		if (bytes.size > QCOW2_PLACE_MOST_BYTES)
			bytes.size = QCOW2_PLACE_MOST_BYTES;
		if (save_possible_piece(s, write->offset_bytes + at, bytes))
			return -1;
		(*count)++;
	}
	return 0;
}

/* The checksum of the image's first bytes as they are. */
static int sum_first(struct saving *s, uint64_t *sum)
{
	size_t size = within(0, QCOW2_UNDO_FIRST_BYTES, s->plan->old_size_bytes);

	if (qcow2_plan_read(s->plan, 0, 0, s->buffer, size, s->err))
		return -1;
	*sum = qcow2_undo_checksum(2, (struct qcow2_bytes){s->buffer, size});
	return 0;
}

struct counts {
	uint64_t pieces, possible;
};

/* The head is written last: a file without one is none. */
static int save_head(struct saving *s, const struct qcow2_apply_options *options,
		     const struct counts *counts, const char *texts)
{
	uint8_t head[QCOW2_UNDO_HEAD_BYTES] = {0};
	size_t path_size = options->image_path ? strlen(options->image_path) : 0;
	size_t size = strlen(texts);
	struct qcow2_source_identity identity;
	uint64_t first;

	if (sum_first(s, &first))
		return -1;
	qcow2_source_identify(s->plan->source, &identity);
	memcpy(head, QCOW2_UNDO_MAGIC, 8);
	qcow2_store_be32(head + 8, QCOW2_UNDO_VERSION);
	qcow2_store_be32(head + QCOW2_UNDO_STATE_AT, QCOW2_UNDO_APPLYING);
	qcow2_store_be64(head + 16, s->at);
	qcow2_store_be64(head + 24, identity.device);
	qcow2_store_be64(head + 32, identity.inode);
	qcow2_store_be64(head + 40, s->plan->old_size_bytes);
	qcow2_store_be64(head + 48, s->plan->size_bytes);
	qcow2_store_be64(head + 56, counts->pieces);
	qcow2_store_be64(head + 64, counts->possible);
	qcow2_store_be64(head + 72, (uint64_t)time(NULL));
	qcow2_store_be64(head + 80, first);
	qcow2_store_be32(head + 88, (uint32_t)path_size);
	qcow2_store_be32(head + 92, (uint32_t)(size - path_size));
	qcow2_store_be64(
		head + 96,
		qcow2_undo_checksum(qcow2_undo_checksum(3, (struct qcow2_bytes){head + 16, 80}),
				    (struct qcow2_bytes){(const uint8_t *)texts, size}));
	return qcow2_source_write(s->file, 0, head, sizeof(head), s->err);
}

static int save_all(struct saving *s, const struct qcow2_place *places, size_t count,
		    const struct qcow2_apply_options *options)
{
	struct counts counts = {.pieces = count};
	char texts[8192];

	snprintf(texts, sizeof(texts), "%s", options->image_path ? options->image_path : "");
	if (options->image_path && strlen(texts) < strlen(options->image_path))
		return qcow2_fail(s->err, QCOW2_ERROR_ARGUMENT, QCOW2_NO_OFFSET,
				  "the image's path is too long for an undo file");
	snprintf(texts + strlen(texts), sizeof(texts) - strlen(texts), "%s",
		 options->command ? options->command : "");
	s->at = QCOW2_UNDO_HEAD_BYTES;
	if (put(s, (const uint8_t *)texts, strlen(texts)))
		return -1;
	for (size_t i = 0; i < count; i++)
		if (save_piece(s, &places[i]))
			return -1;
	for (size_t i = 0; i < s->plan->count; i++) {
		if (!is_rewritten(s->plan, i))
			continue;
		if (save_possible(s, s->plan->writes[i], &counts.possible))
			return -1;
	}
	return save_head(s, options, &counts, texts) || qcow2_source_sync(s->file, s->err) ||
			       qcow2_source_sync_name(options->undo_path, s->err)
		       ? -1
		       : 0;
}

int qcow2_undo_save(const struct qcow2_plan *plan, const struct qcow2_place *places, size_t count,
		    const struct qcow2_apply_options *options, struct qcow2_source **out,
		    struct qcow2_error *err)
{
	struct saving s = {.plan = plan, .err = err};
	int failed;

	/* What could not be read again. */
	if (count > QCOW2_WRITES_MOST)
		return qcow2_fail(err, QCOW2_ERROR_LIMIT, QCOW2_NO_OFFSET,
				  "the plan changes over %zu places", QCOW2_WRITES_MOST);
	if (qcow2_source_create(options->undo_path, &s.file, err))
		return -1;
	s.buffer = qcow2_alloc_buffer(QCOW2_UNDO_PIECE_BYTES + 2 * QCOW2_PLACE_MOST_BYTES);
	failed = s.buffer ? save_all(&s, places, count, options) : qcow2_fail_memory(err);
	qcow2_free(s.buffer);
	if (failed) {
		qcow2_source_close(s.file);
		(void)qcow2_source_remove(options->undo_path);
		return -1;
	}
	*out = s.file;
	return 0;
}
