/* SPDX-License-Identifier: MIT */
/* What can be done with the undo files of a list now. */
#ifndef CMD_UNDO_NOW_H
#define CMD_UNDO_NOW_H

#include "undo/list.h"

/* Judges all entries of a sorted list. Writes nothing. */
void undo_list_judge(struct undo_list *list);

/*
 * Opens the undo files [from, to) of the list, at most the newest 256, for undo_list_first() and
 * for qcow2_undo_options.later. undo_list_close() closes them.
 */
void undo_list_open(struct undo_list *list, size_t from, size_t to);
void undo_list_close(struct undo_list *list, size_t from, size_t to);

/*
 * Returns the entry that has to be undone first: follows the entries that are not undone, each made
 * on what the one before left, from `index` on. NULL if there is none. The list is sorted and of
 * one image.
 */
const struct undo_entry *undo_list_first(const struct undo_list *list, size_t index);

/*
 * Returns the open undo files that are undone, *count of them, in an array that the caller frees.
 */
struct qcow2_undo **undo_list_undone(const struct undo_list *list, size_t from, size_t to,
				     size_t *count);

#endif
