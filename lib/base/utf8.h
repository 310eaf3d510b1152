/* SPDX-License-Identifier: MIT */
/*
 * Strict UTF-8 (no overlong forms, no surrogates, nothing above U+10FFFF), and which characters
 * may reach a terminal as they are.
 */
#ifndef Q2_BASE_UTF8_H
#define Q2_BASE_UTF8_H

#include <qcow2/base.h>

/* The replacement character stands for a byte that is not UTF-8. */
#define Q2_CODEPOINT_INVALID 0xfffd

/* Whether all of the bytes are well-formed UTF-8. True for no bytes. NUL bytes are allowed. */
bool q2_utf8_valid(struct qcow2_bytes bytes);

/*
 * Decodes the first character. Returns how many bytes it takes (1 to 4), or 0 if size is 0. For a
 * byte that begins no well-formed character, it returns 1, sets *codepoint to
 * Q2_CODEPOINT_INVALID and *valid to false; a real U+FFFD sets *valid to true.
 */
size_t q2_utf8_next(const uint8_t *data, size_t size, uint32_t *codepoint, bool *valid);

/*
 * How many bytes from data on are printable ASCII, of which most text is made: characters that need
 * no decoding. Goes 16 at a step.
 */
size_t q2_ascii_run(const uint8_t *data, size_t size);

/* Whether the bytes are UTF-8 of which every character is safe to show. True for no bytes. */
bool q2_utf8_printable(struct qcow2_bytes bytes);

/*
 * Whether a code point is safe to show. Not safe are controls, line and paragraph separators,
 * characters that are invisible or change the direction of text, surrogates, noncharacters and
 * tags.
 */
bool q2_codepoint_printable(uint32_t codepoint);

/*
 * As qcow2_text_escape(), for callers that do not want the length of the whole result: of a long text
 * it reads the start alone. No character becomes shorter, so that what comes later cannot fit.
 */
void q2_text_escape_start(struct qcow2_bytes text, char *buffer, size_t size);

#endif
