/* SPDX-License-Identifier: MIT */
/* Fuzzes json: names: the input is one. What is understood has a path that is text of the input. */
#include <stdlib.h>
#include <string.h>

#include "common/json_name.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t whole = size + 5;
	uint8_t *name = malloc(whole); /* without slack, so that a byte too far is seen */
	struct json_name read;
	const char *why;

	if (!name)
		abort();
	memcpy(name, "json:", 5);
	if (size > 0)
		memcpy(name + 5, data, size);
	why = json_name_read((struct qcow2_bytes){name, whole}, &read);
	if (!memchr(read.path, 0, sizeof(read.path)) ||
	    !memchr(read.format, 0, sizeof(read.format)))
		abort();
	if ((!why && size > JSON_NAME_MAX - 5) || strlen(read.path) >= whole ||
	    (why && why[0] == '\0'))
		abort();
	free(name);
	return 0;
}
