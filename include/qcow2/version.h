/* SPDX-License-Identifier: MIT */
/*
 * The version of the library: of the header that a program is compiled with, and of the library
 * that it runs with. This file is the one place where the version is written; the build, the pages
 * and the symbol versions follow it.
 */
#ifndef QCOW2_VERSION_H
#define QCOW2_VERSION_H

#include <qcow2/base.h>

QCOW2_BEGIN_DECLS

/* ---- the version of the library ---- */

/*
 * The version of this header. Until version 1.0, another MINOR may change the interface; from 1.0
 * on, another MAJOR alone may, another MINOR adds to it, and another PATCH mends what is there.
 * docs/abi.md has the whole of it. To ask for a version when compiling:
 *
 *         #if QCOW2_VERSION_MAJOR == 0 && QCOW2_VERSION_MINOR < 1
 *         #error "libqcow2 0.1 is needed"
 *         #endif
 */
#define QCOW2_VERSION_MAJOR 0
#define QCOW2_VERSION_MINOR 1
#define QCOW2_VERSION_PATCH 0

/*
 * Tells the version of the library that runs, which may differ from that of the header that the
 * program was compiled with.
 *
 * Returns "MAJOR.MINOR.PATCH" in decimal, as in "0.1.0"; never NULL. The text lives as long as the
 * program. Pure and thread safe.
 */
QCOW2_API const char *qcow2_version(void);

QCOW2_END_DECLS

#endif
