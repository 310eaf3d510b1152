/* SPDX-License-Identifier: MIT */
/* Writes undo files. See layout.h. */
#include "undo/save.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/error.h"
#include "undo/layout.h"
#include "undo/mark.h"

#define TEXTS_BYTES 8192
/* Small records are gathered before they are written. */
#define GATHER_BYTES ((size_t)1 << 20)
#define RECORD_BYTES ((size_t)(Q2_UNDO_PIECE_BYTES + 2 * Q2_PLACE_MOST_BYTES))

/* An undo file under way. */
struct saving {
	const struct q2_undo_saving *what;
	const struct qcow2_plan *plan;
	struct qcow2_source *file;
	uint64_t at; /* place of the gathered bytes in the file */
	size_t gathered;
	uint8_t *gather;   /* GATHER_BYTES */
	uint8_t *record;   /* RECORD_BYTES */
	uint64_t possible; /* number of records of possible bytes */
	uint64_t old_bytes, freed_bytes;
	struct qcow2_error *err;
};

/* Returns how many bytes of a place lie before `end`. */
static size_t within(const struct q2_place *place, uint64_t end)
{
	uint64_t left = place->offset_bytes >= end ? 0 : end - place->offset_bytes;

	return (size_t)(left < place->size_bytes ? left : place->size_bytes);
}

static int flush(struct saving *s)
{
	if (s->gathered > 0 && q2_source_write(s->file, s->at, s->gather, s->gathered, s->err))
		return -1;
	s->at += s->gathered;
	s->gathered = 0;
	return 0;
}

static int put(struct saving *s, struct qcow2_bytes bytes)
{
	if (bytes.size > GATHER_BYTES - s->gathered && flush(s))
		return -1;
	if (bytes.size > GATHER_BYTES) {
		if (q2_source_write(s->file, s->at, bytes.data, bytes.size, s->err))
			return -1;
		s->at += bytes.size;
		return 0;
	}
	memcpy(s->gather + s->gathered, bytes.data, bytes.size);
	s->gathered += bytes.size;
	return 0;
}

/*
 * Appends a record. Its old_size and new_size bytes stand in s->record, behind the room for its
 * head.
 */
static int put_piece(struct saving *s, const struct q2_place *place, size_t old_size,
		     size_t new_size, uint64_t seed)
{
	struct qcow2_bytes head = {s->record, 24};
	struct qcow2_bytes bytes = {s->record + Q2_UNDO_PIECE_BYTES, old_size + new_size};

	memset(s->record, 0, Q2_UNDO_PIECE_BYTES);
	q2_store_be64(s->record, place->offset_bytes);
	q2_store_be32(s->record + 8, (uint32_t)place->size_bytes);
	q2_store_be32(s->record + 12, (uint32_t)old_size);
	q2_store_be32(s->record + 16, (uint32_t)new_size);
	q2_store_be32(s->record + 20, place->phase);
	q2_store_be64(s->record + 24, q2_undo_checksum(q2_undo_checksum(seed, head), bytes));
	return put(s, (struct qcow2_bytes){s->record, Q2_UNDO_PIECE_BYTES + bytes.size});
}

static int save_piece(struct saving *s, const struct q2_place *place)
{
	size_t old_size = within(place, s->plan->old_size_bytes);
	size_t new_size = within(place, s->plan->size_bytes);
	uint8_t *old_bytes = s->record + Q2_UNDO_PIECE_BYTES;

	if (q2_plan_read_old(s->plan, place->offset_bytes, old_bytes, old_size, s->err) ||
	    q2_plan_read(s->plan, place->offset_bytes, old_bytes + old_size, new_size, s->err))
		return -1;
	s->old_bytes += old_size;
	return put_piece(s, place, old_size, new_size, Q2_UNDO_SEED_PIECE);
}

