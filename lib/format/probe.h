/* SPDX-License-Identifier: MIT */
/* What kind of file some bytes are the start and the end of. See probe.h of the public headers. */
#ifndef Q2_FORMAT_PROBE_H
#define Q2_FORMAT_PROBE_H

#include <qcow2/base.h>
#include <qcow2/probe.h>

/* How much of the start and of the end of a file is looked at. */
#define Q2_PROBE_START_BYTES ((size_t)64 << 10)
#define Q2_PROBE_END_BYTES   ((size_t)512)

/*
 * start: the first bytes of a file, Q2_PROBE_START_BYTES of them or all that there are. end: its
 * last bytes likewise; they may be bytes of start. Never NULL.
 */
const struct qcow2_file_kind *q2_probe_bytes(struct qcow2_bytes start, struct qcow2_bytes end);

#endif
