/* SPDX-License-Identifier: MIT */
/* See list.h. */
#include "undo/list.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/system.h"

#define MAGIC      "QCOW2UND"
#define MAGIC_SIZE 8

#define ENTRIES_MOST ((size_t)4096)

/* Opens a regular file and nothing else, without waiting. -1 if it is none, or no undo file. */
int undo_open_one(int folder, const char *name, struct stat *st)
{
	char magic[MAGIC_SIZE];
	int fd;

	/* Only regular files are opened: to open a device may have effects. */
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
	int fd = undo_open_one(AT_FDCWD, path, &st);

	if (fd >= 0)
		(void)close(fd);
	return fd >= 0;
}

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

/* Copies what an undo file says of itself: its texts are freed when it is closed. */
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

/*
 * Reads the head of an undo file into an entry. False if it belongs to another image, or if memory
 * is short.
 */
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
		/* The file may be the one that has to be undone first. */
		list->cut |= err.code == QCOW2_ERROR_IO || err.code == QCOW2_ERROR_MEMORY;
		entry->now = UNDO_NOW_BROKEN;
		entry->why = strdup(err.text);
		/* Nobody knows to which image it belongs: it is kept only if all are wanted. */
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

/*
 * Returns when a file was made, to order those of one second. Where the file system does not know,
 * the modification time is close.
 */
static struct timespec born(const char *path, const struct stat *st)
{
#ifdef STATX_BTIME
	struct statx more;

	if (statx(AT_FDCWD, path, 0, STATX_BTIME, &more) == 0 && more.stx_mask & STATX_BTIME)
		return (struct timespec){more.stx_btime.tv_sec, (long)more.stx_btime.tv_nsec};
#else
	(void)path;
#endif
	return st->st_mtim;
}

void undo_list_add_open(struct undo_list *list, const char *path, const struct stat *st,
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
		undo_list_add_open(list, path, &st, filter);
}

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