/* Appends a freed place; the zeros of a hole are not stored. */
static int save_freed(struct saving *s, const struct q2_place *place)
{
	uint64_t hole = qcow2_source_hole_end(s->plan->source, place->offset_bytes);
	size_t size = within(place, s->plan->old_size_bytes);

	if (hole - place->offset_bytes >= size)
		size = 0;
	if (q2_plan_read_old(s->plan, place->offset_bytes, s->record + Q2_UNDO_PIECE_BYTES, size,
			     s->err))
		return -1;
	s->freed_bytes += place->size_bytes;
	return put_piece(s, place, size, 0, Q2_UNDO_SEED_FREED);
}

/*
 * Appends the bytes of a write as possible bytes: another write changes the same place as well, so
 * that a crash may leave them.
 */
static int save_possible(struct saving *s, const struct q2_planned_write *write)
{
	uint8_t *bytes = s->record + Q2_UNDO_POSSIBLE_BYTES;
	uint64_t left = write->size_bytes;

	while (left > 0) {
		uint64_t done = write->size_bytes - left;
		size_t size = (size_t)(left < Q2_PLACE_MOST_BYTES ? left : Q2_PLACE_MOST_BYTES);
		uint64_t sum;

		if (q2_store_get(&s->plan->store, write->at + done, bytes, size, s->err))
			return -1;
		memset(s->record, 0, Q2_UNDO_POSSIBLE_BYTES);
		q2_store_be64(s->record, write->offset_bytes + done);
		q2_store_be32(s->record + 8, (uint32_t)size);
		q2_store_be32(s->record + 12, (uint32_t)write->phase + 1);
		sum = q2_undo_checksum(Q2_UNDO_SEED_POSSIBLE, (struct qcow2_bytes){s->record, 16});
		q2_store_be64(s->record + 16,
			      q2_undo_checksum(sum, (struct qcow2_bytes){bytes, size}));
		if (put(s, (struct qcow2_bytes){s->record, Q2_UNDO_POSSIBLE_BYTES + size}))
			return -1;
		s->possible++;
		left -= size;
	}
	return 0;
}

static int save_records(struct saving *s)
{
	for (size_t i = 0; i < s->what->changed->count; i++)
		if (save_piece(s, &s->what->changed->items[i]))
			return -1;
	for (size_t i = 0; i < s->plan->count; i++)
		if (s->plan->writes[i].shares && save_possible(s, &s->plan->writes[i]))
			return -1;
	for (size_t i = 0; i < s->what->freed->count; i++)
		if (save_freed(s, &s->what->freed->items[i]))
			return -1;
	return flush(s);
}

/* Computes the checksum of the image's first bytes as they are. */
static int sum_first(struct saving *s, uint64_t *sum)
{
	const struct q2_place place = {0, Q2_UNDO_FIRST_BYTES, 0};
	size_t size = within(&place, s->plan->old_size_bytes);

	if (q2_plan_read_old(s->plan, 0, s->record, size, s->err))
		return -1;
	*sum = q2_undo_checksum(Q2_UNDO_SEED_FIRST, (struct qcow2_bytes){s->record, size});
	return 0;
}

static uint32_t flags_of(const struct qcow2_plan *plan)
{
	return (plan->digests.has_before ? Q2_UNDO_HAS_BEFORE : 0) |
	       (plan->digests.has_after ? Q2_UNDO_HAS_AFTER : 0) |
	       (plan->digests.has_data_file ? Q2_UNDO_HAS_DATA_FILE : 0) |
	       (plan->identity.is_device ? Q2_UNDO_OF_DEVICE : 0);
}

/* Stores the fields of the head that describe the image. */
static void put_image(const struct qcow2_plan *plan, uint8_t *head)
{
	q2_store_be64(head + 24, plan->identity.device);
	q2_store_be64(head + 32, plan->identity.inode);
	q2_store_be64(head + 40, plan->old_size_bytes);
	q2_store_be64(head + 48, plan->size_bytes);
	q2_store_be64(head + 168, plan->identity.filesystem);
	q2_store_be64(head + 88, plan->identity.modified_seconds);
	q2_store_be32(head + 96, plan->identity.modified_nanoseconds);
	for (size_t i = 0; i < 2; i++) {
		q2_store_be64(head + 112 + 8 * i, plan->digests.before[i]);
		q2_store_be64(head + 128 + 8 * i, plan->digests.after[i]);
	}
}

