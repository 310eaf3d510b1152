/* SPDX-License-Identifier: MIT */
/* See needed_file.h. */
#include "common/needed_file.h"

#include <stdlib.h>
#include <string.h>

#include "common/chain.h"

#include <qcow2/extension.h>

static bool is_named(const struct stat *st, const char *path, struct qcow2_bytes name)
{
	static const char here[] = "file:"; /* relative to the current directory */
	const size_t size = sizeof(here) - 1;
	struct stat other;
	char *full;
	bool is;

	if (name.size == 0)
		return false;
	if (name.size > size && memcmp(name.data, here, size) == 0)
		full = strndup((const char *)name.data + size, name.size - size);
	else
		full = chain_full_name(path, name);
	is = !full ||
	     (stat(full, &other) == 0 && st->st_dev == other.st_dev && st->st_ino == other.st_ino);
	free(full);
	return is;
}

bool is_needed_file(const struct stat *st, const char *path, const struct qcow2_image *image)
{
	struct qcow2_bytes data_file = {0};

	(void)qcow2_image_find_extension(image, QCOW2_EXTENSION_DATA_FILE, &data_file);
	return is_named(st, path, qcow2_image_backing_name(image)) || is_named(st, path, data_file);
}
