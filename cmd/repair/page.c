/* SPDX-License-Identifier: MIT */
/*
 * qcow2 repair for people: what was wrong, what is done and what that means for the guest, and what
 * is left with the next command.
 */
#include <inttypes.h>
#include <string.h>

#include "common/report.h"
#include "out/human.h"
#include "out/wrap.h"
#include "repair/left.h"
#include "repair/pages.h"
#include "repair/words.h"

#include <qcow2/text.h>

/* Columns that the lines of a step are indented by, and what is added where a line is broken. */
#define INDENT 4
#define BROKEN 4
/* That of what a next command does. */
#define NEXT_INDENT 6

struct page {
	const struct repair_run *run;
	struct spool *out;
	struct spool line; /* put together before it is wrapped */
	unsigned columns;
	bool planned, colour;
};

static void end_line(struct page *page, unsigned indent)
{
	wrap_spool(page->out, &page->line, indent, indent + BROKEN, page->columns);
}

static void say_file(struct page *page)
{
	const char *file = page->run->change.report.file;
	char escaped[4096];

	qcow2_text_escape((struct qcow2_bytes){(const uint8_t *)file, strlen(file)}, escaped,
			  sizeof(escaped));
	spool_text(&page->line, escaped);
}

static void say_size(struct page *page, uint64_t bytes)
{
	char human[HUMAN_MAX];

	spool_text(&page->line, human_size(bytes, human));
}

/* ---- damage ---- */

static void say_part(struct page *page, const char **between, uint64_t bytes, const char *word)
{
	if (bytes == 0)
		return;
	spool_text(&page->line, *between);
	say_size(page, bytes);
	spool_print(&page->line, " %s", word);
	*between = ", ";
}

static void say_damage(struct page *page, const struct qcow2_check_result *result)
{
	const char *between = result->damage_exact ? "" : "at most ";

	if (result->lost_bytes + result->unreadable_bytes + result->at_risk_bytes == 0)
		spool_text(&page->line, "no damage");
	say_part(page, &between, result->lost_bytes, "lost");
	say_part(page, &between, result->unreadable_bytes, "unreadable");
	say_part(page, &between, result->at_risk_bytes, "at risk");
}

static void show_before(struct page *page)
{
	const struct qcow2_check_result *before = page->run->result->before;

	say_file(page);
	spool_print(&page->line, " %s %s", page->planned ? "is" : "was", repair_verdict(before));
	if (before->corruptions + before->leaks + before->warnings > 0) {
		spool_text(&page->line, ": ");
		repair_say_counts(&page->line, before);
	}
	end_line(page, 0);
	if (before->damage_ranges > 0) {
		spool_text(&page->line, "guest data: ");
		say_damage(page, before);
		end_line(page, 0);
	}
	if (before->file_cut) {
		spool_print(&page->line, "the file is cut: %s",
			    before->file_maybe_longer ? "at least " : "");
		say_size(page, before->file_missing_bytes);
		spool_text(&page->line,
			   " missing; no repair brings back what was there: if there is a whole "
			   "file, take that");
		end_line(page, 0);
	}
}

/* ---- steps ---- */

static const char *paint(const struct page *page, enum qcow2_severity severity)
{
	if (!page->colour)
		return "";
	return severity == QCOW2_CORRUPTION ? "\033[31m"
	       : severity == QCOW2_LEAK     ? "\033[35m"
					    : "\033[33m";
}

static void show_reads(struct page *page, const struct repair_group *group)
{
	repair_say_reads(&page->line, group->before, group->after, page->planned);
	if (group->of_name && group->rest)
		spool_text(&page->line, " (snapshots)");
	else if (group->of_name)
		spool_print(&page->line, " (snapshot %" PRIu64 " \"%s\")", group->of_index,
			    group->of_name);
	spool_text(&page->line, ": ");
	say_size(page, group->guest_bytes);
	spool_text(&page->line, ".");
	end_line(page, INDENT);
}

static void show_places(struct page *page, const struct repair_group *group)
{
	const struct repair_kept *kept = &page->run->kept;

	for (size_t i = group->first; i != REPAIR_NONE; i = kept->steps[i].next) {
		const struct repair_step *step = &kept->steps[i];

		if (group->has_guest)
			spool_print(&page->line, "guest 0x%" PRIx64 "..0x%" PRIx64 "  ",
				    step->guest_byte,
				    step->guest_byte + (step->guest_length_bytes - 1));
		spool_text(&page->line, step->where);
		if (step->count > 1)
			spool_print(&page->line, " and %" PRIu64 " more", step->count - 1);
		end_line(page, INDENT);
	}
	if (group->steps > group->kept)
		spool_print(page->out, "%*s… %" PRIu64 " more (--ranges shows them)\n", INDENT, "",
			    group->steps - group->kept);
}

static void show_group(struct page *page, const struct repair_group *group)
{
	spool_print(&page->line, "%s%s%s (%" PRIu64 "): %s", paint(page, group->kind->severity),
		    group->kind->id, page->colour ? "\033[0m" : "", group->places, group->does);
	end_line(page, 0);
	if (group->costs)
		spool_print(page->out,
			    "%*s%sCost%s: this gives up what may be found again by hand.\n", INDENT,
			    "", page->colour ? "\033[33m" : "", page->colour ? "\033[0m" : "");
	if (group->has_guest)
		show_reads(page, group);
	show_places(page, group);
}

static void show_groups(struct page *page)
{
	const struct repair_kept *kept = &page->run->kept;

	if (kept->group_count == 0)
		return;
	spool_print(page->out, "\n%s:\n", page->planned ? "it would be repaired so" : "repaired");
	for (size_t i = 0; i < kept->group_count; i++)
		show_group(page, &kept->groups[i]);
}

