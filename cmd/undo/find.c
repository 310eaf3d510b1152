/* SPDX-License-Identifier: MIT */
/* See find.h. */
#include "undo/find.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/undo_place.h"

/* The limits of one folder: names, and files whose names do not look like undo files. */
#define NAMES_MOST  ((size_t)1 << 20)
#define PROBES_MOST 4096
/* The most folders of images that are looked through. */
#define FOLDERS_MOST 256

struct scan {
	struct undo_list *list;
	const struct undo_filter *filter;
	const char *folder;
	size_t names, probes;
};

static bool ends_like_one(const char *name)
{
	size_t size = strlen(name), end = sizeof(UNDO_SUFFIX) - 1;

	return size > end && strcmp(name + size - end, UNDO_SUFFIX) == 0;
}

/*
 * Whether a file is opened. Files with the suffix of undo files always are, others up to a number.
 */
static bool is_worth_opening(struct scan *scan, const struct dirent *dirent)
{
#ifdef DT_REG
	if (dirent->d_type != DT_REG && dirent->d_type != DT_LNK && dirent->d_type != DT_UNKNOWN)
		return false;
#endif
	if (ends_like_one(dirent->d_name))
		return true;
	if (scan->probes == PROBES_MOST) {
		scan->list->cut = true;
		return false;
	}
	scan->probes++;
	return true;
}

static void look_at(struct scan *scan, int folder, const struct dirent *dirent)
{
	char path[UNDO_PATH_MAX];
	size_t length = strlen(scan->folder);
	struct stat st;
	int fd;

	if (!is_worth_opening(scan, dirent))
		return;
	fd = undo_open_one(folder, dirent->d_name, &st);
	if (fd < 0)
		return;
	(void)close(fd);
	/* Without "./", as a change prints it. */
	if (snprintf(path, sizeof(path), "%s%s%s", strcmp(scan->folder, ".") ? scan->folder : "",
		     strcmp(scan->folder, ".") && scan->folder[length - 1] != '/' ? "/" : "",
		     dirent->d_name) < (int)sizeof(path))
		undo_list_add_open(scan->list, path, &st, scan->filter);
}

/* Looks through one folder. Returns 0 or an errno value. */
static int scan_one(struct undo_list *list, const char *folder, const struct undo_filter *filter)
{
	struct scan scan = {.list = list, .filter = filter, .folder = folder};
	const struct dirent *dirent;
	DIR *dir = opendir(folder);

	if (!dir)
		return errno;
	while ((dirent = readdir(dir)) != NULL) {
		if (++scan.names > NAMES_MOST) {
			list->cut = true;
			break;
		}
		look_at(&scan, dirfd(dir), dirent);
	}
	(void)closedir(dir);
	return 0;
}

/* Whether a folder was looked through before. Notes that it is now. */
static bool was_scanned(struct undo_list *list, const char *folder)
{
	struct undo_folder *grown;
	struct stat st;

	if (stat(folder, &st) < 0)
		return false;
	for (size_t i = 0; i < list->folder_count; i++)
		if (list->folders[i].device == st.st_dev && list->folders[i].inode == st.st_ino)
			return true;
	grown = realloc(list->folders, (list->folder_count + 1) * sizeof(*grown));
	if (!grown)
		return false;
	list->folders = grown;
	list->folders[list->folder_count++] = (struct undo_folder){st.st_dev, st.st_ino};
	return false;
}

int undo_list_scan(struct undo_list *list, const char *folder, const struct undo_filter *filter)
{
	char own[UNDO_PATH_MAX];
	size_t length = strlen(folder);
	int errnum = scan_one(list, folder, filter);

	if (errnum)
		return errnum;
	if (snprintf(own, sizeof(own), "%s%s" UNDO_FOLDER, strcmp(folder, ".") ? folder : "",
		     strcmp(folder, ".") && folder[length - 1] != '/' ? "/" : "") <
	    (int)sizeof(own))
		errnum = scan_one(list, own, filter);
	list->cut |= errnum && errnum != ENOENT && errnum != ENOTDIR;
	return 0;
}

/* Looks through a folder that nobody named. If it cannot be read, the list is not complete. */
static void scan_quietly(struct undo_list *list, const char *folder,
			 const struct undo_filter *filter)
{
	int errnum = undo_list_scan(list, folder, filter);

	list->cut |= errnum && errnum != ENOENT && errnum != ENOTDIR;
}

void undo_list_of_image(struct undo_list *list, const char *image, const struct undo_filter *filter)
{
	char folder[UNDO_PATH_MAX];
	char *real = realpath(image, NULL);
	const char *dir = undo_dir_of_environment();

	/* Beside a link to a device, and beside the file to which a link leads. */
	if (undo_folder_of(image, folder, sizeof(folder)))
		scan_quietly(list, folder, filter);
	if (real && strcmp(real, image) != 0 && undo_folder_of(real, folder, sizeof(folder)))
		scan_quietly(list, folder, filter);
	if (dir)
		scan_quietly(list, dir, filter);
	free(real);
}

/* Looks through a folder once, however many images are in it. */
static void extend_from(struct undo_list *list, const char *folder)
{
	if (list->folder_count == FOLDERS_MOST)
		list->cut = true;
	else if (!was_scanned(list, folder))
		scan_quietly(list, folder, NULL);
}

void undo_list_extend(struct undo_list *list)
{
	const char *dir = undo_dir_of_environment();
	size_t count = list->count;
	char path[UNDO_PATH_MAX], folder[UNDO_PATH_MAX];

	list->extra = true;
	for (size_t i = 0; i < count; i++) {
		struct qcow2_bytes image = list->entries[i].info.image_path;

		if (image.size == 0 || image.size >= sizeof(path) ||
		    memchr(image.data, 0, image.size))
			continue;
		memcpy(path, image.data, image.size);
		path[image.size] = '\0';
		if (undo_folder_of(path, folder, sizeof(folder)))
			extend_from(list, folder);
	}
	if (dir && count > 0)
		extend_from(list, dir);
}
