/* SPDX-License-Identifier: MIT */
/*
 * Changing dirty bitmaps, each change through a plan (edit.h). An editor takes the bitmap directory
 * into memory, changes it there, and plans all changes at once, so that several actions are one
 * plan: the bitmaps' autoclear bit is taken back, what is new goes where nothing is, then the
 * header points to it, and last the bit is set again and what is no longer used is counted as free
 * ("Bitmaps extension", "Bitmap directory").
 *
 *         if (qcow2_bitmap_editor_open(plan, &editor, &err) == 0 &&
 *             qcow2_bitmap_add(editor, name, 0, true, &err) == 0 &&
 *             qcow2_bitmap_editor_finish(editor, &err) == 0)
 *                 …
 *         qcow2_bitmap_editor_close(editor);
 *
 * after which the plan is judged and applied; examples/add_bitmap.c is a whole program.
 *
 * The actions. editor is never NULL. Names of bitmaps are bytes, 1 to
 * QCOW2_LIMIT_QEMU_BITMAP_NAME_BYTES of them. Besides what each of them adds, they fail with
 *   QCOW2_ERROR_NOT_FOUND  there is no bitmap of that name
 *   QCOW2_ERROR_ARGUMENT   several bitmaps have that name; or the bitmap is in use, or has extra
 *                          data of an unknown kind (remove and rename do not mind either)
 *   QCOW2_ERROR_BROKEN     what would be read of a bitmap is damaged
 *   QCOW2_ERROR_LIMIT      a limit of QEMU's would be passed
 *   QCOW2_ERROR_IO, QCOW2_ERROR_MEMORY
 * The text of an error begins with the bitmap that it is about, see qcow2_bitmap_error(). After
 * QCOW2_ERROR_NOT_FOUND and QCOW2_ERROR_ARGUMENT the editor is as it was, and other actions can
 * follow; after other errors, and after any error if err is NULL, it can only be closed.
 *
 * An editor may be used by one thread at a time; a plan has one editor at a time.
 */
#ifndef QCOW2_BITMAP_EDIT_H
#define QCOW2_BITMAP_EDIT_H

#include <qcow2/base.h>
#include <qcow2/bitmap.h>
#include <qcow2/edit.h>
#include <qcow2/error.h>
#include <qcow2/problem.h>

QCOW2_BEGIN_DECLS

/* ---- change dirty bitmaps ---- */

struct qcow2_bitmap_editor;

/*
 * Takes the bitmaps of an image, as a plan has it so far, into memory: the directory and the
 * tables, and the bits only of those bitmaps that an action changes.
 *
 * plan: stays the caller's, who keeps it open as long as the editor, and adds nothing to it until
 *   qcow2_bitmap_editor_finish().
 * *out: set to the editor; the caller closes it with qcow2_bitmap_editor_close().
 *
 * Returns 0, or -1 with *err filled:
 *   QCOW2_ERROR_ARGUMENT  an image of version 2, which has no bitmaps
 *   QCOW2_ERROR_BROKEN    the geometry, the extension or the directory is damaged, or the bitmaps
 *                         bit is not set: qcow2_bitmap_repair() is for that
 *   QCOW2_ERROR_LIMIT     over 2^20 bitmaps
 *   the errors of qcow2_image_open() and qcow2_bitmaps_next()
 */
QCOW2_API int qcow2_bitmap_editor_open(struct qcow2_plan *plan, struct qcow2_bitmap_editor **out,
				       struct qcow2_error *err);

/*
 * Closes an editor. What qcow2_bitmap_editor_finish() has not planned is dropped; the plan stays as
 * it is. editor: may be NULL, then nothing happens.
 */
QCOW2_API void qcow2_bitmap_editor_close(struct qcow2_bitmap_editor *editor);

/*
 * Adds to the plan what the actions have changed; nothing if nothing was. No more actions are
 * possible then. Room is looked for in the file first, and behind its end where it can grow; on a
 * device that is full, clusters of the image that a check finds unused are taken.
 *
 * Returns 0, or -1 with *err filled:
 *   QCOW2_ERROR_ARGUMENT  an action failed halfway before
 *   QCOW2_ERROR_LIMIT     the header cluster, the directory, the refcounts or the device have no
 *                         room; the text says what would help
 *   QCOW2_ERROR_BROKEN    the refcounts cannot be used
 *   the errors of qcow2_plan_write() and qcow2_check()
 * If it fails, the plan may hold a part of the change: close it.
 */
QCOW2_API int qcow2_bitmap_editor_finish(struct qcow2_bitmap_editor *editor,
					 struct qcow2_error *err);

/*
 * Tells the granularity that QEMU takes if none is asked for: the cluster size, but at least 4 KiB
 * and at most 64 KiB.
 *
 * geometry: of the image; not NULL.
 *
 * Returns it in bytes. Pure and thread safe.
 */
