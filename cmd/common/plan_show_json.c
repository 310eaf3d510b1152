/* SPDX-License-Identifier: MIT */
/* The page about a plan as JSON. */
#include <string.h>

#include "common/phase_name.h"
#include "common/plan_preview.h"
#include "common/plan_show.h"
#include "out/problem_json.h"

static void text(struct json *json, const char *key, const char *value)
{
	json_text_member(json, key, (struct qcow2_bytes){(const uint8_t *)value, strlen(value)});
}

int plan_write_writes(struct json *json, struct qcow2_plan *plan, struct qcow2_error *err)
{
	const struct qcow2_write *write;

	json_key(json, "writes");
	json_begin_array(json);
	for (size_t i = 0; i < qcow2_plan_count(plan); i++) {
		if (qcow2_plan_at(plan, i, &write, err))
			return -1;
		json_begin_object(json);
		text(json, "phase", phase_name(write->phase));
		json_number_member(json, "offset", write->offset_bytes);
		text(json, "why", write->why);
		json_key(json, "old");
		json_hex(json, write->old_bytes);
		json_key(json, "new");
		json_hex(json, write->new_bytes);
		json_end_object(json);
	}
	json_end_array(json);
	return 0;
}

static void write_result(struct json *json, const char *key,
			 const struct qcow2_check_result *result)
{
	json_key(json, key);
	if (!result) {
		json_null(json);
		return;
	}
	json_begin_object(json);
	json_number_member(json, "corruptions", result->corruptions);
	json_number_member(json, "leaks", result->leaks);
	json_number_member(json, "warnings", result->warnings);
	json_end_object(json);
}

static void write_refusals(struct json *json, const struct qcow2_plan_verdict *verdict)
{
	json_key(json, "refusals");
	json_begin_array(json);
	for (size_t i = 0; i < verdict->refusal_count; i++) {
		const struct qcow2_refusal *refusal = verdict->refusals[i];

		json_begin_object(json);
		text(json, "guard", refusal->guard->id);
		text(json, "where", refusal->where);
		text(json, "text", refusal->guard->refusal);
		text(json, "detail", refusal->text);
		text(json, "way-out", refusal->guard->way_out);
		json_end_object(json);
	}
	json_end_array(json);
	json_number_member(json, "refusals-total", verdict->refusals_total);
}

static void write_verdict(struct json *json, const struct plan_report *report)
{
	const struct qcow2_plan_verdict *verdict = report->verdict;

	json_key(json, "verdict");
	if (!verdict) {
		json_null(json);
		return;
	}
	json_begin_object(json);
	write_result(json, "before", verdict->before);
	write_result(json, "after", verdict->after);
	json_key(json, "adds-problems");
	json_bool(json, verdict->adds_problems);
	json_key(json, "problems");
	json_begin_array(json);
	for (size_t i = 0; i < report->problems->count; i++) {
		json_begin_object(json);
		problem_json_members(json, report->problems->kept[i]);
		text(json, "consequence", report->problems->kept[i]->kind->consequence);
		problem_json_place(json, report->problems->kept[i]);
		json_end_object(json);
	}
	json_end_array(json);
	write_refusals(json, verdict);
	json_end_object(json);
}

int plan_show_json(struct json *json, const struct plan_report *report, struct qcow2_error *err)
{
	json_begin_object(json);
	text(json, "filename", report->file);
	json_key(json, "applied");
	json_bool(json, report->applied);
	json_key(json, "undo-file");
	if (report->undo_file)
		json_bytes_as_text(json, (struct qcow2_bytes){(const uint8_t *)report->undo_file,
							      strlen(report->undo_file)});
	else
		json_null(json);
	if (report->more.json)
		report->more.json(json, report->more.what);
	json_number_member(json, "size-before", report->old_size_bytes);
	json_number_member(json, "size-after", qcow2_plan_size_bytes(report->plan));
	if (plan_write_writes(json, report->plan, err))
		return -1;
	write_verdict(json, report);
	if (report->selector) {
		json_key(json, "planned");
		if (plan_preview(NULL, json, report, report->selector, false, err))
			return -1;
	}
	json_end_object(json);
	spool_text(json->out, "\n");
	return 0;
}
