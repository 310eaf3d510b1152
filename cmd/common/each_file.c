/* SPDX-License-Identifier: MIT */
/* See each_file.h. */
#include "common/each_file.h"

#include <unistd.h>

void files_show(const struct files *files, struct spool *out,
		void (*show)(void *opaque, const char *file), void *opaque)
{
	struct json *const json = files->json;

	spool_init(out, STDOUT_FILENO);
	if (json)
		json_init(json, out, 4, false);
	if (json && files->list)
		json_begin_array(json);
	for (int i = 0; i < files->count; i++)
		show(opaque, files->names[i]);
	if (json && files->list)
		json_end_array(json);
}