QCOW2_API uint64_t qcow2_bitmap_default_granularity(const struct qcow2_geometry *geometry);

/*
 * Adds a bitmap that is all clean. It says what is true only from now on: what was written before
 * is not in it.
 *
 * name: of the new bitmap; copied. Any bytes are allowed, but QEMU shows names as UTF-8.
 * granularity_bytes: the bytes of the disk that a bit stands for, a power of two from 512 to 2^31;
 *   0: qcow2_bitmap_default_granularity().
 * enabled: whether programs shall record writes in it (its flag auto).
 *
 * Returns 0, or -1 with *err filled: QCOW2_ERROR_ARGUMENT (there is a bitmap of that name, the name
 * is empty or too long, or the granularity makes no sense), QCOW2_ERROR_LIMIT (there are
 * QCOW2_LIMIT_QEMU_BITMAPS bitmaps, or the granularity is too fine for the size of the disk),
 * QCOW2_ERROR_MEMORY.
 */
QCOW2_API int qcow2_bitmap_add(struct qcow2_bitmap_editor *editor, struct qcow2_bytes name,
			       uint64_t granularity_bytes, bool enabled, struct qcow2_error *err);

/*
 * Removes a bitmap, whatever state it is in. Its clusters become free as far as nothing else refers
 * to them. The next incremental backup that builds on it has to be a full one.
 *
 * name: of the bitmap.
 *
 * Returns 0, or -1 with *err filled: the errors of all actions, see the top.
 */
QCOW2_API int qcow2_bitmap_remove(struct qcow2_bitmap_editor *editor, struct qcow2_bytes name,
				  struct qcow2_error *err);

/*
 * Makes all of a bitmap clean, as after a backup that copied what was dirty.
 *
 * name: of the bitmap.
 *
 * Returns 0, or -1 with *err filled: the errors of all actions, see the top.
 */
QCOW2_API int qcow2_bitmap_clear(struct qcow2_bitmap_editor *editor, struct qcow2_bytes name,
				 struct qcow2_error *err);

/*
 * Sets or clears the flag auto of a bitmap: whether programs record writes in it. Its bits stay.
 *
 * name: of the bitmap.
 * enabled: whether they shall.
 *
 * Returns 0, or -1 with *err filled: the errors of all actions, see the top.
 */
QCOW2_API int qcow2_bitmap_enable(struct qcow2_bitmap_editor *editor, struct qcow2_bytes name,
				  bool enabled, struct qcow2_error *err);

/*
 * Gives a bitmap another name, whatever state it is in. Its bits stay.
 *
 * name: of the bitmap.
 * new_name: copied.
 *
 * Returns 0, or -1 with *err filled: QCOW2_ERROR_ARGUMENT (there is a bitmap of the new name, or
 * that is empty or too long), the errors of all actions, see the top.
 */
QCOW2_API int qcow2_bitmap_rename(struct qcow2_bitmap_editor *editor, struct qcow2_bytes name,
				  struct qcow2_bytes new_name, struct qcow2_error *err);

/*
 * Makes everything dirty in one bitmap that is dirty in another one of the same image. Where the
 * granularities differ, a part of a granule that is dirty makes the whole dirty.
 *
 * source: name of the bitmap that is read, and stays as it is.
 * name: of the bitmap that is changed. If both are the same bitmap, nothing happens.
 *
 * Returns 0, or -1 with *err filled: the errors of all actions, see the top.
 */
QCOW2_API int qcow2_bitmap_merge(struct qcow2_bitmap_editor *editor, struct qcow2_bytes source,
				 struct qcow2_bytes name, struct qcow2_error *err);

/*
 * Makes everything dirty in a bitmap that a stream of extents calls dirty. The stream may come from
 * another image, such as the next one of a chain of snapshots. Where the granularities differ, a
 * part of a granule that is dirty makes the whole dirty.
 *
 * extents: read up to its end; stays the caller's.
 * name: of the bitmap that is changed.
 *
 * Returns 0, or -1 with *err filled: QCOW2_ERROR_ARGUMENT (the disks' sizes differ), the errors of
 * all actions, and those of qcow2_dirty_extents_next(), which name no bitmap.
 */
QCOW2_API int qcow2_bitmap_merge_extents(struct qcow2_bitmap_editor *editor,
					 struct qcow2_dirty_extents *extents,
					 struct qcow2_bytes name, struct qcow2_error *err);

/*
 * Replaces the bits of a bitmap.
 *
 * name: of the bitmap.
 * bits: a bit for each granule of the disk, least significant first; just as many bytes as that
 *   takes, with zeros past the end. Copied.
 *
 * Returns 0, or -1 with *err filled: QCOW2_ERROR_ARGUMENT (the size is wrong, and the text names
 * the granularities for which it would be right; or bits past the end are set), the errors of all
 * actions, see the top.
 */
