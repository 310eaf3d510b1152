/* SPDX-License-Identifier: MIT */
/*
 * The making of errors, and the names of their codes.
 */
#include "base/error.h"

#include "base/utf8.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Room for text before it is made safe and cut to what an error holds. */
#define DRAFT_BYTES 1024

const char *qcow2_error_name(enum qcow2_error_code code)
{
	switch (code) {
	case QCOW2_ERROR_NONE:
		return "none";
	case QCOW2_ERROR_IO:
		return "i/o";
	case QCOW2_ERROR_MEMORY:
		return "memory";
	case QCOW2_ERROR_LIMIT:
		return "limit";
	case QCOW2_ERROR_NOT_QCOW2:
		return "not qcow2";
	case QCOW2_ERROR_UNSUPPORTED:
		return "unsupported";
	case QCOW2_ERROR_BROKEN:
		return "broken";
	case QCOW2_ERROR_ARGUMENT:
		return "argument";
	case QCOW2_ERROR_NOT_FOUND:
		return "not found";
	case QCOW2_ERROR_STOPPED:
		return "stopped";
	case QCOW2_ERROR_IN_USE:
		return "in use";
	case QCOW2_ERROR_MISMATCH:
		return "mismatch";
	}
	return "unknown";
}

/* Copies draft to text, with '?' for each character or byte that is not safe to print. */
static void copy_safely(char *text, size_t text_bytes, const char *draft)
{
	const uint8_t *from = (const uint8_t *)draft;
	size_t left = strlen(draft);
	size_t used = 0;

	while (left > 0) {
		uint32_t codepoint;
		bool valid;
		size_t length = q2_utf8_next(from, left, &codepoint, &valid);
		bool safe = valid && q2_codepoint_printable(codepoint);

		if ((safe ? length : 1) >= text_bytes - used)
			break;
		if (safe) {
			memcpy(text + used, from, length);
			used += length;
		} else {
			text[used++] = '?';
		}
		from += length;
		left -= length;
	}
	text[used] = '\0';
}

static void fill(struct qcow2_error *err, enum qcow2_error_code code, int errnum,
		 uint64_t offset_bytes, const char *draft)
{
	err->code = code;
	err->errnum = errnum;
	err->offset_bytes = offset_bytes;
	copy_safely(err->text, sizeof(err->text), draft);
}

int q2_fail(struct qcow2_error *err, enum qcow2_error_code code, uint64_t offset_bytes,
	    const char *format, ...)
{
	char draft[DRAFT_BYTES] = "";
	va_list args;

	if (!err)
		return -1;
	/* Formats into a draft, since the arguments may point into err->text. */
	va_start(args, format);
	(void)vsnprintf(draft, sizeof(draft), format, args);
	va_end(args);
	fill(err, code, 0, offset_bytes, draft);
	return -1;
}

/* glibc has a thread safe function for it. Elsewhere strerror() returns constant text. */
static const char *describe(int errnum)
{
#ifdef __GLIBC__
	const char *text = strerrordesc_np(errnum);
#else
	const char *text = strerror(errnum);
#endif
	return text ? text : "unknown error";
}

int q2_fail_errno(struct qcow2_error *err, int errnum, uint64_t offset_bytes, const char *format,
		  ...)
{
	char draft[DRAFT_BYTES] = "";
	size_t used;
	va_list args;

	if (!err)
		return -1;
	va_start(args, format);
	(void)vsnprintf(draft, sizeof(draft), format, args);
	va_end(args);
	used = strlen(draft);
	(void)snprintf(draft + used, sizeof(draft) - used, ": %s", describe(errnum));
	fill(err, QCOW2_ERROR_IO, errnum, offset_bytes, draft);
	return -1;
}

void q2_error_append(struct qcow2_error *err, const char *text)
{
	struct qcow2_error copy;

	if (!err)
		return;
	copy = *err;
	q2_fail(err, copy.code, copy.offset_bytes, "%s; %s", copy.text, text);
	err->errnum = copy.errnum;
}

int q2_fail_memory(struct qcow2_error *err)
{
	return q2_fail(err, QCOW2_ERROR_MEMORY, QCOW2_NO_OFFSET, "out of memory");
}
