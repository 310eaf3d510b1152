/* SPDX-License-Identifier: MIT */
/* What fills the file: the picture of qcow2 layout, its legend as a table, and where space could go. */
#include <inttypes.h>
#include <stdio.h>

#include "layout/svg.h"
#include "out/html.h"
#include "out/human.h"
#include "report/page.h"
#include "report/section.h"

#define WIDTH 1040U

static int write_picture(struct spool *out, struct report *report, struct qcow2_error *err)
{
	struct layout *layout = &report->layout;

	layout->width = WIDTH;
	spool_text(out, "<figure><div class=\"scroll\" role=\"group\" tabindex=\"0\" "
			"aria-label=\"Picture of the file\">\n");
	if (layout_write_svg(out, layout, err))
		return -1;
	spool_text(out, "</div>\n<figcaption>The file from its first byte to its last, in rows of "
			"blocks; offsets stand on the left, and each block has a tooltip. A block "
			"in a block is a conflict or a leak. The table below says the same in "
			"numbers.</figcaption></figure>\n");
	return 0;
}

static void write_swatch(struct spool *out, enum qcow2_usage_kind kind)
{
	spool_print(out,
		    "<svg class=\"qcow2-layout swatch\" width=\"14\" height=\"14\" "
		    "aria-hidden=\"true\"><rect class=\"%s\" fill=\"%s\" width=\"14\" "
		    "height=\"14\" rx=\"3\"/></svg>",
		    qcow2_usage_kind_name(kind), svg_colour(kind));
}

static void write_legend(struct spool *out, const struct layout *layout)
{
	static const char *const headings[] = {"Kind", "#Size", "#Share", "#Bytes", "#In holes"};
	const uint64_t size = qcow2_usage_file_size_bytes(layout->usage);
	char human[HUMAN_MAX], share[SVG_SHARE_MAX];

	html_begin_table(out, "legend", "What fills the file");
	html_head(out, headings, sizeof(headings) / sizeof(headings[0]));
	for (unsigned kind = 0; kind < QCOW2_USAGE_KINDS; kind++) {
		const struct qcow2_usage_total *total =
			qcow2_usage_total_of(layout->usage, (enum qcow2_usage_kind)kind);

		if (total->bytes == 0)
			continue;
		svg_share(share, total->bytes, size);
		spool_text(out, "<tr><th scope=\"row\">");
		write_swatch(out, (enum qcow2_usage_kind)kind);
		spool_print(out,
			    "%s</th><td class=\"number\">%s</td><td class=\"number\">%s</td>"
			    "<td class=\"number\">%" PRIu64 "</td>",
			    qcow2_usage_kind_name((enum qcow2_usage_kind)kind),
			    human_size(total->bytes, human), share, total->bytes);
		html_size_cell(out, true, total->hole_bytes);
		spool_text(out, "</tr>\n");
	}
	html_end_table(out);
}

static void write_gain(struct spool *out, const struct layout_gain *gain)
{
	spool_print(out, "<tr><th scope=\"row\">%s</th>", gain->title);
	html_size_cell(out, gain->known, gain->bytes);
	spool_text(out, "<td>");
	html_text(out, gain->detail);
	spool_text(out, gain->detail[0] && gain->command[0] ? "<br>" : "");
	if (gain->command[0])
		html_command(out, gain->command);
	spool_text(out, "</td></tr>\n");
}

static void write_gains(struct spool *out, const struct layout *layout)
{
	static const char *const headings[] = {"Where", "#Size", "How to get it back"};
	const char *doubt = layout_space_doubt(layout);
	struct layout_gain gain;

	spool_text(out, "<h3>Where space could be gained</h3>\n");
	if (doubt) {
		spool_text(out, "<p>");
		html_text(out, doubt);
		spool_text(out, " Commands that could do harm are left out.</p>\n");
	}
	html_begin_table(out, "gains", "Space that somebody could get back");
	html_head(out, headings, sizeof(headings) / sizeof(headings[0]));
	for (unsigned place = 0; place < LAYOUT_PLACES; place++) {
		layout_space_gain(layout, (enum layout_place)place, &gain);
		write_gain(out, &gain);
	}
	html_end_table(out);
}

static void write_fragmentation(struct spool *out, const struct layout *layout)
{
	const struct qcow2_fragmentation *found = &layout->fragmentation;
	char data[HUMAN_MAX], longest[HUMAN_MAX];

	if (!layout->has_fragmentation || found->data_bytes == 0)
		return;
	spool_print(out,
		    "<p>The %s of data that the guest reads lie in %" PRIu64 " run%s; the longest "
		    "has %s. Reading all of it in order takes %" PRIu64 " seek%s.</p>\n",
		    human_size(found->data_bytes, data), found->runs, found->runs == 1 ? "" : "s",
		    human_size(found->longest_bytes, longest), found->seeks,
		    found->seeks == 1 ? "" : "s");
}

int report_write_layout(struct spool *out, struct report *report, struct qcow2_error *err)
{
	report_begin_section(out, "layout", "Layout");
	if (!report->has_layout) {
		spool_text(out, "<p>There is no picture of this file: ");
		html_text(out, report->no_layout);
		spool_text(out, ".</p>\n");
	} else {
		if (write_picture(out, report, err))
			return -1;
		write_legend(out, &report->layout);
		write_fragmentation(out, &report->layout);
		write_gains(out, &report->layout);
	}
	report_end_section(out);
	return 0;
}
