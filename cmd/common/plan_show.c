/* SPDX-License-Identifier: MIT */
/* Shows a plan: every byte before and after, or a line a write; as text and as JSON. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/plan_show.h"
#include "out/human.h"
#include "out/problem_json.h"

#include <qcow2/text.h>

#define ROW            16
#define REFUSAL_INDENT 6

const char *plan_phase_name(enum qcow2_phase phase)
{
	static const char *const names[] = {
		[QCOW2_PHASE_WITHDRAW] = "withdraw", [QCOW2_PHASE_NEW] = "new",
		[QCOW2_PHASE_COUNT] = "count",       [QCOW2_PHASE_POINT] = "point",
		[QCOW2_PHASE_CLEAN] = "clean",
	};

	return names[phase];
}

/* The byte of an image at a place, or -1 past what is there. */
static int byte_at(struct qcow2_bytes bytes, uint64_t offset, uint64_t place)
{
	if (place < offset || place - offset >= bytes.size)
		return -1;
	return bytes.data[place - offset];
}

static void show_row(struct spool *out, uint64_t offset, struct qcow2_bytes bytes, uint64_t row,
		     char sign)
{
	char text[ROW + 1] = "";

	if (sign == '-')
		spool_print(out, "  0x%08" PRIx64 " -", row);
	else
		spool_print(out, "  %10s +", "");
	for (unsigned i = 0; i < ROW; i++) {
		int byte = byte_at(bytes, offset, row + i);

		if (byte < 0)
			spool_text(out, "   ");
		else
			spool_print(out, " %02x", (unsigned)byte);
		text[i] = byte < 0 ? ' ' : byte >= 0x20 && byte < 0x7f ? (char)byte : '.';
	}
	spool_print(out, "  |%s|", text);
}

void plan_show_hex(struct spool *out, uint64_t offset, struct qcow2_bytes old_bytes,
		   struct qcow2_bytes new_bytes, bool colour)
{
	uint64_t end = offset + (old_bytes.size > new_bytes.size ? old_bytes.size : new_bytes.size);

	for (uint64_t row = offset / ROW * ROW; row < end; row += ROW) {
		bool differs = false;

		for (unsigned i = 0; i < ROW; i++)
			differs |= byte_at(old_bytes, offset, row + i) !=
				   byte_at(new_bytes, offset, row + i);
		if (!differs)
			continue;
		spool_text(out, colour ? "\033[31m" : "");
		show_row(out, offset, old_bytes, row, '-');
		spool_text(out, colour ? "\033[0m\n\033[32m" : "\n");
		show_row(out, offset, new_bytes, row, '+');
		spool_text(out, colour ? "\033[0m\n" : "\n");
	}
}

static void show_name(struct spool *out, const char *name)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
				    "._-+/:,@=%";
	char safe[4096];
	bool quoted = strspn(name, plain) != strlen(name);

	/* Fit for a shell; what is no text is only fit for looking at. */
	qcow2_text_escape((struct qcow2_bytes){(const uint8_t *)name, strlen(name)}, safe,
			  sizeof(safe));
	spool_text(out, quoted ? "'" : "");
	for (const char *at = safe; *at; at++) {
		if (*at == '\'')
			spool_text(out, "'\\''");
		else
			spool_write(out, at, 1);
	}
	spool_text(out, quoted ? "'" : "");
}

static void show_result(struct spool *out, const char *when,
			const struct qcow2_check_result *result)
{
	spool_print(out,
		    "check %s: %" PRIu64 " corruptions, %" PRIu64 " leaks, %" PRIu64 " warnings\n",
		    when, result->corruptions, result->leaks, result->warnings);
}

void plan_show_refusals(struct spool *out, const struct qcow2_plan_verdict *verdict,
			const char *before)
{
	for (size_t i = 0; i < verdict->refusal_count; i++) {
		const struct qcow2_refusal *refusal = verdict->refusals[i];
		char text[640];

		spool_print(out, "%s%s%s%s\n", before, refusal->guard->id,
			    refusal->where[0] ? " at " : "", refusal->where);
		snprintf(text, sizeof(text), "%s%s%s%s", refusal->guard->refusal,
			 refusal->text[0] ? " (" : "", refusal->text, refusal->text[0] ? ")" : "");
		spool_wrapped(out, REFUSAL_INDENT, text);
		snprintf(text, sizeof(text), "Instead: %s.", refusal->guard->way_out);
		spool_wrapped(out, REFUSAL_INDENT, text);
	}
	if (verdict->refusals_total > verdict->refusal_count)
		spool_print(out, "%s... and %" PRIu64 " more\n", before,
			    verdict->refusals_total - verdict->refusal_count);
}

