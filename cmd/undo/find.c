/* SPDX-License-Identifier: MIT */
/* Finds undo files, in folders that may hold anything. See undo_list.h. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/undo_place.h"
#include "undo/list.h"

#define MAGIC      "QCOW2UND"
#define MAGIC_SIZE 8

/* What is looked at in one folder: names, files of other names, and undo files in all. */
#define NAMES_MOST   ((size_t)1 << 20)
#define PROBES_MOST  4096
#define ENTRIES_MOST ((size_t)4096)
/* Folders in which the images of a list are. */
#define FOLDERS_MOST 256

/* Opens a regular file and nothing else, without waiting. -1 if it is none, or no undo file. */
static int open_undo_file(int folder, const char *name, struct stat *st)
{
	char magic[MAGIC_SIZE];
	int fd;

	/* Only regular files are opened at all: opening a device may do things. */
	if (fstatat(folder, name, st, 0) < 0 || !S_ISREG(st->st_mode))
		return -1;
	fd = openat(folder, name, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
	if (fd >= 0 && fstat(fd, st) == 0 && S_ISREG(st->st_mode) &&
	    read(fd, magic, MAGIC_SIZE) == MAGIC_SIZE && memcmp(magic, MAGIC, MAGIC_SIZE) == 0)
		return fd;
	if (fd >= 0)
		(void)close(fd);
	return -1;
}

bool undo_is_one(const char *path)
{
	struct stat st;
	int fd = open_undo_file(AT_FDCWD, path, &st);

	if (fd >= 0)
		(void)close(fd);
	return fd >= 0;
}

/* ---- the list ---- */

static bool is_listed(const struct undo_list *list, const struct stat *st)
{
	for (size_t i = 0; i < list->count; i++)
		if (list->entries[i].device == st->st_dev && list->entries[i].inode == st->st_ino)
			return true;
	return false;
}

static struct undo_entry *next_entry(struct undo_list *list)
{
	size_t capacity = list->capacity ? list->capacity * 2 : 16;
	void *grown;

	if (list->count == list->capacity) {
		grown = realloc(list->entries, capacity * sizeof(*list->entries));
		if (!grown)
			return NULL;
		list->entries = grown;
		list->capacity = capacity;
	}
	list->entries[list->count] = (struct undo_entry){.first = UNDO_NO_ENTRY};
	return &list->entries[list->count];
}

static bool belongs(const struct undo_filter *filter, const struct qcow2_undo *undo,
		    const struct qcow2_undo_info *info)
{
	size_t size = filter && filter->image_path ? strlen(filter->image_path) : 0;

	if (!filter || (!filter->image_path && !filter->image))
		return true;
	if (size > 0 && info->image_path.size == size &&
	    memcmp(info->image_path.data, filter->image_path, size) == 0)
		return true;
	return filter->image && qcow2_undo_is_of(undo, filter->image);
}

/* Copies what an undo file says; its texts go when it is closed. */
static bool keep_info(struct undo_entry *entry, const struct qcow2_undo_info *info)
{
	size_t image = info->image_path.size, command = info->command.size;

	entry->texts = malloc(image + command + 1);
	if (!entry->texts)
		return false;
	if (image > 0)
		memcpy(entry->texts, info->image_path.data, image);
	if (command > 0)
		memcpy(entry->texts + image, info->command.data, command);
	entry->info = *info;
	entry->info.image_path.data = (const uint8_t *)entry->texts;
	entry->info.command.data = (const uint8_t *)entry->texts + image;
	return true;
}

/* Reads the head into an entry. False if it belongs to another image, or for want of memory. */
static bool read_entry(struct undo_list *list, struct undo_entry *entry, const char *path,
		       const struct undo_filter *filter)
{
	struct qcow2_undo *undo;
	struct qcow2_error err;
	bool kept;

	entry->path = strdup(path);
	if (!entry->path)
		return false;
	if (qcow2_undo_open(path, &undo, &err)) {
		/* It may be the one that has to be undone first. */
		list->cut |= err.code == QCOW2_ERROR_IO || err.code == QCOW2_ERROR_MEMORY;
		entry->now = UNDO_NOW_BROKEN;
		entry->why = strdup(err.text);
		/* Nobody knows whose it is. */
		return !filter || (!filter->image_path && !filter->image);
	}
	kept = belongs(filter, undo, qcow2_undo_describe(undo));
	if (kept && !keep_info(entry, qcow2_undo_describe(undo))) {
		list->short_of_memory = true;
		kept = false;
	}
	qcow2_undo_close(undo);
	return kept;
}

static void release_entry(struct undo_entry *entry)
{
	qcow2_undo_close(entry->undo);
	free(entry->path);
	free(entry->texts);
	free(entry->why);
}

/* When a file was made, for those of one second; a file system without that has a near guess. */
static struct timespec born(const char *path, const struct stat *st)
{
#ifdef STATX_BTIME
	struct statx more;

	if (statx(AT_FDCWD, path, 0, STATX_BTIME, &more) == 0 && more.stx_mask & STATX_BTIME)
		return (struct timespec){more.stx_btime.tv_sec, more.stx_btime.tv_nsec};
#else
	(void)path;
#endif
	return st->st_mtim;
}

static void add(struct undo_list *list, const char *path, const struct stat *st,
		const struct undo_filter *filter)
{
	struct undo_entry *entry;

	if (is_listed(list, st))
		return;
	if (list->count == ENTRIES_MOST) {
		list->cut = true;
		return;
	}
	entry = next_entry(list);
	if (!entry) {
		list->short_of_memory = true;
		return;
	}
	entry->device = st->st_dev;
	entry->inode = st->st_ino;
	entry->size = st->st_size;
	entry->extra = list->extra;
	entry->born = born(path, st);
	if (read_entry(list, entry, path, filter)) {
		list->count++;
		return;
	}
	list->short_of_memory |= !entry->path;
	release_entry(entry);
}

void undo_list_add(struct undo_list *list, const char *path, const struct undo_filter *filter)
{
	struct stat st;

	if (stat(path, &st) == 0)
		add(list, path, &st, filter);
}

/* ---- folders ---- */

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

/* Files of our names are always looked at, others as long as there are not too many. */
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
	fd = open_undo_file(folder, dirent->d_name, &st);
	if (fd < 0)
		return;
	(void)close(fd);
	/* Without "./", as the names that a change prints. */
	if (snprintf(path, sizeof(path), "%s%s%s", strcmp(scan->folder, ".") ? scan->folder : "",
		     strcmp(scan->folder, ".") && scan->folder[length - 1] != '/' ? "/" : "",
		     dirent->d_name) < (int)sizeof(path))
		add(scan->list, path, &st, scan->filter);
}

