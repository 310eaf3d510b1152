/* SPDX-License-Identifier: MIT */
/*
 * The picture of a file as an SVG document that stands alone: no scripts, no fonts, nothing that is
 * fetched. Its size is bounded by the number of blocks, whatever the image is like.
 */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "layout/cells_fill.h"
#include "layout/layout.h"
#include "layout/svg.h"
#include "out/human.h"
#include "out/wrap.h"
#include "out/xml.h"

static_assert(SVG_CELLS_MAX * SVG_CELL_BYTES_MAX < 992U << 10,
	      "blocks leave too little of 1 MiB for the rest");

/* The width if none is asked for, and the least that things are laid out for. */
#define WIDTH       900U
#define WIDTH_LEAST 320U

#define MARGIN              24U
#define PAGE_MARGIN         2U /* above and below blocks, in a page */
#define OFFSETS_WIDTH       72U
#define HEAD_HEIGHT         64U /* the name, and a line on sizes */
#define LEGEND_GAP          28U
#define LEGEND_COLUMNS_MOST 4U
#define LEGEND_COLUMN_MOST  320U
/* Documents that are narrower have these sizes in two lines. */
#define WIDTH_OF_SIZES 600U
#define LINE_HEIGHT    20U

/* Blocks of a row: so many at most and at least. */
#define ROW_BLOCKS_MOST  128U
#define ROW_BLOCKS_LEAST 16U
#define GRID_ROWS_MOST   48U
/* Rows that there should be before blocks become smaller. */
#define ROWS_WANTED 4U
#define PITCH_LEAST 11U
#define PITCH_MOST  48U

/* The bytes of a file's name that are read. */
#define NAME_BYTES 1024U
/* The most bytes that stand for one of them. */
#define ESCAPE_MOST 10U
/* About the width of a character of the name on the page. */
#define NAME_CHARACTER 11U

/* Decides where blocks begin. A page around the picture has a margin and a heading of its own. */
static void place_begin(struct svg_place *place, bool in_page)
{
	place->margin = in_page ? 0 : MARGIN;
	place->left = place->margin + OFFSETS_WIDTH;
	place->top =
		in_page ? PAGE_MARGIN
			: MARGIN + HEAD_HEIGHT + (place->width < WIDTH_OF_SIZES ? LINE_HEIGHT : 0);
}

/* Decides how wide blocks are, and so how many there may be. */
static void place_columns(struct svg_place *place, uint64_t clusters)
{
	unsigned room = place->width - place->margin - place->left;

	place->columns = ROW_BLOCKS_MOST;
	while (place->columns > ROW_BLOCKS_LEAST &&
	       (room / place->columns < PITCH_LEAST || clusters < place->columns * ROWS_WANTED))
		place->columns /= 2;
	place->pitch = room / place->columns;
	if (place->pitch > PITCH_MOST)
		place->pitch = PITCH_MOST;
	place->rows = SVG_CELLS_MAX / place->columns;
	if (place->rows > GRID_ROWS_MOST)
		place->rows = GRID_ROWS_MOST;
}

/* Places what depends on the cells that there are. */
static void place_rest(struct svg_place *place, const struct cells *cells)
{
	unsigned entries = svg_legend_entries(cells), room = place->width - 2 * MARGIN;

	place->rows = (unsigned)((cells->count - 1) / place->columns) + 1;
	place->legend_top = place->top + place->rows * place->pitch + LEGEND_GAP;
	place->legend_columns = room / SVG_LEGEND_SHARE;
	if (place->legend_columns == 0)
		place->legend_columns = 1;
	if (place->legend_columns > LEGEND_COLUMNS_MOST)
		place->legend_columns = LEGEND_COLUMNS_MOST;
	place->legend_column_width = room / place->legend_columns;
	if (place->legend_column_width > LEGEND_COLUMN_MOST)
		place->legend_column_width = LEGEND_COLUMN_MOST;
	place->height = place->legend_top +
			((entries - 1) / place->legend_columns + 1) * SVG_LEGEND_ROW + MARGIN -
			(SVG_LEGEND_ROW - 14);
}

/* ---- the head ---- */

static struct qcow2_bytes name_of(const struct layout *layout)
{
	return (struct qcow2_bytes){(const uint8_t *)layout->file,
				    strnlen(layout->file, NAME_BYTES)};
}

/* The name as the page shows it: the end of it, if there is no room for all. */
static void write_name(struct spool *out, const struct layout *layout,
		       const struct svg_place *place)
{
	char name[NAME_BYTES * ESCAPE_MOST + 1];
	size_t most = (place->width - 2 * MARGIN) / NAME_CHARACTER;
	size_t size = qcow2_text_escape(name_of(layout), name, sizeof(name));
	const char *shown = name;

	/* No character has more than four bytes. */
	if (size > 4 * most)
		shown += size - 4 * most;
	while (text_columns(shown) > most)
		do
			shown++;
		while ((*shown & 0xc0) == 0x80);
	spool_print(out, "<text class=\"text name\" x=\"%u\" y=\"%u\">%s", MARGIN, MARGIN + 16,
		    shown > name ? "…" : "");
	xml_escaped(out, shown);
	spool_text(out, "</text>\n");
}

