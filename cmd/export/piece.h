/* SPDX-License-Identifier: MIT */
/*
 * The disk in pieces: each is read, looked at for zeros and written by whichever thread is free, and
 * counts then in the order of the disk.
 */
#ifndef CMD_EXPORT_PIECE_H
#define CMD_EXPORT_PIECE_H

#include "export/faults.h"
#include "export/ranges.h"
#include "hash/tree.h"

#include <qcow2/guest.h>

struct export_run;
struct export_target;

/* Pieces with data are cut at multiples of this; the others have any length. */
#define EXPORT_PIECE_BYTES ((size_t)1 << 20)
/* What is read before it is written: little enough to be in a processor's own cache meanwhile. */
#define EXPORT_STEP_BYTES ((size_t)256 << 10)

enum export_piece_kind {
	EXPORT_PIECE_DATA,
	EXPORT_PIECE_ZEROS,
	EXPORT_PIECE_UNREADABLE, /* as its entries say */
};

struct export_piece {
	uint64_t start_bytes, length_bytes;
	enum export_piece_kind kind;
	/* If all of it lies in a file as it is: where. Else NULL. */
	const struct qcow2_source *source;
	uint64_t host_bytes;
	size_t step_bytes; /* EXPORT_STEP_BYTES, or all: a compressed cluster is inflated at once */
	/* What came of it. */
	bool failed; /* err says why it cannot be read */
	struct qcow2_error err;
	int errnum; /* why the target cannot be written, or 0 */
	bool is_zero, is_shared;
	uint8_t digest[HASH_DIGEST_BYTES]; /* with a manifest, unless it is all zeros */
	struct export_faults faults;
	uint8_t bytes[EXPORT_PIECE_BYTES];
};

/* The stream of pieces. */
struct export_pieces {
	struct export_run *run;
	struct qcow2_disk_extents *extents;
	uint64_t at_bytes, end_bytes; /* what is left of a part of the range */
	uint64_t range_end_bytes;
	uint64_t part_bytes; /* how long parts are; longer each time while they have no data */
	bool has_data;       /* the part at hand has */
	struct qcow2_disk_extent next; /* may begin in front of at_bytes; length_bytes 0: unknown */
};

/* Both return 0, or -1 with *err filled. */
int export_pieces_open(struct export_pieces *pieces, struct export_run *run,
		       struct qcow2_error *err);
void export_pieces_close(struct export_pieces *pieces);

/* Finds the next piece. Returns 1 with *piece set, 0 behind the last one, or -1 with *err filled. */
int export_pieces_next(struct export_pieces *pieces, struct export_piece *piece,
		       struct qcow2_error *err);

/* Does the work on a piece: any thread. */
void export_piece_work(const struct export_run *run, struct export_piece *piece);

/*
 * Writes a piece behind the end of a file, after those before it. Returns 0 or an errno value. One
 * thread.
 */
int export_piece_append(const struct export_target *target, struct export_piece *piece);

/* Counts a piece, writes it if it goes to standard output, and adds it to the manifest. */
int export_piece_take(struct export_run *run, struct export_piece *piece);

#endif
