/* SPDX-License-Identifier: MIT */
/* qcow2 check as JSON: the keys of qemu-img check, then the problems. */
#include <stdio.h>
#include <string.h>

#include "check/damage.h"
#include "check/next.h"
#include "check/pages.h"
#include "check/verdict.h"
#include "out/problem_json.h"

/* qemu-img leaves out what is zero. */
static void number_unless_zero(struct json *json, const char *key, uint64_t value)
{
	if (value != 0)
		json_number_member(json, key, value);
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
	json_number_member(json, "check-errors", 0);
	number_unless_zero(json, "corruptions", result->corruptions);
	number_unless_zero(json, "leaks", result->leaks);
	number_unless_zero(json, "allocated-clusters", result->allocated_clusters);
	number_unless_zero(json, "fragmented-clusters", result->fragmented_clusters);
	number_unless_zero(json, "compressed-clusters", result->compressed_clusters);
	text(json, "filename", report->file);
	text(json, "format", "qcow2");
	json_number_member(json, "warnings", result->warnings);
	text(json, "verdict", check_verdict_name(check_verdict(report)));
	json_key(json, "clusters-checked");
	json_bool(json, result->clusters_checked);
}

/* The document that is written. */
struct page {
	struct json *json;
	const struct check_report *report;
};

static int write_problem(void *opaque, const struct qcow2_problem *problem)
{
	const struct page *page = opaque;
	const char *special = check_consequence(page->report, problem->kind);
	struct qcow2_problem_kind kind = *problem->kind;
	struct qcow2_problem here = *problem;

	if (special) {
		kind.consequence = special;
		kind.repairable &= !check_report_lost(page->report);
		here.kind = &kind;
	}
	json_begin_object(page->json);
	problem_json_members(page->json, &here);
	text(page->json, "consequence", here.kind->consequence);
	problem_json_place(page->json, &here);
	json_end_object(page->json);
	return 0;
}

static void write_cause(struct json *json, const struct check_report *report,
			const struct check_cause *cause)
{
	const struct qcow2_problem_kind *kind = NULL;
	char words[128];

	snprintf(words, sizeof(words), "%s reads as zeros", cause->what);
	json_begin_object(json);
	text(json, "where", cause->where);
	json_number_member(json, "offset", cause->offset_bytes);
	json_number_member(json, "length", cause->length_bytes);
	text(json, "text", words);
	json_key(json, "problems");
	json_begin_array(json);
	while ((kind = qcow2_problem_kind_next(kind)))
		if (check_report_found(report, kind->number) > 0 &&
		    check_cause_explains(cause, kind))
			json_text(json, kind->id);
	json_end_array(json);
	json_end_object(json);
}

/* Left out if there are none. */
static void write_causes(struct json *json, const struct check_report *report)
{
	if (report->cause_count == 0)
		return;
	json_key(json, "causes");
	json_begin_array(json);
	for (size_t i = 0; i < report->cause_count; i++)
		write_cause(json, report, &report->causes[i]);
	json_end_array(json);
}

/* How many of each kind were found but are not shown. */
static void write_omitted(struct json *json, const struct check_report *report)
{
	const struct qcow2_problem_kind *kind = NULL;
	bool any = false;

	while ((kind = qcow2_problem_kind_next(kind))) {
		uint64_t found = qcow2_check_result_count(report->result, kind->number);
		uint64_t shown = check_report_bounded(report, check_report_kept(report, kind));

		if (found <= shown)
			continue;
		if (!any) {
			json_key(json, "problems-omitted");
			json_begin_object(json);
		}
		any = true;
		json_number_member(json, kind->id, found - shown);
	}
	if (any)
		json_end_object(json);
}

/* Whether a kept problem is among the first of its kind, of which so many are listed. */
static bool is_listed(const struct check_report *report, size_t index)
{
	const uint64_t most = report->list_most > 0 ? report->list_most : UINT64_MAX;
	uint64_t before = 0;

	for (size_t i = 0; i < index && before < most; i++)
		before += report->problems[i]->kind == report->problems[index]->kind;
	return before < most;
}

/* Whether there are problems that are not kept. */
static bool lacks_some(const struct check_report *report)
{
	const struct qcow2_check_result *result = report->result;

	return result->corruptions + result->leaks + result->warnings > report->count;
}

void check_show_json(struct json *json, const struct check_report *report)
{
	struct page page = {json, report};

	json_begin_object(json);
	write_totals(json, report);
	write_causes(json, report);
	json_key(json, "problems");
	json_begin_array(json);
	if (report->tell_all && lacks_some(report))
		report->tell_all(report->opaque, NULL, write_problem, &page);
	else
		for (size_t i = 0; i < report->count; i++)
			if (is_listed(report, i))
				write_problem(&page, report->problems[i]);
	json_end_array(json);
	if (!report->tell_all)
		write_omitted(json, report);
	check_damage_json(json, report);
	check_next_json(json, report);
	json_end_object(json);
}

void check_show_other_json(struct json *json, const struct chain_link *link)
{
	json_begin_object(json);
	text(json, "filename", link->file);
	text(json, "format", link->format);
	text(json, "verdict", "not-checked");
	json_end_object(json);
}
