/* SPDX-License-Identifier: MIT */
/*
 * Undo files that are there: finding them, and finding out what can be done with each now. What is
 * looked through may be anybody's: nothing but regular files is opened, and only so many of them.
 */
#ifndef CMD_UNDO_LIST_H
#define CMD_UNDO_LIST_H

#include <sys/types.h>
#include <time.h>

#include "common/command.h"
#include "out/json.h"
#include "out/spool.h"

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

/* Only what belongs to an image; all NULL: everything. */
struct undo_filter {
	const char *image_path; /* as undo files note it */
	struct qcow2_source *image;
};

/* Whether a file is an undo file, as far as its first bytes tell. */
bool undo_is_one(const char *path);

/* Adds one undo file. Nothing is added twice. */
void undo_list_add(struct undo_list *list, const char *path, const struct undo_filter *filter);

/* Adds those in a folder and in its UNDO_FOLDER. 0, or an errno value of opening the folder. */
int undo_list_scan(struct undo_list *list, const char *folder, const struct undo_filter *filter);

/* Adds those of an image that are beside it and in the folder that QCOW2_UNDO_DIR names. */
void undo_list_of_image(struct undo_list *list, const char *image,
			const struct undo_filter *filter);

/*
 * Adds those that nobody asked for, but that may have to be undone before those in the list: they
 * are where their images are, and in the folder that QCOW2_UNDO_DIR names.
 */
void undo_list_extend(struct undo_list *list);

/* By image, the newest first, which is the order to undo them in. */
void undo_list_sort(struct undo_list *list);

/* Finds out what can be done with each; the list must be sorted. Nothing is written. */
void undo_list_judge(struct undo_list *list);

/*
 * Opens the undo files of the list, as far as they can be, for undo_list_first() and for
 * qcow2_undo_options.later; the newest so many of an image. undo_list_close() closes them.
 */
void undo_list_open(struct undo_list *list, size_t from, size_t to);
void undo_list_close(struct undo_list *list, size_t from, size_t to);

/*
 * The newest of those that are not undone, each made on what the one before left, beginning with
 * the entry of that index; or NULL. The list must be sorted, and be of one image.
 */
const struct undo_entry *undo_list_first(const struct undo_list *list, size_t index);

/* The open ones that are undone; *count of them. The caller frees the array. */
struct qcow2_undo **undo_list_undone(const struct undo_list *list, size_t from, size_t to,
				     size_t *count);

/* Forgets the last entry, or all of them. */
void undo_list_drop_last(struct undo_list *list);
void undo_list_release(struct undo_list *list);

/* ---- pages ---- */

const char *undo_state_name(enum qcow2_undo_state state);
const char *undo_now_name(enum undo_now now);
/* Why nothing proves that the guest's data were left alone; "" if something does. */
const char *undo_doubt_text(enum qcow2_undo_doubt doubt);

void undo_list_human(struct spool *out, const struct undo_list *list);
void undo_list_json(struct json *json, const struct undo_list *list);
/* Members of an object: what an undo did, or would do. */
void undo_result_json(struct json *json, const struct qcow2_undo_result *result);
/* Members of an object: what can be done with one now. */
void undo_now_json(struct json *json, const struct undo_list *list, const struct undo_entry *entry);
/* "exact", "safe: …", "after FILE", …, one line of the page of a single undo file. */
void undo_now_human(struct spool *out, const struct undo_list *list,
		    const struct undo_entry *entry);

/* ---- removing ---- */

struct undo_prune {
	const struct command *command;
	uint64_t older_seconds;
	bool yes, force, as_json;
};

/* A number and s, m, h, d or w. */
bool undo_age(const char *text, uint64_t *seconds);

/* Shows what would go, asks, and removes it. Returns the exit code. */
int undo_prune(const struct undo_prune *prune, struct undo_list *list, struct spool *out,
	       struct json *json);

#endif
