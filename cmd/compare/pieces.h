/* SPDX-License-Identifier: MIT */
/* Parts of two disks that have to be read to be compared: made by threads, used in order. */
#ifndef CMD_COMPARE_PIECES_H
#define CMD_COMPARE_PIECES_H

#include "compare/run.h"

#define COMPARE_PIECE_BYTES   ((size_t)1 << 20)
#define COMPARE_SECTOR        ((size_t)512)
#define COMPARE_SECTORS       (COMPARE_PIECE_BYTES / COMPARE_SECTOR)
#define COMPARE_SEGMENTS_MOST 256

/* A part of a piece in which both disks are one extent each. */
struct compare_segment {
	uint64_t end_bytes;
	unsigned kinds[2];
};

struct compare_piece {
	uint64_t start_bytes, end_bytes;
	size_t segment_count;
	struct compare_segment segments[COMPARE_SEGMENTS_MOST];
	bool reads[2]; /* whether the disk may have anything but zeros there */
	/* What came of it: which sectors differ, or why that is not known. */
	bool differs;
	uint64_t sectors[COMPARE_SECTORS / 64];
	bool failed;
	unsigned blamed;
	struct qcow2_error err;
};

/* Compares a piece; for struct crew_work. */
int compare_make(void *opaque, unsigned worker, void *made, struct qcow2_error *err);

/* Adds the ranges of a piece that differ; for struct crew_work. */
int compare_use(void *opaque, void *made, struct qcow2_error *err);

#endif
