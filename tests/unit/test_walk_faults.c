/* SPDX-License-Identifier: MIT */
/*
 * A walk over an image that has everything, when the system fails it: each allocation and each read
 * once. The leak checker watches.
 */
#include "fault_file.h"
#include "image_bytes.h"

#include <qcow2/image.h>
#include <qcow2/source.h>
#include <qcow2/walk.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define IMAGE_BYTES (10 * CLUSTER)

static int fail_error; /* errno of the read that fails; 0: it is short */

/* Clusters: header, bitmap directory, bitmap table, bitmap, L1, L2, data, refcounts, snapshots. */
static void build(uint8_t *image)
{
	put_header(image, 4096);
	put_be(image + 36, 4, 1);
	put_be(image + 40, 8, 0x800);
	put_be(image + 48, 8, 0xe00);
	put_be(image + 56, 4, 1);
	put_be(image + 60, 4, 2);
	put_be(image + 64, 8, 0x1200);
	put_be(image + 88, 8, 1);
	put_bitmaps(image + 104, 2, 64, 0x200);
	put_mark(image + 136, 0x12345678, 5);
	put_bitmap(image + 0x200, 3, 4);
	memcpy(image + 0x218, "\0\0\0\1one", 7);
	put_bitmap(image + 0x220, 3, 0);
	memcpy(image + 0x238, "two", 3);
	put_be(image + 0x400, 8, 0x600);
	image[0x600] = 0x81;
	put_be(image + 0x800, 8, 0xa00);
	put_be(image + 0xa00, 8, 0xc00);
	put_be(image + 0xe00, 8, 0x1000);
	memset(image + 0x1000, 1, 20);
	put_snapshot(image + 0x1200, 1, 4, 24);
	put_be(image + 0x1200, 8, 0x800);
	put_be(image + 0x1208, 4, 1);
	memcpy(image + 0x1240, "1once", 5);
	put_snapshot(image + 0x1248, 1, 5, 0);
	memcpy(image + 0x1270, "2twice", 6);
}

static int group_setup(void **state)
{
	static uint8_t image[IMAGE_BYTES];

	(void)state;
	build(image);
	return make_file(image, sizeof(image));
}

static int teardown(void **state)
{
	(void)state;
	faults_pread = NULL;
	faults_fail_allocation = 0;
	return 0;
}

static ssize_t pread_failing(int fd, void *buffer, size_t size, off_t offset)
{
	if (++reads != fail_read)
		return __real_pread64(fd, buffer, size, offset);
	if (fail_error == 0)
		return __real_pread64(fd, buffer, size > 1 ? size / 2 : size, offset);
	errno = fail_error;
	return -1;
}

/* What a walk has told, as one number: the same for the same page. */
struct heard {
	uint64_t sum;
	long depth;
};

static int hear_begin(void *opaque, const struct qcow2_node *node)
{
	struct heard *heard = opaque;

	heard->depth++;
	heard->sum = heard->sum * 31 + node->offset_bytes + node->index;
	return 0;
}

static int hear_end(void *opaque, const struct qcow2_node *node)
{
	struct heard *heard = opaque;

	(void)node;
	heard->depth--;
	return 0;
}

static int hear_field(void *opaque, const struct qcow2_value *value)
{
	struct heard *heard = opaque;

	heard->sum = heard->sum * 31 + value->number + value->bytes.size;
	return 0;
}

/* Opens the file and walks all of it, or what a selector asks for. */
static int look(const char *selector, struct heard *heard, struct qcow2_error *err)
{
	static const struct qcow2_visitor visitor = {.size = sizeof(visitor),
						     .begin_struct = hear_begin,
						     .end_struct = hear_end,
						     .begin_list = hear_begin,
						     .end_list = hear_end,
						     .field = hear_field};
	struct qcow2_source *source = NULL;
	struct qcow2_image *image = NULL;
	struct qcow2_selection *selection = NULL;
	int result = -1;

	*heard = (struct heard){0};
	if (qcow2_source_open(path, &source, err) == 0 &&
	    qcow2_image_open(source, &image, err) == 0 &&
	    (!selector || qcow2_selection_new(&selector, 1, &selection, err) == 0))
		result = qcow2_walk(image, selection, 0, &visitor, heard, err);
	qcow2_selection_free(selection);
	qcow2_image_close(image);
	qcow2_source_close(source);
	return result;
}

static const char *const selectors[] = {NULL, "all", "bitmaps/two/table/0", "snapshots/*/l2/0/3"};

static void each_allocation(void **state)
{
	(void)state;
	for (size_t s = 0; s < sizeof(selectors) / sizeof(selectors[0]); s++) {
		struct heard heard;
		struct qcow2_error err;
		unsigned long n = 0;
		int result;

		do {
			faults_fail_allocation = ++n;
			result = look(selectors[s], &heard, &err);
			if (result != 0)
				assert_int_equal(err.code, QCOW2_ERROR_MEMORY);
		} while (result != 0);
		assert_true(n > 5);
		assert_int_equal(heard.depth, 0);
	}
}

/* The n-th read fails, for all n that there are. */
static void fail_each_read(const char *selector, int error)
{
	struct heard heard, undisturbed;
	struct qcow2_error err;
	int result;

	faults_pread = pread_failing;
	fail_error = error;
	reads = fail_read = 0;
	assert_int_equal(look(selector, &undisturbed, &err), 0);
	for (long n = 1, all = reads; n <= all; n++) {
		reads = 0;
		fail_read = n;
		result = look(selector, &heard, &err);
		if (error == EIO) {
			assert_int_equal(result, -1);
			assert_int_equal(err.code, QCOW2_ERROR_IO);
			assert_int_equal(err.errnum, EIO);
			assert_true(err.offset_bytes < IMAGE_BYTES);
		} else {
			assert_int_equal(result, 0);
			assert_int_equal(heard.sum, undisturbed.sum);
		}
	}
}

static void each_read(void **state)
{
	static const int errors[] = {EIO, EINTR, 0};

	(void)state;
	for (size_t s = 0; s < sizeof(selectors) / sizeof(selectors[0]); s++)
		for (size_t e = 0; e < sizeof(errors) / sizeof(errors[0]); e++)
			fail_each_read(selectors[s], errors[e]);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(each_allocation, teardown),
		cmocka_unit_test_teardown(each_read, teardown),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
