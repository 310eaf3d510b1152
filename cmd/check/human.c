/* SPDX-License-Identifier: MIT */
/*
 * qcow2 check for people: the verdict and its cause first, then the problems by kind, the totals,
 * and at the end what a screen still shows when the rest has scrolled away: the verdict again, and
 * what it means for the guest.
 */
#include <inttypes.h>
#include <string.h>

#include "check/damage.h"
#include "check/kinds.h"
#include "check/next.h"
#include "check/pages.h"
#include "check/verdict.h"
#include "out/human.h"
#include "out/wrap.h"

#include <qcow2/text.h>

/* Columns that the rest of a line is indented by if it is broken. */
#define HANGING 4

static double percent(uint64_t part, uint64_t whole)
{
	return whole ? 100.0 * (double)part / (double)whole : 0;
}

static void show_totals(struct spool *out, const struct check_report *report)
{
	const struct qcow2_check_result *result = report->result;
	const struct qcow2_geometry *geometry = qcow2_image_geometry(report->image);
	char human[HUMAN_MAX];

	if (!result->clusters_checked)
		return;
	spool_print(out, "\nvirtual disk       %" PRIu64 " clusters of %s\n",
		    result->total_clusters, human_size(geometry->cluster_size_bytes, human));
	spool_print(out, "allocated          %" PRIu64 " (%.2f %%)\n", result->allocated_clusters,
		    percent(result->allocated_clusters, result->total_clusters));
	spool_print(out, "fragmented         %" PRIu64 " (%.2f %% of those)\n",
		    result->fragmented_clusters,
		    percent(result->fragmented_clusters, result->allocated_clusters));
	spool_print(out, "compressed         %" PRIu64 " (%.2f %% of those)\n",
		    result->compressed_clusters,
		    percent(result->compressed_clusters, result->allocated_clusters));
	spool_print(out, "end of the image   0x%" PRIx64 " (%s)\n", result->image_end_offset_bytes,
		    human_size(result->image_end_offset_bytes, human));
}

/* Whether all corruptions are of bitmaps. */
static bool only_bitmaps(const struct check_report *report)
{
	const struct qcow2_problem_kind *kind = NULL;

	while ((kind = qcow2_problem_kind_next(kind)))
		if (kind->severity == QCOW2_CORRUPTION && strncmp(kind->id, "bitmap", 6) != 0 &&
		    check_report_found(report, kind->number) > 0)
			return false;
	return report->result->corruptions > 0;
}

/* What it means for the guest, if that is nothing, as far as was looked. */
static void show_spared(struct spool *out, const struct check_report *report)
{
	const struct qcow2_check_result *result = report->result;
	struct spool line;

	if (check_report_unread(report))
		spool_print(out, "leaked clusters: %" PRIu64 ", not all read%s\n",
			    result->leaked_clusters, report->deep ? "" : " (--deep reads them)");
	if (!check_spares_guest(report))
		return;
	spool_init(&line, -1);
	spool_text(&line, "guest data: not touched");
	if (only_bitmaps(report))
		spool_text(&line, "; only bitmaps are damaged");
	else if (result->leaks_with_content > 0)
		spool_print(&line, "; %" PRIu64 " leaked cluster%s data that no table maps",
			    result->leaks_with_content,
			    result->leaks_with_content == 1 ? " holds" : "s hold");
	if (result->compressed_clusters > 0 && !report->deep)
		spool_text(&line, "; compressed data: not read (--deep)");
	if (result->has_data_file)
		spool_text(&line, "; the data file: not read");
	wrap_spool(out, &line, 0, HANGING, report->columns);
	spool_release(&line);
}

static void add_escaped(struct spool *line, const char *name)
{
	char escaped[4096];

	qcow2_text_escape((struct qcow2_bytes){(const uint8_t *)name, strlen(name)}, escaped,
			  sizeof(escaped));
	spool_text(line, escaped);
}

/* The end of the page, which a screen still shows when the rest has scrolled away. */
static void show_end(struct spool *out, const struct check_report *report)
{
	spool_text(out, "\n");
	check_verdict_print(out, report);
	check_damage_sums(out, report);
	show_spared(out, report);
	check_next_human(out, report);
}

void check_show_human(struct spool *out, const struct check_report *report)
{
	const struct qcow2_check_result *result = report->result;
	bool faulty = result->corruptions + result->leaks + result->warnings > 0;

	check_verdict_print(out, report);
	check_damage_human(out, report);
	if (faulty || result->has_data_file)
		show_spared(out, report);
	if (!result->clusters_checked)
		spool_text(out, "The header does not allow to check the clusters.\n");
	for (size_t i = 0; i < report->cause_count; i++)
		check_show_cause(out, report, &report->causes[i]);
	check_show_kinds(out, report);
	show_totals(out, report);
	if (faulty)
		show_end(out, report);
}

void check_show_other_human(struct spool *out, const struct chain_link *link)
{
	struct spool line;

	spool_init(&line, -1);
	add_escaped(&line, link->file);
	spool_print(&line, " is %s", link->format);
	if (link->probed) {
		spool_text(&line, " (probed, as ");
		add_escaped(&line, link->named_by);
		spool_text(&line, " does not state its format)");
	}
	spool_print(&line, ": %s",
		    strcmp(link->format, "raw") == 0 ? "nothing to check" : "not checked");
	spool_text(out, "\n");
	wrap_spool(out, &line, 0, HANGING, terminal_columns());
	spool_release(&line);
}
