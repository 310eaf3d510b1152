/* SPDX-License-Identifier: MIT */
/*
 * The well-formed byte sequences of UTF-8 (Unicode 15, table 3-7), and the characters that must not
 * reach a terminal.
 */
#include "base/utf8.h"

/* Bytes that are looked at together. */
#define ASCII_STEP 16

struct range {
	uint32_t first;
	uint32_t last;
};

/* In rising order. The noncharacters at the end of each plane are computed instead. */
static const struct range unsafe[] = {
	{0x0000, 0x001f},       /* C0 */
	{0x007f, 0x009f},       /* DEL, C1: a terminal may take U+009B for ESC [ */
	{0x00ad, 0x00ad},       /* soft hyphen */
	{0x034f, 0x034f},       /* combining grapheme joiner */
	{0x061c, 0x061c},       /* Arabic letter mark */
	{0x115f, 0x1160},       /* Hangul fillers */
	{0x17b4, 0x17b5},       /* Khmer inherent vowels, not shown */
	{0x180b, 0x180f},       /* Mongolian variation selectors, vowel separator */
	{0x200b, 0x200f},       /* zero width, direction marks */
	{0x2028, 0x202e},       /* line and paragraph separators, embeddings and overrides */
	{0x2060, 0x206f},       /* word joiner, invisible operators, isolates */
	{0x3164, 0x3164},       /* Hangul filler */
	{0xd800, 0xdfff},       /* surrogates */
	{0xfdd0, 0xfdef},       /* noncharacters */
	{0xfeff, 0xfeff},       /* byte order mark */
	{0xffa0, 0xffa0},       /* halfwidth Hangul filler */
	{0xfff0, 0xfffb},       /* interlinear annotations */
	{0x13430, 0x1343f},     /* hieroglyph format controls */
	{0x1bca0, 0x1bca3},     /* shorthand format controls */
	{0x1d173, 0x1d17a},     /* beams and slurs, not shown */
	{0xe0000, 0xe0fff},     /* tags, variation selectors */
	{0x110000, UINT32_MAX}, /* beyond Unicode */
};

bool q2_codepoint_printable(uint32_t codepoint)
{
	if (codepoint >= 0x20 && codepoint < 0x7f)
		return true;
	for (size_t i = 0; i < sizeof(unsafe) / sizeof(unsafe[0]); i++)
		if (codepoint <= unsafe[i].last)
			return codepoint < unsafe[i].first && (codepoint & 0xfffe) != 0xfffe;
	return false;
}

/*
 * Returns the length of the sequence that the byte `lead` begins, or 0 if it begins none. [*low,
 * *high] is the range of the second byte, which alone rules out overlong forms, surrogates and what
 * is above U+10FFFF.
 */
static size_t sequence_length(uint8_t lead, uint8_t *low, uint8_t *high)
{
	*low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
	*high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
	if (lead < 0x80)
		return 1;
	if (lead < 0xc2)
		return 0;
	if (lead < 0xe0)
		return 2;
	if (lead < 0xf0)
		return 3;
	return lead < 0xf5 ? 4 : 0;
}

size_t q2_utf8_next(const uint8_t *data, size_t size, uint32_t *codepoint, bool *valid)
{
	uint8_t low, high;
	uint32_t value;
	size_t length;

	*codepoint = Q2_CODEPOINT_INVALID;
	*valid = false;
	if (size == 0)
		return 0;
	length = sequence_length(data[0], &low, &high);
	if (length == 0 || length > size)
		return 1;

	value = length == 1 ? data[0] : data[0] & (0x7fu >> length);
	for (size_t i = 1; i < length; i++) {
		if (data[i] < low || data[i] > high)
			return 1;
		value = value << 6 | (data[i] & 0x3fu);
		low = 0x80;
		high = 0xbf;
	}
	*codepoint = value;
	*valid = true;
	return length;
}

/* Without a branch, so that a compiler makes one comparison of it. */
static bool are_ascii(const uint8_t *data)
{
	unsigned other = 0;

	for (unsigned i = 0; i < ASCII_STEP; i++)
		other |= (uint8_t)(data[i] - 0x20) > 0x7e - 0x20;
	return other == 0;
}

size_t q2_ascii_run(const uint8_t *data, size_t size)
{
	size_t at = 0;

	while (size - at >= ASCII_STEP && are_ascii(data + at))
		at += ASCII_STEP;
	while (at < size && data[at] >= 0x20 && data[at] < 0x7f)
		at++;
	return at;
}

/* Whether all characters are well-formed, and printable if that is asked. */
static bool is_text(struct qcow2_bytes bytes, bool printable)
{
	size_t at = 0;

	while (at < bytes.size) {
		uint32_t codepoint;
		bool valid;

		at += q2_ascii_run(bytes.data + at, bytes.size - at);
		if (at == bytes.size)
			break;
		at += q2_utf8_next(bytes.data + at, bytes.size - at, &codepoint, &valid);
		if (!valid || (printable && !q2_codepoint_printable(codepoint)))
			return false;
	}
	return true;
}

bool q2_utf8_valid(struct qcow2_bytes bytes)
{
	return is_text(bytes, false);
}

bool q2_utf8_printable(struct qcow2_bytes bytes)
{
	return is_text(bytes, true);
}
