/* SPDX-License-Identifier: MIT */
/* What the page shows, as one JSON document: docs/report.schema.json. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "check/pages.h"
#include "info/pages.h"
#include "out/html.h"
#include "out/human.h"
#include "out/json.h"
#include "report/evidence.h"
#include "report/page.h"
#include "report/section.h"

#include <qcow2/bitmap_directory.h>
#include <qcow2/version.h>

/* Of this document, which grows as long as programs that know this version can go on. */
#define DOCUMENT_VERSION 1

static void text(struct json *json, const char *key, const char *value)
{
	json_key(json, key);
	json_text(json, value);
}

static void boolean(struct json *json, const char *key, bool value)
{
	json_key(json, key);
	json_bool(json, value);
}

static void number_or_null(struct json *json, const char *key, bool known, uint64_t value)
{
	json_key(json, key);
	if (known)
		json_number(json, value);
	else
		json_null(json);
}

static void kind_or_null(struct json *json, const char *key, const struct qcow2_problem_kind *kind)
{
	json_key(json, key);
	if (kind)
		json_text(json, kind->id);
	else
		json_null(json);
}

static void omitted(struct json *json, const char *key, uint64_t claimed, uint64_t shown)
{
	if (claimed > shown)
		json_number_member(json, key, claimed - shown);
}

