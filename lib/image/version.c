/* SPDX-License-Identifier: MIT */
/* The version that the library was built as. */
#include <qcow2/version.h>

#define TEXT_OF(number)       #number
#define VERSION_TEXT(a, b, c) TEXT_OF(a) "." TEXT_OF(b) "." TEXT_OF(c)

const char *qcow2_version(void)
{
	return VERSION_TEXT(QCOW2_VERSION_MAJOR, QCOW2_VERSION_MINOR, QCOW2_VERSION_PATCH);
}
