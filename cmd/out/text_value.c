/* SPDX-License-Identifier: MIT */
/* How single values read: numbers with their unit or name, texts escaped, bytes as digits. */
#include "out/text_value.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "out/human.h"

#include <qcow2/text.h>

#define TEXT_SHOWN 1024

void text_hex(char *out, struct qcow2_bytes bytes)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < bytes.size; i++) {
		*out++ = digits[bytes.data[i] >> 4];
		*out++ = digits[bytes.data[i] & 15];
	}
	*out = '\0';
}

void text_number(char *out, const char *prefix, unsigned base, uint64_t number)
{
	static const char digits[] = "0123456789abcdef";
	char reversed[TEXT_NUMBER_MAX];
	size_t size = 0;

	while (*prefix)
		*out++ = *prefix++;
	do {
		/* constant divisors: a division by an unknown one costs many times as much */
		reversed[size++] = digits[base == 16 ? number % 16 : number % 10];
		number = base == 16 ? number / 16 : number / 10;
	} while (number > 0);
	while (size > 0)
		*out++ = reversed[--size];
	*out = '\0';
}

/* " (auto, bits 5..7)": the names of the bits that are set. */
static void append_bits(char *out, size_t size, const struct qcow2_value *value)
{
	const char *before = " (";
	size_t at = strlen(out);

	for (uint64_t rest = value->number; rest != 0 && at + 64 < size;) {
		unsigned bit = (unsigned)__builtin_ctzll(rest), last = bit;
		const char *name = qcow2_names_find(value->names, bit);

		while (!name && last < 63 && (rest >> (last + 1) & 1) &&
		       !qcow2_names_find(value->names, last + 1))
			last++;
		if (name)
			at += (size_t)snprintf(out + at, size - at, "%s%s", before, name);
		else if (bit == last)
			at += (size_t)snprintf(out + at, size - at, "%sbit %u", before, bit);
		else
			at += (size_t)snprintf(out + at, size - at, "%sbits %u..%u", before, bit,
					       last);
		rest &= last < 63 ? UINT64_MAX << (last + 1) : 0;
		before = ", ";
	}
	if (value->number != 0)
		snprintf(out + at, size - at, ")");
}

/* What a number means to people, for the styles that show it in brackets behind the number. */
static const char *meaning(const struct qcow2_value *value, char *human)
{
	uint64_t n = value->number;
	const char *name;

	switch (value->style) {
	case QCOW2_STYLE_SIZE:
	case QCOW2_STYLE_HEX_SIZE:
		return human_size(n, human);
	case QCOW2_STYLE_ENUM:
	case QCOW2_STYLE_ENUM_HEX:
		name = value->names && !value->names->bits ? qcow2_names_find(value->names, n)
							   : NULL;
		return name ? name : "unknown";
	case QCOW2_STYLE_GRANULARITY:
		return n < 64 ? human_size(UINT64_C(1) << n, human) : "impossible";
	case QCOW2_STYLE_SECTORS:
		return n >> 55 ? "impossible" : human_size(n << 9, human);
	case QCOW2_STYLE_TIME:
		return human_time(n, human);
	case QCOW2_STYLE_NANOSECONDS:
		return human_duration(n, human);
	default:
		return NULL;
	}
}

/* " (1 MiB)" */
static void append_meaning(char *out, size_t size, const char *means)
{
	const size_t at = strlen(out), length = strlen(means);

	if (length + 4 > size - at)
		return;
	memcpy(out + at, " (", 2);
	memcpy(out + at + 2, means, length);
	memcpy(out + at + 2 + length, ")", 2);
}

static void format_number(char *out, size_t size, const struct qcow2_value *value)
{
	uint64_t n = value->number;
	char human[HUMAN_MAX];
	const char *means;

	switch (value->style) {
	case QCOW2_STYLE_FLAGS:
		text_number(out, "0x", 16, n);
		append_bits(out, size, value);
		break;
	case QCOW2_STYLE_HEX:
	case QCOW2_STYLE_MAGIC:
		text_number(out, "0x", 16, n);
		break;
	case QCOW2_STYLE_HEX_SIZE:
	case QCOW2_STYLE_ENUM_HEX:
		text_number(out, "0x", 16, n);
		append_meaning(out, size, meaning(value, human));
		break;
	case QCOW2_STYLE_WIDTH:
		if (n < 64)
			snprintf(out, size, "%" PRIu64 " (%" PRIu64 " bit%s)", n, UINT64_C(1) << n,
				 n == 0 ? "" : "s");
		else
			snprintf(out, size, "%" PRIu64 " (impossible)", n);
		break;
	default:
		means = meaning(value, human);
		text_number(out, "", 10, n);
		if (means)
			append_meaning(out, size, means);
		break;
	}
}

static void format_text(char *out, size_t size, struct qcow2_bytes bytes)
{
	if (bytes.size == 0) {
		snprintf(out, size, "\"\"");
		return;
	}
	qcow2_text_escape(human_cut(bytes, TEXT_SHOWN), out, size - 64);
	if (bytes.size > TEXT_SHOWN)
		snprintf(out + strlen(out), 64, "… (%zu bytes)", bytes.size);
}

void text_value(char *out, size_t size, const struct qcow2_value *value)
{
	switch (value->kind) {
	case QCOW2_VALUE_NUMBER:
		format_number(out, size, value);
		break;
	case QCOW2_VALUE_BOOL:
		snprintf(out, size, "%s", value->number ? "yes" : "no");
		break;
	case QCOW2_VALUE_NULL:
		snprintf(out, size, "not known");
		break;
	case QCOW2_VALUE_TEXT:
		format_text(out, size, value->bytes);
		break;
	case QCOW2_VALUE_BYTES:
		if (value->bytes.size > TEXT_HEX_IN_LINE)
			snprintf(out, size, "%zu bytes", value->bytes.size);
		else
			text_hex(out, value->bytes);
		break;
	}
}

/* Sixteen bytes and the characters that they would be; what is no printable ASCII is a dot. */
static void hex_row(struct spool *out, uint64_t offset_bytes, struct qcow2_bytes bytes)
{
	char hex[2 * 16 + 1], text[17];

	text_hex(hex, bytes);
	for (size_t i = 0; i < bytes.size; i++)
		text[i] =
			(char)(bytes.data[i] >= ' ' && bytes.data[i] <= '~' ? bytes.data[i] : '.');
	text[bytes.size] = '\0';
	spool_print(out, "  0x%010" PRIx64 "  %-32s  |%s|\n", offset_bytes, hex, text);
}

void text_hex_rows(struct spool *out, uint64_t offset_bytes, struct qcow2_bytes bytes)
{
	bool skipping = false;

	for (size_t at = 0; at < bytes.size && !out->errnum; at += 16) {
		size_t rest = bytes.size - at;
		struct qcow2_bytes row = {bytes.data + at, rest < 16 ? rest : 16};

		if (at > 0 && rest > 16 && memcmp(row.data, row.data - 16, 16) == 0) {
			if (!skipping)
				spool_text(out, "  *\n");
			skipping = true;
			continue;
		}
		skipping = false;
		hex_row(out, offset_bytes == QCOW2_NO_OFFSET ? at : offset_bytes + at, row);
	}
}
