/* SPDX-License-Identifier: MIT */
/*
 * An image without its names. Whatever text, and whatever bytes of unknown meaning, a walk finds on
 * disk is replaced by a stand-in of the same length, in a view of the file: everything that is shown
 * of the view, hex included, has no names then. The file is only read.
 *
 * Equal names get equal stand-ins, different names different ones, and what makes a name a problem
 * (control characters, bytes that are no UTF-8) stays, so that a check of the view finds what it finds
 * in the image. Words of the format stay: names of formats, of features and of ciphers.
 */
#ifndef CMD_REPORT_REDACT_H
#define CMD_REPORT_REDACT_H

#include <qcow2/edit.h>
#include <qcow2/image.h>

struct redaction {
	struct qcow2_plan *plan;
	struct qcow2_source *view;
	struct qcow2_image *image;
	uint64_t count; /* of the texts and bytes that were replaced */
};

/* Makes the view of an image, which stays open as long. 0, or -1 with *err filled. */
int redact(struct redaction *redaction, const struct qcow2_image *image,
	   struct qcow2_source *source, struct qcow2_error *err);

/* Closes and frees. All zeros is fine. */
void redaction_release(struct redaction *redaction);

#endif
