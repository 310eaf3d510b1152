/* SPDX-License-Identifier: MIT */
/* The version of the library. */
#ifndef QCOW2_VERSION_H
#define QCOW2_VERSION_H

#include <qcow2/base.h>

QCOW2_BEGIN_DECLS

#define QCOW2_VERSION_MAJOR 0
#define QCOW2_VERSION_MINOR 1
#define QCOW2_VERSION_PATCH 0

/* The version of the library that runs, "0.1.0". Never NULL; may be called from any thread. */
QCOW2_API const char *qcow2_version(void);

QCOW2_END_DECLS

#endif