/* ---- what it comes to ---- */

/* Whether what a disk reads changes: that of the guest, or of any snapshot. */
static bool reads_otherwise(const struct repair_run *run, bool snapshots)
{
	for (size_t i = 0; i < run->kept.group_count; i++) {
		const struct repair_group *group = &run->kept.groups[i];

		if (group->has_guest && (group->of_name != NULL) == snapshots &&
		    group->before != group->after)
			return true;
	}
	return false;
}

/* Whether a step mends a kind, or works at a place, that begins so. */
static bool touches(const struct repair_run *run, const char *prefix)
{
	const size_t length = strlen(prefix);

	for (size_t i = 0; i < run->kept.group_count; i++) {
		const struct repair_group *group = &run->kept.groups[i];

		if (strncmp(group->kind->id, prefix, length) == 0 ||
		    (group->kept > 0 &&
		     strncmp(run->kept.steps[group->first].where, prefix, length) == 0))
			return true;
	}
	return false;
}

static void show_effects(struct page *page)
{
	const struct repair_run *run = page->run;
	const struct qcow2_repair_result *result = run->result;
	struct spool *line = &page->line;

	if (qcow2_plan_count(run->change.report.plan) == 0)
		return;
	spool_text(page->out, "\n");
	spool_print(line, "guest data: %s; snapshots: %s; bitmaps: %s",
		    reads_otherwise(run, false) ? "changed as said above" : "read as before",
		    run->how.drop_count > 0      ? "dropped as asked"
		    : reads_otherwise(run, true) ? "changed as said above"
		    : touches(run, "snapshot")   ? "mended"
						 : "as before",
		    touches(run, "bitmap") ? "mended" : "as before");
	if (result->added_bytes > 0) {
		spool_text(line, "; the file grows by ");
		say_size(page, result->added_bytes);
	}
	if (result->freed_clusters > 0)
		spool_print(line, "; %" PRIu64 " cluster%s freed", result->freed_clusters,
			    result->freed_clusters == 1 ? "" : "s");
	end_line(page, 0);
}

/* Kinds that could stay as they are need no command, unless something else does. */
static void show_left(struct page *page)
{
	const struct qcow2_repair_result *result = page->run->result;

	if (result->left_count > 0)
		spool_text(page->out, page->planned ? "\nit would leave:\n" : "\nleft:\n");
	for (size_t i = 0; i < result->left_count; i++) {
		const struct qcow2_repair_left *left = result->left[i];

		spool_print(&page->line, "%s%s%s (%" PRIu64 "): %s",
			    paint(page, left->kind->severity), left->kind->id,
			    page->colour ? "\033[0m" : "", left->count, left->why);
		end_line(page, 0);
	}
}

static void show_after(struct page *page)
{
	const struct repair_run *run = page->run;
	const struct qcow2_check_result *after = run->result->after;
	bool nothing = qcow2_plan_count(run->change.report.plan) == 0;

	spool_text(page->out, "\n");
	say_file(page);
	spool_print(&page->line, " %s %s",
		    nothing         ? "stays as it is:"
		    : page->planned ? "would be"
				    : "is now",
		    repair_verdict(after));
	if (after->corruptions + after->leaks + after->warnings > 0) {
		spool_text(&page->line, ", with ");
		repair_say_counts(&page->line, after);
	}
	end_line(page, 0);
	if (after->damage_ranges == 0)
		return;
	spool_text(&page->line, "guest data: ");
	say_damage(page, after);
	end_line(page, 0);
}

static void show_next_line(struct page *page, const char *command, const char *does)
{
	spool_print(page->out, "next: %s\n", command);
	spool_text(&page->line, does);
	wrap_spool(page->out, &page->line, NEXT_INDENT, NEXT_INDENT, page->columns);
}

/* What may be lost data is looked for before it is freed. */
static void show_next(struct page *page)
{
	const struct qcow2_repair_result *result = page->run->result;
	unsigned wants = 0;
	char line[8192];

	for (size_t i = 0; i < result->left_count; i++)
		wants |= repair_wants(result->left[i]);
	if (wants & REPAIR_WANTS_FREE_LOST &&
	    repair_rescue_command(page->run, line, sizeof(line)) > 0)
		show_next_line(page, line,
			       "Looks for the tables that are lost among the leaked clusters, and "
			       "changes nothing. Do this first.");
	if (repair_next_command(page->run, wants, line, sizeof(line)) > 0)
		show_next_line(page, line,
			       wants & REPAIR_WANTS_FREE_LOST ? "Frees them, whatever they hold."
			       : wants & REPAIR_WANTS_ALL
				       ? "Gives up what nobody can read; it can be undone."
				       : "Drops the snapshot of that ID; it can be undone.");
}

void repair_show_human(struct spool *out, const struct repair_run *run)
{
	const struct qcow2_check_result *before = run->result->before;
	struct page page = {
		.run = run,
		.out = out,
		.columns = terminal_columns(),
		.planned = repair_is_planned(run),
		.colour = wants_colour(run->command),
	};

	spool_init(&page.line, -1);
	if (before->corruptions + before->leaks + before->warnings == 0 &&
	    qcow2_plan_count(run->change.report.plan) == 0) {
		say_file(&page);
		spool_text(&page.line, " is sound: nothing to repair");
		end_line(&page, 0);
	} else {
		show_before(&page);
		show_groups(&page);
		show_effects(&page);
		show_left(&page);
		show_after(&page);
		show_next(&page);
	}
	spool_release(&page.line);
}
