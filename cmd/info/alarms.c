/* SPDX-License-Identifier: MIT */
/* The start of the page: what is alarming, and what to do about it. */
#include "info/page.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "out/wrap.h"

#include <qcow2/remedy.h>
#include <qcow2/text.h>

#define ALARMS_SHOWN   8
#define REMEDIES_SHOWN 3
#define HANGING        8
#define COMMAND_SHOWN  1024 /* a longer line helps nobody */
#define TOGETHER_MAX   16   /* problems that one command mends */

#define RANKS (4 * (QEMU_REFUSES + 1))

/* How alarming a problem is: the most alarming ones are shown first. */
static unsigned rank_of(const struct page *page, const struct qcow2_problem *problem)
{
	return 4 * (unsigned)qemu_verdict(page->info->image, problem) +
	       (unsigned)problem->kind->severity;
}

/* Whether the log has a problem of the same kind in front of number i. */
static bool is_repeated(const struct problem_log *log, size_t i)
{
	for (size_t k = 0; k < i; k++)
		if (log->kept[k]->kind == log->kept[i]->kind)
			return true;
	return false;
}

/* Prints a line, on a terminal wrapped by words. */
static void show_line(const struct page *page, const char *text)
{
	if (page->columns > 0)
		wrap_text(page->out, text, 0, HANGING, page->columns);
	else
		spool_print(page->out, "%s\n", text);
}

static void show_problem(const struct page *page, const struct qcow2_problem *problem)
{
	struct spool line;

	spool_init(&line, -1); /* kept only */
	spool_text(&line, "! ");
	problem_print(&line, problem, page->colour);
	spool_write(&line, "", 1);
	if (line.errnum == 0)
		show_line(page, line.kept);
	else
		page->out->errnum = line.errnum;
	spool_release(&line);
}

/*
 * Prints the problems of a rank: the first one of each kind, or those that follow it; and counts
 * them.
 */
static void show_rank(const struct page *page, unsigned rank, bool repeated, uint64_t *shown)
{
	const struct problem_log *log = &page->info->problems;

	for (size_t i = 0; i < log->count && *shown < ALARMS_SHOWN; i++) {
		if (rank_of(page, log->kept[i]) != rank || is_repeated(log, i) != repeated ||
		    (page->in_use && log->kept[i]->kind->number == QCOW2_PROBLEM_BITMAP_IN_USE))
			continue;
		show_problem(page, log->kept[i]);
		++*shown;
	}
}

/* Whether a remedy is worth a line: for what the verdict comes from, or else for what is broken. */
static bool wants_remedy(const struct page *page, const struct qcow2_problem *problem)
{
	if (page->info->verdict != QEMU_OPENS)
		return qemu_verdict(page->info->image, problem) == page->info->verdict;
	return problem->kind->severity == QCOW2_CORRUPTION ||
	       problem->kind->number == QCOW2_PROBLEM_FEATURE_DIRTY ||
	       problem->kind->number == QCOW2_PROBLEM_BITMAP_IN_USE ||
	       problem->kind->number == QCOW2_PROBLEM_BITMAPS_INCONSISTENT;
}

static bool starts_with(const char *text, const char *start)
{
	return strncmp(text, start, strlen(start)) == 0;
}

/* The remedy of a problem. Bitmaps are repaired together, and none is given up at first. */
static const struct qcow2_remedy *remedy_of(const struct qcow2_problem *problem)
{
	const struct qcow2_remedy *remedy = problem->kind->remedy;

	if (starts_with(remedy->id, "bitmap-") && starts_with(remedy->command, "qcow2 repair "))
		remedy = qcow2_remedy_find("bitmap-repair-or-ask");
	return remedy;
}

/* Gathers the problems that have a remedy and are worth a line. */
static size_t gather(const struct page *page, const struct qcow2_remedy *remedy,
		     const struct qcow2_problem **problems)
{
	const struct problem_log *log = &page->info->problems;
	size_t count = 0;

	for (size_t i = 0; i < log->count && count < TOGETHER_MAX; i++)
		if (remedy_of(log->kept[i]) == remedy && wants_remedy(page, log->kept[i]))
			problems[count++] = log->kept[i];
	return count;
}

/* Whether two remedies are one line. */
static bool is_same(const struct qcow2_remedy *one, const struct qcow2_remedy *other)
{
	return one == other || (one->command[0] && strcmp(one->command, other->command) == 0 &&
				strcmp(one->argument, other->argument) == 0);
}

/* Prints the command of a remedy, or what to do where there is none, and what it costs. */
static void show_remedy(const struct page *page, const struct qcow2_remedy *remedy)
{
	const struct qcow2_problem *problems[TOGETHER_MAX];
	size_t count = gather(page, remedy, problems);
	char command[COMMAND_SHOWN], text[COMMAND_SHOWN];
	size_t size = qcow2_remedy_command(remedy, page->info->file, problems, count, command,
					   sizeof(command));

	if (size > 0 && size < sizeof(command)) {
		/* not wrapped, so that it can be copied */
		spool_print(page->out, "  next: %s\n", command);
	} else {
		snprintf(text, sizeof(text), "  next: %s", remedy->does);
		show_line(page, text);
	}
	if (remedy->effect == QCOW2_REMEDY_COSTS && remedy->cost[0]) {
		snprintf(text, sizeof(text), "  cost: %s", remedy->cost);
		show_line(page, text);
	}
}

/* Prints what mends the problems, each remedy once. */
static void show_remedies(const struct page *page)
{
	const struct problem_log *log = &page->info->problems;
	const struct qcow2_remedy *shown[REMEDIES_SHOWN];
	size_t count = 0;

	for (size_t i = 0; i < log->count && count < REMEDIES_SHOWN; i++) {
		const struct qcow2_remedy *remedy = remedy_of(log->kept[i]);
		size_t k = 0;

		if (!wants_remedy(page, log->kept[i]))
			continue;
		while (k < count && !is_same(shown[k], remedy))
			k++;
		if (k == count) {
			shown[count++] = remedy;
			show_remedy(page, remedy);
		}
	}
}

/* Bitmaps in use are nothing to mend as long as their user is there. Returns how many there are. */
static uint64_t show_bitmaps_in_use(const struct page *page)
{
	uint64_t count = page->info->problems.seen[QCOW2_PROBLEM_BITMAP_IN_USE];

	if (!page->in_use || count == 0)
		return 0;
	show_line(page, "! bitmaps are in use: another program has the image open, and stores them "
			"when it is done");
	return count;
}

static void show_verdict(const struct page *page)
{
	const char *on = page->colour ? "\033[31m" : "", *off = page->colour ? "\033[0m" : "";

	if (page->info->verdict == QEMU_REFUSES)
		spool_print(page->out, "! %sQEMU refuses to open this image%s\n", on, off);
	if (page->info->verdict == QEMU_ONLY_READS)
		spool_print(page->out, "! %sQEMU opens this image for reading only%s\n", on, off);
	if (!page->in_use)
		show_remedies(page);
}

void page_alarms(const struct page *page)
{
	uint64_t total = problem_log_total(&page->info->problems), shown = 0;

	for (unsigned rank = RANKS; rank-- > 0;)
		show_rank(page, rank, false, &shown);
	/* Where there is room, those of kinds that were shown. */
	for (unsigned rank = RANKS; rank-- > 0;)
		show_rank(page, rank, true, &shown);
	shown += show_bitmaps_in_use(page);
	if (total > shown)
		spool_print(page->out, "! … %" PRIu64 " problems in all; qcow2 dump shows them\n",
			    total);
	show_verdict(page);
}
