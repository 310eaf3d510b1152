/* SPDX-License-Identifier: MIT */
/*
 * Host clusters for what a repair makes anew: copies, tables, refcount blocks. Nothing refers to
 * them and no refcount says that they are in use, so that neither the guest's data nor what may be
 * lost data is overwritten. In a file they lie behind its end; a device cannot grow, and its free
 * clusters are taken.
 */
#ifndef Q2_REPAIR_SPACE_H
#define Q2_REPAIR_SPACE_H

#include <qcow2/base.h>
#include <qcow2/error.h>

struct q2_repair;
struct q2_space;

/*
 * Takes count clusters side by side; *offset_bytes is the host offset of the first. The planned
 * file grows when they are written. The refcount stage counts them, since then something refers to
 * them. Returns 0, or -1 with repair->err filled: QCOW2_ERROR_LIMIT (a device is full, or offsets
 * would pass what an entry can say), QCOW2_ERROR_MEMORY, and the errors of q2_check().
 */
int q2_space_take(struct q2_repair *repair, uint64_t count, uint64_t *offset_bytes);

/* Whether the cluster of a host offset was taken: then the plan alone knows what it holds. */
bool q2_space_is_taken(const struct q2_repair *repair, uint64_t offset_bytes);

/* Clusters that were taken so far, and the offset of each: for the refcount stage and its tests. */
uint64_t q2_space_taken_count(const struct q2_repair *repair);

/* Closes what q2_space_take() opened; does nothing if it was never called. */
void q2_space_close(struct q2_repair *repair);

#endif
