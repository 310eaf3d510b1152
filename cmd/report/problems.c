/* SPDX-License-Identifier: MIT */
/*
 * What the check found. Explanations are those of the list of problems, which qcow2 explain prints as
 * well, and steps those of qcow2 check.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "check/damage.h"
#include "check/next.h"
#include "check/verdict.h"
#include "out/html.h"
#include "out/human.h"
#include "out/problem_log.h"
#include "report/page.h"
#include "report/section.h"

/* The problems of a kind that the page shows. */
#define SHOWN_MOST 10U
/* Lines that are not to be wrapped. */
#define ANY_COLUMNS 100000U

/*
 * Moves a line that was put together for people into the page, without what it begins with: a heading
 * says that already.
 */
static void take_line(struct spool *out, struct spool *line, const char *start)
{
	const char *text;

	spool_write(line, "", 1);
	if (line->errnum) {
		out->errnum = line->errnum;
	} else {
		text = line->kept + strspn(line->kept, " ,");
		html_text(out,
			  text + (strncmp(text, start, strlen(start)) == 0 ? strlen(start) : 0));
	}
	line->size = 0;
}

/* ---- what it means for the guest ---- */

/* Lines that end with newlines become entries of a list. */
static void write_lines(struct spool *out, struct spool *lines)
{
	char *line, *end;

	spool_write(lines, "", 1);
	if (lines->errnum) {
		out->errnum = lines->errnum;
		return;
	}
	if (lines->size > 1)
		spool_text(out, "<h3>What it means for the guest</h3>\n<ul>\n");
	for (line = lines->kept; *line; line = end) {
		end = line + strcspn(line, "\n");
		if (*end)
			*end++ = '\0';
		spool_text(out, "<li>");
		html_text(out, line);
		spool_text(out, "</li>\n");
	}
	if (lines->size > 1)
		spool_text(out, "</ul>\n");
}

/* The words of these lines that are no everyday words. */
static void write_words(struct spool *out, const struct report *report)
{
	static const char *const words[] = {
		"<dt>lost</dt><dd>not where the image says that it is</dd>\n",
		"<dt>unreadable</dt><dd>maybe in the file, but no program reads it: it cannot be "
		"known what it is</dd>\n",
		"<dt>at risk</dt><dd>can be read, but something else may overwrite it, or has done "
		"so already</dd>\n",
	};
	const struct qcow2_damage_total *total;
	bool used[3] = {false, false, false};

	for (size_t i = 0; (total = qcow2_check_result_damage(report->check.result, i)); i++) {
		used[0] |= total->lost_bytes > 0;
		used[1] |= total->unreadable_bytes > 0;
		used[2] |= total->at_risk_bytes > 0;
	}
	if (!used[0] && !used[1] && !used[2])
		return;
	spool_text(out, "<dl class=\"words\">\n");
	for (size_t i = 0; i < 3; i++)
		spool_text(out, used[i] ? words[i] : "");
	spool_text(out, "</dl>\n");
}

static void write_damage(struct spool *out, const struct report *report)
{
	struct check_report check = report->check;
	struct spool lines;
	uint64_t damaged;

	check.columns = ANY_COLUMNS;
	check.list_most = report->bounds.rows < SHOWN_MOST ? report->bounds.rows : SHOWN_MOST;
	check.list_most += check.list_most == 0; /* which would be no limit */
	spool_init(&lines, -1);
	check_damage_sums(&lines, &check);
	write_lines(out, &lines);
	spool_release(&lines);
	damaged = check_damaged_snapshots(&check);
	report_write_more(out, report, damaged - check_report_bounded(&check, damaged),
			  "qcow2 check", "");
	write_words(out, report);
	if (!check.result->clusters_checked)
		spool_text(out, "<p>The header does not allow to check the clusters.</p>\n");
	else if (check_spares_guest(&check) && check.result->corruptions > 0)
		spool_text(out, "<p>The data of the guest is not touched.</p>\n");
	for (size_t i = 0; i < check.cause_count; i++)
		spool_print(out,
			    "<p>Cause: %s at <code>0x%" PRIx64 "</code> reads as zeros (%" PRIu64
			    " bytes).</p>\n",
			    check.causes[i].what, check.causes[i].offset_bytes,
			    check.causes[i].length_bytes);
}

