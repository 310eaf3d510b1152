/* SPDX-License-Identifier: MIT */
/* Errors of what is done here, and not in the library. */
#ifndef CMD_CAPTURE_FAIL_H
#define CMD_CAPTURE_FAIL_H

#include <qcow2/error.h>

/* Fills *err with a text. Returns -1. */
int capture_fail(struct qcow2_error *err, enum qcow2_error_code code, const char *text);

#endif
