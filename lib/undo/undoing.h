/* SPDX-License-Identifier: MIT */
/* One undo: what it has found out so far and what it is going to do, for the files that judge. */
#ifndef Q2_UNDO_UNDOING_H
#define Q2_UNDO_UNDOING_H

#include "check/check.h"
#include "undo/file.h"
#include "undo/patches.h"

struct q2_undoing {
	struct qcow2_undo *undo;
	struct qcow2_source *image;
	const struct qcow2_undo_options *options;
	struct qcow2_undo_result *result;
	struct q2_source_identity identity; /* of the image now */
	bool is_copy;                       /* not the file that was changed */
	bool is_exact;                      /* the saved bytes were insisted on */
	bool is_old;       /* all places hold the bytes of before, as far as that is looked at */
	bool is_marked;    /* an undo before this one left bitmaps in use */
	bool is_untouched; /* its time proves that the file is as the change left it */
	struct q2_check_totals now, then; /* of the image, and of what it would be */
	struct q2_undo_patches marks;     /* bits that an earlier undo may have patched */
	struct q2_undo_patches patches;   /* bits that this undo patches */
	struct qcow2_error *err;
};

/* Releases both lists of patches. */
void q2_undoing_release(struct q2_undoing *u);

/* Reads the image as it is now; bytes past its end are zeros. Errors: QCOW2_ERROR_IO. */
int q2_undo_read_now(const struct q2_undoing *u, uint64_t offset_bytes, uint8_t *bytes,
		     size_t size);

/*
 * Opens a source that may be no image: then *out is NULL, and 0 is returned. Errors:
 * QCOW2_ERROR_MEMORY, QCOW2_ERROR_IO.
 */
int q2_undo_open_image(struct q2_undoing *u, struct qcow2_source *source, struct qcow2_image **out);

/* Fails with QCOW2_ERROR_MISMATCH: `text`, and that nothing was written. Returns -1. */
int q2_undo_mismatch(struct q2_undoing *u, uint64_t offset, const char *text);

#endif
