/* SPDX-License-Identifier: MIT */
/* The pages of qcow2 snapshot show. */
#include <limits.h>

#include "common/report.h"
#include "out/human.h"
#include "out/problem_json.h"
#include "out/wrap.h"
#include "snapshot/fields.h"
#include "snapshot/show.h"
#include "snapshot/text.h"

#include <qcow2/mapping.h>

/* Where values begin, and how many problems a page has. */
#define VALUE_COLUMN   12
#define PROBLEMS_SHOWN 16

/* ---- for people ---- */

static void label(struct spool *out, const char *name)
{
	spool_print(out, "%-*s", VALUE_COLUMN, name);
}

static void show_size(struct spool *out, const char *name, uint64_t bytes)
{
	char size[HUMAN_MAX];

	label(out, name);
	spool_print(out, "%s", human_size(bytes, size));
	if (bytes >= 1024)
		spool_print(out, " (%" PRIu64 " bytes)", bytes);
	spool_text(out, "\n");
}

static void show_fields(struct show *show)
{
	const struct qcow2_snapshot *s = &show->row->snapshot;
	struct spool *out = &show->run->out;
	char text[DATE_MAX];

	label(out, "name");
	text_name(show->run, s->name, VALUE_COLUMN);
	label(out, "ID");
	text_id(out, s->id, 0);
	spool_text(out, "\n");
	label(out, "date");
	spool_print(out, "%s\n", text_exact_date(s, text));
	show_size(out, "VM state", s->vm_state_size_bytes);
	label(out, "VM clock");
	spool_print(out, "%s (%" PRIu64 " ns)\n", text_clock(s, text), s->header.vm_clock_nsec);
	label(out, "icount");
	spool_print(out, "%s\n", s->has_icount ? text_icount(s, text) : "none");
	show_size(out, s->has_disk_size ? "disk" : "disk (now)", s->disk_size_bytes);
	label(out, "L1 table");
	spool_print(out, "%" PRIu32 " %s at 0x%" PRIx64 "\n", s->header.l1_size,
		    s->header.l1_size == 1 ? "entry" : "entries", s->header.l1_table_offset);
	label(out, "entry");
	spool_print(out, "%s at 0x%" PRIx64 ", %" PRIu64 " bytes, %" PRIu32 " of extra data%s\n",
		    show->path, s->offset_bytes, s->size_bytes, s->header.extra_data_size,
		    s->cut ? ", cut by the end of the file" : "");
}

static void show_kinds(struct show *show)
{
	struct spool *out = &show->run->out;
	char size[HUMAN_MAX];

	spool_text(out, "\nThe disk:\n");
	for (unsigned kind = 0; kind < SHOW_KINDS; kind++)
		if (show->bytes[kind] > 0)
			spool_print(out, "  %-16s %10s  %5.1f %%\n",
				    qcow2_l2_kind_name((enum qcow2_l2_kind)kind),
				    human_size(show->bytes[kind], size),
				    100.0 * (double)show->bytes[kind] / (double)show->disk_bytes);
	if (!show->counted)
		text_note(show->run, show->uncounted.text);
	else if (show->disk_bytes == 0)
		spool_text(out, "  it is empty\n");
}

static void show_damage(struct show *show)
{
	const struct qcow2_damage_total *damage = &show->damage;
	const uint64_t bytes[] = {damage->lost_bytes, damage->unreadable_bytes,
				  damage->at_risk_bytes};
	static const char *const words[] = {"lost", "unreadable", "at risk"};
	char size[HUMAN_MAX];

	for (unsigned i = 0; i < 3; i++)
		if (bytes[i] > 0)
			spool_print(&show->run->out, "  %-16s %s%s\n", words[i],
				    show->damage_exact ? "" : "at most ",
				    human_size(bytes[i], size));
}

static void show_problem(struct show *show, const struct qcow2_problem *problem)
{
	struct snapshot_run *run = show->run;
	struct spool line;

	spool_init(&line, -1); /* kept only */
	problem_print(&line, problem, wants_colour(run->command));
	if (run->columns == UINT_MAX) {
		spool_add(&run->out, &line);
		spool_text(&run->out, "\n");
	} else {
		wrap_spool(&run->out, &line, 0, 4, run->columns);
	}
	spool_release(&line);
}

static void show_problems(struct show *show)
{
	const struct problem_log *log = &show->problems;
	struct spool *out = &show->run->out;
	size_t most = wants_all(show->run->command) ? SIZE_MAX : PROBLEMS_SHOWN;
	size_t shown = log->count < most ? log->count : most;
	uint64_t total = problem_log_total(log);

	if (!show->checked)
		text_note(show->run, "The clusters could not be checked: qcow2 check says why.");
	if (total == 0) {
		spool_text(out, show->checked ? "\nno problems\n" : "");
		return;
	}
	spool_text(out, "\nProblems:\n");
	show_damage(show);
	for (size_t i = 0; i < shown; i++)
		show_problem(show, log->kept[i]);
	if (total > shown)
		spool_print(out, "… and %" PRIu64 " more\n", total - shown);
}

void show_text(struct show *show)
{
	show_fields(show);
	show_kinds(show);
	show_problems(show);
}

/* ---- for programs ---- */

static void json_disk(struct show *show)
{
	struct json *json = &show->run->json;

	json_key(json, "disk");
	if (!show->counted) {
		json_null(json);
		json_key(json, "not-counted");
		json_text(json, show->uncounted.text);
		return;
	}
	json_begin_object(json);
	for (unsigned kind = 0; kind < SHOW_KINDS; kind++)
		fields_number(json, qcow2_l2_kind_name((enum qcow2_l2_kind)kind),
			      show->bytes[kind]);
	json_end_object(json);
}

static void json_damage(struct show *show)
{
	struct json *json = &show->run->json;

	json_key(json, "damage");
	json_begin_object(json);
	fields_number(json, "lost-bytes", show->damage.lost_bytes);
	fields_number(json, "unreadable-bytes", show->damage.unreadable_bytes);
	fields_number(json, "at-risk-bytes", show->damage.at_risk_bytes);
	json_key(json, "exact");
	json_bool(json, show->damage_exact);
	json_end_object(json);
}

void show_json(struct show *show)
{
	struct json *json = &show->run->json;
	const struct problem_log *log = &show->problems;
	uint64_t total = problem_log_total(log);

	json_begin_object(json);
	fields_json_image(show->run);
	fields_json(json, show->row);
	json_disk(show);
	json_key(json, "clusters-checked");
	json_bool(json, show->checked);
	json_damage(show);
	json_key(json, "problems");
	json_begin_array(json);
	for (size_t i = 0; i < log->count; i++) {
		json_begin_object(json);
		problem_json_members(json, log->kept[i]);
		json_key(json, "consequence");
		json_text(json, log->kept[i]->kind->consequence);
		problem_json_place(json, log->kept[i]);
		json_end_object(json);
	}
	json_end_array(json);
	if (total > log->count)
		fields_number(json, "problems-omitted", total - log->count);
	json_end_object(json);
	spool_text(&show->run->out, "\n");
}
