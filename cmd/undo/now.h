/* SPDX-License-Identifier: MIT */
/* What can be done with the undo files of a list now. */
#ifndef CMD_UNDO_NOW_H
#define CMD_UNDO_NOW_H

#include "undo/list.h"

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

#endif
