/* SPDX-License-Identifier: MIT */
/* qcow2 rescue for programs: docs/rescue.schema.json. */
#include <stdio.h>
#include <string.h>

#include "out/json.h"
#include "rescue/pages.h"

static void text(struct json *json, const char *key, const char *value)
{
	json_text_member(json, key, (struct qcow2_bytes){(const uint8_t *)value, strlen(value)});
}

static void text_or_null(struct json *json, const char *key, const char *value)
{
	if (value) {
		text(json, key, value);
		return;
	}
	json_key(json, key);
	json_null(json);
}

static void boolean(struct json *json, const char *key, bool value)
{
	json_key(json, key);
	json_bool(json, value);
}

static void write_header(struct json *json, const struct qcow2_header *header)
{
	const struct qcow2_structure *structure = &qcow2_header_structure;
	uint8_t raw[sizeof(*header)] = {0};

	qcow2_header_encode(header, raw, sizeof(raw));
	json_key(json, "header");
	json_begin_object(json);
	for (size_t i = 0; i < structure->field_count; i++) {
		const struct qcow2_field *field = &structure->fields[i];

		if (header->version > 2 || field->offset_bytes < QCOW2_HEADER_V2_BYTES)
			json_number_member(
				json, field->name,
				qcow2_field_load(field, raw, sizeof(raw), header->cluster_bits));
	}
	json_end_object(json);
}

static void write_evidence(struct json *json, const struct qcow2_rescue_candidate *candidate)
{
	json_key(json, "evidence");
	json_begin_array(json);
	for (size_t i = 0; i < candidate->evidence_count; i++) {
		const struct qcow2_rescue_evidence *evidence = candidate->evidence[i];

		json_begin_object(json);
		text(json, "topic", qcow2_rescue_topic_name(evidence->topic));
		json_number_member(json, "confidence", evidence->confidence);
		boolean(json, "wants-option", evidence->wants_option);
		text(json, "text", evidence->text);
		json_end_object(json);
	}
	json_end_array(json);
}

static void write_tables(struct json *json, const struct qcow2_rescue_candidate *candidate)
{
	json_key(json, "tables");
	json_begin_array(json);
	for (size_t i = 0; i < candidate->table_count; i++) {
		const struct qcow2_rescue_table *table = candidate->tables[i];

		json_begin_object(json);
		json_number_member(json, "l1-index", table->l1_index);
		json_number_member(json, "guest-start", table->guest_byte);
		json_number_member(json, "guest-length", table->guest_length_bytes);
		json_number_member(json, "l2-table-offset", table->l2_table.byte);
		json_number_member(json, "clusters", table->clusters);
		json_number_member(json, "confidence", table->confidence);
		boolean(json, "planned", table->planned);
		text(json, "text", table->text);
		json_end_object(json);
	}
	json_end_array(json);
}

static void write_check(struct json *json, const struct qcow2_check_result *check)
{
	json_key(json, "check");
	if (!check) {
		json_null(json);
		return;
	}
	json_begin_object(json);
	json_number_member(json, "corruptions", check->corruptions);
	json_number_member(json, "leaks", check->leaks);
	json_number_member(json, "warnings", check->warnings);
	json_end_object(json);
}

static void write_candidate(struct json *json, const struct qcow2_rescue_candidate *candidate,
			    size_t index)
{
	json_begin_object(json);
	json_number_member(json, "number", index + 1);
	json_number_member(json, "confidence", candidate->confidence);
	boolean(json, "changes-header", candidate->changes_header);
	json_number_member(json, "mapped-clusters", candidate->mapped_clusters);
	write_header(json, candidate->header);
	write_evidence(json, candidate);
	write_tables(json, candidate);
	write_check(json, candidate->check);
	json_end_object(json);
}

size_t rescue_overlay_name(struct spool *out, const char *overlay, char *buffer, size_t size)
{
	struct spool spool;
	struct json json;
	size_t length;

	spool_init(&spool, -1);
	json_init(&json, &spool, 0, true);
	json_bytes_as_text(&json, (struct qcow2_bytes){(const uint8_t *)overlay, strlen(overlay)});
	spool_write(&spool, "", 1);
	length = (size_t)snprintf(buffer, size,
				  "json:{\"driver\":\"qcow2\",\"file\":{\"driver\":\"qcow2\","
				  "\"file\":{\"driver\":\"file\",\"filename\":%s}}}",
				  spool.errnum == 0 ? spool.kept : "\"\"");
	if (spool.errnum)
		out->errnum = spool.errnum;
	spool_release(&spool);
	return length;
}

/* What was made, and how it is opened. */
static void write_target(struct json *json, const struct rescue_run *run)
{
	char name[8192];

	text_or_null(json, "target", run->target);
	if (run->way == RESCUE_OVERLAY &&
	    rescue_overlay_name(json->out, run->target, name, sizeof(name)) < sizeof(name))
		text(json, "overlay-name", name);
}

void rescue_show_json(struct json *json, const struct rescue_run *run)
{
	const struct plan_report *report = &run->change.report;

	text(json, "filename", report->file);
	boolean(json, "applied", report->applied);
	text_or_null(json, "undo-file", report->undo_file);
	write_target(json, run);
	json_key(json, "candidates");
	json_begin_array(json);
	for (size_t i = 0; run->rescue && i < qcow2_rescue_count(run->rescue); i++)
		write_candidate(json, qcow2_rescue_at(run->rescue, i), i);
	json_end_array(json);
	json_key(json, "chosen");
	if (run->chosen)
		json_number(json, run->chosen_index + 1);
	else
		json_null(json);
	json_number_member(json, "size-before", report->old_size_bytes);
	json_number_member(json, "size-after", qcow2_plan_size_bytes(report->plan));
	json_number_member(json, "writes-total", qcow2_plan_count(report->plan));
	json_number_member(json, "exit-code", (uint64_t)run->change.done);
}
