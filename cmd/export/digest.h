/* SPDX-License-Identifier: MIT */
/* The digest of a range of the disk in a manifest: SHA-256. */
#ifndef CMD_EXPORT_DIGEST_H
#define CMD_EXPORT_DIGEST_H

#include <stddef.h>
#include <stdint.h>

#define EXPORT_DIGEST_BYTES 32
/* Its key in the manifest. */
#define EXPORT_DIGEST_NAME "sha256"

/* Thread safe. */
void export_digest(const uint8_t *bytes, size_t size, uint8_t digest[EXPORT_DIGEST_BYTES]);

#endif
