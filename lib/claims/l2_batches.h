/* SPDX-License-Identifier: MIT */
/*
 * Reads L2 tables for threads, each distinct one once. Tables that follow each other closely enough
 * are read at once. Where they are not in memory yet, the system is told which ones come next, so
 * that a disk has many requests to choose from, in the order of their offsets.
 */
#ifndef Q2_CLAIMS_L2_BATCHES_H
#define Q2_CLAIMS_L2_BATCHES_H

#include "claims/metadata.h"

/* What may be read behind the bytes of a batch: an entry that the file's end cuts. All zeros. */
#define Q2_L2_BATCH_SLACK_BYTES 16

/* Tables [first, last) of the metadata. */
struct q2_l2_batch {
	size_t first, last;
};

struct q2_l2_batches {
	const struct q2_metadata *metadata;
	struct q2_l2_batch *items;
	size_t count;
	uint64_t total_bytes; /* of all tables */
	bool cold;            /* tables have to come from the disk */
};

/* Cuts the list of tables, of which there is at least one. False if memory is short. */
bool q2_l2_batches_make(struct q2_l2_batches *batches, const struct q2_metadata *metadata);
void q2_l2_batches_release(struct q2_l2_batches *batches);

/*
 * Reads a batch. buffer: Q2_PIECE_BYTES and a cluster; *size is set to the bytes of the batch. The
 * first table is at its start, the others where their offsets say. Returns 1, or 0 if all of it is a
 * hole and nothing was read, or -1 with *err filled. Safe to call from several threads.
 */
int q2_l2_batches_read(const struct q2_l2_batches *batches, size_t index, uint8_t *buffer,
		       size_t *size, struct qcow2_error *err);

#endif
