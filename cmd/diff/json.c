/* SPDX-License-Identifier: MIT */
/* The differences as one JSON document. */
#include <string.h>

#include "diff/run.h"

#include <qcow2/entry.h>

static const char *const sides[2] = {"a", "b"};

/* "value", and what belongs to it, of the object at hand. */
static void write_value(struct json *json, const struct qcow2_value *value)
{
	if (value->kind == QCOW2_VALUE_TEXT) {
		json_text_member(json, "value", value->bytes);
	} else {
		json_key(json, "value");
		if (value->kind == QCOW2_VALUE_NUMBER)
			json_number(json, value->number);
		else if (value->kind == QCOW2_VALUE_BOOL)
			json_bool(json, value->number != 0);
		else if (value->kind == QCOW2_VALUE_BYTES)
			json_hex(json, value->bytes);
		else
			json_null(json);
	}
	if (value->kind == QCOW2_VALUE_NUMBER && value->number > JSON_EXACT_MOST)
		json_hex_member(json, "value-hex", value->number);
	if (value->offset_bytes != QCOW2_NO_OFFSET) {
		json_key(json, "offset");
		json_number(json, value->offset_bytes);
	}
	if (value->raw.size > 0) {
		json_key(json, "raw");
		json_hex(json, value->raw);
	}
}

static void begin_difference(struct json *json, const char *path, const char *change)
{
	json_begin_object(json);
	json_key(json, "path");
	json_bytes_as_text(json, (struct qcow2_bytes){(const uint8_t *)path, strlen(path)});
	json_key(json, "change");
	json_text(json, change);
}

static int show_field(void *opaque, const struct qcow2_diff_field *field)
{
	struct diff_run *run = opaque;
	struct json *json = &run->json;

	if (run->in_element) {
		json_begin_object(json);
		json_key(json, "name");
		json_text(json, field->name);
		write_value(json, field->values[field->values[0] ? 0 : 1]);
		json_end_object(json);
		return run->out.errnum;
	}
	begin_difference(json, field->path,
			 !field->values[0]   ? "added"
			 : !field->values[1] ? "removed"
					     : "changed");
	for (size_t side = 0; side < 2; side++) {
		json_key(json, sides[side]);
		if (!field->values[side]) {
			json_null(json);
			continue;
		}
		json_begin_object(json);
		write_value(json, field->values[side]);
		json_end_object(json);
	}
	json_end_object(json);
	return run->out.errnum;
}

static void write_entry(struct diff_run *run, const struct qcow2_diff_range *range,
			enum qcow2_diff_side side)
{
	const struct qcow2_diff_entry *entry = range->entries[side];
	const char *type = diff_entry_type(run, range, side);
	struct json *json = &run->json;
	bool counts =
		range->table == QCOW2_DIFF_REFCOUNTS || range->table == QCOW2_DIFF_BITMAP_DATA;

	json_key(json, sides[side]);
	if (entry->lost) {
		json_null(json);
		return;
	}
	json_begin_object(json);
	if (range->table == QCOW2_DIFF_BITMAP_DATA)
		json_number_member(json, "bits-set", entry->entry);
	else
		json_number_member(json, "value", entry->entry);
	if (!counts)
		json_hex_member(json, "value-hex", entry->entry);
	if (type) {
		json_key(json, "type");
		json_text(json, type);
	}
	if (range->table == QCOW2_DIFF_L2 && qcow2_image_geometry(run->images[side])->extended_l2)
		json_hex_member(json, "subclusters", entry->subclusters);
	if (entry->step_bytes > 0)
		json_number_member(json, "step", entry->step_bytes);
	if (entry->offset_bytes != QCOW2_NO_OFFSET)
		json_number_member(json, "offset", entry->offset_bytes);
	json_end_object(json);
}

static int show_range(void *opaque, const struct qcow2_diff_range *range)
{
	struct diff_run *run = opaque;
	struct json *json = &run->json;

	begin_difference(json, range->path, range->moved ? "moved" : "changed");
	json_number_member(json, "first", range->first);
	json_number_member(json, "last", range->last);
	if (range->table == QCOW2_DIFF_L2)
		json_number_member(json, "guest", range->guest_byte);
	if (range->table == QCOW2_DIFF_REFCOUNTS)
		json_number_member(json, "host", range->host_byte);
	write_entry(run, range, QCOW2_DIFF_A);
	write_entry(run, range, QCOW2_DIFF_B);
	json_end_object(json);
	return run->out.errnum;
}

static int begin_element(void *opaque, const struct qcow2_diff_element *element)
{
	struct diff_run *run = opaque;
	struct json *json = &run->json;
	bool removed = element->side == QCOW2_DIFF_A;

	begin_difference(json, element->path, removed ? "removed" : "added");
	json_key(json, sides[!removed ? 0 : 1]);
	json_null(json);
	json_key(json, sides[removed ? 0 : 1]);
	json_begin_object(json);
	json_key(json, "fields");
	json_begin_array(json);
	run->in_element = true;
	return run->out.errnum;
}

static int end_element(void *opaque, const struct qcow2_diff_element *element)
{
	struct diff_run *run = opaque;

	(void)element;
	run->in_element = false;
	json_end_array(&run->json);
	json_end_object(&run->json);
	json_end_object(&run->json);
	return run->out.errnum;
}

const struct qcow2_diff_visitor diff_json = {
	.size = sizeof(diff_json),
	.field = show_field,
	.range = show_range,
	.begin_element = begin_element,
	.end_element = end_element,
	.gap = diff_keep_gap,
};

static struct qcow2_bytes text(const char *text)
{
	return (struct qcow2_bytes){(const uint8_t *)text, strlen(text)};
}

void diff_json_begin(struct diff_run *run)
{
	json_begin_object(&run->json);
	json_text_member(&run->json, "filename-a", text(run->files[0]));
	json_text_member(&run->json, "filename-b", text(run->files[1]));
	json_key(&run->json, "differences");
	json_begin_array(&run->json);
}

void diff_json_end(struct diff_run *run)
{
	struct json *json = &run->json;

	json_end_array(json);
	json_key(json, "not-compared");
	json_begin_array(json);
	for (size_t i = 0; i < run->gap_count; i++) {
		json_begin_object(json);
		json_key(json, "path");
		json_bytes_as_text(json, text(run->gaps[i].path));
		json_key(json, "reason");
		json_bytes_as_text(json, text(run->gaps[i].reason));
		json_end_object(json);
	}
	json_end_array(json);
	json_number_member(json, "difference-count", run->result.differences);
	json_number_member(json, "entry-count", run->result.entries);
	json_key(json, "same");
	json_bool(json, run->result.differences == 0);
	json_end_object(json);
	spool_text(&run->out, "\n");
}
