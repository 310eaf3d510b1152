/* SPDX-License-Identifier: MIT */
/*
 * The file as a row of cells of equal size, for pictures: how many bytes of each kind are in each
 * cell, and which kind a cell shows. Memory depends on the number of cells alone.
 *
 * What a cell shows, which docs/layout.md promises:
 * 1. It shows the kind that has most of its bytes; of equals, the one that comes first in enum
 *    qcow2_usage_kind.
 * 2. A kind that no cell shows then takes the cell in which it has most bytes, the kinds with the
 *    fewest bytes first. A cell is taken once, and none is taken that is the only one to show its
 *    kind: a kind may be left without a cell.
 * 3. A conflict, or else a leak, marks each cell in which it has any byte.
 */
#ifndef CMD_LAYOUT_CELLS_H
#define CMD_LAYOUT_CELLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <qcow2/usage.h>

struct cell {
	uint64_t bytes[QCOW2_USAGE_KINDS];
	enum qcow2_usage_kind shown;
	enum qcow2_usage_kind
		mark; /* a conflict or a leak that is in it; QCOW2_USAGE_KINDS: none */
	bool taken;   /* by rule 2 */
	/* Of its longest piece of one run; the path is empty if runs do not name their owners. */
	uint64_t longest_bytes;
	uint64_t longest_start_bytes; /* of the whole run */
	enum qcow2_usage_kind longest_kind;
	char where[QCOW2_CLAIM_WHERE_MAX];
};

struct cells {
	uint64_t size_bytes; /* of what the cells show, from the first byte of the file on */
	uint64_t cell_bytes; /* of a cell; the last one may be shorter */
	size_t count;
	struct cell *cell;                   /* `count` of them */
	uint64_t bytes[QCOW2_USAGE_KINDS];   /* of all cells */
	uint64_t showing[QCOW2_USAGE_KINDS]; /* how many cells show a kind, or are marked with it */
};

/*
 * Makes at most `most` cells of a whole number of clusters, a number that is easy to read: up to 8,
 * or 4, 5, 6 or 7 times a power of two. size_bytes, cluster_bytes and `most` are at least 1. False
 * if there is no memory.
 */
bool cells_init(struct cells *cells, uint64_t size_bytes, uint64_t cluster_bytes, size_t most);

/* Adds a run. What is behind the last cell is left out. */
void cells_add(struct cells *cells, const struct qcow2_usage_run *run);

/* Decides what each cell shows, once all runs were added. */
void cells_settle(struct cells *cells);

/* Where a cell begins, and how many bytes it has. */
uint64_t cells_start(const struct cells *cells, size_t number);
uint64_t cells_length(const struct cells *cells, size_t number);

/* Whether all bytes of a cell are of the kind that it shows. */
bool cells_is_pure(const struct cells *cells, size_t number);

void cells_release(struct cells *cells);

#endif
