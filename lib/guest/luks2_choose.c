/* SPDX-License-Identifier: MIT */
/* Finds ciphers by the names that LUKS2 has for them: those of both parts of LUKS1, with a hyphen. */
#include <string.h>

#include "guest/luks2.h"

const char *q2_luks2_choose(const char *name, uint64_t key_bytes, struct q2_cipher_choice *out)
{
	const char *hyphen = strchr(name, '-');
	const size_t length = hyphen ? (size_t)(hyphen - name) : strlen(name);
	struct qcow2_bytes cipher = {(const uint8_t *)name, length};
	struct qcow2_bytes mode = {(const uint8_t *)name + length, 0};

	if (key_bytes == 0 || key_bytes > Q2_CIPHER_KEY_BYTES_MAX)
		return "length of the key";
	if (hyphen) {
		mode.data++;
		mode.size = strlen(hyphen + 1);
	}
	return q2_cipher_choose(cipher, mode, (size_t)key_bytes, out);
}