QCOW2_API int qcow2_bitmap_import(struct qcow2_bitmap_editor *editor, struct qcow2_bytes name,
				  struct qcow2_bytes bits, struct qcow2_error *err);

/*
 * Replaces the bits of a bitmap with those of an exported file (bitmap_file.h), which says what it
 * is about. A bitmap that is not there is added, with the granularity of the file, and enabled if
 * the exported one was.
 *
 * name: of the bitmap.
 * file: the whole file; copied.
 *
 * Returns 0, or -1 with *err filled: QCOW2_ERROR_ARGUMENT (the disk has another size, or the bitmap
 * is there and has another granularity), the errors of qcow2_bitmap_file_parse(), and of all
 * actions. That the file is stale is for the caller to find out.
 */
QCOW2_API int qcow2_bitmap_import_file(struct qcow2_bitmap_editor *editor, struct qcow2_bytes name,
				       struct qcow2_bytes file, struct qcow2_error *err);

/* ---- repair dirty bitmaps ---- */

/* What was done about a damaged bitmap. */
enum qcow2_bitmap_remedy {
	QCOW2_BITMAP_REMEDY_MENDED = 0, /* it is usable, and what was not certain counts as dirty */
	QCOW2_BITMAP_REMEDY_DROPPED = 1,   /* it is gone */
	QCOW2_BITMAP_REMEDY_ALL_DIRTY = 2, /* it is usable, and all dirty */
	QCOW2_BITMAP_REMEDY_LEFT = 3,      /* nothing: it can be left as it is */
	QCOW2_BITMAP_REMEDY_NEEDED = 4,    /* nothing yet: drop it, or assume it dirty */
};

/*
 * Something that is wrong with the bitmaps, and what was done about it. The library owns it and all
 * that it points to, for the time of the callback.
 */
struct qcow2_bitmap_treatment {
	size_t size;             /* set by the library */
	bool has_bitmap;         /* false: it is about the directory or the extension */
	uint64_t index;          /* of the bitmap in the directory */
	struct qcow2_bytes name; /* of the bitmap, not safe to print */
	const struct qcow2_problem_kind *kind; /* NULL: the caller asked for it by name */
	const char *what; /* what is wrong, one safe line; NULL if the text of the kind says it */
	enum qcow2_bitmap_remedy remedy;
	/* With LEFT and NEEDED: assume_dirty would make it usable; else it can only be dropped. */
	bool can_be_dirty;
	uint64_t dirty_bytes; /* of the disk that count as dirty now and were not known to be */
	const char *cost;     /* what that means, one safe line */
};

/* How to repair. The caller owns it and sets size; zeros mend what can be mended. */
struct qcow2_bitmap_repair_options {
	size_t size;   /* sizeof(struct qcow2_bitmap_repair_options) */
	bool drop_bad; /* drop bitmaps that cannot be mended, or are stale */
	/* Make bitmaps all dirty: those that are named, or without names all that are stale or
	 * cannot be mended. Where it is possible, this comes before drop_bad. */
	bool assume_dirty;
	const struct qcow2_bytes *names; /* name_count names, for assume_dirty */
	size_t name_count;
	/* Called for each thing that is wrong. Not 0 stops the repair. May be NULL. */
	int (*tell)(void *opaque, const struct qcow2_bitmap_treatment *treatment);
	void *opaque; /* handed to tell() */
};

/*
 * Plans what makes every bitmap of an image usable again, each looked at by itself; sound ones stay
 * as they are. Superfluous dirty bits are harmless to a chain of backups, missing ones are not: so
 * a bit that may have been dirty never comes out clean. Bits are believed in those clusters alone
 * that belong to one bitmap and are counted as such; the planned image is read again and compared
 * with that.
 *
 * plan: has no changes of bitmaps yet.
 * options: NULL for all defaults.
 *
 * Returns 0 with the plan filled; nothing is planned if nothing is wrong. Bitmaps with the remedy
 * QCOW2_BITMAP_REMEDY_LEFT are still stale then: no backup can rely on them. Returns -1 with *err
 * filled:
 *   QCOW2_ERROR_BROKEN     something needs a decision, drop_bad or assume_dirty: tell() was given
 *                          it with the remedy QCOW2_BITMAP_REMEDY_NEEDED
 *   QCOW2_ERROR_NOT_FOUND  no bitmap has one of the names
 *   QCOW2_ERROR_STOPPED    tell() asked to stop
 *   the errors of qcow2_bitmap_editor_open(), qcow2_bitmap_editor_finish() and qcow2_check()
 * If it fails, the plan may hold a part of the change: close it.
 */
QCOW2_API int qcow2_bitmap_repair(struct qcow2_plan *plan,
				  const struct qcow2_bitmap_repair_options *options,
				  struct qcow2_error *err);

QCOW2_END_DECLS

#endif
