/* SPDX-License-Identifier: MIT */
/*
 * The blocks of the SVG document. Neighbours of a row become one rectangle if all of them show one
 * kind and have no other; lines above them part them again. A conflict or a leak is a smaller square
 * in the block, also where there is nothing else, so that it is known by its form.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

#include "layout/layout.h"
#include "layout/svg.h"
#include "out/human.h"

/* The kinds that a tooltip tells, those with most bytes. */
#define KINDS_TOLD 3
/* The least distance between offsets. */
#define OFFSET_DISTANCE 18U

/* From this size of blocks on, the lines between them are wider. */
#define WIDE_LINES_PITCH 24U

/* Cells that are drawn as one. */
struct piece {
	size_t first, count;
	uint64_t start_bytes, length_bytes;
};

void svg_share(char buffer[SVG_SHARE_MAX], uint64_t part, uint64_t whole)
{
	double percent = 100.0 * (double)part / (double)whole;

	if (part > 0 && percent < 0.05)
		snprintf(buffer, SVG_SHARE_MAX, "&lt; 0.1 %%");
	else if (part < whole && percent >= 99.95)
		snprintf(buffer, SVG_SHARE_MAX, "&gt; 99.9 %%");
	else
		snprintf(buffer, SVG_SHARE_MAX, "%.1f %%", percent);
}

/* ---- tooltips ---- */

/* The kind with most bytes behind those told, or QCOW2_USAGE_KINDS. */
static size_t next_kind(const struct cell *cell, const bool *told)
{
	size_t most = QCOW2_USAGE_KINDS;

	for (size_t kind = 0; kind < QCOW2_USAGE_KINDS; kind++)
		if (cell->bytes[kind] > 0 && !told[kind] &&
		    (most == QCOW2_USAGE_KINDS || cell->bytes[kind] > cell->bytes[most]))
			most = kind;
	return most;
}

/* "data 97.3 %, L2 tables 2.7 %", or "data" if there is nothing else. */
static void write_kinds(struct spool *out, const struct cell *cell, uint64_t length_bytes)
{
	bool told[QCOW2_USAGE_KINDS] = {false};
	char share[SVG_SHARE_MAX];
	unsigned count = 0;

	for (size_t kind; (kind = next_kind(cell, told)) < QCOW2_USAGE_KINDS; count++) {
		told[kind] = true;
		if (count >= KINDS_TOLD)
			continue;
		svg_share(share, cell->bytes[kind], length_bytes);
		spool_print(out, "%s%s%s%s", count > 0 ? ", " : "",
			    qcow2_usage_kind_name((enum qcow2_usage_kind)kind),
			    cell->bytes[kind] < length_bytes ? " " : "",
			    cell->bytes[kind] < length_bytes ? share : "");
	}
	if (count > KINDS_TOLD)
		spool_print(out, ", %u more", count - KINDS_TOLD);
}

static void write_tooltip(struct spool *out, const struct cells *cells, const struct piece *piece)
{
	const struct cell *cell = &cells->cell[piece->first];
	bool whole = cells_is_pure(cells, piece->first);
	char start[HUMAN_MAX], length[HUMAN_MAX];

	spool_text(out, "<title>");
	write_kinds(out, cell, whole ? cell->bytes[cell->shown] : piece->length_bytes);
	spool_print(out, "\n%s from %s\n%" PRIu64 " bytes from 0x%" PRIx64,
		    human_size(piece->length_bytes, length),
		    piece->start_bytes == 0 ? "0" : human_size(piece->start_bytes, start),
		    piece->length_bytes, piece->start_bytes);
	/* The library writes paths itself: they are ASCII, and have nothing to escape. */
	if (cell->where[0])
		spool_print(out, "\n%s%s from 0x%" PRIx64 ": %s", whole ? "" : "longest run: ",
			    whole ? "run" : qcow2_usage_kind_name(cell->longest_kind),
			    cell->longest_start_bytes, cell->where);
	spool_text(out, "</title>");
}

/* ---- blocks ---- */

/* Whether a cell can be drawn together with others that are like it. */
static bool is_plain(const struct cells *cells, size_t number)
{
	return cells_is_pure(cells, number) && cells->cell[number].mark == QCOW2_USAGE_KINDS;
}

