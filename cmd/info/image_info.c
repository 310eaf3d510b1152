/* SPDX-License-Identifier: MIT */
/* See image_info.h. */
#include "info/image_info.h"

void info_note(struct info *info, const struct qcow2_error *err)
{
	if (info->failed || (err->code != QCOW2_ERROR_IO && err->code != QCOW2_ERROR_MEMORY))
		return;
	info->failed = true;
	info->failure = *err;
}

struct qcow2_bytes info_extension_text(const struct qcow2_image *image, uint32_t magic)
{
	struct qcow2_bytes data = {NULL, 0};

	qcow2_image_find_extension(image, magic, &data);
	return data;
}
