/* SPDX-License-Identifier: MIT */
/* See digest.h. XXH3 is as fast as memory; all of it is in its header. */
#include "base/digest.h"

#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

static bool is_zero(struct qcow2_bytes bytes)
{
	/* All bytes are zero if the first is, and if each byte equals the one before it. */
	return bytes.size == 0 ||
	       (bytes.data[0] == 0 && memcmp(bytes.data, bytes.data + 1, bytes.size - 1) == 0);
}

void q2_digest_add(struct q2_digest *digest, uint64_t offset_bytes, struct qcow2_bytes bytes)
{
	XXH128_hash_t hash;

	if (is_zero(bytes))
		return;
	hash = XXH3_128bits_withSeed(bytes.data, bytes.size, offset_bytes);
	digest->sum[0] += hash.low64;
	digest->sum[1] += hash.high64;
}

uint64_t q2_checksum(uint64_t seed, struct qcow2_bytes bytes)
{
	return XXH3_64bits_withSeed(bytes.data, bytes.size, seed);
}
