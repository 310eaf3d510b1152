/* SPDX-License-Identifier: MIT */
/* See fail.h. */
#include "capture/fail.h"

#include <stdio.h>

int capture_fail(struct qcow2_error *err, enum qcow2_error_code code, const char *text)
{
	*err = (struct qcow2_error){.code = code, .offset_bytes = QCOW2_NO_OFFSET};
	snprintf(err->text, sizeof(err->text), "%s", text);
	return -1;
}
