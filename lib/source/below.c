/* SPDX-License-Identifier: MIT */
/* What stands below a folder at a relative path, without opening it. */
#include "source/below.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static enum q2_below kind_of_folder(const char *path)
{
	struct stat st;

	if (lstat(path, &st) != 0)
		return Q2_BELOW_NOTHING;
	return S_ISDIR(st.st_mode) ? Q2_BELOW_FILE : Q2_BELOW_OTHER;
}

static enum q2_below kind_of_file(const char *path, const struct q2_source_identity *self)
{
	struct stat st;

	if (lstat(path, &st) != 0)
		return Q2_BELOW_NOTHING;
	if (!S_ISREG(st.st_mode))
		return Q2_BELOW_OTHER;
	return self->is_file && st.st_dev == self->device && st.st_ino == self->inode
		       ? Q2_BELOW_SELF
		       : Q2_BELOW_FILE;
}

enum q2_below q2_source_look_below(const char *folder, struct qcow2_bytes name,
				   const struct q2_source_identity *self)
{
	char path[PATH_MAX];
	size_t at = strlen(folder), end = at + 1 + name.size, part;
	enum q2_below kind;

	if (end >= sizeof(path))
		return Q2_BELOW_NOTHING;
	memcpy(path, folder, at);
	path[at++] = '/';
	memcpy(path + at, name.data, name.size);
	path[end] = '\0';
	for (;; path[part] = '/', at = part + 1) {
		part = at + strcspn(path + at, "/");
		if (part >= end)
			return kind_of_file(path, self);
		path[part] = '\0';
		kind = kind_of_folder(path);
		if (kind != Q2_BELOW_FILE)
			return kind;
	}
}
