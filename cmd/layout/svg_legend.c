/* SPDX-License-Identifier: MIT */
/* The legend of the SVG document: kinds in columns, each with its bytes and its share. */
#include <inttypes.h>

#include "layout/layout.h"
#include "layout/svg.h"
#include "out/human.h"

unsigned svg_legend_entries(const struct cells *cells)
{
	unsigned count = 0;

	for (size_t kind = 0; kind < QCOW2_USAGE_KINDS; kind++)
		count += cells->bytes[kind] > 0;
	return count;
}

static void write_entry(struct spool *out, const struct cells *cells, enum qcow2_usage_kind kind,
			const struct svg_place *place, unsigned number)
{
	unsigned rows = (svg_legend_entries(cells) - 1) / place->legend_columns + 1;
	unsigned x = place->margin + number / rows * place->legend_column_width;
	unsigned y = place->legend_top + number % rows * SVG_LEGEND_ROW;
	uint64_t bytes = cells->bytes[kind];
	char human[HUMAN_MAX], share[SVG_SHARE_MAX];

	svg_share(share, bytes, cells->size_bytes);
	spool_print(out,
		    "<g><title>%s: %" PRIu64 " bytes</title>"
		    "<rect class=\"%s\" fill=\"%s\" x=\"%u\" y=\"%u\" width=\"14\" height=\"14\" "
		    "rx=\"3\"/>",
		    qcow2_usage_kind_name(kind), bytes, qcow2_usage_kind_name(kind),
		    svg_colour(kind), x, y);
	if (kind == QCOW2_USAGE_CONFLICT || kind == QCOW2_USAGE_LEAKED)
		svg_write_mark(out, kind, x, y, 14);
	spool_print(out, "<text class=\"text\" x=\"%u\" y=\"%u\">%s</text>", x + 22, y + 12,
		    qcow2_usage_kind_name(kind));
	spool_print(out, "<text class=\"small end\" x=\"%u\" y=\"%u\">%s</text>",
		    x + SVG_LEGEND_BYTES, y + 12, human_size(bytes, human));
	spool_print(out, "<text class=\"small end\" x=\"%u\" y=\"%u\">%s</text></g>\n",
		    x + SVG_LEGEND_SHARE, y + 12, share);
}

void svg_write_legend(struct spool *out, const struct cells *cells, const struct svg_place *place)
{
	unsigned number = 0;

	for (size_t kind = 0; kind < QCOW2_USAGE_KINDS; kind++)
		if (cells->bytes[kind] > 0)
			write_entry(out, cells, (enum qcow2_usage_kind)kind, place, number++);
}
