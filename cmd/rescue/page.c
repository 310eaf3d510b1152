/* SPDX-License-Identifier: MIT */
/* qcow2 rescue for people. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/report.h"
#include "out/human.h"
#include "out/wrap.h"
#include "rescue/pages.h"

#include <qcow2/text.h>

/* The most tables of a candidate that are shown, unless all are asked for with -v. */
#define TABLES_SHOWN 10
/* Columns of the names of topics, with what is in front of them. */
#define TOPIC_COLUMNS 14
/* That of what a next command does. */
#define NEXT_INDENT 6

struct page {
	const struct rescue_run *run;
	struct spool *out;
	struct spool line;
	unsigned columns;
	bool colour;
};

static void end_line(struct page *page, unsigned first, unsigned hanging)
{
	wrap_spool(page->out, &page->line, first, hanging, page->columns);
}

static void say_name(struct page *page, const char *file)
{
	char escaped[4096];

	qcow2_text_escape((struct qcow2_bytes){(const uint8_t *)file, strlen(file)}, escaped,
			  sizeof(escaped));
	spool_text(&page->line, escaped);
}

static const char *paint(const struct page *page, unsigned confidence)
{
	if (!page->colour)
		return "";
	return confidence >= 90 ? "\033[32m" : confidence >= 50 ? "\033[33m" : "\033[31m";
}

/* ---- candidates ---- */

static const char *word_of(unsigned confidence)
{
	return confidence >= 95 ? "certain" : confidence >= 70 ? "likely" : "possible";
}

static void show_evidence(struct page *page, const struct qcow2_rescue_evidence *evidence,
			  bool percent)
{
	spool_print(page->out, "  %-*s", TOPIC_COLUMNS - 2,
		    qcow2_rescue_topic_name(evidence->topic));
	if (!percent)
		spool_text(&page->line, evidence->text);
	else
		spool_print(&page->line, "%s (%s%s%s, %u %%%s)", evidence->text,
			    paint(page, evidence->confidence), word_of(evidence->confidence),
			    page->colour ? "\033[0m" : "", evidence->confidence,
			    evidence->wants_option ? "; an option can say it" : "");
	spool_write(&page->line, "", 1);
	wrap_rest(page->out, page->line.kept, TOPIC_COLUMNS, TOPIC_COLUMNS, page->columns);
	page->line.size = 0;
}

static void show_table(struct page *page, const struct qcow2_rescue_table *table)
{
	spool_print(&page->line,
		    "%s guest 0x%" PRIx64 "..0x%" PRIx64 ": L2 table at 0x%" PRIx64 ", %" PRIu64
		    " cluster%s (%s, %u %%): %s",
		    table->planned ? "+" : "?", table->guest_byte,
		    table->guest_byte + (table->guest_length_bytes - 1), table->l2_table.byte,
		    table->clusters, table->clusters == 1 ? "" : "s", word_of(table->confidence),
		    table->confidence, table->text);
	end_line(page, 2, 4);
}

static void show_tables(struct page *page, const struct qcow2_rescue_candidate *candidate)
{
	size_t most = wants_all(page->run->command) ? SIZE_MAX : TABLES_SHOWN;

	for (size_t i = 0; i < candidate->table_count && i < most; i++)
		show_table(page, candidate->tables[i]);
	if (candidate->table_count > most)
		spool_print(page->out, "  … %zu more tables (-v shows them)\n",
			    candidate->table_count - most);
}

static void show_candidate(struct page *page, size_t index)
{
	const struct qcow2_rescue_candidate *candidate = qcow2_rescue_at(page->run->rescue, index);
	const struct qcow2_header *header = candidate->header;
	char cluster[HUMAN_MAX], disk[HUMAN_MAX];

	spool_print(&page->line, "candidate %zu%s: ", index + 1,
		    candidate == page->run->chosen ? " (chosen)" : "");
	/* Nothing about a whole header is a guess; damage elsewhere makes it no less sure. */
	if (!candidate->changes_header)
		spool_text(&page->line, "the header is whole");
	else
		spool_print(&page->line, "%s%s, %u %%%s", paint(page, candidate->confidence),
			    word_of(candidate->confidence), candidate->confidence,
			    page->colour ? "\033[0m" : "");
	spool_print(&page->line, ": version %" PRIu32 ", clusters of %s, disk of %s",
		    header->version, human_size(UINT64_C(1) << header->cluster_bits, cluster),
		    human_size(header->size, disk));
	end_line(page, 0, 2);
	for (size_t i = 0; i < candidate->evidence_count; i++)
		show_evidence(page, candidate->evidence[i],
			      candidate->changes_header ||
				      candidate->evidence[i]->topic != QCOW2_RESCUE_CHECK);
	show_tables(page, candidate);
	spool_text(page->out, "\n");
}

/* ---- what is done ---- */

/* How sure the least sure place of a table is that is only possible; 0 if there is none. */
static unsigned least_sure(const struct rescue_run *run)
{
	unsigned least = 0;

	for (size_t i = 0; run->chosen && i < run->chosen->table_count; i++) {
		const struct qcow2_rescue_table *table = run->chosen->tables[i];

		if (!table->planned && (least == 0 || table->confidence < least))
			least = table->confidence;
	}
	return least;
}

