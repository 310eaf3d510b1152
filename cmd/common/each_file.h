/* SPDX-License-Identifier: MIT */
/* Goes through the files of a command line that takes several. */
#ifndef CMD_COMMON_EACH_FILE_H
#define CMD_COMMON_EACH_FILE_H

#include "out/json.h"

/* The files, and the JSON that they are shown in. */
struct files {
	char **names;
	int count;
	struct json *json; /* NULL: text */
	bool list;         /* JSON is a list, not the document of the only file */
};

/* Begins the page in out, with json if it is not NULL, and calls show for each file. */
void files_show(const struct files *files, struct spool *out,
		void (*show)(void *opaque, const char *file), void *opaque);

#endif
