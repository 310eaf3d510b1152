/* SPDX-License-Identifier: MIT */
/*
 * See fields.h. Keys that qemu-img info has are the same here; fields of the format keep the names
 * of the specification.
 */
#include "snapshot/fields.h"

#include <stddef.h>
#include <string.h>

void fields_number(struct json *json, const char *key, uint64_t number)
{
	json_key(json, key);
	json_number(json, number);
}

static void number_or_null(struct json *json, const char *key, bool known, uint64_t number)
{
	json_key(json, key);
	if (known)
		json_number(json, number);
	else
		json_null(json);
}

void fields_json_image(struct snapshot_run *run)
{
	const struct qcow2_geometry *geometry = qcow2_image_geometry(run->image);
	struct json *json = &run->json;

	json_text_member(json, "filename",
			 (struct qcow2_bytes){(const uint8_t *)run->file, strlen(run->file)});
	fields_number(json, "virtual-size", qcow2_image_header(run->image)->size);
	number_or_null(json, "cluster-size", geometry != NULL,
		       geometry ? geometry->cluster_size_bytes : 0);
}

void fields_json_name(struct json *json, const struct qcow2_snapshot *snapshot)
{
	fields_number(json, "index", snapshot->index);
	json_text_member(json, "id", snapshot->id);
	json_text_member(json, "name", snapshot->name);
}

/* Whether the extra data has the whole of a field that ends at `end`. */
static bool has_extra(const struct qcow2_snapshot *s, size_t end)
{
	return s->header.extra_data_size >= end && !s->cut;
}

/* Fields as they are stored. */
static void json_stored(struct json *json, const struct qcow2_snapshot *s)
{
	const struct qcow2_snapshot_header *h = &s->header;
	bool large = has_extra(s, offsetof(struct qcow2_snapshot_extra, disk_size));
	bool icount = has_extra(s, sizeof(struct qcow2_snapshot_extra));

	fields_number(json, "offset", s->offset_bytes);
	fields_number(json, "entry-size", s->size_bytes);
	fields_number(json, "l1_table_offset", h->l1_table_offset);
	fields_number(json, "l1_size", h->l1_size);
	fields_number(json, "date_sec", h->date_sec);
	fields_number(json, "date_nsec", h->date_nsec);
	fields_number(json, "vm_clock_nsec", h->vm_clock_nsec);
	fields_number(json, "vm_state_size", h->vm_state_size);
	fields_number(json, "extra_data_size", h->extra_data_size);
	number_or_null(json, "vm_state_size_large", large, s->extra.vm_state_size_large);
	number_or_null(json, "disk_size", s->has_disk_size, s->extra.disk_size);
	number_or_null(json, "icount", icount, s->extra.icount);
}

void fields_json(struct json *json, const struct table_row *row)
{
	const struct qcow2_snapshot *s = &row->snapshot;

	fields_json_name(json, s);
	fields_number(json, "vm-state-size", s->vm_state_size_bytes);
	fields_number(json, "date-sec", s->header.date_sec);
	fields_number(json, "date-nsec", s->header.date_nsec);
	fields_number(json, "vm-clock-sec", s->header.vm_clock_nsec / 1000000000);
	fields_number(json, "vm-clock-nsec", s->header.vm_clock_nsec % 1000000000);
	if (s->has_icount)
		fields_number(json, "icount", s->extra.icount);
	fields_number(json, "disk-size", s->disk_size_bytes);
	json_key(json, "cut");
	json_bool(json, s->cut);
	json_key(json, "problem");
	if (row->problem)
		json_text(json, row->problem->id);
	else
		json_null(json);
	json_key(json, "entry");
	json_begin_object(json);
	json_stored(json, s);
	json_end_object(json);
}
