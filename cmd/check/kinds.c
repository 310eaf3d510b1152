/* SPDX-License-Identifier: MIT */
/* See kinds.h. */
#include "check/kinds.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "check/verdict.h"
#include "out/problem_log.h"
#include "out/wrap.h"

/* Columns that texts, problems and owners are indented by; a line that is broken goes on there. */
#define TEXT_INDENT  4
#define OWNER_INDENT 8
#define BROKEN       4
/* Enough for a problem or an owner with the longest path and name. */
#define LINE_BYTES 1024

/* The part of the page that is written. */
struct part {
	struct spool *out;
	const struct check_report *report;
	const struct check_cause *causes;
	size_t cause_count;
	bool lost; /* see check_report_lost() */
	bool lags; /* see check_lags() */
};

/* A line that is put together before it is wrapped. */
struct line {
	char text[LINE_BYTES];
	size_t size;
};

static void begin(struct line *line)
{
	line->text[0] = '\0'; /* no more: lines are many */
	line->size = 0;
}

static void add(struct line *line, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void add(struct line *line, const char *format, ...)
{
	size_t room = sizeof(line->text) - line->size;
	va_list arguments;
	int size;

	va_start(arguments, format);
	size = vsnprintf(line->text + line->size, room, format, arguments);
	va_end(arguments);
	if (size > 0)
		line->size += (size_t)size < room ? (size_t)size : room - 1;
}

static void end_line(const struct part *part, const struct line *line, unsigned indent)
{
	wrap_text(part->out, line->text, indent, indent + BROKEN, part->report->columns);
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

static void add_part_of(struct line *line, enum qcow2_part_of part_of, const char *name)
{
	if (part_of != QCOW2_PART_OF_IMAGE)
		add(line, " (%s \"%s\")", part_of == QCOW2_PART_OF_SNAPSHOT ? "snapshot" : "bitmap",
		    name);
}

static void add_guest(struct line *line, uint64_t start, uint64_t length)
{
	add(line, ", guest 0x%" PRIx64 "..0x%" PRIx64, start, start + (length - 1));
}

static void show_owner(const struct part *part, const struct qcow2_owner *owner)
{
	struct line line;

	begin(&line);
	add(&line, "used by %s", owner->where);
	add_part_of(&line, owner->part_of, owner->part_of_name);
	if (owner->has_guest)
		add_guest(&line, owner->guest_byte, owner->guest_length_bytes);
	end_line(part, &line, OWNER_INDENT);
}

static int show_problem(void *opaque, const struct qcow2_problem *problem)
{
	const struct part *part = opaque;
	struct line line;
	char expected[64];

	begin(&line);
	if (problem->offset_bytes != QCOW2_NO_OFFSET)
		add(&line, "0x%" PRIx64 " ", problem->offset_bytes);
	add(&line, "%s", problem->where);
	if (problem->has_cluster)
		add(&line, ", cluster at 0x%" PRIx64, problem->cluster_offset_bytes);
	if (problem->has_found)
		add(&line, ": found %" PRIu64 " (0x%" PRIx64 ")", problem->found, problem->found);
	else if (problem->found_text[0])
		add(&line, ": found \"%s\"", problem->found_text);
	if (problem->expectation != QCOW2_EXPECT_NOTHING)
		add(&line, ", expected %s", problem_expected(problem, expected, sizeof(expected)));
	if (problem->has_guest && problem->owner_count == 0) {
		add_guest(&line, problem->guest_byte, problem->guest_length_bytes);
		add_part_of(&line, problem->guest_of, problem->guest_of_name);
	}
	end_line(part, &line, TEXT_INDENT);
	for (unsigned i = 0; i < problem->owner_count; i++)
		show_owner(part, problem->owners[i]);
	if (problem->owner_count > 0 && problem->owners_total > problem->owner_count)
		spool_print(part->out, "%*s%" PRIu64 " references in all\n", OWNER_INDENT, "",
			    problem->owners_total);
	return 0;
}

/* What the kind does to the guest of this image, and whether it can be repaired. */
static void show_consequence(const struct part *part, const struct qcow2_problem_kind *kind)
{
	bool counts = kind->number == QCOW2_PROBLEM_REFCOUNT_HIGH;
	struct line line;

	begin(&line);
	if (counts && part->lost)
		add(&line, "What leaks may be the guest's data, whose mapping tables are lost: do "
			   "not free it before it was looked at.");
	else if (part->lags && (counts || check_may_lag(kind->number)))
		add(&line, "The image was not closed, so that this may be behind; the next writer "
			   "counts anew, and mends it.");
	else
		add(&line, "%s %s", kind->consequence,
		    kind->repairable ? "Repairable." : "Not repairable without loss.");
	if (part->report->verbose)
		add(&line, " %s: %s.",
		    strcmp(kind->section, "QEMU") == 0 ? "A limit of" : "Section", kind->section);
	wrap_text(part->out, line.text, TEXT_INDENT, TEXT_INDENT, part->report->columns);
}

/* All that is known of one kind of problem. */
static void show_kind(struct part *part, const struct qcow2_problem_kind *kind, uint64_t found)
{
	const struct check_report *report = part->report;
	uint64_t kept = check_report_kept(report, kind);
	struct line line;

	begin(&line);
	add(&line, "%s%s%s %s (%" PRIu64 "): %s", paint(part, kind->severity),
	    qcow2_severity_name(kind->severity), report->colour ? "\033[0m" : "", kind->id, found,
	    kind->text);
	spool_text(part->out, "\n");
	wrap_text(part->out, line.text, 0, OWNER_INDENT, report->columns);
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
	for (size_t i = 0; i < part->cause_count; i++)
		if (check_cause_explains(&part->causes[i], kind))
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

void check_show_kinds(struct spool *out, const struct check_report *report,
		      const struct check_cause *causes, size_t count)
{
	struct part part = {
		out, report, causes, count, check_report_lost(report), check_lags(report)};

	show_severity(&part, QCOW2_CORRUPTION);
	show_severity(&part, QCOW2_LEAK);
	show_severity(&part, QCOW2_WARNING);
}

void check_show_cause(struct spool *out, const struct check_report *report,
		      const struct check_cause *cause)
{
	const struct qcow2_problem_kind *kind = NULL;
	struct line line;
	const char *before = ": ";
	uint64_t found;

	begin(&line);
	add(&line, "Cause: %s at 0x%" PRIx64 " reads as zeros (%" PRIu64 " bytes).", cause->what,
	    cause->offset_bytes, cause->length_bytes);
	spool_text(out, "\n");
	wrap_text(out, line.text, 0, TEXT_INDENT, report->columns);
	if (!cause->prefix)
		return;
	begin(&line);
	add(&line, "What follows from it%s",
	    report->verbose || report->tell_all ? "" : " (--verbose shows it)");
	while ((kind = qcow2_problem_kind_next(kind))) {
		found = check_report_found(report, kind->number);
		if (found == 0 || !check_cause_explains(cause, kind))
			continue;
		add(&line, "%s%s (%" PRIu64 ")", before, kind->id, found);
		before = ", ";
	}
	wrap_text(out, line.text, TEXT_INDENT, TEXT_INDENT, report->columns);
}
