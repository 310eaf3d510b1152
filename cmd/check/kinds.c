/* SPDX-License-Identifier: MIT */
/* See kinds.h. */
#include "check/kinds.h"

#include <inttypes.h>
#include <string.h>

#include "check/next.h"
#include "check/verdict.h"
#include "out/problem_log.h"
#include "out/wrap.h"

/* Columns that texts, problems and owners are indented by; a line that is broken goes on there. */
#define TEXT_INDENT  4
#define OWNER_INDENT 8
#define BROKEN       4

/* The part of the page that is written. */
struct part {
	struct spool *out;
	const struct check_report *report;
	struct spool line; /* one that is put together before it is wrapped */
};

static void end_line(struct part *part, unsigned first, unsigned hanging)
{
	wrap_spool(part->out, &part->line, first, hanging, part->report->columns);
}

static const char *paint(const struct part *part, enum qcow2_severity severity)
{
	if (!part->report->colour)
		return "";
	switch (severity) {
	case QCOW2_WARNING:
		return "\033[33m";
	case QCOW2_LEAK:
		return "\033[35m";
	case QCOW2_CORRUPTION:
		break;
	}
	return "\033[31m";
}

static void show_owner(struct part *part, const struct qcow2_owner *owner)
{
	struct spool *line = &part->line;
	struct problem_guest guest;

	spool_print(line, "used by %s", owner->where);
	if (owner->part_of != QCOW2_PART_OF_IMAGE)
		spool_print(line, " (%s \"%s\")",
			    owner->part_of == QCOW2_PART_OF_SNAPSHOT ? "snapshot" : "bitmap",
			    owner->part_of_name);
	if (problem_owner_guest(owner, &guest)) /* whose snapshot has been named */
		problem_print_guest(line, &guest, false);
	end_line(part, OWNER_INDENT, OWNER_INDENT + BROKEN);
}

static int show_problem(void *opaque, const struct qcow2_problem *problem)
{
	struct part *part = opaque;
	struct spool *line = &part->line;
	struct problem_guest guest;

	if (problem->offset_bytes != QCOW2_NO_OFFSET)
		spool_print(line, "0x%" PRIx64 " ", problem->offset_bytes);
	spool_text(line, problem->where);
	if (problem->has_cluster)
		spool_print(line, ", cluster at 0x%" PRIx64, problem->cluster_offset_bytes);
	if (problem->has_found || problem->found_text[0] != '\0')
		spool_text(line, ":");
	problem_print_found(line, problem);
	if (problem->expectation != QCOW2_EXPECT_NOTHING) {
		spool_text(line, ", ");
		problem_print_expected(line, problem);
	}
	if (problem_guest(problem, &guest) && problem->owner_count == 0)
		problem_print_guest(line, &guest, true);
	end_line(part, TEXT_INDENT, TEXT_INDENT + BROKEN);
	for (unsigned i = 0; i < problem->owner_count; i++)
		show_owner(part, problem->owners[i]);
	if (problem->owner_count > 0 && problem->owners_total > problem->owner_count)
		spool_print(part->out, "%*s%" PRIu64 " references in all\n", OWNER_INDENT, "",
			    problem->owners_total);
	return 0;
}

/* What the kind does to the guest of this image, and whether it can be repaired. */
static void show_consequence(struct part *part, const struct qcow2_problem_kind *kind)
{
	const char *special = check_consequence(part->report, kind);
	struct spool *line = &part->line;

	if (special)
		spool_text(line, special);
	else
		spool_print(line, "%s %s", kind->consequence, check_remedy_text(kind));
	if (part->report->verbose)
		spool_print(line, " %s: %s.",
			    strcmp(kind->section, "QEMU") == 0 ? "A limit of" : "Section",
			    kind->section);
	end_line(part, TEXT_INDENT, TEXT_INDENT);
}

/* All that is known of one kind of problem. */
static void show_kind(struct part *part, const struct qcow2_problem_kind *kind, uint64_t found)
{
	const struct check_report *report = part->report;
	uint64_t kept = check_report_kept(report, kind);
	struct spool *line = &part->line;

	spool_print(line, "%s%s%s %s (%" PRIu64 "): %s", paint(part, kind->severity),
		    qcow2_severity_name(kind->severity), report->colour ? "\033[0m" : "", kind->id,
		    found, kind->text);
	spool_text(part->out, "\n");
	end_line(part, 0, OWNER_INDENT);
	show_consequence(part, kind);
	if (report->tell_all && found > kept) {
		report->tell_all(report->opaque, kind, show_problem, part);
		return;
	}
	for (size_t i = 0; i < report->count; i++)
		if (report->problems[i]->kind == kind)
			show_problem(part, report->problems[i]);
	if (found > kept)
		spool_print(part->out, "    … %" PRIu64 " more (--all shows them)\n", found - kept);
}

static bool left_out(const struct part *part, const struct qcow2_problem_kind *kind)
{
	if (part->report->verbose || part->report->tell_all)
		return false;
	for (size_t i = 0; i < part->report->cause_count; i++)
		if (check_cause_explains(&part->report->causes[i], kind))
			return true;
	return false;
}

static void show_severity(struct part *part, enum qcow2_severity severity)
{
	const struct qcow2_problem_kind *kind = NULL;
	uint64_t found;

	while ((kind = qcow2_problem_kind_next(kind))) {
		found = check_report_found(part->report, kind->number);
		if (kind->severity == severity && found > 0 && !left_out(part, kind))
			show_kind(part, kind, found);
	}
}

void check_show_kinds(struct spool *out, const struct check_report *report)
{
	struct part part = {
		.out = out,
		.report = report,
	};

	spool_init(&part.line, -1);
	show_severity(&part, QCOW2_CORRUPTION);
	show_severity(&part, QCOW2_LEAK);
	show_severity(&part, QCOW2_WARNING);
	spool_release(&part.line);
}

/* "What follows from it: id (count), …". */
static void show_effects(struct part *part, const struct check_cause *cause)
{
	const struct check_report *report = part->report;
	const struct qcow2_problem_kind *kind = NULL;
	struct spool *line = &part->line;
	const char *before = ": ";
	uint64_t found;

	spool_print(line, "What follows from it%s",
		    report->verbose || report->tell_all ? "" : " (--verbose shows it)");
	while ((kind = qcow2_problem_kind_next(kind))) {
		found = check_report_found(report, kind->number);
		if (found == 0 || !check_cause_explains(cause, kind))
			continue;
		spool_print(line, "%s%s (%" PRIu64 ")", before, kind->id, found);
		before = ", ";
	}
	end_line(part, TEXT_INDENT, TEXT_INDENT);
}

void check_show_cause(struct spool *out, const struct check_report *report,
		      const struct check_cause *cause)
{
	struct part part = {.out = out, .report = report};

	spool_init(&part.line, -1);
	spool_text(out, "\n");
	spool_print(&part.line, "Cause: %s at 0x%" PRIx64 " reads as zeros (%" PRIu64 " bytes).",
		    cause->what, cause->offset_bytes, cause->length_bytes);
	end_line(&part, 0, TEXT_INDENT);
	if (cause->prefix)
		show_effects(&part, cause);
	spool_release(&part.line);
}
