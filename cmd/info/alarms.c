/* SPDX-License-Identifier: MIT */
/* The start of the page: what is alarming, and what to do about it. */
#include "info/page.h"

#include <inttypes.h>
#include <string.h>

#define ALARMS_SHOWN   8
#define REMEDIES_SHOWN 3
#define FILE_SHOWN     200

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

/* Prints the first problem of each kind that has a rank, and counts it. */
static void show_rank(const struct page *page, unsigned rank, uint64_t *shown)
{
	const struct problem_log *log = &page->info->problems;

	for (size_t i = 0; i < log->count && *shown < ALARMS_SHOWN; i++) {
		if (rank_of(page, log->kept[i]) != rank || is_repeated(log, i))
			continue;
		spool_text(page->out, "! ");
		problem_print(page->out, log->kept[i], page->colour);
		spool_text(page->out, "\n");
		++*shown;
	}
}

/* The name of the file as a shell takes it, or IMAGE if that would need quotes. */
static const char *file_in_command(const struct page *page)
{
	static const char safe[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
				   "_./+,@%=-";
	const char *file = page->info->file;
	size_t size = strlen(file);

	return size > FILE_SHOWN || strspn(file, safe) != size || file[0] == '-' ? "IMAGE" : file;
}

/* Prints the lines of a remedy, with the file in place of IMAGE. */
static void show_remedy(const struct page *page, const char *remedy)
{
	while (*remedy) {
		size_t line = strcspn(remedy, "\n");
		const char *image = strstr(remedy, "IMAGE");

		spool_text(page->out, "  next: ");
		if (image && image < remedy + line) {
			spool_write(page->out, remedy, (size_t)(image - remedy));
			spool_text(page->out, file_in_command(page));
			line -= (size_t)(image - remedy) + strlen("IMAGE");
			remedy = image + strlen("IMAGE");
		}
		spool_write(page->out, remedy, line);
		spool_text(page->out, "\n");
		remedy += line + (remedy[line] == '\n');
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

/* Prints what mends the problems, each remedy once. */
static void show_remedies(const struct page *page)
{
	const struct problem_log *log = &page->info->problems;
	const char *shown[REMEDIES_SHOWN];
	size_t count = 0;

	for (size_t i = 0; i < log->count && count < REMEDIES_SHOWN; i++) {
		const char *remedy = qemu_remedy(log->kept[i]);
		size_t k = 0;

		if (!wants_remedy(page, log->kept[i]))
			continue;
		while (k < count && shown[k] != remedy)
			k++;
		if (k == count) {
			shown[count++] = remedy;
			show_remedy(page, remedy);
		}
	}
}

static void show_verdict(const struct page *page)
{
	const char *on = page->colour ? "\033[31m" : "", *off = page->colour ? "\033[0m" : "";

	if (page->info->verdict == QEMU_REFUSES)
		spool_print(page->out, "! %sQEMU refuses to open this image%s\n", on, off);
	if (page->info->verdict == QEMU_ONLY_READS)
		spool_print(page->out, "! %sQEMU opens this image for reading only%s\n", on, off);
	show_remedies(page);
}

void page_alarms(const struct page *page)
{
	uint64_t total = problem_log_total(&page->info->problems), shown = 0;

	for (unsigned rank = 4 * (QEMU_REFUSES + 1); rank-- > 0;)
		show_rank(page, rank, &shown);
	if (total > shown)
		spool_print(page->out, "! … %" PRIu64 " problems in all; qcow2 dump shows them\n",
			    total);
	show_verdict(page);
}
