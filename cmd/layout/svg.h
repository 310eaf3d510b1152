/* SPDX-License-Identifier: MIT */
/*
 * The parts of the SVG document. Lengths are pixels, and whole numbers, so that the edges of blocks
 * are sharp.
 */
#ifndef CMD_LAYOUT_SVG_H
#define CMD_LAYOUT_SVG_H

#include "layout/cells.h"
#include "out/spool.h"

/*
 * The most blocks, and the most bytes that one takes with its tooltip: together with what stands
 * around them, a document stays below 1 MiB.
 */
#define SVG_CELLS_MAX      1920U
#define SVG_CELL_BYTES_MAX 528U

/* Of the legend: the height of an entry, and where its bytes and its share end. */
#define SVG_LEGEND_ROW   24U
#define SVG_LEGEND_BYTES 200U
#define SVG_LEGEND_SHARE 260U

/* Where things are. */
struct svg_place {
	unsigned width, height; /* of the document */
	unsigned margin;
	unsigned left, top; /* of the blocks; offsets stand left of them */
	unsigned pitch;     /* of a block, and the line that parts it from the next */
	unsigned columns, rows;
	unsigned legend_top, legend_columns, legend_column_width;
};

/* Writes the style: a class for each kind, and what changes on dark pages. */
void svg_write_style(struct spool *out);

/*
 * The colours of light pages, of a kind and of the page, as "#0072b2". Elements have them as
 * attributes, too, for viewers that do not know all of the style.
 */
const char *svg_colour(enum qcow2_usage_kind kind);
const char *svg_page_colour(void);

/* Writes the blocks, their tooltips, and the offsets of rows. */
void svg_write_cells(struct spool *out, const struct cells *cells, const struct svg_place *place);

/* Writes the square in a block of `size` pixels that says that a conflict or a leak is in it. */
void svg_write_mark(struct spool *out, enum qcow2_usage_kind kind, unsigned x, unsigned y,
		    unsigned size);

/* Writes the kinds that occur, with their bytes and shares. */
void svg_write_legend(struct spool *out, const struct cells *cells, const struct svg_place *place);

/* How many kinds the legend names. */
unsigned svg_legend_entries(const struct cells *cells);

/* Room for a share, terminated. */
#define SVG_SHARE_MAX 16

/*
 * Writes a share in percent, as text of XML. It is not 0.0 for what is there, nor 100.0 if there is
 * more.
 */
void svg_share(char buffer[SVG_SHARE_MAX], uint64_t part, uint64_t whole);

#endif