static void write_sizes(struct spool *out, const struct layout *layout, const struct cells *cells,
			const struct svg_place *place)
{
	uint64_t file = qcow2_usage_file_size_bytes(layout->usage);
	uint64_t cluster = qcow2_image_geometry(layout->image)->cluster_size_bytes;
	bool narrow = place->width < WIDTH_OF_SIZES;
	char size[HUMAN_MAX], human[HUMAN_MAX];

	spool_print(out, "<text class=\"small\" x=\"%u\" y=\"%u\">%s · clusters of %s%s", MARGIN,
		    MARGIN + 40, human_size(file, size), human_size(cluster, human),
		    narrow ? "" : " · ");
	if (narrow)
		spool_print(out, "</text>\n<text class=\"small\" x=\"%u\" y=\"%u\">", MARGIN,
			    MARGIN + 40 + LINE_HEIGHT);
	spool_print(out, "one block is %s", human_size(cells->cell_bytes, human));
	if (cells->size_bytes < file)
		spool_print(out, " · up to %s, the end of the image",
			    human_size(cells->size_bytes, human));
	spool_text(out, "</text>\n");
}

/* What a reader is told who does not see the picture: the kinds, those with most bytes first. */
static void write_description(struct spool *out, const struct cells *cells)
{
	bool told[QCOW2_USAGE_KINDS] = {false};
	char human[HUMAN_MAX], share[SVG_SHARE_MAX];

	spool_text(out, "<desc>What occupies the file, from its first byte to its last, in rows of "
			"coloured blocks.");
	for (;;) {
		size_t most = QCOW2_USAGE_KINDS;

		for (size_t kind = 0; kind < QCOW2_USAGE_KINDS; kind++)
			if (!told[kind] && cells->bytes[kind] > 0 &&
			    (most == QCOW2_USAGE_KINDS || cells->bytes[kind] > cells->bytes[most]))
				most = kind;
		if (most == QCOW2_USAGE_KINDS)
			break;
		told[most] = true;
		svg_share(share, cells->bytes[most], cells->size_bytes);
		spool_print(out, " %s: %s, %s.", qcow2_usage_kind_name((enum qcow2_usage_kind)most),
			    human_size(cells->bytes[most], human), share);
	}
	spool_text(out, "</desc>\n");
}

/* Begins the document. */
static void write_start(struct spool *out, const struct layout *layout, const struct cells *cells,
			const struct svg_place *place)
{
	unsigned width = layout->width ? layout->width : place->width;
	unsigned height = (unsigned)((uint64_t)place->height * width / place->width);

	spool_text(out, "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"qcow2-layout\" "
			"role=\"img\" aria-label=\"Layout of ");
	xml_text(out, name_of(layout));
	spool_print(out, "\" width=\"%u\" height=\"%u\" viewBox=\"0 0 %u %u\">\n<title>Layout of ",
		    width, height, place->width, place->height);
	xml_text(out, name_of(layout));
	spool_text(out, "</title>\n");
	write_description(out, cells);
	svg_write_style(out);
}

static void write_head(struct spool *out, const struct layout *layout, const struct cells *cells,
		       const struct svg_place *place)
{
	spool_print(out, "<rect class=\"page\" fill=\"%s\" width=\"%u\" height=\"%u\"/>\n",
		    svg_page_colour(), place->width, place->height);
	write_name(out, layout, place);
	write_sizes(out, layout, cells, place);
}

/* All but the start and the end. */
static void write_whole(struct spool *out, const struct layout *layout, const struct cells *cells,
			struct svg_place *place)
{
	place_rest(place, cells);
	if (layout->in_page)
		place->height = place->top + place->rows * place->pitch + PAGE_MARGIN;
	write_start(out, layout, cells, place);
	if (!layout->in_page)
		write_head(out, layout, cells, place);
	svg_write_cells(out, cells, place);
	if (!layout->in_page)
		svg_write_legend(out, cells, place);
	spool_text(out, "</svg>\n");
}

int layout_write_svg(struct spool *out, struct layout *layout, struct qcow2_error *err)
{
	const struct qcow2_geometry *geometry = qcow2_image_geometry(layout->image);
	struct svg_place place = {.width = layout->width ? layout->width : WIDTH};
	uint64_t size = cells_shown_bytes(layout);
	struct cells cells;
	int failed;

	if (place.width < WIDTH_LEAST)
		place.width = WIDTH_LEAST;
	place_begin(&place, layout->in_page);
	place_columns(&place, (size - 1) / geometry->cluster_size_bytes + 1);
	failed = cells_fill(&cells, layout, (size_t)place.columns * place.rows, err);
	if (!failed)
		write_whole(out, layout, &cells, &place);
	cells_release(&cells);
	return failed;
}

int layout_show_svg(struct layout *layout, struct qcow2_error *err)
{
	return layout_write_svg(&layout->out, layout, err);
}
