/* SPDX-License-Identifier: MIT */
/* The page of a file that cannot be opened any more: what qcow2 rescue finds in it. */
#include <inttypes.h>
#include <stdio.h>

#include "out/html.h"
#include "out/human.h"
#include "report/evidence.h"
#include "report/page.h"
#include "report/section.h"

#define TABLES_MOST 20

static void write_evidence(struct spool *out, const struct report *report,
			   const struct qcow2_rescue_candidate *candidate)
{
	static const char *const headings[] = {"About", "#Confidence", "Evidence"};

	html_begin_table(out, "names", "Why");
	html_head(out, headings, sizeof(headings) / sizeof(headings[0]));
	for (size_t i = 0; i < candidate->evidence_count; i++) {
		const struct qcow2_rescue_evidence *evidence = candidate->evidence[i];

		if (!report_evidence_stays(report, evidence))
			continue;
		spool_print(out, "<tr><th scope=\"row\">%s</th><td class=\"number\">%u %%</td><td>",
			    qcow2_rescue_topic_name(evidence->topic), evidence->confidence);
		html_text(out, evidence->text);
		spool_text(out, "</td></tr>\n");
	}
	html_end_table(out);
}

static void write_tables(struct spool *out, const struct report *report,
			 const struct qcow2_rescue_candidate *candidate)
{
	static const char *const headings[] = {"#L1 entry", "L2 table at", "#Clusters",
					       "#Confidence", "Evidence"};
	const size_t shown =
		candidate->table_count < TABLES_MOST ? candidate->table_count : TABLES_MOST;

	if (shown == 0)
		return;
	html_begin_table(out, "rows", "L2 tables that were found again");
	html_head(out, headings, sizeof(headings) / sizeof(headings[0]));
	for (size_t i = 0; i < shown; i++) {
		const struct qcow2_rescue_table *table = candidate->tables[i];

		spool_print(out,
			    "<tr><th scope=\"row\" class=\"number\">%" PRIu64 "</th><td>"
			    "<code>0x%" PRIx64 "</code></td><td class=\"number\">%" PRIu64
			    "</td><td class=\"number\">%u %%</td><td>",
			    table->l1_index, table->l2_table.byte, table->clusters,
			    table->confidence);
		if (!report->redacts)
			html_text(out, table->text);
		spool_text(out, "</td></tr>\n");
	}
	html_end_table(out);
	report_write_more(out, report, candidate->table_count - shown, "qcow2 rescue", "-v");
}

static void write_candidate(struct spool *out, const struct report *report, size_t index)
{
	const struct qcow2_rescue_candidate *candidate = qcow2_rescue_at(report->rescue, index);
	char cluster[HUMAN_MAX], disk[HUMAN_MAX];

	spool_print(out,
		    "<h3>Candidate %zu: %u %%</h3>\n<p>Version %" PRIu32
		    ", clusters of %s, a virtual disk of %s; %" PRIu64 " clusters are mapped.",
		    index + 1, candidate->confidence, candidate->header->version,
		    human_size(UINT64_C(1) << candidate->header->cluster_bits, cluster),
		    human_size(candidate->header->size, disk), candidate->mapped_clusters);
	if (candidate->check)
		spool_print(out,
			    " A check of the image as planned finds %" PRIu64
			    " corruptions, %" PRIu64 " leaks and %" PRIu64 " warnings.",
			    candidate->check->corruptions, candidate->check->leaks,
			    candidate->check->warnings);
	spool_text(out, "</p>\n");
	write_evidence(out, report, candidate);
	write_tables(out, report, candidate);
}

void report_write_remains(struct spool *out, const struct report *report)
{
	char command[REPORT_COMMAND_MAX];
	size_t shown = qcow2_rescue_count(report->rescue);

	if (shown > report->bounds.rows)
		shown = (size_t)report->bounds.rows;
	report_begin_section(out, "remains", "What is left");
	spool_text(out, "<p>The file holds tables of a QCOW2 image. Nothing was written.</p>\n"
			"<h3 id=\"next\">What to do next</h3>\n<ol class=\"steps\">\n<li>");
	report_command_line(command, report, "qcow2 rescue", "");
	html_command(out, command);
	spool_text(out, "<p>Shows how the image could be put back, and with which options it is "
			"done. Nothing is lost: there is an undo file, and an overlay leaves the "
			"file as it is.</p></li>\n</ol>\n");
	for (size_t i = 0; i < shown; i++)
		write_candidate(out, report, i);
	report_write_more(out, report, qcow2_rescue_count(report->rescue) - shown, "qcow2 rescue",
			  "");
	report_end_section(out);
}
