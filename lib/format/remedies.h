/* SPDX-License-Identifier: MIT */
/* The table of remedies, and which row of it is which. */
#ifndef Q2_FORMAT_REMEDIES_H
#define Q2_FORMAT_REMEDIES_H

#include <qcow2/remedy.h>

enum q2_remedy_row {
#define QCOW2_REMEDY(ID, id, effect, command, argument, then, does, cost, qemu) Q2_REMEDY_##ID,
#include <qcow2/def/remedies.def>
#undef QCOW2_REMEDY
	Q2_REMEDY_ROWS
};

/* Constants, for tables: whether a row is a command that loses nothing. */
enum q2_remedy_repairs {
#define QCOW2_REMEDY(ID, id, effect, command, argument, then, does, cost, qemu)                    \
	Q2_REMEDY_REPAIRS_##ID =                                                                   \
		QCOW2_REMEDY_##effect == QCOW2_REMEDY_LOSSLESS && sizeof(command) > 1,
#include <qcow2/def/remedies.def>
#undef QCOW2_REMEDY
};

extern const struct qcow2_remedy q2_remedies[Q2_REMEDY_ROWS];

#endif
