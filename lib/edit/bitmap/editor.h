/* SPDX-License-Identifier: MIT */
/* A bitmap editor as the files of this room see it. */
#ifndef Q2_EDIT_BITMAP_EDITOR_H
#define Q2_EDIT_BITMAP_EDITOR_H

#include <qcow2/bitmap_edit.h>
#include <qcow2/entry.h>

#include "base/hash.h"
#include "base/vector.h"
#include "edit/bitmap/trust.h"
#include "plan/allocator.h"

#define Q2_BITMAP_ENTRY_ONES QCOW2_ENTRY_MASK(bitmap_table_entry, all_ones)

/* A bitmap in memory. */
struct q2_edited_bitmap {
	struct qcow2_bitmap_dir_entry entry;
	uint8_t *name, *extra;
	uint64_t index;    /* in the directory that was read; UINT64_MAX: a new one */
	bool stored;       /* entry has a table in the file */
	uint64_t *entries; /* of the new table; NULL: the table stays as it is */
	uint8_t **data;    /* of each entry: a new cluster, or NULL: what the entry says */
	uint64_t entry_count;
	bool all_dirty; /* because it was to be assumed */
};

/* What is new in a plan of bitmaps, in clusters. */
struct q2_bitmap_needs {
	uint64_t clusters; /* all of it: data, tables, directory */
	uint64_t directory_bytes, directory_clusters;
};

struct qcow2_bitmap_editor {
	struct qcow2_plan *plan;
	struct qcow2_source *view; /* the image as it was planned before */
	struct qcow2_image *image;
	const struct qcow2_geometry *geometry;
	struct q2_edited_bitmap **bitmaps;
	uint64_t *hashes; /* of their names: there may be 65,535 */
	size_t count, capacity;
	const struct q2_bitmap_trust *trust; /* of a repair; else NULL */
	struct q2_hash_key key;
	bool changed, inconsistent;
	bool failed;             /* halfway through a change: nothing can be planned any more */
	bool careful;            /* refcounts are too low: what they call free may be in use */
	uint64_t held_bytes;     /* of tables and data in memory */
	uint64_t unread_entries; /* of tables that are given up: so many more may be read */
	bool has_extension;
	uint64_t directory_offset, directory_size; /* as the extension has them */
	struct q2_vector given_up;                 /* clusters that are no longer referred to */
	struct q2_allocator *allocator;
	struct q2_bitmap_needs needs;
	bool reuses; /* clusters that were given up: until then, the header names no bitmaps */
	size_t extension_index; /* where among the extensions it stood then */
	struct qcow2_source *after_view;
};

/* ---- the list ---- */

/* How to read a directory: what is damaged is an error, or as much is taken as can be. */
enum q2_directory_mode { Q2_DIRECTORY_STRICT, Q2_DIRECTORY_LENIENT };

int q2_bitmap_editor_new(struct qcow2_plan *plan, struct qcow2_bitmap_editor **out,
			 struct qcow2_error *err);
/* Takes an entry of the directory over. */
int q2_bitmap_editor_take(struct qcow2_bitmap_editor *editor, const struct qcow2_bitmap *bitmap,
			  struct qcow2_error *err);
/* A new one at the end of the list, which belongs to the editor; NULL if memory is short. */
struct q2_edited_bitmap *q2_bitmap_editor_append(struct qcow2_bitmap_editor *editor,
						 struct qcow2_bytes name);
void q2_bitmap_editor_drop(struct qcow2_bitmap_editor *editor, size_t at);
bool q2_bitmap_editor_rename(struct qcow2_bitmap_editor *editor, size_t at,
			     struct qcow2_bytes name);
struct qcow2_bytes q2_edited_name(const struct q2_edited_bitmap *bitmap);

/*
 * Gives up the clusters that a stored bitmap has: they are free if nothing else refers to them. Of
 * tables that overlap, what the file cannot hold is left for a check to find.
 */
int q2_bitmap_give_up(struct qcow2_bitmap_editor *editor, struct q2_edited_bitmap *bitmap,
		      struct qcow2_error *err);
int q2_give_up_clusters(struct qcow2_bitmap_editor *editor, uint64_t offset_bytes,
			uint64_t size_bytes, struct qcow2_error *err);

/* ---- storing ---- */

/* Data are stored in runs of so many bytes, if there is such a run. */
#define Q2_BITMAP_RUN_BYTES ((size_t)1 << 20)

/* The entry of a bitmap in the directory. */
uint64_t q2_edited_entry_size(const struct q2_edited_bitmap *bitmap);
void q2_edited_put_entry(uint8_t *to, const struct q2_edited_bitmap *bitmap);

/*
 * Opens the allocator and takes clusters for all that is new: entries, tables' offsets and
 * *directory are set, nothing is planned. Where a device has no room, clusters that are given up
 * are taken as well, if a check shows that nothing else refers to them, and editor->reuses is set.
 * Errors: QCOW2_ERROR_LIMIT (full: says how much is missing and what would make room), those of
 * q2_allocator_take().
 */
int q2_bitmaps_place(struct qcow2_bitmap_editor *editor, bool distrusted, uint64_t *directory,
		     struct qcow2_error *err);

/* ---- bits ---- */

/* How many bits a bitmap has. */
uint64_t q2_edited_bits(const struct qcow2_bitmap_editor *editor,
			const struct q2_edited_bitmap *bitmap);

/* Whether QEMU takes a bitmap of that granularity; says why not. */
int q2_bitmap_fits(const struct qcow2_bitmap_editor *editor, unsigned granularity_bits,
		   struct qcow2_error *err);

/* Frees the table and the data that a bitmap has in memory. */
void q2_bitmap_release_bits(struct qcow2_bitmap_editor *editor, struct q2_edited_bitmap *bitmap);

/* Frees the data of one entry, if it has any. */
void q2_bitmap_release_data(struct qcow2_bitmap_editor *editor, struct q2_edited_bitmap *bitmap,
			    uint64_t index);

/* Gives a bitmap a new table, all of whose entries are just so. */
int q2_bitmap_fill(struct qcow2_bitmap_editor *editor, struct q2_edited_bitmap *bitmap,
		   uint64_t entry, struct qcow2_error *err);

/*
 * Takes the table of a stored bitmap into memory, unless it is there. Entries that are damaged or
 * missing are errors; with trust, they and those that cannot be believed become all ones, and
 * *uncertain counts the bits of them.
 */
int q2_bitmap_load(struct qcow2_bitmap_editor *editor, struct q2_edited_bitmap *bitmap,
		   const struct q2_bitmap_trust *trust, uint64_t *uncertain,
		   struct qcow2_error *err);

/* Sets the bits [first, end) of a bitmap whose table is in memory. */
int q2_bitmap_set_bits(struct qcow2_bitmap_editor *editor, struct q2_edited_bitmap *bitmap,
		       uint64_t first, uint64_t end, struct qcow2_error *err);

/* The data of an entry in memory, to be changed; NULL with *err filled. */
uint8_t *q2_bitmap_data(struct qcow2_bitmap_editor *editor, struct q2_edited_bitmap *bitmap,
			uint64_t index, struct qcow2_error *err);

/* The extents of a bitmap whose table is in memory; it must not change while they are read. */
int q2_edited_extents(struct qcow2_bitmap_editor *editor, struct q2_edited_bitmap *bitmap,
		      struct qcow2_dirty_extents **out, struct qcow2_error *err);

#endif
