/* SPDX-License-Identifier: MIT */
/*
 * Errors: why a call could not do its work. An error is never about a rule that the image breaks
 * while the work goes on; that is a problem (problem.h).
 *
 * Three codes tell what kind of trouble a file is in: QCOW2_ERROR_NOT_QCOW2 says that it is no
 * qcow2 image, QCOW2_ERROR_UNSUPPORTED that it is one which this library does not read, and
 * QCOW2_ERROR_BROKEN that it is one which is too damaged for what was asked. A program that opens
 * files of several formats goes on to the next format at the first of them, and tells its user of
 * the other two.
 */
#ifndef QCOW2_ERROR_H
#define QCOW2_ERROR_H

#include <qcow2/base.h>

QCOW2_BEGIN_DECLS

/* ---- why a call failed ---- */

/* Why a call failed. The numbers never change; later versions may add new ones. */
enum qcow2_error_code {
	QCOW2_ERROR_NONE = 0,        /* it did not */
	QCOW2_ERROR_IO = 1,          /* the system refused to open, read or write; see errnum */
	QCOW2_ERROR_MEMORY = 2,      /* an allocation failed */
	QCOW2_ERROR_LIMIT = 3,       /* a limit that the caller or the library sets was reached */
	QCOW2_ERROR_NOT_QCOW2 = 4,   /* not ours: no qcow2 magic, version 1, empty, a directory */
	QCOW2_ERROR_UNSUPPORTED = 5, /* ours, but of a kind that this library does not read */
	QCOW2_ERROR_BROKEN = 6,      /* ours, but too damaged for what was asked */
	QCOW2_ERROR_ARGUMENT = 7,    /* the caller's argument makes no sense */
	QCOW2_ERROR_NOT_FOUND = 8,   /* what the caller named is not in the image */
	QCOW2_ERROR_STOPPED = 9,     /* a callback of the caller asked to stop */
	QCOW2_ERROR_IN_USE = 10,     /* another program has the image open, or has changed it */
	QCOW2_ERROR_MISMATCH = 11,   /* not the image, or not the state of it, that was meant */
};

/* Stands for the offset of something that has no place in the file. */
#define QCOW2_NO_OFFSET UINT64_MAX

/*
 * What a call that fails says about it. The caller owns it, as a rule on its stack, and needs not
 * set anything before the call. After a call that succeeds, its contents mean nothing. This
 * structure never changes.
 */
struct qcow2_error {
	enum qcow2_error_code code; /* never QCOW2_ERROR_NONE after a failure */
	int errnum;                 /* an errno value, or 0 */
	uint64_t offset_bytes;      /* where in the image file, or QCOW2_NO_OFFSET */
	/*
	 * What happened and why: one line of UTF-8 without control bytes, NUL terminated, safe to
	 * print whatever the image holds. The name of the file is not in it: programs put it in
	 * front. The wording is for people, and changes; programs look at code and errnum.
	 */
	char text[256];
};

/*
 * The name of an error code, for logs and for formats that machines read.
 *
 * code: any number.
 *
 * Returns a short fixed name in lower case ("i/o", "not qcow2", "unsupported", "broken"); "unknown"
 * for a number that this version of the library does not know. Never NULL. Names never change. Pure
 * and thread safe.
 */
QCOW2_API const char *qcow2_error_name(enum qcow2_error_code code);

QCOW2_END_DECLS

#endif
