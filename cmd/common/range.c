/* SPDX-License-Identifier: MIT */
/* See range.h. */
#include "common/range.h"

#include <stdio.h>
#include <string.h>

#include <qcow2/number.h>

#define SECTOR_BYTES 512
#define WORD_MOST    80

static int fail(struct qcow2_error *err, const char *text)
{
	*err = (struct qcow2_error){.code = QCOW2_ERROR_ARGUMENT, .offset_bytes = QCOW2_NO_OFFSET};
	snprintf(err->text, sizeof(err->text), "%s", text);
	return -1;
}

/* One number of size bytes. */
static int parse_number(const char *text, size_t size, uint64_t *value, struct qcow2_error *err)
{
	bool sectors = size > 1 && (text[size - 1] == 's' || text[size - 1] == 'S');
	char word[WORD_MOST];

	if (size >= sizeof(word))
		return fail(err, "the number is too long");
	memcpy(word, text, size - sectors);
	word[size - sectors] = '\0';
	if (qcow2_number_parse(word, sectors ? UINT64_MAX / SECTOR_BYTES : UINT64_MAX, value, err))
		return -1;
	*value *= sectors ? SECTOR_BYTES : 1;
	return 0;
}

int range_parse(const char *text, struct range *range, struct qcow2_error *err)
{
	const char *plus = strchr(text, '+');
	size_t size = plus ? (size_t)(plus - text) : strlen(text);

	*range = (struct range){.length = 1, .has_length = plus != NULL};
	if (parse_number(text, size, &range->start, err))
		return -1;
	if (plus && parse_number(plus + 1, strlen(plus + 1), &range->length, err))
		return -1;
	if (range->length == 0)
		return fail(err, "the length is 0: give at least one byte");
	if (range->length - 1 > UINT64_MAX - range->start)
		return fail(err, "the range ends past 2^64");
	return 0;
}
