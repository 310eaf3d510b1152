/* SPDX-License-Identifier: MIT */
/*
 * A bitmap editor, as data that the files of this folder share. A change runs through them in this
 * order: open.c reads the directory, verbs.c changes bitmaps in memory, store.c plans the result
 * with clusters that place.c takes.
 */
#ifndef Q2_EDIT_BITMAP_EDITOR_H
#define Q2_EDIT_BITMAP_EDITOR_H

#include <qcow2/bitmap_edit.h>
#include <qcow2/entry.h>

#include "base/hash.h"
#include "base/vector.h"
#include "edit/bitmap_trust/within.h"
#include "plan/allocator.h"

#define Q2_BITMAP_ENTRY_ONES QCOW2_ENTRY_MASK(bitmap_table_entry, all_ones)

struct q2_bitmap_trust;

/*
 * A bitmap in memory. As long as `entries` is NULL, its table and data stay where the file has
 * them. Otherwise it gets a new table. An entry with data (q2_edited_has_data()) becomes their place
 * once one is taken. Data are a cluster of bits in memory, or in the file, where they are read when
 * they are written; or they are made then, if the last entry is spelled out. An entry without data
 * says all bits at once, as 0 or Q2_BITMAP_ENTRY_ONES.
 */
struct q2_edited_bitmap {
	struct qcow2_bitmap_dir_entry entry;
	uint8_t *name, *extra;
	uint64_t index;    /* in the directory that was read; UINT64_MAX: a new one */
	bool stored;       /* entry has a table in the file */
	uint64_t *entries; /* of the new table; NULL: the table stays as it is */
	uint8_t **data;    /* of each entry: bits in memory, or NULL; NULL: of none */
	uint64_t *from;    /* of each entry: where the file has its bits, or 0; NULL: of none */
	uint64_t entry_count;
	bool is_spelled_out; /* all bits of the last entry are set, and those past the end are not */
	bool all_dirty;      /* because the caller asked to assume that it is */
	bool left;           /* a repair does nothing about it: it is as it was */
};

/* The clusters that a plan of bitmaps has to take. */
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
	bool failed;  /* a change failed halfway: nothing can be planned any more */
	bool careful; /* refcounts are too low: a cluster that they call free may be in use */
	uint64_t held_bytes;     /* of tables and data that are to be written */
	uint64_t unread_entries; /* of tables that are given up: how many may still be read */
	bool has_extension;
	uint64_t directory_offset, directory_size; /* as the extension has them */
	struct q2_vector given_up;                 /* clusters that are no longer referred to */
	struct q2_allocator *allocator;
	const struct q2_bitmap_within *within; /* NULL, or who hands out clusters instead */
	struct q2_bitmap_needs needs;
	bool reuses; /* takes clusters that were given up: meanwhile the header names no bitmaps */
	size_t extension_index; /* of the bitmaps extension, before it was withdrawn */
	struct qcow2_source *after_view;
};

#endif