/* ---- steps ---- */

static void write_step(struct spool *out, const struct check_step *step)
{
	char text[CHECK_STEP_TEXT_MAX];

	check_step_text(text, step);
	spool_text(out, "<li>");
	if (step->command)
		html_command(out, step->command);
	if (step->command && text[0] == '\0')
		snprintf(text, sizeof(text), "%s", step->does);
	spool_text(out, step->command ? "<p>" : "");
	html_text(out, text);
	spool_text(out, step->command ? "</p></li>\n" : "</li>\n");
}

bool report_has_steps(const struct report *report)
{
	struct check_steps steps;
	bool has;

	if (!report->image)
		return true;
	if (report->in_use)
		return false;
	check_next_steps(&steps, &report->check);
	has = steps.count > 0;
	check_steps_release(&steps);
	return has;
}

static void write_steps(struct spool *out, const struct report *report)
{
	struct check_steps steps;

	if (report->in_use)
		return;
	check_next_steps(&steps, &report->check);
	if (steps.short_of_memory)
		out->errnum = ENOMEM;
	if (steps.count > 0)
		spool_text(out, "<h3 id=\"next\">What to do next</h3>\n<ol class=\"steps\">\n");
	for (size_t i = 0; i < steps.count; i++)
		write_step(out, &steps.list[i]);
	if (steps.count > 0)
		spool_text(out, "</ol>\n");
	check_steps_release(&steps);
}

/* ---- problems ---- */

static const char *class_of(enum qcow2_severity severity)
{
	return severity == QCOW2_CORRUPTION ? "bad" : severity == QCOW2_LEAK ? "fair" : "note";
}

static void write_owners(struct spool *out, const struct qcow2_problem *problem)
{
	struct problem_guest guest;
	struct spool line;

	spool_init(&line, -1);
	for (unsigned i = 0; i < problem->owner_count; i++) {
		const struct qcow2_owner *owner = problem->owners[i];

		spool_print(&line, "%s", owner->where);
		if (owner->part_of != QCOW2_PART_OF_IMAGE)
			spool_print(&line, " (%s \"%s\")",
				    owner->part_of == QCOW2_PART_OF_SNAPSHOT ? "snapshot"
									     : "bitmap",
				    owner->part_of_name);
		if (problem_owner_guest(owner, &guest))
			problem_print_guest(&line, &guest, false);
		spool_text(out, i > 0 ? "<br>" : "");
		take_line(out, &line, "");
	}
	if (problem->owners_total > problem->owner_count)
		spool_print(out, "<br>%" PRIu64 " in all", problem->owners_total);
	if (problem->owner_count == 0 && problem_guest(problem, &guest)) {
		problem_print_guest(&line, &guest, true);
		take_line(out, &line, "");
	}
	spool_release(&line);
}

static void write_problem(struct spool *out, const struct qcow2_problem *problem)
{
	struct spool line;

	spool_init(&line, -1);
	spool_text(out, "<tr><th scope=\"row\"><code>");
	html_text(out, problem->where);
	spool_text(out, "</code></th><td>");
	if (problem->offset_bytes != QCOW2_NO_OFFSET)
		html_offset(out, problem->offset_bytes);
	spool_text(out, "</td><td>");
	problem_print_found(&line, problem);
	take_line(out, &line, "found ");
	spool_text(out, "</td><td>");
	if (problem->expectation != QCOW2_EXPECT_NOTHING)
		problem_print_expected(&line, problem);
	take_line(out, &line, "expected ");
	spool_text(out, "</td><td>");
	write_owners(out, problem);
	spool_text(out, "</td></tr>\n");
	spool_release(&line);
}