static void time_or_null(struct json *json, const char *key, bool known, time_t time)
{
	char when[32];
	struct tm tm;

	json_key(json, key);
	if (known && gmtime_r(&time, &tm) &&
	    strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", &tm) > 0)
		json_text(json, when);
	else
		json_null(json);
}

static void write_start(struct json *json, const struct report *report)
{
	char line[REPORT_COMMAND_MAX];

	json_number_member(json, "report-version", DOCUMENT_VERSION);
	text(json, "qcow2-utils", qcow2_version());
	report_own_command(line, report);
	json_text_member(json, "command",
			 (struct qcow2_bytes){(const uint8_t *)line, strlen(line)});
	time_or_null(json, "made", true, report->made);
	json_text_member(json, "filename",
			 (struct qcow2_bytes){(const uint8_t *)report->file, strlen(report->file)});
	time_or_null(json, "modified", report->has_modified, report->modified);
	boolean(json, "redacted", report->redacts);
	if (report->redacts)
		boolean(json, "redaction-exact", !report->redaction_differs);
	boolean(json, "in-use", report->in_use);
	json_number_member(json, "exit-code", (uint64_t)report_exit_code(report));
}

/* ---- lists ---- */

/* The bytes of a name that fit the page; hidden: how many are left out already. */
static void write_name(struct json *json, const struct report *report, const char *key,
		       struct qcow2_bytes name, size_t hidden)
{
	const struct qcow2_bytes shown = human_cut(name, report->bounds.bytes);
	char omitted_key[64];

	json_text_member(json, key, shown);
	snprintf(omitted_key, sizeof(omitted_key), "%s-omitted-bytes", key);
	omitted(json, omitted_key, hidden + name.size, shown.size);
}

static void write_space(struct json *json, const struct report_space *space)
{
	number_or_null(json, "referenced-bytes", space->known, space->referenced_bytes);
	number_or_null(json, "exclusive-bytes", space->known, space->exclusive_bytes);
}

static void write_snapshot(struct json *json, const struct report *report, uint64_t index)
{
	const struct table_row *row = &report->lists.snapshots.rows[index];
	const struct report_space *space = &report->lists.snapshot_space[index];
	const struct qcow2_snapshot *snapshot = &row->snapshot;

	json_begin_object(json);
	json_number_member(json, "index", snapshot->index);
	write_name(json, report, "id", snapshot->id, 0);
	write_name(json, report, "name", snapshot->name, 0);
	json_number_member(json, "vm-state-size", snapshot->vm_state_size_bytes);
	json_number_member(json, "date-sec", snapshot->header.date_sec);
	json_number_member(json, "date-nsec", snapshot->header.date_nsec);
	json_number_member(json, "disk-size", snapshot->disk_size_bytes);
	boolean(json, "cut", snapshot->cut);
	kind_or_null(json, "problem", row->problem);
	write_space(json, space);
	number_or_null(json, "vm-state-bytes", space->known, space->vm_state_bytes);
	json_end_object(json);
}

static void write_snapshots(struct json *json, const struct report *report)
{
	const struct snapshot_table *table = &report->lists.snapshots;
	uint64_t shown = table->count;

	if (shown > report->bounds.rows)
		shown = report->bounds.rows;
	json_key(json, "snapshots");
	json_begin_array(json);
	for (uint64_t i = 0; i < shown; i++)
		write_snapshot(json, report, i);
	json_end_array(json);
	omitted(json, "snapshots-omitted", qcow2_image_header(report->shown)->nb_snapshots, shown);
}

static void write_bitmap(struct json *json, const struct report *report,
			 const struct report_bitmap *bitmap)
{
	const struct qcow2_bitmap_totals *totals = &bitmap->totals;
	const unsigned bits = bitmap->entry.granularity_bits;

	json_begin_object(json);
	json_number_member(json, "index", bitmap->index);
	write_name(json, report, "name", (struct qcow2_bytes){bitmap->name, bitmap->name_size},
		   bitmap->name_omitted);
	number_or_null(json, "granularity", bits < 64, UINT64_C(1) << (bits & 63));
	text(json, "state", bitmap->state);
	kind_or_null(json, "problem", bitmap->why);
	kind_or_null(json, "remark", bitmap->remark);
	if (!bitmap->counted)
		text(json, "not-counted", bitmap->uncounted);
	number_or_null(json, "dirty-bytes", bitmap->counted, totals->dirty_bytes);
	number_or_null(json, "disk-bytes", bitmap->counted, totals->disk_bytes);
	write_space(json, &bitmap->space);
	json_end_object(json);
}

static void write_bitmaps(struct json *json, const struct report *report)
{
	const struct report_lists *lists = &report->lists;
	uint64_t shown = lists->bitmap_count;

	if (shown > report->bounds.rows)
		shown = report->bounds.rows;
	json_key(json, "bitmaps");
	json_begin_array(json);
	for (uint64_t i = 0; i < shown; i++)
		write_bitmap(json, report, &lists->bitmaps[i]);
	json_end_array(json);
	omitted(json, "bitmaps-omitted", lists->bitmaps_total, shown);
}

/* ---- documents of other commands ---- */

/* A document that is written already: it has no new lines but those between its members. */
static void write_document(struct json *json, const char *key, const struct spool *document)
{
	json_key(json, key);
	if (document->size > 0 || document->errnum) {
		spool_add(json->out, document);
		json->after_key = false;
	} else {
		json_null(json);
	}
}

static int write_info(struct json *json, struct report *report, struct qcow2_error *err)
{
	json_key(json, "info");
	report->info.rows_most = report->bounds.rows > 0 ? report->bounds.rows : 1;
	report->info.bytes_most = report->bounds.bytes;
	info_show_json(json, &report->info);
	*err = report->info.failure;
	return report->info.failed ? -1 : 0;
}

static int write_layout(struct json *json, const struct report *report, struct qcow2_error *err)
{
	int failed;

	json_key(json, "layout");
	if (!report->has_layout) {
		json_null(json);
		return 0;
	}
	json_begin_object(json);
	failed = layout_add_facts(json, &report->layout, err);
	json_end_object(json);
	return failed;
}

static int write_image(struct json *json, struct report *report, const struct spool *dump,
		       const struct spool *tables, struct qcow2_error *err)
{
	char digest[REPORT_DIGEST_MAX];

	json_key(json, "metadata-digest");
	if (report_digest(digest, report))
		json_text(json, digest);
	else
		json_null(json);
	if (write_info(json, report, err))
		return -1;
	json_key(json, "check");
	report->check.list_most = report->bounds.places;
	check_show_json(json, &report->check);
	if (write_layout(json, report, err))
		return -1;
	write_snapshots(json, report);
	write_bitmaps(json, report);
	write_document(json, "dump", dump);
	write_document(json, "tables", tables);
	return 0;
}

/* ---- what is left of an image ---- */

static void write_evidence(struct json *json, const struct report *report,
			   const struct qcow2_rescue_candidate *candidate)
{
	json_key(json, "evidence");
	json_begin_array(json);
	for (size_t i = 0; i < candidate->evidence_count; i++) {
		const struct qcow2_rescue_evidence *evidence = candidate->evidence[i];

		if (!report_evidence_stays(report, evidence))
			continue;
		json_begin_object(json);
		text(json, "topic", qcow2_rescue_topic_name(evidence->topic));
		json_number_member(json, "confidence", evidence->confidence);
		text(json, "text", evidence->text);
		json_end_object(json);
	}
	json_end_array(json);
}

static void write_remains(struct json *json, const struct report *report)
{
	const struct qcow2_rescue_candidate *candidate;

	text(json, "error", report->why.text);
	json_number_member(json, "file-size", qcow2_source_size_bytes(report->source));
	json_key(json, "candidates");
	json_begin_array(json);
	for (size_t i = 0; (candidate = qcow2_rescue_at(report->rescue, i)); i++) {
		json_begin_object(json);
		json_number_member(json, "number", i + 1);
		json_number_member(json, "confidence", candidate->confidence);
		json_number_member(json, "mapped-clusters", candidate->mapped_clusters);
		json_number_member(json, "cluster-size",
				   UINT64_C(1) << candidate->header->cluster_bits);
		json_number_member(json, "virtual-size", candidate->header->size);
		write_evidence(json, report, candidate);
		json_end_object(json);
	}
	json_end_array(json);
}

static int write_document_of(struct spool *out, struct report *report, const struct spool *dump,
			     const struct spool *tables, struct qcow2_error *err)
{
	struct json json;
	int failed = 0;

	json_init(&json, out, 1, true);
	json_begin_object(&json);
	write_start(&json, report);
	if (!report->image)
		write_remains(&json, report);
	else if (report->bounds.data)
		failed = write_image(&json, report, dump, tables, err);
	json_end_object(&json);
	return failed;
}

int report_write_data(struct spool *out, struct report *report, const struct spool *dump,
		      const struct spool *tables, struct qcow2_error *err)
{
	struct spool document;
	int failed;

	spool_init(&document, -1);
	failed = write_document_of(&document, report, dump, tables, err);
	spool_text(out, "<script type=\"application/json\" id=\"qcow2-report\">\n");
	if (document.errnum)
		out->errnum = document.errnum;
	else
		html_json(out, document.kept, document.size);
	spool_text(out, "\n</script>\n");
	spool_release(&document);
	return failed;
}
