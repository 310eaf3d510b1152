/* SPDX-License-Identifier: MIT */
/* The names of the snapshots and bitmaps of an image, read when the first one is asked for. */
#ifndef CMD_LOCATE_NAMES_H
#define CMD_LOCATE_NAMES_H

#include <stddef.h>

#include <qcow2/image.h>

/* The most names of a kind that are kept, and the most bytes of each. */
#define NAMES_MOST      65536
#define NAME_BYTES_MOST 1023

struct names {
	struct qcow2_bytes *texts; /* by index, allocated each */
	size_t count, capacity;
};

struct all_names {
	struct names snapshots, ids, bitmaps;
	bool has_snapshots, has_bitmaps; /* were read */
	bool failed;                     /* memory or a read has failed: error says how */
	struct qcow2_error error;
};

/* The name of the bitmap or the snapshot with an index, or the ID of that. Empty if it is not known. */
struct qcow2_bytes names_bitmap(struct all_names *names, const struct qcow2_image *image,
				uint64_t index);
struct qcow2_bytes names_snapshot(struct all_names *names, const struct qcow2_image *image,
				  uint64_t index);
struct qcow2_bytes names_snapshot_id(struct all_names *names, const struct qcow2_image *image,
				     uint64_t index);

void names_release(struct all_names *names);

#endif
