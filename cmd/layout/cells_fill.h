/* SPDX-License-Identifier: MIT */
/* The cells of an image: what both pictures begin with. */
#ifndef CMD_LAYOUT_CELLS_FILL_H
#define CMD_LAYOUT_CELLS_FILL_H

#include "layout/cells.h"
#include "layout/layout.h"

/*
 * How much of the file a picture shows: all of it, but of a device up to the end of the image, as
 * an image rarely fills the device that it is on.
 */
uint64_t cells_shown_bytes(const struct layout *layout);

/*
 * Makes at most `most` cells of what is shown, goes through all runs and settles the cells. 0, or
 * -1 with *err filled; the cells are to be released in either case.
 */
int cells_fill(struct cells *cells, struct layout *layout, size_t most, struct qcow2_error *err);

#endif
