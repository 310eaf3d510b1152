/* SPDX-License-Identifier: MIT */
/* See report.h. Names of files and values may be anybody's, and are made safe to print. */
#include "nbdkit/report.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <qcow2/text.h>

static const char *safe(const char *text, char *buffer, size_t size)
{
	qcow2_text_escape((struct qcow2_bytes){(const uint8_t *)text, strlen(text)}, buffer, size);
	return buffer;
}

int report_fail(struct qcow2_error *err, enum qcow2_error_code code, const char *format, ...)
{
	char text[sizeof(err->text)];
	va_list arguments;

	*err = (struct qcow2_error){.code = code, .offset_bytes = QCOW2_NO_OFFSET};
	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	safe(text, err->text, sizeof(err->text));
	return -1;
}

int report_error(const char *file, const struct qcow2_error *err)
{
	char name[1024];

	safe(file, name, sizeof(name));
	if (err->offset_bytes != QCOW2_NO_OFFSET)
		nbdkit_error("%s: %s (at offset 0x%" PRIx64 ")", name, err->text,
			     err->offset_bytes);
	else
		nbdkit_error("%s: %s", name, err->text);
	return -1;
}

int report_text(const char *format, ...)
{
	char text[512], escaped[1024];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	nbdkit_error("%s", safe(text, escaped, sizeof(escaped)));
	return -1;
}

int report_errno(const struct qcow2_error *err)
{
	switch (err->code) {
	case QCOW2_ERROR_MEMORY:
		return ENOMEM;
	case QCOW2_ERROR_ARGUMENT:
		return EINVAL;
	default:
		return EIO;
	}
}
