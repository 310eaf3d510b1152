/* SPDX-License-Identifier: MIT */
/* The bits of a bitmap in memory. */
#ifndef Q2_EDIT_BITMAP_BITS_H
#define Q2_EDIT_BITMAP_BITS_H

#include "edit/bitmap/editor.h"

/* Returns how many bits a bitmap has: one for each granule of the disk. */
uint64_t q2_edited_bits(const struct qcow2_bitmap_editor *editor,
			const struct q2_edited_bitmap *bitmap);

/* Returns how many clusters the new table of a bitmap takes; 0 if it has none in memory. */
uint64_t q2_edited_table_clusters(const struct qcow2_bitmap_editor *editor,
				  const struct q2_edited_bitmap *bitmap);

/* Checks that QEMU accepts a bitmap of that granularity on this disk. Errors: QCOW2_ERROR_LIMIT. */
int q2_bitmap_fits(const struct qcow2_bitmap_editor *editor, unsigned granularity_bits,
		   struct qcow2_error *err);

/* Frees the table and the data that a bitmap has in memory. */
void q2_bitmap_release_bits(struct qcow2_bitmap_editor *editor, struct q2_edited_bitmap *bitmap);

/* Whether an entry gets a cluster of data. */
static inline bool q2_edited_has_data(const struct q2_edited_bitmap *bitmap, uint64_t index)
{
	return (bitmap->data && bitmap->data[index]) || (bitmap->from && bitmap->from[index]) ||
	       (bitmap->is_spelled_out && index == bitmap->entry_count - 1);
}

/*
 * Returns the data of an entry that has any: those in memory, or `room`, of one cluster, which is
 * filled; NULL with *err filled.
 */
const uint8_t *q2_edited_read(const struct qcow2_bitmap_editor *editor,
			      const struct q2_edited_bitmap *bitmap, uint64_t index, uint8_t *room,
			      struct qcow2_error *err);

/* Gives the last entry, whose bits are all set, data of its own. Errors: QCOW2_ERROR_LIMIT. */
int q2_bitmap_spell_out(struct qcow2_bitmap_editor *editor, struct q2_edited_bitmap *bitmap,
			struct qcow2_error *err);

/* Frees the data of one entry, if it has any. */
void q2_bitmap_release_data(struct qcow2_bitmap_editor *editor, struct q2_edited_bitmap *bitmap,
			    uint64_t index);

/*
 * Gives a bitmap a new table whose entries are all `entry`. What it had stored is given up. Errors:
 * QCOW2_ERROR_LIMIT, QCOW2_ERROR_MEMORY, QCOW2_ERROR_IO.
 */
int q2_bitmap_fill(struct qcow2_bitmap_editor *editor, struct q2_edited_bitmap *bitmap,
		   uint64_t entry, struct qcow2_error *err);

/*
 * Takes the table of a stored bitmap into memory, unless it is there already. Without `trust`, an
 * entry that is damaged or missing is an error. With `trust`, such an entry and one that cannot be
 * believed become all ones, since a backup that copies too much is right; *uncertain counts their
 * bits. Bits past the end of the bitmap are cleared. Errors: QCOW2_ERROR_BROKEN, QCOW2_ERROR_LIMIT,
 * QCOW2_ERROR_MEMORY, QCOW2_ERROR_IO.
 */
int q2_bitmap_load(struct qcow2_bitmap_editor *editor, struct q2_edited_bitmap *bitmap,
		   const struct q2_bitmap_trust *trust, uint64_t *uncertain,
		   struct qcow2_error *err);

/* Sets the bits [first, end) of a bitmap whose table is in memory. */
int q2_bitmap_set_bits(struct qcow2_bitmap_editor *editor, struct q2_edited_bitmap *bitmap,
		       uint64_t first, uint64_t end, struct qcow2_error *err);

/*
 * Returns the data of an entry, to be changed, after making it from what the entry says; NULL with
 * *err filled.
 */
uint8_t *q2_bitmap_data(struct qcow2_bitmap_editor *editor, struct q2_edited_bitmap *bitmap,
			uint64_t index, struct qcow2_error *err);

/*
 * Opens the dirty extents of a bitmap whose table is in memory. The bitmap must not change while
 * they are read.
 */
int q2_edited_extents(struct qcow2_bitmap_editor *editor, struct q2_edited_bitmap *bitmap,
		      struct qcow2_dirty_extents **out, struct qcow2_error *err);

#endif
