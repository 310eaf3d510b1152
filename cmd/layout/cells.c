/* SPDX-License-Identifier: MIT */
/* See cells.h. */
#include "layout/cells.h"

#include <stdlib.h>
#include <string.h>

/* The least number from `least` on that is easy to read. */
static uint64_t easy_number(uint64_t least)
{
	uint64_t unit = 1;

	while ((least - 1) / unit + 1 > 8)
		unit *= 2;
	return ((least - 1) / unit + 1) * unit;
}

bool cells_init(struct cells *cells, uint64_t size_bytes, uint64_t cluster_bytes, size_t most)
{
	uint64_t clusters = (size_bytes - 1) / cluster_bytes + 1;
	uint64_t each = easy_number((clusters - 1) / most + 1);

	*cells = (struct cells){
		.size_bytes = size_bytes,
		.cell_bytes = each * cluster_bytes,
		.count = (size_t)((clusters - 1) / each + 1),
	};
	cells->cell = calloc(cells->count, sizeof(*cells->cell));
	return cells->cell != NULL;
}

uint64_t cells_start(const struct cells *cells, size_t number)
{
	return number * cells->cell_bytes;
}

uint64_t cells_length(const struct cells *cells, size_t number)
{
	uint64_t rest = cells->size_bytes - cells_start(cells, number);

	return rest < cells->cell_bytes ? rest : cells->cell_bytes;
}

bool cells_is_pure(const struct cells *cells, size_t number)
{
	const struct cell *cell = &cells->cell[number];

	return cell->bytes[cell->shown] == cells_length(cells, number);
}

/* Adds bytes of a run to the cell that has them all. */
static void add_piece(struct cell *cell, const struct qcow2_usage_run *run, uint64_t bytes)
{
	cell->bytes[run->kind] += bytes;
	if (bytes <= cell->longest_bytes)
		return;
	cell->longest_bytes = bytes;
	cell->longest_start_bytes = run->start.byte;
	cell->longest_kind = run->kind;
	cell->where[0] = '\0';
	if (run->owner)
		qcow2_claim_where(run->owner, cell->where, sizeof(cell->where));
}

void cells_add(struct cells *cells, const struct qcow2_usage_run *run)
{
	uint64_t at = run->start.byte, left = run->length_bytes;

	if (at >= cells->size_bytes)
		return;
	if (left > cells->size_bytes - at)
		left = cells->size_bytes - at;
	cells->bytes[run->kind] += left;
	while (left > 0) {
		uint64_t room = cells->cell_bytes - at % cells->cell_bytes;
		uint64_t piece = left < room ? left : room;

		add_piece(&cells->cell[at / cells->cell_bytes], run, piece);
		at += piece;
		left -= piece;
	}
}

/* The kind with most bytes. */
static enum qcow2_usage_kind most_of(const struct cell *cell)
{
	size_t most = 0;

	for (size_t kind = 1; kind < QCOW2_USAGE_KINDS; kind++)
		if (cell->bytes[kind] > cell->bytes[most])
			most = kind;
	return (enum qcow2_usage_kind)most;
}

static enum qcow2_usage_kind mark_of(const struct cell *cell)
{
	if (cell->bytes[QCOW2_USAGE_CONFLICT] > 0)
		return QCOW2_USAGE_CONFLICT;
	return cell->bytes[QCOW2_USAGE_LEAKED] > 0 ? QCOW2_USAGE_LEAKED : QCOW2_USAGE_KINDS;
}

/* Gives a kind the cell in which it has most bytes, of those that can be taken. */
static void take_cell(struct cells *cells, size_t kind)
{
	struct cell *best = NULL;

	for (size_t i = 0; i < cells->count; i++) {
		struct cell *cell = &cells->cell[i];

		if (cell->bytes[kind] > 0 && !cell->taken && cells->showing[cell->shown] > 1 &&
		    (!best || cell->bytes[kind] > best->bytes[kind]))
			best = cell;
	}
	if (!best)
		return;
	/* A mark stays. */
	if (best->mark != best->shown)
		cells->showing[best->shown]--;
	cells->showing[kind]++;
	best->shown = (enum qcow2_usage_kind)kind;
	best->taken = true;
}

/* The kind without a cell that has the fewest bytes, of those not tried; or QCOW2_USAGE_KINDS. */
static size_t next_lost(const struct cells *cells, const bool *tried)
{
	size_t found = QCOW2_USAGE_KINDS;

	for (size_t kind = 0; kind < QCOW2_USAGE_KINDS; kind++)
		if (cells->bytes[kind] > 0 && cells->showing[kind] == 0 && !tried[kind] &&
		    (found == QCOW2_USAGE_KINDS || cells->bytes[kind] < cells->bytes[found]))
			found = kind;
	return found;
}

void cells_settle(struct cells *cells)
{
	bool tried[QCOW2_USAGE_KINDS] = {false};

	for (size_t i = 0; i < cells->count; i++) {
		struct cell *cell = &cells->cell[i];

		cell->shown = most_of(cell);
		cell->mark = mark_of(cell);
		cells->showing[cell->shown]++;
		if (cell->mark != QCOW2_USAGE_KINDS && cell->mark != cell->shown)
			cells->showing[cell->mark]++;
	}
	for (size_t kind; (kind = next_lost(cells, tried)) < QCOW2_USAGE_KINDS;) {
		tried[kind] = true;
		take_cell(cells, kind);
	}
}

void cells_release(struct cells *cells)
{
	free(cells->cell);
	*cells = (struct cells){0};
}
