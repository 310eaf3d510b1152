/* SPDX-License-Identifier: MIT */
/* Bytes before and after, as rows of hexadecimal digits. */
#ifndef CMD_COMMON_HEX_DIFF_H
#define CMD_COMMON_HEX_DIFF_H

#include "out/spool.h"

#include <qcow2/base.h>

/*
 * Shows the rows of sixteen bytes in which two pieces that begin at `offset` of an image differ.
 * One of them may be shorter: past its end it has no bytes.
 */
void hex_diff_show(struct spool *out, uint64_t offset, struct qcow2_bytes old_bytes,
		   struct qcow2_bytes new_bytes, bool colour);

#endif
