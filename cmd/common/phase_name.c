/* SPDX-License-Identifier: MIT */
/* See phase_name.h. */
#include "common/phase_name.h"

const char *phase_name(enum qcow2_phase phase)
{
	static const char *const names[] = {
		[QCOW2_PHASE_WITHDRAW] = "withdraw", [QCOW2_PHASE_NEW] = "new",
		[QCOW2_PHASE_COUNT] = "count",       [QCOW2_PHASE_POINT] = "point",
		[QCOW2_PHASE_CLEAN] = "clean",
	};

	return names[phase];
}
