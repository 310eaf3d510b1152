/* SPDX-License-Identifier: MIT */
/* Names of what locating says. */
#include <qcow2/locate.h>

const char *qcow2_piece_state_name(enum qcow2_piece_state state)
{
	static const char *const names[] = {
		[QCOW2_PIECE_USED] = "used",
		[QCOW2_PIECE_FREE] = "free",
		[QCOW2_PIECE_LEAKED] = "leaked",
		[QCOW2_PIECE_BEYOND_END] = "beyond-end",
	};

	return (unsigned)state < sizeof(names) / sizeof(names[0]) ? names[state] : NULL;
}
