/* SPDX-License-Identifier: MIT */
/* The page about a plan for people: every byte before and after, or a line a write. */
#include "common/plan_show.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/hex_diff.h"
#include "common/phase_name.h"
#include "common/plan_preview.h"
#include "out/human.h"

#include <qcow2/text.h>

#define REFUSAL_INDENT 6

static void show_name(struct spool *out, const char *name)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
				    "._-+/:,@=%";
	char safe[4096];
	bool quoted = strspn(name, plain) != strlen(name);

	/* Quote the name for a shell. A name that is no text can only be looked at. */
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

/* Writes side by side that have one phase and one reason. */
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
		    phase_name(stretch->phase), stretch->size, stretch->size == 1 ? "" : "s", human,
		    stretch->offset, stretch->why);
}

/* Whether a write continues the stretch: it begins at its end, with the same phase and reason. */
static bool goes_on(const struct stretch *stretch, const struct qcow2_write *write)
{
	return stretch->first > 0 && write->phase == stretch->phase &&
	       write->offset_bytes == stretch->offset + stretch->size &&
	       strcmp(write->why, stretch->why) == 0;
}

int plan_show_writes(struct spool *out, const struct plan_report *report, bool colour,
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
		/* In a dry run each write is shown with its bytes. */
		show_stretch(out, &stretch, count);
		stretch.first = 0;
		hex_diff_show(out, write->offset_bytes, write->old_bytes, write->new_bytes, colour);
	}
	show_stretch(out, &stretch, count);
	return 0;
}

void plan_show_undo(struct spool *out, const struct plan_report *report)
{
	if (!report->undo_file)
		return;
	spool_text(out, "undo with: qcow2 undo ");
	show_name(out, report->undo_file);
	spool_text(out, "\n");
}

int plan_show_human(struct spool *out, const struct plan_report *report, bool colour,
		    struct qcow2_error *err)
{
	size_t count = qcow2_plan_count(report->plan);
	bool told = report->more.human || report->effects->count > 0;
	bool all = report->dry_run || report->all || !told;

	if (report->more.human)
		report->more.human(out, report->more.what);
	if (!report->dry_run && count > 0)
		effects_show(report->effects, out);
	if (all && plan_show_writes(out, report, colour, err))
		return -1;
	if (all && qcow2_plan_size_bytes(report->plan) != report->old_size_bytes)
		spool_print(out, "file size from %" PRIu64 " to %" PRIu64 " bytes\n",
			    report->old_size_bytes, qcow2_plan_size_bytes(report->plan));
	if (count == 0)
		spool_text(out, "Nothing to change.\n");
	if (report->dry_run)
		show_verdict(out, report, colour);
	if (report->selector && plan_preview(out, NULL, report, report->selector, colour, err))
		return -1;
	plan_show_undo(out, report);
	return 0;
}
