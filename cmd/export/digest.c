/* SPDX-License-Identifier: MIT */
/* See digest.h. */
#include "export/digest.h"

#include <nettle/sha2.h>

void export_digest(const uint8_t *bytes, size_t size, uint8_t digest[EXPORT_DIGEST_BYTES])
{
	struct sha256_ctx sha;

	sha256_init(&sha);
	sha256_update(&sha, size, bytes);
	sha256_digest(&sha, EXPORT_DIGEST_BYTES, digest);
}
