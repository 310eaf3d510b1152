/* SPDX-License-Identifier: MIT */
/* Errors of the library, and the plugin's own, as nbdkit wants to hear them. */
#ifndef NBDKIT_REPORT_H
#define NBDKIT_REPORT_H

#define NBDKIT_API_VERSION 2
#include <nbdkit-plugin.h>

#include <qcow2/error.h>

/* Fills *err, for the callbacks of the library. Returns -1. */
int report_fail(struct qcow2_error *err, enum qcow2_error_code code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Says what is wrong with a file, in one line. Returns -1. */
int report_error(const char *file, const struct qcow2_error *err);

/* Says what is wrong with the command line, in one line. Returns -1. */
int report_text(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The errno value that tells a client of an error: one that the protocol knows. */
int report_errno(const struct qcow2_error *err);

#endif
