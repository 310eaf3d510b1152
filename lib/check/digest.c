/* SPDX-License-Identifier: MIT */
/* See digest.h. */
#include "check/digest.h"

#include <string.h>

#include "base/bytes.h"

#define SECTOR_BYTES ((uint64_t)512)
#define FLAGS_LAST   15 /* the byte of a directory entry that has QCOW2_BITMAP_IN_USE */

void q2_digest_sectors(struct q2_worker *worker, uint64_t at, const uint8_t *bytes, size_t size)
{
	if (!worker->digesting)
		return;
	for (size_t i = 0; i < size; i += SECTOR_BYTES)
		q2_worker_digest(worker, at + i, bytes + i,
				 size - i < SECTOR_BYTES ? size - i : SECTOR_BYTES);
}

void q2_digest_bitmap(struct q2_worker *worker, const struct qcow2_bitmap *bitmap)
{
	uint64_t at = bitmap->offset_bytes;
	uint8_t fixed[24];

	if (!worker->digesting || bitmap->raw.size < sizeof(fixed))
		return;
	/* A program that opens the image sets this flag, and that alone is no change of it. */
	memcpy(fixed, bitmap->raw.data, sizeof(fixed));
	fixed[FLAGS_LAST] &= (uint8_t)~QCOW2_BITMAP_IN_USE;
	q2_worker_digest(worker, at, fixed, sizeof(fixed));
	at += sizeof(fixed);
	q2_worker_digest(worker, at, bitmap->extra_data.data, bitmap->extra_data.size);
	at += bitmap->entry.extra_data_size;
	q2_worker_digest(worker, at, bitmap->name.data, bitmap->name.size);
	at += bitmap->name.size;
	q2_worker_digest(worker, at, bitmap->padding.data, bitmap->padding.size);
}

void q2_digest_snapshot(struct q2_worker *worker, const struct qcow2_snapshot *snapshot)
{
	uint64_t at = snapshot->offset_bytes;

	q2_worker_digest(worker, at, snapshot->raw.data, snapshot->raw.size);
	at += snapshot->raw.size;
	q2_worker_digest(worker, at, snapshot->extra_data.data, snapshot->extra_data.size);
	at += snapshot->header.extra_data_size;
	q2_worker_digest(worker, at, snapshot->id.data, snapshot->id.size);
	at += snapshot->id.size;
	q2_worker_digest(worker, at, snapshot->name.data, snapshot->name.size);
}

void q2_digest_word(struct q2_worker *worker, uint64_t at, uint64_t word)
{
	uint8_t bytes[8];

	if (!worker->digesting)
		return;
	q2_store_be64(bytes, word);
	q2_worker_digest(worker, at, bytes, sizeof(bytes));
}
