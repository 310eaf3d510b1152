/* SPDX-License-Identifier: MIT */
/*
 * Changing dirty bitmaps, each change through a plan (edit.h). An editor takes the bitmap directory
 * into memory, changes it there, and plans all of it at once, so that several actions are one plan:
 * the bitmaps' autoclear bit is taken back, what is new goes where nothing is, then the header
 * points to it, and last the bit is set again and what is no longer used is counted as free.
 *
 * An editor may be used by one thread at a time; a plan may have one editor.
 */
#ifndef QCOW2_BITMAP_EDIT_H
#define QCOW2_BITMAP_EDIT_H

#include <qcow2/base.h>
#include <qcow2/bitmap.h>
#include <qcow2/edit.h>
#include <qcow2/error.h>
#include <qcow2/problem.h>

QCOW2_BEGIN_DECLS

struct qcow2_bitmap_editor;

/*
 * Takes the bitmaps of an image, as the plan has it so far, into memory. The plan stays the
 * caller's; nothing else may be added to it until qcow2_bitmap_editor_finish().
 *
 * Returns 0 and sets *out (close it with qcow2_bitmap_editor_close()), or -1 with *err filled:
 * QCOW2_ERROR_ARGUMENT (version 2, which has none), QCOW2_ERROR_BROKEN (the geometry, the extension
 * or the directory is damaged, or the bitmaps bit is not set: qcow2_bitmap_repair() is for that),
 * QCOW2_ERROR_LIMIT (over 2^20 bitmaps), those of qcow2_image_open() and qcow2_bitmaps_next().
 */
QCOW2_API int qcow2_bitmap_editor_open(struct qcow2_plan *plan, struct qcow2_bitmap_editor **out,
				       struct qcow2_error *err);

/* NULL is fine. What was not planned is dropped. */
QCOW2_API void qcow2_bitmap_editor_close(struct qcow2_bitmap_editor *editor);

/*
 * Plans what was changed; nothing if nothing was. No more changes can be made then. Errors:
 * QCOW2_ERROR_ARGUMENT (an action failed halfway, with another error than NOT_FOUND or ARGUMENT),
 * QCOW2_ERROR_LIMIT (the header cluster, the directory or the refcounts have no room),
 * QCOW2_ERROR_BROKEN (the refcounts cannot be used), those of qcow2_plan_write() and qcow2_check().
 */
QCOW2_API int qcow2_bitmap_editor_finish(struct qcow2_bitmap_editor *editor,
					 struct qcow2_error *err);

/*
 * The granularity that QEMU takes if none is asked for: the cluster size, but 4 KiB to 64 KiB.
 */
QCOW2_API uint64_t qcow2_bitmap_default_granularity(const struct qcow2_geometry *geometry);

/*
 * The actions. name is 1 to 1023 bytes. All may fail with QCOW2_ERROR_MEMORY, QCOW2_ERROR_IO and
 *   QCOW2_ERROR_NOT_FOUND  there is no bitmap of that name
 *   QCOW2_ERROR_ARGUMENT   there is one already, several have it, the name is empty or too long, or
 *                          the bitmap is in use, which only remove and rename do not mind
 *   QCOW2_ERROR_BROKEN     what would be read of a bitmap is damaged
 *   QCOW2_ERROR_LIMIT      a limit of QEMU's would be passed
 * The text of an error begins with the bitmap that it is about: see qcow2_bitmap_error().
 */

/* A new bitmap, all clean. granularity_bytes: a power of two, 512 to 2^31; 0: as QEMU does. */
QCOW2_API int qcow2_bitmap_add(struct qcow2_bitmap_editor *editor, struct qcow2_bytes name,
			       uint64_t granularity_bytes, bool enabled, struct qcow2_error *err);
QCOW2_API int qcow2_bitmap_remove(struct qcow2_bitmap_editor *editor, struct qcow2_bytes name,
				  struct qcow2_error *err);
/* All clean from now on. */
QCOW2_API int qcow2_bitmap_clear(struct qcow2_bitmap_editor *editor, struct qcow2_bytes name,
				 struct qcow2_error *err);
/* Sets or clears the flag auto: whether programs record writes in it. */
QCOW2_API int qcow2_bitmap_enable(struct qcow2_bitmap_editor *editor, struct qcow2_bytes name,
				  bool enabled, struct qcow2_error *err);
QCOW2_API int qcow2_bitmap_rename(struct qcow2_bitmap_editor *editor, struct qcow2_bytes name,
				  struct qcow2_bytes new_name, struct qcow2_error *err);