/* Writes the head last: a file without a head is no undo file. */
static int save_head(struct saving *s, const char *texts, size_t path_size)
{
	uint8_t head[Q2_UNDO_HEAD_BYTES] = {0};
	struct qcow2_bytes all = {(const uint8_t *)texts, strlen(texts)};
	uint64_t first, sum;

	if (sum_first(s, &first))
		return -1;
	memcpy(head, Q2_UNDO_MAGIC, 8);
	q2_store_be32(head + 8, Q2_UNDO_VERSION);
	q2_store_be32(head + 12, flags_of(s->plan));
	q2_store_be64(head + 16, s->at);
	put_image(s->plan, head);
	q2_store_be64(head + 56, s->what->changed->count);
	q2_store_be64(head + 64, s->possible);
	q2_store_be64(head + 72, s->what->freed->count);
	q2_store_be64(head + 80, (uint64_t)time(NULL));
	q2_store_be32(head + 100, (uint32_t)path_size);
	q2_store_be32(head + 104, (uint32_t)(all.size - path_size));
	q2_store_be64(head + 144, first);
	q2_store_be64(head + 152, s->old_bytes);
	q2_store_be64(head + 160, s->freed_bytes);
	sum = q2_undo_checksum(Q2_UNDO_SEED_HEAD, (struct qcow2_bytes){head + 8, 168});
	q2_store_be64(head + 176, q2_undo_checksum(sum, all));
	return q2_source_write(s->file, 0, head, sizeof(head), s->err);
}

static int save_all(struct saving *s)
{
	const struct qcow2_apply_options *options = s->what->options;
	const char *path = options->image_path ? options->image_path : "";
	char texts[TEXTS_BYTES];

	if (strlen(path) >= sizeof(texts))
		return q2_fail(s->err, QCOW2_ERROR_ARGUMENT, QCOW2_NO_OFFSET,
			       "the image's path is too long for an undo file");
	snprintf(texts, sizeof(texts), "%s%s", path, options->command ? options->command : "");
	q2_source_own_like(s->file, s->plan->source);
	s->at = Q2_UNDO_TEXTS_AT;
	if (put(s, (struct qcow2_bytes){(const uint8_t *)texts, strlen(texts)}) ||
	    save_records(s) ||
	    q2_undo_mark(s->file, QCOW2_UNDO_APPLYING, s->plan->source, 0, s->err) ||
	    save_head(s, texts, strlen(path)) || q2_source_sync(s->file, s->err))
		return -1;
	return q2_source_sync_name(options->undo_path, s->err);
}

int q2_undo_save(const struct q2_undo_saving *saving, struct qcow2_source **out,
		 struct qcow2_error *err)
{
	struct saving s = {.what = saving, .plan = saving->plan, .err = err};
	const char *path = saving->options->undo_path;
	int failed = 0;

	/* More records could not be read again. */
	if (saving->changed->count + saving->freed->count > Q2_WRITES_MOST)
		return q2_fail(err, QCOW2_ERROR_LIMIT, QCOW2_NO_OFFSET,
			       "the plan changes over %zu places", Q2_WRITES_MOST);
	if (q2_source_create(path, &s.file, err))
		return -1;
	s.gather = q2_alloc_buffer(GATHER_BYTES);
	s.record = q2_alloc_buffer(RECORD_BYTES);
	failed = s.gather && s.record ? save_all(&s) : q2_fail_memory(err);
	q2_free(s.gather);
	q2_free(s.record);
	if (failed) {
		qcow2_source_close(s.file);
		(void)q2_source_remove(path);
		return -1;
	}
	*out = s.file;
	return 0;
}
