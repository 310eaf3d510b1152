/* SPDX-License-Identifier: MIT */
/*
 * What of the guest's disk was written since a capture, into clusters that the capture knows: it
 * would read as what it was before, or as other data.
 */
#ifndef CMD_CAPTURE_MOVES_H
#define CMD_CAPTURE_MOVES_H

#include "capture/run.h"

/* Bytes of the disk. All zeros before. */
struct capture_moves {
	uint64_t data_bytes; /* data that the capture has at another place */
	uint64_t zero_bytes; /* zeros, where the capture has something else */
};

/*
 * Compares the disk of the image as it is with that of run->image, the capture. metadata: of the
 * image as it is; an entry that leads into it is damage. Says where the first moves are. 0, or -1
 * with *err filled.
 */
int capture_find_moves(const struct capture_run *run, const struct qcow2_image *image,
		       const struct capture_ranges *metadata, struct capture_moves *moves,
		       struct qcow2_error *err);

#endif
