/* SPDX-License-Identifier: MIT */
/*
 * A digest of many pieces of a file. Each piece counts with its place, so pieces may be added in
 * any order, by several threads. Pieces of zeros add nothing, so that holes and stored zeros give
 * the same digest. It shows whether anything has changed by accident; it is not cryptographic.
 */
#ifndef Q2_BASE_DIGEST_H
#define Q2_BASE_DIGEST_H

#include <qcow2/base.h>

struct q2_digest {
	uint64_t sum[2];
};

/* Adds the bytes at offset_bytes. To compare digests, pieces have to be cut in the same way. */
void q2_digest_add(struct q2_digest *digest, uint64_t offset_bytes, struct qcow2_bytes bytes);

/* Adds the pieces of another digest, such as that of another thread. */
static inline void q2_digest_join(struct q2_digest *digest, const struct q2_digest *other)
{
	digest->sum[0] += other->sum[0];
	digest->sum[1] += other->sum[1];
}

/*
 * A checksum of bytes that finds damage, the same on every machine: 64 bits of XXH3. The seed tells
 * kinds of bytes apart. It is no defence against forgery.
 */
uint64_t q2_checksum(uint64_t seed, struct qcow2_bytes bytes);

#endif
