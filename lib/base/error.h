/* SPDX-License-Identifier: MIT */
/*
 * Fills struct qcow2_error. Every function returns -1, so that a caller may write
 * "return q2_fail(…)", and does nothing else if err is NULL.
 *
 * The text is safe to print whatever goes into it. Bytes that are not printable UTF-8 become '?',
 * and a text that is too long is cut between two characters.
 */
#ifndef Q2_BASE_ERROR_H
#define Q2_BASE_ERROR_H

#include <qcow2/error.h>

/* offset_bytes may be QCOW2_NO_OFFSET. */
int q2_fail(struct qcow2_error *err, enum qcow2_error_code code, uint64_t offset_bytes,
	    const char *format, ...) __attribute__((format(printf, 4, 5)));

/* QCOW2_ERROR_IO with errnum (> 0); appends ": " and the system's description of errnum. */
int q2_fail_errno(struct qcow2_error *err, int errnum, uint64_t offset_bytes, const char *format,
		  ...) __attribute__((format(printf, 4, 5)));

/* Adds "; " and text to what an error says; the rest of it stays. err may be NULL. */
void q2_error_append(struct qcow2_error *err, const char *text);

/* QCOW2_ERROR_MEMORY. */
int q2_fail_memory(struct qcow2_error *err);

/*
 * Whether the machine failed, not the image: what could not be read now says nothing of what it
 * holds. Who goes on where an image is broken still fails then.
 */
static inline bool q2_is_fault(const struct qcow2_error *err)
{
	return err->code == QCOW2_ERROR_IO || err->code == QCOW2_ERROR_MEMORY;
}

#endif
