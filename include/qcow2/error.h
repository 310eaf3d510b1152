/* SPDX-License-Identifier: MIT */
/*
 * Errors: why a call could not do its work. An error is never about a rule that the image breaks
 * while the work goes on; that is a problem (see problem.h).
 */
#ifndef QCOW2_ERROR_H
#define QCOW2_ERROR_H

#include <qcow2/base.h>

QCOW2_BEGIN_DECLS

/* Why a call failed. The numbers are part of the ABI; new ones are added at the end. */
enum qcow2_error_code {
	QCOW2_ERROR_NONE = 0,
	QCOW2_ERROR_IO = 1,          /* the system refused to open or read; errnum says why */
	QCOW2_ERROR_MEMORY = 2,      /* an allocation failed */
	QCOW2_ERROR_LIMIT = 3,       /* a limit that the caller or the library sets was reached */
	QCOW2_ERROR_NOT_QCOW2 = 4,   /* not ours: no qcow2 magic, empty, a directory */
	QCOW2_ERROR_UNSUPPORTED = 5, /* ours, but of a kind that this library does not read */
	QCOW2_ERROR_BROKEN = 6,      /* ours, but too damaged for what was asked */
	QCOW2_ERROR_ARGUMENT = 7,    /* the caller's argument makes no sense */
	QCOW2_ERROR_NOT_FOUND = 8,   /* what the caller named is not in the image */
	QCOW2_ERROR_STOPPED = 9,     /* a callback asked to stop */
	QCOW2_ERROR_IN_USE = 10,     /* another program has the image open */
	QCOW2_ERROR_MISMATCH = 11,   /* not the image, or not the state of it, that was meant */
};

/* offset_bytes when an error has no place in the file. */
#define QCOW2_NO_OFFSET UINT64_MAX

/*
 * Filled by a failing call; the caller owns it. text is one line of printable ASCII or UTF-8
 * without control bytes, NUL terminated, and says what and why; it does not hold the file's name.
 * Contents are undefined after success.
 */
struct qcow2_error {
	enum qcow2_error_code code;
	int errnum;            /* an errno value, or 0 */
	uint64_t offset_bytes; /* where in the image file, or QCOW2_NO_OFFSET */
	char text[256];
};

/*
 * A short fixed name for a code ("not qcow2", "unsupported", …). Never NULL; "unknown" for a number
 * that is no code. May be called from any thread.
 */
QCOW2_API const char *qcow2_error_name(enum qcow2_error_code code);

QCOW2_END_DECLS

#endif
