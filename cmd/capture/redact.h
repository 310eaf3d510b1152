/* SPDX-License-Identifier: MIT */
/* What --redact changes in a capture, and what stands there that the image has not. */
#ifndef CMD_CAPTURE_REDACT_H
#define CMD_CAPTURE_REDACT_H

#include "capture/gather.h"

/* Where changed bytes go. Returns 0, or -1 with *err filled. */
struct capture_writer {
	int (*write)(void *opaque, uint64_t offset_bytes, const uint8_t *bytes, size_t size,
		     struct qcow2_error *err);
	void *opaque;
};

/*
 * Writes neutral text over all names of an image: of its backing file and data file, of snapshots
 * with their IDs, of bitmaps; and over what nobody here can read: unknown header extensions, unknown
 * extra data, and what is left over behind the header. *names: set to how many names there are. 0,
 * or -1 with *err filled.
 */
int capture_redact(const struct qcow2_image *image, const struct capture_content *content,
		   const struct capture_writer *to, uint64_t *names, struct qcow2_error *err);

#endif
