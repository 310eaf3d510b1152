/* SPDX-License-Identifier: MIT */
/* Cuts what is exported into pieces. See piece.h. */
#include <string.h>

#include "export/piece.h"
#include "export/run.h"

#define PART_BYTES      (UINT64_C(64) << 30)
#define PART_BYTES_MOST (UINT64_C(1) << 61)

int export_pieces_open(struct export_pieces *pieces, struct export_run *run,
		       struct qcow2_error *err)
{
	*pieces = (struct export_pieces){.run = run, .has_data = true};
	return qcow2_disk_extents_open(run->guest, &pieces->extents, err);
}

void export_pieces_close(struct export_pieces *pieces)
{
	qcow2_disk_extents_close(pieces->extents);
	pieces->extents = NULL;
}

static uint64_t end_of(const struct qcow2_disk_extent *extent)
{
	return extent->start.byte + extent->length_bytes;
}

/* Where a piece with data that begins there ends at the latest. */
static uint64_t grid_end(const struct export_pieces *pieces, uint64_t at_bytes)
{
	const uint64_t next = (at_bytes / EXPORT_PIECE_BYTES + 1) * EXPORT_PIECE_BYTES;

	return next < pieces->end_bytes ? next : pieces->end_bytes;
}

/*
 * Shows the next part of the range from now on. A range may be one extent, which would be given out
 * when all of its tables were read: nothing would be copied meanwhile. A disk may claim to be endless,
 * and have no data: parts get longer there.
 */
static void show_part(struct export_pieces *pieces)
{
	const uint64_t left = pieces->range_end_bytes - pieces->at_bytes;
	const uint64_t tail = pieces->run->target.tail_bytes;
	uint64_t length;

	if (pieces->has_data)
		pieces->part_bytes = PART_BYTES;
	else if (pieces->part_bytes < PART_BYTES_MOST)
		pieces->part_bytes *= 2;
	pieces->has_data = false;
	length = left < pieces->part_bytes ? left : pieces->part_bytes;

	/* A piece is in front of where the target grows, or behind. */
	if (pieces->at_bytes < tail && length > tail - pieces->at_bytes)
		length = tail - pieces->at_bytes;
	pieces->end_bytes = pieces->at_bytes + length;
	pieces->next.length_bytes = 0;
	qcow2_disk_extents_seek(pieces->extents, (struct qcow2_guest){pieces->at_bytes}, length);
}

/* Goes to the next range, or the next part of this one. 1, 0 or -1. */
static int next_part(struct export_pieces *pieces, struct qcow2_error *err)
{
	struct export_range range;
	int more;

	if (pieces->at_bytes == pieces->range_end_bytes) {
		more = export_ranges_next(&pieces->run->ranges, &range, err);
		if (more <= 0)
			return more;
		pieces->at_bytes = range.start_bytes;
		pieces->range_end_bytes = range.start_bytes + range.length_bytes;
	}
	show_part(pieces);
	return 1;
}

/* Finds the extent at at_bytes. 0, or -1 with *err filled. */
static int find_extent(struct export_pieces *pieces, uint64_t at_bytes, struct qcow2_error *err)
{
	const struct qcow2_disk_extent *extent;
	int more = 1;

	while (more > 0 && (pieces->next.length_bytes == 0 || end_of(&pieces->next) <= at_bytes)) {
		more = qcow2_disk_extents_next(pieces->extents, &extent, err);
		pieces->next.length_bytes = 0;
		if (more > 0)
			pieces->next = *extent;
	}
	if (more == 0)
		*err = (struct qcow2_error){.code = QCOW2_ERROR_ARGUMENT,
					    .offset_bytes = QCOW2_NO_OFFSET,
					    .text = "the disk ends before the range"};
	return more > 0 ? 0 : -1;
}

static enum export_piece_kind kind_of(const struct qcow2_disk_extent *extent)
{
	switch (extent->kind) {
	case QCOW2_DISK_DATA:
		return EXPORT_PIECE_DATA;
	case QCOW2_DISK_UNREADABLE:
		return EXPORT_PIECE_UNREADABLE;
	default:
		return EXPORT_PIECE_ZEROS;
	}
}

static void choose_step(struct export_piece *piece, const struct qcow2_disk_extent *extent)
{
	if (extent->compressed && extent->length_bytes > EXPORT_STEP_BYTES)
		piece->step_bytes = EXPORT_PIECE_BYTES;
}

/* What the piece begins with: the extent, up to where the piece may go. */
static void begin(struct export_pieces *pieces, struct export_piece *piece, uint64_t *end)
{
	const struct qcow2_disk_extent *extent = &pieces->next;

	piece->start_bytes = pieces->at_bytes;
	piece->kind = kind_of(extent);
	pieces->has_data |= piece->kind == EXPORT_PIECE_DATA;
	*end = piece->kind == EXPORT_PIECE_DATA ? grid_end(pieces, pieces->at_bytes)
						: pieces->end_bytes;
	piece->length_bytes = (end_of(extent) < *end ? end_of(extent) : *end) - piece->start_bytes;
	piece->source = NULL;
	piece->step_bytes = EXPORT_STEP_BYTES;
	choose_step(piece, extent);
	if (piece->kind != EXPORT_PIECE_DATA || extent->compressed || extent->encrypted)
		return;
	piece->source = extent->source;
	piece->host_bytes = extent->host.byte + (piece->start_bytes - extent->start.byte);
}

/*
 * What comes where the tables cannot be read: a piece that fails, or whose faults are told, as far
 * as the grid goes.
 */
static int blind_piece(struct export_pieces *pieces, struct export_piece *piece)
{
	const uint64_t end = grid_end(pieces, pieces->at_bytes);

	piece->start_bytes = pieces->at_bytes;
	piece->kind = EXPORT_PIECE_DATA;
	piece->source = NULL;
	piece->step_bytes = EXPORT_STEP_BYTES;
	piece->length_bytes = end - piece->start_bytes;
	pieces->next.length_bytes = 0;
	pieces->at_bytes = end;
	pieces->has_data = true;
	qcow2_disk_extents_seek(pieces->extents, (struct qcow2_guest){end},
				pieces->end_bytes - end);
	return 1;
}

static bool is_fault_of_range(const struct qcow2_error *err)
{
	return err->code != QCOW2_ERROR_MEMORY && err->code != QCOW2_ERROR_ARGUMENT;
}

int export_pieces_next(struct export_pieces *pieces, struct export_piece *piece,
		       struct qcow2_error *err)
{
	uint64_t end;
	int more = pieces->at_bytes == pieces->end_bytes ? next_part(pieces, err) : 1;

	if (more <= 0)
		return more;
	if (find_extent(pieces, pieces->at_bytes, err))
		return pieces->run->salvage && is_fault_of_range(err) ? blind_piece(pieces, piece)
								      : -1;
	begin(pieces, piece, &end);
	pieces->at_bytes = piece->start_bytes + piece->length_bytes;
	/* Extents of the same kind are one piece. If the next cannot be found, it is not in this one. */
	while (pieces->at_bytes < end && piece->kind != EXPORT_PIECE_UNREADABLE &&
	       find_extent(pieces, pieces->at_bytes, err) == 0 &&
	       kind_of(&pieces->next) == piece->kind) {
		pieces->at_bytes = end_of(&pieces->next) < end ? end_of(&pieces->next) : end;
		piece->length_bytes = pieces->at_bytes - piece->start_bytes;
		piece->source = NULL;
		choose_step(piece, &pieces->next);
	}
	return 1;
}
