/* SPDX-License-Identifier: MIT */
/* What is left of the first cluster: fields, extensions and names that still make sense. */
#ifndef Q2_RESCUE_REMAINS_H
#define Q2_RESCUE_REMAINS_H

#include "rescue/guess.h"

/* What is read of the first cluster. QEMU writes much less. */
#define Q2_REMAINS_BYTES   ((size_t)65536)
#define Q2_EXTENSIONS_MOST 16

struct q2_remain_extension {
	uint32_t magic;
	struct qcow2_bytes data; /* within the bytes of the remains */
};

struct q2_remains {
	uint8_t *bytes; /* Q2_REMAINS_BYTES, filled up with zeros */
	size_t size;    /* of the first cluster, as far as it is read */
	struct qcow2_header header;
	unsigned
		fields; /* of those that decide where tables are, so many say what the guess says */
	bool has_header;     /* the magic is there, or most of these fields are right */
	bool has_extensions; /* their list is whole; it may be empty if there is a header */
	size_t extension_count;
	struct q2_remain_extension extensions[Q2_EXTENSIONS_MOST];
	struct qcow2_bytes backing; /* a name that may be that of a backing file; empty: none */
	bool backing_certain;       /* the header or the list of extensions leads to it */
};

/*
 * Fills remains of zeros from the first cluster of a guess. q2_remains_release() in any case. 0, or
 * -1 with *err filled.
 */
int q2_remains_read(struct q2_remains *remains, struct q2_guess *guess, struct qcow2_error *err);
void q2_remains_release(struct q2_remains *remains);

/* The data of an extension, or NULL. */
const struct qcow2_bytes *q2_remains_extension(const struct q2_remains *remains, uint32_t magic);

#endif
