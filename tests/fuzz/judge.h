/* SPDX-License-Identifier: MIT */
/* What a page must be whatever the image holds; anything else ends the fuzzer. */
#ifndef TESTS_FUZZ_JUDGE_H
#define TESTS_FUZZ_JUDGE_H

#include <stdbool.h>
#include <stdlib.h>

#include <qcow2/text.h>

#include "out/spool.h"

/* UTF-8 without control characters. Only a page that is still kept whole can be judged. */
static inline void judge_text(const struct spool *out)
{
	struct qcow2_bytes page = {(const uint8_t *)out->kept, out->size};

	if (out->written > 0)
		return;
	if (!qcow2_text_is_utf8(page))
		abort();
	for (size_t i = 0; i < page.size; i++)
		if ((page.data[i] < ' ' && page.data[i] != '\n') || page.data[i] == 127)
			abort();
}

/* The same, and brackets outside of strings match. */
static inline void judge_json(const struct spool *out)
{
	long depth = 0;
	bool text = false;

	if (out->written > 0)
		return;
	judge_text(out);
	for (size_t i = 0; i < out->size; i++) {
		char c = out->kept[i];

		if (text && c == '\\')
			i++;
		else if (c == '"')
			text = !text;
		else if (!text && (c == '{' || c == '['))
			depth++;
		else if (!text && (c == '}' || c == ']'))
			depth--;
		if (depth < 0)
			abort();
	}
	if (depth != 0 || text)
		abort();
}

#endif
