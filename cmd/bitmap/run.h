/* SPDX-License-Identifier: MIT */
/* One call of qcow2 bitmap, and what its actions share. */
#ifndef CMD_BITMAP_RUN_H
#define CMD_BITMAP_RUN_H

#include "common/change.h"
#include "out/progress.h"

#include <qcow2/bitmap.h>
#include <qcow2/bitmap_edit.h>

enum bitmap_show { BITMAP_ALL, BITMAP_DIRTY, BITMAP_CLEAN };
enum bitmap_format { BITMAP_LINES, BITMAP_JSON, BITMAP_NDJSON };

/* One call of the command. */
struct bitmap_run {
	const struct command *command;
	const struct action_row *action;
	const char *file;
	struct qcow2_source *source; /* of an action that only reads */
	struct qcow2_image *image;
	char **names;
	size_t name_count;
	enum bitmap_format format;
	enum bitmap_show show;
	enum qcow2_dirty_extents_operation operation;
	bool force, sparse, raw, disabled, drop_bad, assume_dirty, chain;
	uint64_t granularity;
	unsigned processors; /* of the action extents */
	const char *to;      /* where export writes */
	const char *from;    /* the image of other bitmaps */
	struct change change;
	struct spool out;
	struct json json;
	struct progress progress; /* of actions that only read */
};

/*
 * Say an error of the image, or of a bitmap of one; if there is none of that name, it says which
 * there are. Return EXIT_COULD_NOT.
 */
int bitmap_fail(const struct bitmap_run *run, const struct qcow2_error *err);
int bitmap_fail_name(const struct bitmap_run *run, const struct qcow2_image *image,
		     const char *name, const struct qcow2_error *err);

/*
 * Says an error of a change, and which bitmaps there are if one was not found; the text of *err gets
 * longer. Returns EXIT_COULD_NOT.
 */
int bitmap_fail_change(const struct change *change, struct qcow2_error *err);

struct qcow2_bytes bitmap_bytes(const char *text);

/*
 * Finds the entry of a bitmap that can be relied on; with `force`, of any bitmap. 0, or -1 with
 * *err filled.
 */
int bitmap_find_usable(const struct qcow2_image *image, const char *name, bool force,
		       struct qcow2_bitmap_dir_entry *entry, struct qcow2_error *err);

/*
 * Opens the extents of one bitmap. Returns EXIT_FINE, or EXIT_COULD_NOT when the error has been
 * said.
 */
int bitmap_open_extents(const struct bitmap_run *run, const struct qcow2_image *image,
			const char *name, struct qcow2_dirty_extents **out);

/* Parses the value of --granularity, which is never 0. 0, or -1 with *err filled. */
int bitmap_granularity(const char *text, uint64_t *bytes, struct qcow2_error *err);

#endif
