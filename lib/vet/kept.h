/* SPDX-License-Identifier: MIT */
/*
 * What is kept of a stream while it passes: its first bytes, its last ones, and regions that
 * somebody will want to read. Memory is bounded by what was asked for, and taken as bytes arrive.
 */
#ifndef Q2_VET_KEPT_H
#define Q2_VET_KEPT_H

#include <qcow2/base.h>

/* The first bytes of a stream that are always kept, with all in them. */
#define Q2_KEPT_HEAD_BYTES (UINT64_C(4) << 20)
/* The most bytes of all regions, and the most regions. */
#define Q2_KEPT_BYTES_MOST   (UINT64_C(64) << 20)
#define Q2_KEPT_REGIONS_MOST 1024

struct q2_kept_region {
	uint64_t at, size; /* as asked for */
	uint64_t filled;   /* bytes that have arrived */
	uint8_t *bytes;
	size_t capacity;
};

struct q2_kept {
	struct q2_kept_region *regions; /* the first is the head */
	size_t count, capacity;
	uint64_t asked_bytes; /* of all regions but the head */
	uint64_t position;    /* of the next byte of the stream */
	uint64_t nonzero_end; /* behind the last byte that is not zero */
	uint8_t *tail;        /* the last bytes, as a ring */
	size_t tail_bytes;    /* its size */
	bool short_of_memory;
	/* Who reads does not find out by itself what is missing: reads fail if a part of it is. */
	bool strict;
};

/* Begins with the head alone. False if memory is short. */
bool q2_kept_init(struct q2_kept *kept, size_t tail_bytes);
void q2_kept_release(struct q2_kept *kept);

/*
 * Asks for bytes that are still to come; what of them is in the head needs no region. They are not
 * kept if they have passed, or if that would be too much.
 */
void q2_kept_ask(struct q2_kept *kept, uint64_t at, uint64_t size);

/* Takes the next bytes of the stream. */
void q2_kept_take(struct q2_kept *kept, const uint8_t *bytes, size_t size);

/* Whether all of these bytes are kept. */
bool q2_kept_has(const struct q2_kept *kept, uint64_t at, uint64_t size);

/*
 * Reads bytes. False if the first of them is not kept; where only later ones are missing they are
 * zeros, and *missing_from becomes where they begin.
 */
bool q2_kept_read(const struct q2_kept *kept, uint64_t at, uint8_t *buffer, size_t size,
		  uint64_t *missing_from);

/* Copies the last bytes of the stream, at most those of the tail. Returns how many there are. */
size_t q2_kept_tail(const struct q2_kept *kept, uint8_t *buffer);

#endif
