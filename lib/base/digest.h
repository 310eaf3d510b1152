/* SPDX-License-Identifier: MIT */
/*
 * A digest of many pieces of a file, which are added in any order: each counts with its place.
 * Pieces of zeros add nothing, so that holes and stored zeros are the same. It tells whether
 * anything has changed; it does not withstand somebody who wants two images to have the same.
 */
#ifndef Q2_BASE_DIGEST_H
#define Q2_BASE_DIGEST_H

#include <qcow2/base.h>

struct q2_digest {
	uint64_t sum[2];
};

/* Adds the bytes that are at offset_bytes. The caller cuts pieces the same way every time. */
void q2_digest_add(struct q2_digest *digest, uint64_t offset_bytes, struct qcow2_bytes bytes);

/* Adds what another one has, as from another thread. */
static inline void q2_digest_join(struct q2_digest *digest, const struct q2_digest *other)
{
	digest->sum[0] += other->sum[0];
	digest->sum[1] += other->sum[1];
}

#endif
