/* SPDX-License-Identifier: MIT */
/* See undo_files.h. */
#include "check/undo_files.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/undo_place.h"

#define NAMES_MOST 10000

/* "NAME.….undo" */
static bool is_of_image(const char *file, const char *name)
{
	size_t length = strlen(file), prefix = strlen(name), suffix = strlen(UNDO_SUFFIX);

	return length > prefix + suffix && strncmp(file, name, prefix) == 0 &&
	       file[prefix] == '.' && strcmp(file + length - suffix, UNDO_SUFFIX) == 0;
}

bool check_has_undo_files(const char *image, bool *short_of_memory)
{
	char folder[UNDO_PATH_MAX], path[UNDO_PATH_MAX + sizeof(UNDO_FOLDER) + 1];
	const char *slash = strrchr(image, '/'), *name = slash ? slash + 1 : image;
	const struct dirent *entry;
	bool found = false;
	DIR *dir;

	if (!undo_folder_of(image, folder, sizeof(folder)))
		return false;
	snprintf(path, sizeof(path), "%s/" UNDO_FOLDER, folder);
	dir = opendir(path);
	if (!dir && errno == ENOMEM)
		*short_of_memory = true;
	for (int i = 0; dir && !found && i < NAMES_MOST && (entry = readdir(dir)); i++)
		found = is_of_image(entry->d_name, name);
	if (dir)
		closedir(dir);
	return found;
}
