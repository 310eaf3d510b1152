/* SPDX-License-Identifier: MIT */
/* The pages of qcow2 undo. */
#ifndef CMD_UNDO_PAGES_H
#define CMD_UNDO_PAGES_H

#include "out/json.h"
#include "out/spool.h"
#include "undo/list.h"

const char *undo_state_name(enum qcow2_undo_state state);
const char *undo_now_name(enum undo_now now);
/* Returns why nothing proves that guest data were left alone; "" if something does. */
const char *undo_doubt_text(enum qcow2_undo_doubt doubt);

void undo_list_human(struct spool *out, const struct undo_list *list);
void undo_list_json(struct json *json, const struct undo_list *list);
/* Write members of an object: what an undo did, or would do. */
void undo_result_json(struct json *json, const struct qcow2_undo_result *result);
/* Write members of an object: what can be done with an undo file now. */
void undo_now_json(struct json *json, const struct undo_list *list, const struct undo_entry *entry);
/* "exact", "safe: …", "after FILE", …, one line of the page of a single undo file. */
void undo_now_human(struct spool *out, const struct undo_list *list,
		    const struct undo_entry *entry);

#endif
