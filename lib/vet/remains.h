/* SPDX-License-Identifier: MIT */
/* What remains of tables that were freed. */
#ifndef Q2_VET_REMAINS_H
#define Q2_VET_REMAINS_H

#include "vet/vet.h"

/*
 * Whether a cluster, or its first bytes, holds nothing but a table as QEMU leaves it when it frees
 * it, or zeros. The geometry is known.
 */
bool q2_vet_is_old_table(const struct q2_vet *vet, struct qcow2_bytes cluster);

#endif