static void show_done(struct page *page)
{
	const struct rescue_run *run = page->run;
	size_t count = qcow2_plan_count(run->change.report.plan);

	if (count == 0) {
		say_name(page, run->change.report.file);
		spool_text(&page->line, least_sure(run) > 0
						? " stays as it is: no place is sure enough"
						: " stays as it is: nothing about it has to be "
						  "found again");
		end_line(page, 0, 4);
		return;
	}
	spool_print(&page->line, "%zu write%s ", count, count == 1 ? "" : "s");
	switch (run->way) {
	case RESCUE_SHOW:
		spool_text(&page->line, "would change ");
		say_name(page, run->change.report.file);
		spool_text(&page->line, "; nothing was written");
		break;
	case RESCUE_APPLY:
		spool_text(&page->line, run->asks ? "would be made in " : "made in ");
		say_name(page, run->change.report.file);
		break;
	case RESCUE_PLAN:
		spool_text(&page->line, "planned in ");
		say_name(page, run->target);
		spool_text(&page->line, "; the image was left alone");
		break;
	case RESCUE_OVERLAY:
		spool_text(&page->line, "in ");
		say_name(page, run->target);
		spool_text(&page->line, "; the image was left alone");
		break;
	default:
		spool_text(&page->line, "made in ");
		say_name(page, run->change.report.file);
		break;
	}
	end_line(page, 0, 4);
}

/* ---- the next command ---- */

static void show_command(struct page *page, const char *command, const char *file)
{
	char word[8192];

	qcow2_text_shell_file(file, word, sizeof(word));
	spool_print(page->out, "next: %s %s\n", command, word);
}

/* The command that shows, or applies, this candidate, with the options that led to it. */
static void show_rescue(struct page *page, unsigned confidence, const char *more)
{
	const struct rescue_run *run = page->run;
	char word[8192];

	qcow2_text_shell_file(run->change.report.file, word, sizeof(word));
	spool_text(page->out, "next: qcow2 rescue");
	if (run->said.size > 0)
		spool_write(page->out, run->said.kept, run->said.size);
	if (confidence > 0)
		spool_print(page->out, " --confidence=%u", confidence);
	spool_print(page->out, "%s %s\n", more, word);
}

static void show_meaning(struct page *page, const char *does)
{
	spool_text(&page->line, does);
	end_line(page, NEXT_INDENT, NEXT_INDENT);
}

/* How to do what was shown, and how to see less sure places as well. */
static void show_ways(struct page *page)
{
	const struct rescue_run *run = page->run;
	unsigned given = run->how.confidence_least, least = least_sure(run);

	if (qcow2_plan_count(run->change.report.plan) > 0 && run->open_question) {
		show_rescue(page, given, " --apply --candidate=1");
		show_meaning(page, "Candidate 2 explains the file equally well: see what both say, "
				   "and give the number of one.");
	} else if (qcow2_plan_count(run->change.report.plan) > 0) {
		show_rescue(page, given, " --apply");
	}
	if (least == 0)
		return;
	show_rescue(page, least, "");
	show_meaning(page, "Puts tables with a question mark to their places, too, which may be "
			   "wrong: try it with --overlay=FILE or --copy=FILE.");
}

static void show_plan_command(struct page *page)
{
	char image[8192], plan[8192];

	qcow2_text_shell_file(page->run->change.report.file, image, sizeof(image));
	qcow2_text_shell_file(page->run->target, plan, sizeof(plan));
	spool_print(page->out, "next: qcow2 rescue %s --plan=%s --apply\n", image, plan);
}

static void show_overlay_name(struct page *page)
{
	char name[8192], word[16384];

	if (rescue_overlay_name(page->run->target, name, sizeof(name)) >= sizeof(name))
		return;
	qcow2_text_shell((struct qcow2_bytes){(const uint8_t *)name, strlen(name)}, word,
			 sizeof(word));
	spool_print(page->out, "QEMU opens the rescued image as:\n  %s\n", word);
}

static void show_next(struct page *page)
{
	const struct rescue_run *run = page->run;

	if (run->way == RESCUE_SHOW && run->chosen && !run->chosen->check)
		return;
	if (run->way == RESCUE_SHOW)
		show_ways(page);
	if (qcow2_plan_count(run->change.report.plan) == 0 &&
	    (run->way != RESCUE_SHOW || least_sure(run) == 0)) {
		show_command(page, run->change.done == EXIT_FINE ? "qcow2 check" : "qcow2 repair",
			     run->change.report.file);
		return;
	}
	switch (run->way) {
	case RESCUE_SHOW:
		break;
	case RESCUE_PLAN:
		show_plan_command(page);
		break;
	case RESCUE_OVERLAY:
		show_overlay_name(page);
		break;
	default:
		show_command(page, run->change.done == EXIT_FINE ? "qcow2 check" : "qcow2 repair",
			     run->change.report.file);
	}
}

void rescue_show_human(struct spool *out, const struct rescue_run *run)
{
	struct page page = {
		.run = run,
		.out = out,
		.columns = terminal_columns(),
		.colour = wants_colour(run->command),
	};

	spool_init(&page.line, -1);
	for (size_t i = 0; run->rescue && !run->has_shown && i < qcow2_rescue_count(run->rescue);
	     i++)
		show_candidate(&page, i);
	show_done(&page);
	if (!run->asks)
		show_next(&page);
	spool_release(&page.line);
}
