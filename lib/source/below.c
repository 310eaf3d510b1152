/* SPDX-License-Identifier: MIT */
/* What stands below a folder at a relative path, without opening it. */
#include "source/below.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static enum q2_below kind_of(const char *path, bool last)
{
	struct stat st;

	if (lstat(path, &st) != 0)
		return Q2_BELOW_NOTHING;
	if (last ? S_ISREG(st.st_mode) : S_ISDIR(st.st_mode))
		return Q2_BELOW_FILE;
	return Q2_BELOW_OTHER;
}

/* Whether two names lead to one file. */
static bool is_same(const char *path, const char *from)
{
	struct stat a, b;

	return stat(path, &a) == 0 && stat(from, &b) == 0 && a.st_dev == b.st_dev &&
	       a.st_ino == b.st_ino;
}

enum q2_below q2_source_look_below(const char *folder, struct qcow2_bytes name, const char *from)
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
			return from && is_same(path, from) ? Q2_BELOW_ITSELF : kind_of(path, true);
		path[part] = '\0';
		kind = kind_of(path, false);
		if (kind != Q2_BELOW_FILE)
			return kind;
	}
}
