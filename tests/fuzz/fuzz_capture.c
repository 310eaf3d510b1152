/* SPDX-License-Identifier: MIT */
/*
 * Fuzzes what qcow2 capture reads besides images: the input is a manifest, and the names of an image,
 * a line each, which are replaced by neutral ones.
 */
#include <stdlib.h>
#include <string.h>

#include "capture/facts.h"
#include "capture/names.h"

#include <qcow2/text.h>

#define NAMES_MOST 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(bool truth)
{
	if (!truth)
		abort();
}

/* Names of before, and what stands in their place. */
struct replaced {
	struct qcow2_bytes before;
	uint8_t *after;
};

/* The same names stay the same, others others; what is no UTF-8 is none afterwards. */
static void compare(const struct replaced *one, const struct replaced *other)
{
	const size_t size = one->before.size;
	const bool same = size == other->before.size &&
			  memcmp(one->before.data, other->before.data, size) == 0;
	const bool same_after =
		size == other->before.size && memcmp(one->after, other->after, size) == 0;

	demand(same == same_after);
	demand(qcow2_text_is_utf8(one->before) ==
	       qcow2_text_is_utf8((struct qcow2_bytes){one->after, size}));
}

static void replace_lines(const uint8_t *data, size_t size)
{
	struct replaced list[NAMES_MOST];
	struct capture_names names = {.slots = NULL};
	struct qcow2_error err;
	size_t count = 0;

	while (size > 0 && count < NAMES_MOST) {
		const uint8_t *end = memchr(data, '\n', size);
		const size_t length = end ? (size_t)(end - data) : size;
		struct replaced *name = &list[count];

		name->before = (struct qcow2_bytes){data, length};
		name->after = malloc(length + 1);
		demand(name->after != NULL);
		memcpy(name->after, data, length);
		count++;
		if (capture_names_replace(&names, name->after, length, &err)) {
			demand(err.code == QCOW2_ERROR_LIMIT);
			free(list[--count].after);
			break;
		}
		data += end ? length + 1 : length;
		size -= end ? length + 1 : length;
	}
	for (size_t i = 0; i < count; i++)
		for (size_t j = 0; j <= i; j++)
			compare(&list[i], &list[j]);
	while (count > 0)
		free(list[--count].after);
	capture_names_release(&names);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct capture_facts facts = {.whole = false};

	if (capture_manifest_parse((struct qcow2_bytes){data, size}, &facts))
		demand(size > 64);
	replace_lines(data, size);
	return 0;
}
