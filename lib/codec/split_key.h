/* SPDX-License-Identifier: MIT */
/*
 * Key material that is spread over many sectors, so that losing a few of them loses the key
 * (LUKS On-Disk Format Specification, "Anti-forensic information splitter").
 */
#ifndef Q2_CODEC_SPLIT_KEY_H
#define Q2_CODEC_SPLIT_KEY_H

#include <qcow2/base.h>

struct nettle_hash;

/*
 * Joins what is spread. material: stripes of key_bytes bytes each, decrypted. stripes: 1 and up.
 * key: room for key_bytes bytes.
 */
void q2_split_key_join(const struct nettle_hash *hash, const uint8_t *material, uint32_t stripes,
		       uint8_t *key, size_t key_bytes);

#endif
