/* SPDX-License-Identifier: MIT */
/* Where the LUKS header of an image is, with its key material ("Full disk encryption header pointer"). */
#ifndef Q2_GUEST_LUKS_AREA_H
#define Q2_GUEST_LUKS_AREA_H

#include <qcow2/image.h>

struct q2_luks_area {
	const struct qcow2_image *image;
	uint64_t offset_bytes; /* of the LUKS header in the file */
	uint64_t size_bytes;   /* from there on, as far as both the image and the file have it */
};

/* Finds the area. Returns 0, or -1 with *err filled: BROKEN. */
int q2_luks_area_find(const struct qcow2_image *image, struct q2_luks_area *area,
		      struct qcow2_error *err);

/*
 * Reads the first size bytes behind its start; what the file does not have is zeros. Returns 0, or -1
 * with *err filled: IO, LIMIT.
 */
int q2_luks_area_begin(const struct q2_luks_area *area, uint8_t *raw, size_t size,
		       struct qcow2_error *err);

/* Reads a range that lies within the area. Returns 0, or -1 with *err filled: IO, LIMIT. */
int q2_luks_area_read(const struct q2_luks_area *area, uint64_t at, uint8_t *bytes, size_t size,
		      struct qcow2_error *err);

/* Whether an error is that of one place, and other places may be read; when time is over, none can. */
bool q2_luks_area_is_bad(const struct qcow2_error *err);

#endif
