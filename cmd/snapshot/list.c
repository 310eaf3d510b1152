/* SPDX-License-Identifier: MIT */
/*
 * qcow2 snapshot list: what qemu-img snapshot -l knows of each snapshot, for people in the same
 * words, and all fields for programs.
 */
#include "snapshot/text.h"

#include <inttypes.h>

#include "out/human.h"
#include "snapshot/fields.h"

/* ---- for people ---- */

struct widths {
	unsigned id, icount;
};

static void show_row(struct snapshot_run *run, const struct qcow2_snapshot *s,
		     const struct widths *widths)
{
	char date[DATE_MAX], clock[DATE_MAX], icount[DATE_MAX], size[HUMAN_MAX];
	struct spool *out = &run->out;

	text_id(out, s->id, widths->id);
	spool_print(out, "  %-19s  %8s  %12s  %*s  ", text_date(s, date),
		    human_size(s->vm_state_size_bytes, size), text_clock(s, clock),
		    (int)widths->icount, text_icount(s, icount));
	text_name(run, s->name, widths->id + widths->icount + 49);
}

static void list_text(struct snapshot_run *run)
{
	const struct snapshot_table *table = &run->table;
	const struct widths widths = {text_id_columns(table), text_icount_columns(table)};

	if (table->count > 0)
		spool_print(&run->out, "%-*s  %-19s  %8s  %12s  %*s  %s\n", (int)widths.id, "id",
			    "date", "VM size", "VM clock", (int)widths.icount, "icount", "name");
	else if (table->unreadable.code)
		spool_print(&run->out, "%" PRIu64 " snapshots that cannot be read: %s\n",
			    table->omitted, table->unreadable.text);
	else if (table->omitted == 0)
		spool_text(&run->out, "no snapshots\n");
	for (uint64_t i = 0; i < table->count; i++)
		show_row(run, &table->rows[i].snapshot, &widths);
	text_problems(run);
}

/* ---- for programs ---- */

static void list_ndjson(struct snapshot_run *run)
{
	for (uint64_t i = 0; i < run->table.count; i++) {
		json_begin_line_object(&run->json);
		fields_json(&run->json, &run->table.rows[i]);
		json_end_object(&run->json);
		spool_text(&run->out, "\n");
	}
}

static void list_json(struct snapshot_run *run)
{
	struct json *json = &run->json;

	json_begin_object(json);
	fields_json_image(run);
	json_key(json, "snapshots");
	json_begin_array(json);
	for (uint64_t i = 0; i < run->table.count; i++) {
		json_begin_object(json);
		fields_json(json, &run->table.rows[i]);
		json_end_object(json);
	}
	json_end_array(json);
	json_problems(run);
	json_end_object(json);
	spool_text(&run->out, "\n");
}

int snapshot_list(struct snapshot_run *run)
{
	if (run->format == SNAPSHOT_HUMAN)
		list_text(run);
	else if (run->format == SNAPSHOT_JSON)
		list_json(run);
	else
		list_ndjson(run);
	return snapshot_verdict(run);
}
