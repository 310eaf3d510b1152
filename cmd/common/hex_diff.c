/* SPDX-License-Identifier: MIT */
/* See hex_diff.h. */
#include "common/hex_diff.h"

#include <inttypes.h>

#define ROW 16

/* Returns the byte at a place of the image; -1 if the piece does not have it. */
static int byte_at(struct qcow2_bytes bytes, uint64_t offset, uint64_t place)
{
	if (place < offset || place - offset >= bytes.size)
		return -1;
	return bytes.data[place - offset];
}

static void show_row(struct spool *out, uint64_t offset, struct qcow2_bytes bytes, uint64_t row,
		     char sign)
{
	char text[ROW + 1] = "";

	if (sign == '-')
		spool_print(out, "  0x%08" PRIx64 " -", row);
	else
		spool_print(out, "  %10s +", "");
	for (unsigned i = 0; i < ROW; i++) {
		int byte = byte_at(bytes, offset, row + i);

		if (byte < 0)
			spool_text(out, "   ");
		else
			spool_print(out, " %02x", (unsigned)byte);
		text[i] = byte < 0 ? ' ' : byte >= 0x20 && byte < 0x7f ? (char)byte : '.';
	}
	spool_print(out, "  |%s|", text);
}

void hex_diff_show(struct spool *out, uint64_t offset, struct qcow2_bytes old_bytes,
		   struct qcow2_bytes new_bytes, bool colour)
{
	uint64_t end = offset + (old_bytes.size > new_bytes.size ? old_bytes.size : new_bytes.size);

	for (uint64_t row = offset / ROW * ROW; row < end; row += ROW) {
		bool differs = false;

		for (unsigned i = 0; i < ROW; i++)
			differs |= byte_at(old_bytes, offset, row + i) !=
				   byte_at(new_bytes, offset, row + i);
		if (!differs)
			continue;
		spool_text(out, colour ? "\033[31m" : "");
		show_row(out, offset, old_bytes, row, '-');
		spool_text(out, colour ? "\033[0m\n\033[32m" : "\n");
		show_row(out, offset, new_bytes, row, '+');
		spool_text(out, colour ? "\033[0m\n" : "\n");
	}
}