/* The cells that are drawn together with the first one: no more than the row has. */
static struct piece piece_at(const struct cells *cells, size_t first, unsigned columns)
{
	struct piece piece = {first, 1, cells_start(cells, first), cells_length(cells, first)};
	size_t end = first - first % columns + columns;

	if (!is_plain(cells, first))
		return piece;
	for (size_t i = first + 1; i < end && i < cells->count; i++) {
		if (!is_plain(cells, i) || cells->cell[i].shown != cells->cell[first].shown)
			break;
		piece.count++;
		piece.length_bytes += cells_length(cells, i);
	}
	return piece;
}

void svg_write_mark(struct spool *out, enum qcow2_usage_kind kind, unsigned x, unsigned y,
		    unsigned size)
{
	unsigned inset = size / 4, rest = size - 2 * inset;

	spool_print(out,
		    "<rect class=\"mark %s\" fill=\"%s\" x=\"%u\" y=\"%u\" width=\"%u\" "
		    "height=\"%u\"/>",
		    qcow2_usage_kind_name(kind), svg_colour(kind), x + inset, y + inset, rest,
		    rest);
}

static void write_piece(struct spool *out, const struct cells *cells, const struct svg_place *place,
			const struct piece *piece)
{
	const struct cell *cell = &cells->cell[piece->first];
	unsigned x = place->left + (unsigned)(piece->first % place->columns) * place->pitch;
	unsigned y = place->top + (unsigned)(piece->first / place->columns) * place->pitch;
	bool marked = cell->mark != QCOW2_USAGE_KINDS;

	spool_print(
		out,
		"%s<rect class=\"%s\" fill=\"%s\" x=\"%u\" y=\"%u\" width=\"%u\" height=\"%u\"%s>",
		marked ? "<g>" : "", qcow2_usage_kind_name(cell->shown), svg_colour(cell->shown), x,
		y, (unsigned)piece->count * place->pitch, place->pitch, marked ? "/" : "");
	if (marked)
		svg_write_mark(out, cell->mark, x, y, place->pitch);
	write_tooltip(out, cells, piece);
	spool_text(out, marked ? "</g>\n" : "</rect>\n");
}

/* The lines between blocks, and around them. */
static void write_lines(struct spool *out, const struct svg_place *place)
{
	unsigned width = place->columns * place->pitch, height = place->rows * place->pitch;

	/* A line of one pixel is sharp on the middle of pixels, one of two between them. */
	spool_print(out, "<path class=\"lines\" fill=\"none\" stroke=\"%s\" %s d=\"",
		    svg_page_colour(),
		    place->pitch < WIDE_LINES_PITCH ? "transform=\"translate(.5 .5)\""
						    : "stroke-width=\"2\"");
	for (unsigned i = 0; i <= place->columns; i++)
		spool_print(out, "M%u %uv%u", place->left + i * place->pitch, place->top, height);
	for (unsigned i = 0; i <= place->rows; i++)
		spool_print(out, "M%u %uh%u", place->left, place->top + i * place->pitch, width);
	spool_text(out, "\"/>\n");
}

static void write_offsets(struct spool *out, const struct cells *cells,
			  const struct svg_place *place)
{
	unsigned step = 1;
	char human[HUMAN_MAX];

	while (step * place->pitch < OFFSET_DISTANCE)
		step *= 2;
	for (unsigned row = 0; row < place->rows; row += step) {
		human_size(cells_start(cells, (size_t)row * place->columns), human);
		spool_print(out, "<text class=\"small offset\" x=\"%u\" y=\"%u\">%s</text>\n",
			    place->left - 10,
			    place->top + row * place->pitch + place->pitch / 2 + 4,
			    row == 0 ? "0" : human);
	}
}

void svg_write_cells(struct spool *out, const struct cells *cells, const struct svg_place *place)
{
	struct piece piece;

	write_offsets(out, cells, place);
	for (size_t i = 0; i < cells->count; i += piece.count) {
		piece = piece_at(cells, i, place->columns);
		write_piece(out, cells, place, &piece);
	}
	write_lines(out, place);
}
