/* SPDX-License-Identifier: MIT */
/* qcow2 check as JSON: the keys of qemu-img check, then the problems. */
#include <string.h>

#include "check/damage.h"
#include "check/next.h"
#include "check/pages.h"
#include "out/problem_json.h"

#include <qcow2/remedy.h>

static void number(struct json *json, const char *key, uint64_t value)
{
	json_key(json, key);
	json_number(json, value);
}

/* qemu-img leaves out what is zero. */
static void number_unless_zero(struct json *json, const char *key, uint64_t value)
{
	if (value != 0)
		number(json, key, value);
}

static void text(struct json *json, const char *key, const char *value)
{
	json_text_member(json, key, (struct qcow2_bytes){(const uint8_t *)value, strlen(value)});
}

static void write_totals(struct json *json, const struct check_report *report)
{
	const struct qcow2_check_result *result = report->result;

	number_unless_zero(json, "image-end-offset", result->image_end_offset_bytes);
	number_unless_zero(json, "total-clusters", result->total_clusters);
	number(json, "check-errors", 0);
	number_unless_zero(json, "corruptions", result->corruptions);
	number_unless_zero(json, "leaks", result->leaks);
	number_unless_zero(json, "allocated-clusters", result->allocated_clusters);
	number_unless_zero(json, "fragmented-clusters", result->fragmented_clusters);
	number_unless_zero(json, "compressed-clusters", result->compressed_clusters);
	text(json, "filename", report->file);
	text(json, "format", "qcow2");
	number(json, "warnings", result->warnings);
	json_key(json, "clusters-checked");
	json_bool(json, result->clusters_checked);
}

static int write_problem(void *page, const struct qcow2_problem *problem)
{
	struct json *json = page;

	json_begin_object(json);
	problem_json_members(json, problem);
	text(json, "consequence", problem->kind->consequence);
	problem_json_place(json, problem);
	json_end_object(json);
	return 0;
}

/* How many of each kind were found but are not shown. */
static void write_omitted(struct json *json, const struct check_report *report)
{
	const struct qcow2_problem_kind *kind = NULL;
	bool any = false;

	while ((kind = qcow2_problem_kind_next(kind))) {
		uint64_t found = qcow2_check_result_count(report->result, kind->number);
		uint64_t shown = check_report_kept(report, kind);

		if (found <= shown)
			continue;
		if (!any) {
			json_key(json, "problems-omitted");
			json_begin_object(json);
		}
		any = true;
		number(json, kind->id, found - shown);
	}
	if (any)
		json_end_object(json);
}

/* Whether there are problems that are not kept. */
static bool lacks_some(const struct check_report *report)
{
	const struct qcow2_check_result *result = report->result;

	return result->corruptions + result->leaks + result->warnings > report->count;
}

void check_show_json(struct json *json, const struct check_report *report)
{
	json_begin_object(json);
	write_totals(json, report);
	json_key(json, "problems");
	json_begin_array(json);
	if (report->tell_all && lacks_some(report))
		report->tell_all(report->opaque, NULL, write_problem, json);
	else
		for (size_t i = 0; i < report->count; i++)
			write_problem(json, report->problems[i]);
	json_end_array(json);
	if (!report->tell_all)
		write_omitted(json, report);
	check_damage_json(json, report);
	check_next_json(json, report);
	json_end_object(json);
	spool_text(json->out, "\n");
}

void check_list_json(struct json *json)
{
	const struct qcow2_problem_kind *kind = NULL;

	json_begin_array(json);
	while ((kind = qcow2_problem_kind_next(kind))) {
		json_begin_object(json);
		text(json, "id", kind->id);
		text(json, "severity", qcow2_severity_name(kind->severity));
		json_key(json, "repairable");
		json_bool(json, kind->repairable);
		text(json, "remedy", qcow2_remedy_effect_name(kind->remedy->effect));
		text(json, "section", kind->section);
		text(json, "text", kind->text);
		text(json, "consequence", kind->consequence);
		json_end_object(json);
	}
	json_end_array(json);
	spool_text(json->out, "\n");
}