static void show_verdict(struct spool *out, const struct plan_report *report, bool colour)
{
	const struct qcow2_plan_verdict *verdict = report->verdict;

	if (!verdict)
		return;
	if (verdict->before)
		show_result(out, "before", verdict->before);
	if (verdict->not_opened)
		spool_print(out, "check after: no image any more: %s\n", verdict->not_opened->text);
	else
		show_result(out, "after", verdict->after);
	plan_show_refusals(out, verdict, "refused: ");
	for (size_t i = 0; i < report->problems->count; i++) {
		spool_text(out, "adds: ");
		problem_print(out, report->problems->kept[i], colour);
		spool_text(out, "\n");
	}
}

/* Writes side by side that are of one kind. */
struct stretch {
	size_t first, last; /* counted from 1 */
	enum qcow2_phase phase;
	uint64_t offset, size;
	char why[QCOW2_WHY_MAX];
};

static void show_stretch(struct spool *out, const struct stretch *stretch, size_t count)
{
	char human[HUMAN_MAX] = "", size[HUMAN_MAX];

	if (stretch->first == 0)
		return;
	if (stretch->size >= 1024)
		snprintf(human, sizeof(human), " (%s)", human_size(stretch->size, size));
	spool_print(out, "%zu", stretch->first);
	if (stretch->last > stretch->first)
		spool_print(out, "-%zu", stretch->last);
	spool_print(out, "/%zu %s, %" PRIu64 " byte%s%s at 0x%" PRIx64 ": %s\n", count,
		    plan_phase_name(stretch->phase), stretch->size, stretch->size == 1 ? "" : "s",
		    human, stretch->offset, stretch->why);
}

/* Whether a write goes on where the others end, for the same reason. */
static bool goes_on(const struct stretch *stretch, const struct qcow2_write *write)
{
	return stretch->first > 0 && write->phase == stretch->phase &&
	       write->offset_bytes == stretch->offset + stretch->size &&
	       strcmp(write->why, stretch->why) == 0;
}

static int show_writes(struct spool *out, const struct plan_report *report, bool colour,
		       struct qcow2_error *err)
{
	size_t count = qcow2_plan_count(report->plan);
	struct stretch stretch = {0};
	const struct qcow2_write *write;

	for (size_t i = 0; i < count; i++) {
		if (qcow2_plan_at(report->plan, i, &write, err))
			return -1;
		if (!goes_on(&stretch, write)) {
			show_stretch(out, &stretch, count);
			stretch = (struct stretch){.first = i + 1,
						   .phase = write->phase,
						   .offset = write->offset_bytes};
			snprintf(stretch.why, sizeof(stretch.why), "%s", write->why);
		}
		stretch.last = i + 1;
		stretch.size += write->new_bytes.size;
		if (!report->dry_run)
			continue;
		/* Each with its bytes. */
		show_stretch(out, &stretch, count);
		stretch.first = 0;
		plan_show_hex(out, write->offset_bytes, write->old_bytes, write->new_bytes, colour);
	}
	show_stretch(out, &stretch, count);
	return 0;
}

int plan_show_human(struct spool *out, const struct plan_report *report, bool colour,
		    struct qcow2_error *err)
{
	if (report->repairs)
		bitmap_repairs_human(out, report->repairs);
	if (show_writes(out, report, colour, err))
		return -1;
	if (qcow2_plan_size_bytes(report->plan) != report->old_size_bytes)
		spool_print(out, "file size from %" PRIu64 " to %" PRIu64 " bytes\n",
			    report->old_size_bytes, qcow2_plan_size_bytes(report->plan));
	if (qcow2_plan_count(report->plan) == 0)
		spool_text(out, "Nothing to change.\n");
	if (report->dry_run)
		show_verdict(out, report, colour);
	if (report->selector && plan_preview(out, NULL, report, report->selector, colour, err))
		return -1;
	if (report->undo_file) {
		spool_text(out, "undo with: qcow2 undo ");
		show_name(out, report->undo_file);
		spool_text(out, "\n");
	}
	return 0;
}

static void number(struct json *json, const char *key, uint64_t value)
{
	json_key(json, key);
	json_number(json, value);
}

static void text(struct json *json, const char *key, const char *value)
{
	json_text_member(json, key, (struct qcow2_bytes){(const uint8_t *)value, strlen(value)});
}

static int write_writes(struct json *json, struct qcow2_plan *plan, struct qcow2_error *err)
{
	const struct qcow2_write *write;

	json_key(json, "writes");
	json_begin_array(json);
	for (size_t i = 0; i < qcow2_plan_count(plan); i++) {
		if (qcow2_plan_at(plan, i, &write, err))
			return -1;
		json_begin_object(json);
		text(json, "phase", plan_phase_name(write->phase));
		number(json, "offset", write->offset_bytes);
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
	number(json, "corruptions", result->corruptions);
	number(json, "leaks", result->leaks);
	number(json, "warnings", result->warnings);
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
	number(json, "refusals-total", verdict->refusals_total);
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
	if (report->repairs)
		bitmap_repairs_json(json, report->repairs);
	number(json, "size-before", report->old_size_bytes);
	number(json, "size-after", qcow2_plan_size_bytes(report->plan));
	if (write_writes(json, report->plan, err))
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
