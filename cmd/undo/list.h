/* SPDX-License-Identifier: MIT */
/* A list of undo files: what each says of itself, and what can be done with it now. */
#ifndef CMD_UNDO_LIST_H
#define CMD_UNDO_LIST_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <time.h>

#include <qcow2/undo.h>

/* What an undo would do now. */
enum undo_now {
	UNDO_NOW_UNKNOWN, /* why says why that cannot be told */
	UNDO_NOW_EXACT,
	UNDO_NOW_SAFE,   /* not all of it: see result */
	UNDO_NOW_INSIST, /* only with --exact: what else it would leave is not safe */
	UNDO_NOW_AFTER,  /* once another one, first, is undone */
	UNDO_NOW_NEVER,  /* the image was written to since */
	UNDO_NOW_OTHER,  /* another file is where the image was */
	UNDO_NOW_GONE,   /* no file is there; it may have moved, or not be mounted */
	UNDO_NOW_UNDONE, /* nothing */
	UNDO_NOW_BROKEN, /* it is damaged, or of another layout */
};

#define UNDO_NO_ENTRY SIZE_MAX

struct undo_entry {
	char *path;
	char *texts;                 /* those of info */
	struct qcow2_undo_info info; /* zeros if it is broken */
	dev_t device;
	ino_t inode; /* of the undo file itself */
	off_t size;
	struct timespec born;
	struct qcow2_undo *undo; /* open while it is being judged */
	enum undo_now now;
	struct qcow2_undo_result result;
	size_t first; /* UNDO_NOW_AFTER: which has to be undone first */
	char *why;    /* one safe line, or NULL */
	bool extra;   /* nobody asked for it, but others of its image may come after it */
	bool removed;
};

struct undo_folder {
	dev_t device;
	ino_t inode;
};

struct undo_list {
	struct undo_entry *entries;
	size_t count, capacity;
	struct undo_folder *folders; /* that were looked through */
	size_t folder_count;
	bool extra;           /* what is added now is */
	bool cut;             /* there is more than is looked through */
	bool short_of_memory; /* something could not be kept */
};

/* Which undo files are wanted: those of an image. All NULL: all. */
struct undo_filter {
	const char *image_path; /* as undo files note it */
	struct qcow2_source *image;
};

/* Whether a file is an undo file, as far as its first bytes tell. */
bool undo_is_one(const char *path);

/*
 * Opens an undo file by its name in a folder (AT_FDCWD or a descriptor) without waiting. Opens only
 * a regular file that begins like an undo file. Returns a descriptor with *st filled, or -1.
 */
int undo_open_one(int folder, const char *name, struct stat *st);

/* Adds an undo file that was found, whose status is *st. Nothing is added twice. */
void undo_list_add_open(struct undo_list *list, const char *path, const struct stat *st,
			const struct undo_filter *filter);

/* Adds one undo file. Nothing is added twice. */
void undo_list_add(struct undo_list *list, const char *path, const struct undo_filter *filter);

/* Sorts by image, the newest first, which is the order in which they have to be undone. */
void undo_list_sort(struct undo_list *list);

/* Remove the last entry, or all entries. */
void undo_list_drop_last(struct undo_list *list);
void undo_list_release(struct undo_list *list);

#endif