/* 0, or an errno value. */
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

/* Whether a folder was looked through before; from now on it was. */
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

/* A folder that nobody named: what cannot be read of it is missing from the list. */
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

	/* Beside a link to a device, and beside the file that a link leads to. */
	if (undo_folder_of(image, folder, sizeof(folder)))
		scan_quietly(list, folder, filter);
	if (real && strcmp(real, image) != 0 && undo_folder_of(real, folder, sizeof(folder)))
		scan_quietly(list, folder, filter);
	if (dir)
		scan_quietly(list, dir, filter);
	free(real);
}

/* Once each, however many images are in it. */
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

/* ---- order ---- */

static int compare_texts(struct qcow2_bytes a, struct qcow2_bytes b)
{
	size_t size = a.size < b.size ? a.size : b.size;
	int order = size > 0 ? memcmp(a.data, b.data, size) : 0;

	return order ? order : (a.size > b.size) - (a.size < b.size);
}

static int compare(const void *left, const void *right)
{
	const struct undo_entry *a = left, *b = right;
	int order = compare_texts(a->info.image_path, b->info.image_path);

	if (order)
		return order;
	if (a->info.time_seconds != b->info.time_seconds)
		return a->info.time_seconds < b->info.time_seconds ? 1 : -1;
	if (a->born.tv_sec != b->born.tv_sec)
		return a->born.tv_sec < b->born.tv_sec ? 1 : -1;
	if (a->born.tv_nsec != b->born.tv_nsec)
		return a->born.tv_nsec < b->born.tv_nsec ? 1 : -1;
	return strcmp(a->path, b->path);
}

void undo_list_sort(struct undo_list *list)
{
	if (list->count > 1)
		qsort(list->entries, list->count, sizeof(*list->entries), compare);
}

void undo_list_drop_last(struct undo_list *list)
{
	release_entry(&list->entries[--list->count]);
}

void undo_list_release(struct undo_list *list)
{
	while (list->count > 0)
		undo_list_drop_last(list);
	free(list->entries);
	free(list->folders);
	*list = (struct undo_list){.count = 0};
}
