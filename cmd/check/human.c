/* SPDX-License-Identifier: MIT */
/* qcow2 check for people: the verdict first, then the problems by kind, then the totals. */
#include <inttypes.h>
#include <string.h>

#include "check/damage.h"
#include "check/next.h"
#include "check/pages.h"
#include "out/human.h"
#include "out/problem_log.h"

#include <qcow2/text.h>

/* The page that is written. */
struct page {
	struct spool *out;
	const struct check_report *report;
	bool colour;
};

static const char *paint(const struct page *page, enum qcow2_severity severity)
{
	if (!page->colour)
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

static const char *plain(const struct page *page)
{
	return page->colour ? "\033[0m" : "";
}

static void count_word(const struct page *page, const char **between, uint64_t count,
		       const char *word)
{
	if (count == 0)
		return;
	spool_print(page->out, "%s%" PRIu64 " %s%s", *between, count, word, count == 1 ? "" : "s");
	*between = ", ";
}

static void show_verdict(const struct page *page)
{
	const struct qcow2_check_result *result = page->report->result;
	const char *between = ": ", *green = page->colour ? "\033[32m" : "";
	char name[4096];

	qcow2_text_escape((struct qcow2_bytes){(const uint8_t *)page->report->file,
					       strlen(page->report->file)},
			  name, sizeof(name));
	spool_print(page->out, "%s is ", name);
	if (result->corruptions > 0)
		spool_print(page->out, "%scorrupt%s", paint(page, QCOW2_CORRUPTION), plain(page));
	else if (result->leaks > 0)
		spool_print(page->out, "%sintact, but wastes space%s", paint(page, QCOW2_LEAK),
			    plain(page));
	else
		spool_print(page->out, "%ssound%s", green, plain(page));
	count_word(page, &between, result->corruptions, "corruption");
	count_word(page, &between, result->leaks, "leak");
	count_word(page, &between, result->warnings, "warning");
	spool_text(page->out, "\n");
	if (!result->clusters_checked)
		spool_text(page->out, "The header does not allow to check the clusters.\n");
}

static int show_problem(void *opaque, const struct qcow2_problem *problem)
{
	const struct page *page = opaque;
	struct problem_guest guest;
	uint64_t listed = 0;

	spool_text(page->out, "    ");
	if (problem->offset_bytes != QCOW2_NO_OFFSET)
		spool_print(page->out, "0x%" PRIx64 " ", problem->offset_bytes);
	spool_print(page->out, "%s", problem->where);
	if (problem->has_cluster)
		spool_print(page->out, ", cluster at 0x%" PRIx64, problem->cluster_offset_bytes);
	if (problem->has_found || problem->found_text[0] != '\0')
		spool_text(page->out, ":");
	problem_print_found(page->out, problem);
	if (problem->expectation != QCOW2_EXPECT_NOTHING) {
		spool_text(page->out, ", ");
		problem_print_expected(page->out, problem);
	}
	if (problem_guest(problem, &guest) && problem->owner_count == 0)
		problem_print_guest(page->out, &guest, true);
	spool_text(page->out, "\n");
	for (unsigned i = 0; i < problem->owner_count; i++) {
		const struct qcow2_owner *owner = problem->owners[i];

		spool_print(page->out, "        used by %s", owner->where);
		if (owner->part_of != QCOW2_PART_OF_IMAGE)
			spool_print(page->out, " (%s \"%s\")",
				    owner->part_of == QCOW2_PART_OF_SNAPSHOT ? "snapshot"
									     : "bitmap",
				    owner->part_of_name);
		if (problem_owner_guest(owner, &guest)) /* whose snapshot has been named */
			problem_print_guest(page->out, &guest, false);
		spool_text(page->out, "\n");
		listed++;
	}
	if (listed > 0 && problem->owners_total > listed)
		spool_print(page->out, "        %" PRIu64 " references in all\n",
			    problem->owners_total);
	return 0;
}

/* All that is known of one kind of problem. */
static void show_kind(struct page *page, const struct qcow2_problem_kind *kind, uint64_t found)
{
	const struct check_report *report = page->report;
	uint64_t kept = check_report_kept(report, kind);

	spool_print(page->out, "\n%s%s%s %s (%" PRIu64 "): %s\n", paint(page, kind->severity),
		    qcow2_severity_name(kind->severity), plain(page), kind->id, found, kind->text);
	spool_print(page->out, "    %s %s\n", kind->consequence, check_remedy_text(kind));
	if (report->tell_all && found > kept) {
		report->tell_all(report->opaque, kind, show_problem, page);
		return;
	}
	for (size_t i = 0; i < report->count; i++)
		if (report->problems[i]->kind == kind)
			show_problem(page, report->problems[i]);
	if (found > kept)
		spool_print(page->out, "    … %" PRIu64 " more (--all shows them)\n", found - kept);
}

static void show_kinds(struct page *page, enum qcow2_severity severity)
{
	const struct qcow2_problem_kind *kind = NULL;
	uint64_t count;

	while ((kind = qcow2_problem_kind_next(kind))) {
		count = qcow2_check_result_count(page->report->result, kind->number);
		if (kind->severity == severity && count > 0)
			show_kind(page, kind, count);
	}
}

static double percent(uint64_t part, uint64_t whole)
{
	return whole ? 100.0 * (double)part / (double)whole : 0;
}

static void show_totals(const struct page *page)
{
	const struct qcow2_check_result *result = page->report->result;
	const struct qcow2_geometry *geometry = qcow2_image_geometry(page->report->image);
	char human[HUMAN_MAX];

	if (!result->clusters_checked)
		return;
	spool_print(page->out, "\nvirtual disk       %" PRIu64 " clusters of %s\n",
		    result->total_clusters, human_size(geometry->cluster_size_bytes, human));
	spool_print(page->out, "allocated          %" PRIu64 " (%.2f %%)\n",
		    result->allocated_clusters,
		    percent(result->allocated_clusters, result->total_clusters));
	spool_print(page->out, "fragmented         %" PRIu64 " (%.2f %% of those)\n",
		    result->fragmented_clusters,
		    percent(result->fragmented_clusters, result->allocated_clusters));
	spool_print(page->out, "compressed         %" PRIu64 " (%.2f %% of those)\n",
		    result->compressed_clusters,
		    percent(result->compressed_clusters, result->allocated_clusters));
	spool_print(page->out, "end of the image   0x%" PRIx64 " (%s)\n",
		    result->image_end_offset_bytes,
		    human_size(result->image_end_offset_bytes, human));
}

void check_show_human(struct spool *out, const struct check_report *report, bool colour)
{
	struct page page = {out, report, colour};

	show_verdict(&page);
	check_damage_human(out, report);
	show_kinds(&page, QCOW2_CORRUPTION);
	show_kinds(&page, QCOW2_LEAK);
	show_kinds(&page, QCOW2_WARNING);
	show_totals(&page);
	check_next_human(out, report);
}

void check_list_human(struct spool *out)
{
	const struct qcow2_problem_kind *kind = NULL;

	while ((kind = qcow2_problem_kind_next(kind)))
		spool_print(out, "%-32s %-10s  %s\n", kind->id, qcow2_severity_name(kind->severity),
			    kind->text);
}
