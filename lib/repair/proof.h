/* SPDX-License-Identifier: MIT */
/*
 * Proves that a repair drops nothing in silence: wherever a disk of the planned image does not read
 * as before, a step has said so. A repair that fails here is a fault of the library, and is not
 * planned.
 */
#ifndef Q2_REPAIR_PROOF_H
#define Q2_REPAIR_PROOF_H

struct q2_repair;

/*
 * Compares the mapping of each disk before with that of the planned image, but of snapshots that
 * are meant to go. L2 tables that the plan leaves alone are not read, unless the file grows beneath
 * entries that lead past its end.
 *
 * Returns 0, or -1 with repair->err filled: QCOW2_ERROR_BROKEN names a range that no step told of;
 * the errors of qcow2_mapping_next().
 */
int q2_repair_prove(struct q2_repair *repair);

#endif