/* Makes all dirty in name that is dirty in source, a bitmap of the same image. */
QCOW2_API int qcow2_bitmap_merge(struct qcow2_bitmap_editor *editor, struct qcow2_bytes source,
				 struct qcow2_bytes name, struct qcow2_error *err);

/*
 * Makes all dirty that extents, which may come from another image, tell of. Where granularities
 * differ, a part of a granule that is dirty makes the whole dirty. Errors: QCOW2_ERROR_ARGUMENT
 * (the disks' sizes differ), those of qcow2_dirty_extents_next(), which name no bitmap.
 */
QCOW2_API int qcow2_bitmap_merge_extents(struct qcow2_bitmap_editor *editor,
					 struct qcow2_dirty_extents *extents,
					 struct qcow2_bytes name, struct qcow2_error *err);

/*
 * Replaces the bits of a bitmap: bits.size must be just what it has, a bit for each granule, least
 * significant first, and bits past the end zero. Errors: QCOW2_ERROR_ARGUMENT; if the size is
 * wrong, the text names the granularities for which it would be right.
 */
QCOW2_API int qcow2_bitmap_import(struct qcow2_bitmap_editor *editor, struct qcow2_bytes name,
				  struct qcow2_bytes bits, struct qcow2_error *err);

/*
 * The same from a whole file of bitmap_file.h, which says what it is about. A bitmap that is not
 * there is added, with the file's granularity, enabled if it was. Errors: QCOW2_ERROR_ARGUMENT (the
 * disk has another size, or the bitmap is there and has another granularity), those of
 * qcow2_bitmap_file_open().
 */
QCOW2_API int qcow2_bitmap_import_file(struct qcow2_bitmap_editor *editor, struct qcow2_bytes name,
				       struct qcow2_bytes file, struct qcow2_error *err);

/* ---- repair ---- */

/* What was done about a damaged bitmap. */
enum qcow2_bitmap_remedy {
	QCOW2_BITMAP_REMEDY_MENDED,    /* it is usable, and what was not certain counts as dirty */
	QCOW2_BITMAP_REMEDY_DROPPED,   /* it is gone */
	QCOW2_BITMAP_REMEDY_ALL_DIRTY, /* it is usable, and all dirty */
	QCOW2_BITMAP_REMEDY_LEFT,      /* nothing: it can be left as it is */
	QCOW2_BITMAP_REMEDY_NEEDED,    /* nothing yet: drop it, or assume it dirty */
};

/* Something that is wrong with the bitmaps; views live during the call only. */
struct qcow2_bitmap_treatment {
	bool has_bitmap; /* false: it is the directory or the extension */
	uint64_t index;
	struct qcow2_bytes name;
	const struct qcow2_problem_kind *kind; /* NULL: it was asked for by name */
	const char *what; /* what is wrong, one safe line; NULL if the kind's text says it */
	enum qcow2_bitmap_remedy remedy;
	/* LEFT, NEEDED: assume_dirty would make it usable; else it can only be dropped. */
	bool can_be_dirty;
	uint64_t dirty_bytes; /* of the disk that count as dirty now and were not known to be */
	const char *cost;     /* what that means, one safe line */
};

struct qcow2_bitmap_repair_options {
	bool drop_bad;     /* drop bitmaps that cannot be mended, or are stale */
	bool assume_dirty; /* make the named bitmaps, or all that are stale or beyond mending,
			      dirty; where it can be, this comes before drop_bad */
	const struct qcow2_bytes *names; /* for assume_dirty */
	size_t name_count;
	void (*tell)(void *opaque, const struct qcow2_bitmap_treatment *repair); /* may be NULL */
	void *opaque;
};

/*
 * Plans what makes every bitmap usable again, each looked at by itself; sound ones stay as they
 * are. Superfluous dirty bits are harmless to a chain of backups, missing ones are not: a bit that
 * may have been dirty never comes out clean. Bits are believed only in clusters that are one
 * bitmap's alone and are counted as such; the planned image is read again and compared with that.
 *
 * Returns 0 with the plan filled; nothing is planned if nothing is wrong. Bitmaps with the remedy
 * QCOW2_BITMAP_REMEDY_LEFT, of which tell has heard, are still stale then: no backup can rely on them.
 * Returns -1 with *err filled: QCOW2_ERROR_BROKEN (something needs a decision, drop_bad or
 * assume_dirty, of which tell has heard), QCOW2_ERROR_NOT_FOUND (no bitmap has one of the names),
 * those of qcow2_bitmap_editor_open(), qcow2_bitmap_editor_finish() and qcow2_check().
 */
QCOW2_API int qcow2_bitmap_repair(struct qcow2_plan *plan,
				  const struct qcow2_bitmap_repair_options *options,
				  struct qcow2_error *err);

QCOW2_END_DECLS

#endif
