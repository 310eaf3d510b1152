/* SPDX-License-Identifier: MIT */
/* The image under test of lib/image's tests: bytes in memory that each test fills anew. */
#ifndef TESTS_UNIT_IMAGE_FIXTURE_H
#define TESTS_UNIT_IMAGE_FIXTURE_H

#include "image_bytes.h"

#include <qcow2/image.h>

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static uint8_t bytes[512 * 1024];
static struct qcow2_source *source;
static struct qcow2_image *image;
static struct qcow2_error err;

/* All zeros but for a header. */
static inline int setup(void **state)
{
	(void)state;
	memset(bytes, 0, sizeof(bytes));
	source = NULL;
	image = NULL;
	put_header(bytes, 1 << 20);
	return 0;
}

static inline int teardown(void **state)
{
	(void)state;
	qcow2_image_close(image);
	qcow2_source_close(source);
	return 0;
}

/* Opens the first size bytes as an image, and closes what was open before. */
static inline int try_bytes(size_t size)
{
	qcow2_image_close(image);
	qcow2_source_close(source);
	image = NULL;
	assert_int_equal(qcow2_source_from_memory(bytes, size, &source, &err), 0);
	return qcow2_image_open(source, &image, &err);
}

static inline void open_bytes(size_t size)
{
	assert_int_equal(try_bytes(size), 0);
}

#endif
