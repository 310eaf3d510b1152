/* SPDX-License-Identifier: MIT */
/* See base64.h. Nettle decodes. */
#include "codec/base64.h"

#include <string.h>

#include <nettle/base64.h>

/* At most this much is decoded at a call. */
#define ROOM_MOST 256

bool q2_base64_decode(const char *text, uint8_t *bytes, size_t room, size_t *size)
{
	uint8_t decoded[ROOM_MOST];
	size_t decoded_bytes = sizeof(decoded), length = strlen(text);
	struct base64_decode_ctx context;

	*size = 0;
	if (BASE64_DECODE_LENGTH(length) > sizeof(decoded))
		return false;
	base64_decode_init(&context);
	if (!base64_decode_update(&context, &decoded_bytes, decoded, length, text) ||
	    !base64_decode_final(&context) || decoded_bytes > room)
		return false;
	memcpy(bytes, decoded, decoded_bytes);
	*size = decoded_bytes;
	return true;
}
