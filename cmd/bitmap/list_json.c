/* SPDX-License-Identifier: MIT */
/* qcow2 bitmap list as JSON. See docs/bitmap.schema.json. */
#include "bitmap/list.h"

static void number(struct json *json, const char *key, bool known, uint64_t value)
{
	json_key(json, key);
	if (known)
		json_number(json, value);
	else
		json_null(json);
}

static void problem(struct json *json, const char *key, const struct qcow2_problem_kind *kind)
{
	json_key(json, key);
	if (kind)
		json_text(json, kind->id);
	else
		json_null(json);
}

void list_json_begin(const struct list *list)
{
	struct json *json = &list->run->json;

	if (list->run->format == BITMAP_NDJSON)
		return;
	json_begin_object(json);
	json_text_member(json, "filename", bitmap_bytes(list->file));
	number(json, "virtual-size", list->image != NULL,
	       list->image ? qcow2_image_header(list->image)->size : 0);
	json_key(json, "image-in-use");
	json_bool(json, list->image_in_use);
	json_key(json, "bitmaps");
	json_begin_array(json);
}

void list_json_row(const struct list *list)
{
	struct json *json = &list->run->json;
	const struct qcow2_bitmap_totals *totals = &list->totals;
	unsigned bits = list->bitmap->entry.granularity_bits;
	bool ndjson = list->run->format == BITMAP_NDJSON;

	if (ndjson)
		json_begin_line_object(json);
	else
		json_begin_object(json);
	if (ndjson && list->chain)
		json_text_member(json, "filename", bitmap_bytes(list->file));
	json_text_member(json, "name", list->bitmap->name);
	number(json, "granularity", bits <= 63, UINT64_C(1) << (bits & 63));
	json_key(json, "state");
	json_text(json, list->state);
	problem(json, "problem", list->why);
	problem(json, "remark", list->remark);
	if (!list->counted) {
		json_key(json, "not-counted");
		json_text(json, list->uncounted.text);
	}
	number(json, "dirty-bytes", list->counted, totals->dirty_bytes);
	number(json, "disk-bytes", list->counted, totals->disk_bytes);
	number(json, "serialized-entries", list->counted, totals->serialized_entries);
	number(json, "all-zeroes-entries", list->counted, totals->all_zeroes_entries);
	number(json, "all-ones-entries", list->counted, totals->all_ones_entries);
	json_end_object(json);
	if (ndjson)
		spool_text(&list->run->out, "\n");
}

void list_json_end(const struct list *list)
{
	struct json *json = &list->run->json;

	if (list->run->format == BITMAP_NDJSON)
		return;
	json_end_array(json);
	if (list->omitted > 0)
		number(json, "bitmaps-omitted", true, list->omitted);
	json_end_object(json);
}
