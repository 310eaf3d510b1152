/* SPDX-License-Identifier: MIT */
/* What deleting almost everybody would free, known once a usage is open. */
#ifndef Q2_USAGE_FREED_H
#define Q2_USAGE_FREED_H

#include <qcow2/usage.h>

/*
 * How many clusters deleting all users would free but for the active image and the user of that
 * number, which exists: as qcow2_usage_freed_bytes(), but without a look at all of them.
 */
uint64_t q2_usage_freed_but(const struct qcow2_usage *usage, uint64_t number);

#endif
