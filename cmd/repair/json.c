/* SPDX-License-Identifier: MIT */
/* qcow2 repair for programs: docs/repair.schema.json. */
#include <string.h>

#include "out/json.h"
#include "repair/left.h"
#include "repair/pages.h"

static void text(struct json *json, const char *key, const char *value)
{
	json_text_member(json, key, (struct qcow2_bytes){(const uint8_t *)value, strlen(value)});
}

static void boolean(struct json *json, const char *key, bool value)
{
	json_key(json, key);
	json_bool(json, value);
}

static void write_damage(struct json *json, const struct qcow2_check_result *result)
{
	const struct qcow2_damage_total *total;

	json_key(json, "guest-damage");
	json_begin_object(json);
	json_number_member(json, "lost-bytes", result->lost_bytes);
	json_number_member(json, "unreadable-bytes", result->unreadable_bytes);
	json_number_member(json, "at-risk-bytes", result->at_risk_bytes);
	boolean(json, "exact", result->damage_exact);
	json_key(json, "snapshots");
	json_begin_array(json);
	for (size_t i = 1; (total = qcow2_check_result_damage(result, i)); i++) {
		json_begin_object(json);
		text(json, "name", total->of_name);
		json_number_member(json, "index", total->of_index);
		json_number_member(json, "lost-bytes", total->lost_bytes);
		json_number_member(json, "unreadable-bytes", total->unreadable_bytes);
		json_number_member(json, "at-risk-bytes", total->at_risk_bytes);
		json_end_object(json);
	}
	json_end_array(json);
	json_end_object(json);
}

static void write_result(struct json *json, const char *key,
			 const struct qcow2_check_result *result)
{
	json_key(json, key);
	json_begin_object(json);
	json_number_member(json, "corruptions", result->corruptions);
	json_number_member(json, "leaks", result->leaks);
	json_number_member(json, "warnings", result->warnings);
	boolean(json, "leaks-may-be-data", result->leaks_may_be_data);
	write_damage(json, result);
	json_end_object(json);
}

static void write_guest(struct json *json, const struct repair_group *group,
			const struct repair_step *step)
{
	json_key(json, "guest");
	json_begin_object(json);
	json_number_member(json, "start", step->guest_byte);
	json_number_member(json, "length", step->guest_length_bytes);
	if (group->of_name) {
		text(json, "snapshot", group->of_name);
		json_number_member(json, "snapshot-index", step->of_index);
	}
	json_end_object(json);
}

static void write_step(struct json *json, const struct repair_group *group,
		       const struct repair_step *step)
{
	json_begin_object(json);
	text(json, "kind", group->kind->id);
	text(json, "where", step->where);
	json_number_member(json, "count", step->count);
	text(json, "does", group->does);
	boolean(json, "costs", group->costs);
	if (group->has_guest)
		write_guest(json, group, step);
	if (group->has_guest || group->before != group->after) {
		text(json, "before", qcow2_reads_name(group->before));
		text(json, "after", qcow2_reads_name(group->after));
	}
	json_end_object(json);
}

/* In the order in which they were told. */
static void write_steps(struct json *json, const struct repair_run *run)
{
	const struct repair_kept *kept = &run->kept;

	json_number_member(json, "steps-total", run->result->steps);
	json_number_member(json, "steps-with-costs", run->result->costs);
	json_key(json, "steps");
	json_begin_array(json);
	for (size_t i = 0; i < kept->step_count; i++)
		write_step(json, &kept->groups[kept->steps[i].group], &kept->steps[i]);
	json_end_array(json);
	json_number_member(json, "steps-omitted", run->result->steps - kept->step_count);
}

/* What would mend a kind that is left: a command, or null. */
static void write_next(struct json *json, const struct repair_run *run, unsigned wants)
{
	char line[8192];

	json_key(json, "next");
	if (repair_next_command(run, wants, line, sizeof(line)) > 0)
		json_text(json, line);
	else
		json_null(json);
}

static void write_left(struct json *json, const struct repair_run *run)
{
	const struct qcow2_repair_result *result = run->result;

	json_key(json, "left");
	json_begin_array(json);
	for (size_t i = 0; i < result->left_count; i++) {
		const struct qcow2_repair_left *left = result->left[i];

		json_begin_object(json);
		text(json, "kind", left->kind->id);
		text(json, "severity", qcow2_severity_name(left->kind->severity));
		json_number_member(json, "count", left->count);
		text(json, "why", left->why);
		write_next(json, run, repair_wants(left));
		json_end_object(json);
	}
	json_end_array(json);
}

void repair_show_json(struct json *json, const struct repair_run *run)
{
	const struct plan_report *report = &run->change.report;

	text(json, "filename", report->file);
	boolean(json, "dry-run", report->dry_run);
	boolean(json, "applied", report->applied);
	json_key(json, "undo-file");
	if (report->undo_file)
		json_bytes_as_text(json, (struct qcow2_bytes){(const uint8_t *)report->undo_file,
							      strlen(report->undo_file)});
	else
		json_null(json);
	write_result(json, "before", run->result->before);
	write_steps(json, run);
	write_left(json, run);
	write_result(json, "after", run->result->after);
	boolean(json, "sound", repair_exit_code(run->result->after) == EXIT_FINE);
	json_number_member(json, "exit-code", (uint64_t)repair_exit_code(run->result->after));
	json_number_member(json, "added-bytes", run->result->added_bytes);
	json_number_member(json, "freed-clusters", run->result->freed_clusters);
}
