/* SPDX-License-Identifier: MIT */
/* See phase_name.h. */
#include "common/phase_name.h"

const char *phase_name(enum qcow2_phase phase)
{
	switch (phase) {
	case QCOW2_PHASE_WITHDRAW:
		return "withdraw";
	case QCOW2_PHASE_NEW:
		return "new";
	case QCOW2_PHASE_COUNT:
		return "count";
	case QCOW2_PHASE_POINT:
		return "point";
	case QCOW2_PHASE_CLEAN:
		return "clean";
	}
	return "unknown";
}
