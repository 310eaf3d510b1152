/* SPDX-License-Identifier: MIT */
/* See names.h. */
#include "info/names.h"

#include <stdlib.h>
#include <string.h>

struct qcow2_bytes info_extension_text(const struct qcow2_image *image, uint32_t magic)
{
	struct qcow2_bytes data = {NULL, 0};

	qcow2_image_find_extension(image, magic, &data);
	return data;
}

bool info_is_protocol(struct qcow2_bytes name)
{
	for (size_t i = 0; i < name.size && name.data[i] != '/'; i++)
		if (name.data[i] == ':')
			return true;
	return false;
}

char *info_full_name(const char *file, struct qcow2_bytes name)
{
	const char *slash = strrchr(file, '/');
	size_t directory = slash ? (size_t)(slash - file) + 1 : 0;
	char *full;

	if (name.size > 0 && (name.data[0] == '/' || info_is_protocol(name)))
		directory = 0;
	full = malloc(directory + name.size + 1);
	if (!full)
		return NULL;
	memcpy(full, file, directory);
	memcpy(full + directory, name.data, name.size);
	full[directory + name.size] = '\0';
	return full;
}
