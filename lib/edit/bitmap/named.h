/* SPDX-License-Identifier: MIT */
/* Bitmaps by name: what the verbs share. */
#ifndef Q2_EDIT_BITMAP_NAMED_H
#define Q2_EDIT_BITMAP_NAMED_H

#include "base/choices.h"
#include "edit/bitmap/editor.h"

/* Returns failed != 0 as -1, with the bitmap's name put in front of the error's text. */
int q2_verb_about(struct qcow2_bytes name, int failed, struct qcow2_error *err);

/*
 * Notes how a verb ended, and returns `failed`. After an error half of the change may be made, so
 * that the editor can plan nothing any more. QCOW2_ERROR_NOT_FOUND and QCOW2_ERROR_ARGUMENT come
 * before any change, and leave the editor as it is.
 */
int q2_verb_ended(struct qcow2_bitmap_editor *editor, int failed, const struct qcow2_error *err);

/* How many bitmaps have that name; *at becomes the index of the first of them. */
size_t q2_verb_count(const struct qcow2_bitmap_editor *editor, struct qcow2_bytes name, size_t *at);

/* Lists the names that there are, as many as fit, for errors. */
void q2_verb_names(const struct qcow2_bitmap_editor *editor, char names[Q2_CHOICES_ROOM]);

/* The one bitmap of that name. Errors: QCOW2_ERROR_NOT_FOUND, QCOW2_ERROR_ARGUMENT (several). */
int q2_verb_find(const struct qcow2_bitmap_editor *editor, struct qcow2_bytes name, size_t *at,
		 struct qcow2_error *err);

/*
 * The one bitmap of that name, whose bits may be relied on. Errors: as above, QCOW2_ERROR_ARGUMENT
 * (in use, or with extra data of an unknown kind), QCOW2_ERROR_BROKEN.
 */
int q2_verb_find_usable(const struct qcow2_bitmap_editor *editor, struct qcow2_bytes name,
			struct q2_edited_bitmap **out, struct qcow2_error *err);

/* Whether a bitmap may get that name. Errors: QCOW2_ERROR_ARGUMENT. */
int q2_verb_check_new_name(const struct qcow2_bitmap_editor *editor, struct qcow2_bytes name,
			   struct qcow2_error *err);

/*
 * Adds a bitmap that is all clean. granularity: bytes, a power of two, or 0 for the default.
 * Errors: QCOW2_ERROR_ARGUMENT, QCOW2_ERROR_LIMIT, QCOW2_ERROR_MEMORY.
 */
int q2_verb_add(struct qcow2_bitmap_editor *editor, struct qcow2_bytes name, uint64_t granularity,
		bool enabled, struct qcow2_error *err);

#endif