static void write_places(struct spool *out, const struct report *report,
			 const struct qcow2_problem_kind *kind)
{
	static const char *const headings[] = {"Where", "Offset", "Found", "Expected",
					       "Used by, and for which part of the disk"};
	const struct check_report *check = &report->check;
	const uint64_t most = report->bounds.rows < SHOWN_MOST ? report->bounds.rows : SHOWN_MOST;
	uint64_t shown = 0;
	char caption[96];

	snprintf(caption, sizeof(caption), "Where the image has %s", kind->id);
	for (size_t i = 0; i < check->count && shown < most; i++) {
		if (check->problems[i]->kind != kind)
			continue;
		if (shown == 0) {
			html_begin_table(out, "places", caption);
			html_head(out, headings, sizeof(headings) / sizeof(headings[0]));
		}
		write_problem(out, check->problems[i]);
		shown++;
	}
	if (shown > 0)
		html_end_table(out);
	report_write_more(out, report, check_report_found(check, kind->number) - shown,
			  "qcow2 check --all", "");
}

static void write_kind(struct spool *out, const struct report *report,
		       const struct qcow2_problem_kind *kind, uint64_t found)
{
	const char *special = check_consequence(&report->check, kind);

	spool_print(out,
		    "<div class=\"kind\"><h3>%s <span class=\"badge %s\">%" PRIu64
		    " %s%s</span></h3>\n<p>",
		    kind->id, class_of(kind->severity), found, qcow2_severity_name(kind->severity),
		    found == 1 ? "" : "s");
	html_text(out, kind->text);
	spool_text(out, " ");
	if (special) {
		html_text(out, special);
	} else {
		html_text(out, kind->consequence);
		spool_print(out, " %s", check_remedy_text(kind));
	}
	spool_text(out, " ");
	spool_print(out, "<span class=\"more\">%s: ",
		    strcmp(kind->section, "QEMU") == 0 ? "A limit of" : "In the specification");
	html_text(out, kind->section);
	spool_text(out, ".</span></p>\n");
	write_places(out, report, kind);
	spool_text(out, "</div>\n");
}

static void write_severity(struct spool *out, const struct report *report,
			   enum qcow2_severity severity)
{
	const struct qcow2_problem_kind *kind = NULL;
	uint64_t found;

	while ((kind = qcow2_problem_kind_next(kind))) {
		found = check_report_found(&report->check, kind->number);
		if (kind->severity == severity && found > 0)
			write_kind(out, report, kind, found);
	}
}

/* ---- totals ---- */

static void total(struct spool *out, const char *name, uint64_t count, uint64_t whole,
		  const char *of)
{
	spool_print(out, "<tr><th scope=\"row\">%s</th><td class=\"number\">%" PRIu64 "</td><td>",
		    name, count);
	if (whole > 0)
		spool_print(out, "%.2f %% %s", 100.0 * (double)count / (double)whole, of);
	spool_text(out, "</td></tr>\n");
}

static void write_totals(struct spool *out, const struct report *report)
{
	static const char *const headings[] = {"Clusters", "#Number", "Share"};
	const struct qcow2_check_result *result = report->check.result;

	if (!result->clusters_checked)
		return;
	spool_text(out, "<div class=\"kind\"><h3>Clusters</h3>\n");
	html_begin_table(out, "totals", "Clusters of the virtual disk");
	html_head(out, headings, sizeof(headings) / sizeof(headings[0]));
	total(out, "All", result->total_clusters, 0, "");
	total(out, "Allocated", result->allocated_clusters, result->total_clusters, "of all");
	total(out, "Fragmented", result->fragmented_clusters, result->allocated_clusters,
	      "of those allocated");
	total(out, "Compressed", result->compressed_clusters, result->allocated_clusters,
	      "of those allocated");
	html_end_table(out);
	spool_text(out, "</div>\n");
}

void report_write_check(struct spool *out, const struct report *report)
{
	const struct qcow2_check_result *result = report->check.result;

	report_begin_section(out, "check", "Check");
	if (result->corruptions + result->leaks + result->warnings == 0)
		spool_text(out, "<p>No problems were found.</p>\n");
	write_damage(out, report);
	write_steps(out, report);
	write_severity(out, report, QCOW2_CORRUPTION);
	write_severity(out, report, QCOW2_LEAK);
	write_severity(out, report, QCOW2_WARNING);
	write_totals(out, report);
	report_end_section(out);
}
