/* SPDX-License-Identifier: MIT */
/* Bytes that are written as text (RFC 4648, section 4). */
#ifndef Q2_CODEC_BASE64_H
#define Q2_CODEC_BASE64_H

#include <qcow2/base.h>

/*
 * Decodes text. bytes: room for room bytes. *size: how many there are. False if it is no base64, or
 * longer than the room.
 */
bool q2_base64_decode(const char *text, uint8_t *bytes, size_t room, size_t *size);

#endif
