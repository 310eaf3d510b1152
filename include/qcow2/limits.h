/* SPDX-License-Identifier: MIT */
/*
 * Limits: what the format allows at most or at least, what this library works with, and what QEMU
 * refuses although the format allows it. They are written down once, in def/limits.def, from which
 * come a constant and a row of a table for each.
 *
 *	if (header->cluster_bits > QCOW2_LIMIT_QEMU_CLUSTER_BITS)
 *		puts("QEMU will not open this");
 *
 * A limit of the format that an image passes is a corruption for qcow2_check(), one of QEMU's a
 * warning.
 */
#ifndef QCOW2_LIMITS_H
#define QCOW2_LIMITS_H

#include <qcow2/base.h>

QCOW2_BEGIN_DECLS

/* ---- limits of the format, of QEMU and of this library ---- */

/*
 * QCOW2_LIMIT_NAME, an int constant in the unit that its row of def/limits.def says. A value is the
 * last one that is allowed: "at most" or, where the name ends in _MIN, "at least".
 */
enum qcow2_limit_value {
#define QCOW2_LIMIT(NAME, id, value, unit, section, refused_by, meaning) QCOW2_LIMIT_##NAME = value,
#include <qcow2/def/limits.def>
#undef QCOW2_LIMIT
};

/* A limit as a row of the table. All texts are constants. */
struct qcow2_limit {
	const char *id;         /* stable, as "qemu-cluster-bits" */
	uint64_t value;         /* the last value that is allowed */
	const char *unit;       /* what value counts: "bits", "bytes", "entries", … */
	const char *section;    /* of the specification, or "QEMU" or "libqcow2" */
	const char *refused_by; /* who refuses what passes it */
	const char *meaning;    /* a sentence */
};

/*
 * Lists all limits, in the order of def/limits.def.
 *
 * *count: set to the number of limits.
 *
 * Returns an array of *count limits. It is constant, belongs to the library, and any thread may
 * read it.
 */
QCOW2_API const struct qcow2_limit *qcow2_limits(size_t *count);

QCOW2_END_DECLS

#endif
