/* SPDX-License-Identifier: MIT */
/*
 * The file as rows of coloured blocks, as defragmenters show a disk: a line that says what a block
 * is, the rows with the offsets at which they begin, and a legend of the kinds that occur. Colours
 * add to the characters, which are the same without them.
 */
#include <stdio.h>
#include <string.h>

#include "layout/cells_fill.h"
#include "layout/layout.h"
#include "layout/picture_kinds.h"
#include "out/human.h"
#include "out/wrap.h"

/* Of the offset in front of a row, with a blank. */
#define OFFSET_COLUMNS 9U
/* Rows have a multiple of so many blocks, which makes their offsets easy to read. */
#define ROW_UNIT 8U
/* However large the terminal is, so that memory stays small; at least a row of any width. */
#define BLOCKS_MOST (1U << 16)
/* With so many the heading is one line, whatever it says. */
#define HEADING_COLUMNS 80U
/* Between entries of the legend. */
#define GAP 2U

struct picture {
	struct spool *out;
	const struct qcow2_usage *usage;
	struct cells cells;
	enum picture_colours colours;
	unsigned columns;                /* of the terminal */
	unsigned row_cells;              /* blocks in a row */
	unsigned wide;                   /* columns of a block */
	bool visible[QCOW2_USAGE_KINDS]; /* kinds that have a block */
};

/* Whether a kind is part of the picture; before there are cells, whether it may be. */
static bool occurs(const struct picture *picture, size_t kind)
{
	if (picture->cells.count > 0)
		return picture->cells.bytes[kind] > 0;
	return qcow2_usage_total_of(picture->usage, (enum qcow2_usage_kind)kind)->bytes > 0;
}

/* The kind whose character and colours a block has: an alarm goes before all others. */
static enum qcow2_usage_kind kind_of(const struct cell *cell)
{
	return cell->mark != QCOW2_USAGE_KINDS ? cell->mark : cell->shown;
}

/* ---- rows ---- */

static void add_row(const struct picture *picture, size_t first)
{
	const struct cells *cells = &picture->cells;
	char human[HUMAN_MAX], before[PICTURE_SEQUENCE_MAX] = "", now[PICTURE_SEQUENCE_MAX];

	human_size(cells_start(cells, first), human);
	spool_print(picture->out, "%*s ", (int)OFFSET_COLUMNS - 1, first == 0 ? "0" : human);
	for (size_t i = first; i < cells->count && i < first + picture->row_cells; i++) {
		enum qcow2_usage_kind kind = kind_of(&cells->cell[i]);

		picture_sequence(picture->colours, kind, now);
		if (strcmp(before, now) != 0) {
			spool_text(picture->out, before[0] ? "\033[0m" : "");
			spool_text(picture->out, now);
			strcpy(before, now);
		}
		for (unsigned column = 0; column < picture->wide; column++)
			spool_text(picture->out, picture_glyph(kind));
	}
	spool_text(picture->out, before[0] ? "\033[0m\n" : "\n");
}

/* ---- the legend ---- */

/* The columns of a kind's entry, which are the same whether or not it has a block. */
static unsigned entry_columns(size_t kind)
{
	return 2 + text_columns(qcow2_usage_kind_name((enum qcow2_usage_kind)kind));
}

static void add_entry(const struct picture *picture, enum qcow2_usage_kind kind)
{
	char sequence[PICTURE_SEQUENCE_MAX];

	if (!picture->visible[kind]) {
		spool_print(picture->out, "(%s)", qcow2_usage_kind_name(kind));
		return;
	}
	picture_sequence(picture->colours, kind, sequence);
	spool_print(picture->out, "%s%s%s %s", sequence, picture_glyph(kind),
		    sequence[0] ? "\033[0m" : "", qcow2_usage_kind_name(kind));
}

/* Goes through the legend, and writes it if asked to. Returns how many lines it has. */
static unsigned go_through_legend(const struct picture *picture, bool writes)
{
	unsigned lines = 0, at = 0;

	for (size_t kind = 0; kind < QCOW2_USAGE_KINDS; kind++) {
		unsigned columns = entry_columns(kind);
		bool fits = lines > 0 && at + GAP + columns <= picture->columns;

		if (!occurs(picture, kind))
			continue;
		if (writes && lines > 0)
			spool_text(picture->out, fits ? "  " : "\n");
		at = fits ? at + GAP + columns : columns;
		lines += !fits;
		if (writes)
			add_entry(picture, (enum qcow2_usage_kind)kind);
	}
	if (writes && lines > 0)
		spool_text(picture->out, "\n");
	return lines;
}

/* Whether a kind occurs that no block shows. */
static bool misses_any(const struct picture *picture)
{
	for (size_t kind = 0; kind < QCOW2_USAGE_KINDS; kind++)
		if (occurs(picture, kind) && !picture->visible[kind])
			return true;
	return false;
}

/* ---- the picture ---- */

/* Decides how blocks stand in rows. Returns how many there may be at most. */
static size_t lay_out(struct picture *picture, const struct layout *layout, unsigned rows)
{
	uint64_t cluster = qcow2_image_geometry(layout->image)->cluster_size_bytes;
	unsigned taken =
		go_through_legend(picture, false) + (picture->columns < HEADING_COLUMNS ? 2 : 1);
	unsigned room = picture->columns > OFFSET_COLUMNS + ROW_UNIT
				? picture->columns - OFFSET_COLUMNS
				: ROW_UNIT;

	rows = rows > taken ? rows - taken : 1;
	if (rows > BLOCKS_MOST / room)
		rows = BLOCKS_MOST / room;
	picture->row_cells = room / ROW_UNIT * ROW_UNIT;
	picture->wide = 1;
	/* Twice as wide, blocks are about square. */
	if ((cells_shown_bytes(layout) - 1) / cluster < (uint64_t)picture->row_cells / 2 * rows) {
		picture->row_cells /= 2;
		picture->wide = 2;
	}
	return (size_t)picture->row_cells * rows;
}

static void add_heading(const struct picture *picture, uint64_t file_bytes)
{
	const struct cells *cells = &picture->cells;
	char human[HUMAN_MAX], line[128];

	snprintf(line, sizeof(line), "One block is %s%s%s.", human_size(cells->cell_bytes, human),
		 cells->size_bytes < file_bytes ? ", to the image's end" : "",
		 misses_any(picture) ? "; kinds in ( ) are too small for one" : "");
	wrap_text(picture->out, line, 0, 0, picture->columns);
}

int layout_show_picture(struct layout *layout, unsigned columns, unsigned rows, bool colour,
			struct qcow2_error *err)
{
	struct picture picture = {
		.out = &layout->out,
		.usage = layout->usage,
		.colours = picture_colours(colour),
		.columns = columns,
	};
	int failed;

	if (cells_shown_bytes(layout) == 0)
		return 0;
	failed = cells_fill(&picture.cells, layout, lay_out(&picture, layout, rows), err);
	if (!failed) {
		for (size_t i = 0; i < picture.cells.count; i++)
			picture.visible[kind_of(&picture.cells.cell[i])] = true;
		add_heading(&picture, qcow2_usage_file_size_bytes(layout->usage));
		for (size_t i = 0; i < picture.cells.count; i += picture.row_cells)
			add_row(&picture, i);
		go_through_legend(&picture, true);
	}
	cells_release(&picture.cells);
	return failed;
}
