/* SPDX-License-Identifier: MIT */
/* What phases of a plan are called on pages. */
#ifndef CMD_COMMON_PHASE_NAME_H
#define CMD_COMMON_PHASE_NAME_H

#include <qcow2/edit.h>

/* "withdraw", "new", "count", "point" or "clean". */
const char *phase_name(enum qcow2_phase phase);

#endif
