/* SPDX-License-Identifier: MIT */
/* See undoing.h. */
#include "undo/undoing.h"

#include <string.h>

#include "base/error.h"

void q2_undoing_release(struct q2_undoing *u)
{
	q2_undo_patches_release(&u->marks);
	q2_undo_patches_release(&u->patches);
}

int q2_undo_read_now(const struct q2_undoing *u, uint64_t offset, uint8_t *bytes, size_t size)
{
	uint64_t there = qcow2_source_size_bytes(u->image);
	size_t stored = offset >= there         ? 0
			: there - offset < size ? (size_t)(there - offset)
						: size;

	memset(bytes + stored, 0, size - stored);
	return stored == 0 ? 0 : qcow2_source_read(u->image, offset, bytes, stored, u->err);
}

int q2_undo_open_image(struct q2_undoing *u, struct qcow2_source *source, struct qcow2_image **out)
{
	struct qcow2_error why;

	*out = NULL;
	if (qcow2_image_open(source, out, &why) == 0)
		return 0;
	*out = NULL;
	if (why.code != QCOW2_ERROR_MEMORY && why.code != QCOW2_ERROR_IO)
		return 0;
	if (u->err)
		*u->err = why;
	return -1;
}

int q2_undo_mismatch(struct q2_undoing *u, uint64_t offset, const char *text)
{
	return q2_fail(u->err, QCOW2_ERROR_MISMATCH, offset, "%s; nothing was written", text);
}
