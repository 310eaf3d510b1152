/* SPDX-License-Identifier: MIT */
/* Looks at tables through windows, and asks for holes before it reads. */
#include "image/mapping/mapping.h"

/* Fills bytes with what the window has from offset on. */
static bool shows(const struct q2_window *window, uint64_t offset, size_t least,
		  struct qcow2_bytes *bytes)
{
	uint64_t into = offset - window->start;

	if (offset < window->start || into >= window->filled || window->filled - into < least)
		return false;
	*bytes = (struct qcow2_bytes){window->buffer + into, window->filled - (size_t)into};
	return true;
}

int q2_mapping_look(struct q2_window *window, uint64_t offset, size_t entry_bytes,
		    struct q2_mapping_glance *out, struct qcow2_error *err)
{
	uint64_t hole;

	*out = (struct q2_mapping_glance){.hole_bytes = 0};
	if (shows(window, offset, entry_bytes, &out->bytes))
		return 0;
	/*
	 * Ask for a hole only before a read: once for each piece that a window can hold. A short
	 * look-up reads zeros there as quickly as it learns of the hole.
	 */
	hole = window->piece > 0 ? offset : qcow2_source_hole_end(window->image->source, offset);
	if (hole > window->end)
		hole = window->end;
	out->hole_bytes = (hole - offset) / entry_bytes * entry_bytes;
	if (out->hole_bytes > 0)
		return 0;
	if (q2_window_view(window, offset, entry_bytes, &out->bytes, err))
		return -1;
	(void)shows(window, offset, entry_bytes, &out->bytes);
	return 0;
}
