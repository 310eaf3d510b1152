/* SPDX-License-Identifier: MIT */
/* Undoing a plan that cuts an image to less than its header: then there is no bit to withdraw. */
#include <qcow2/edit.h>
#include <qcow2/undo.h>

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define FILE_BYTES 4096

static struct qcow2_error err;

/* A header of version 3 with 512-byte clusters and the bitmaps bit, and zeros. */
static void fill(uint8_t *bytes)
{
	memset(bytes, 0, FILE_BYTES);
	memcpy(bytes, "QFI\373", 4);
	bytes[7] = 3;     /* version */
	bytes[23] = 9;    /* cluster_bits */
	bytes[95] = 1;    /* autoclear_features */
	bytes[99] = 4;    /* refcount_order */
	bytes[103] = 104; /* header_length */
}

static void write_file(const char *path, const uint8_t *bytes)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, FILE_BYTES), FILE_BYTES);
	close(fd);
}

static void cut(const char *image, const char *undo)
{
	const struct qcow2_apply_options how = {sizeof(how), undo, image, "a test", NULL};
	struct qcow2_source *source;
	struct qcow2_plan *plan;

	assert_int_equal(qcow2_source_open_for_edit(image, 0, &source, &err), 0);
	assert_int_equal(qcow2_plan_open(source, &plan, &err), 0);
	assert_int_equal(qcow2_plan_resize(plan, 32, &err), 0);
	assert_int_equal(qcow2_plan_apply(plan, &how, &err), 0);
	qcow2_plan_close(plan);
	qcow2_source_close(source);
}

static void put_back(const char *image, const char *path)
{
	struct qcow2_source *source;
	struct qcow2_undo *undo;

	assert_int_equal(qcow2_source_open_for_edit(image, 0, &source, &err), 0);
	assert_int_equal(qcow2_undo_open(path, &undo, &err), 0);
	assert_int_equal(qcow2_undo_apply(undo, source, NULL, NULL, &err), 0);
	qcow2_undo_close(undo);
	qcow2_source_close(source);
}

static void cut_below_its_header(void **state)
{
	char folder[] = "/tmp/undo-XXXXXX", image[64], undo[64];
	uint8_t before[FILE_BYTES], after[FILE_BYTES + 1];
	int fd;

	(void)state;
	assert_non_null(mkdtemp(folder));
	snprintf(image, sizeof(image), "%s/image", folder);
	snprintf(undo, sizeof(undo), "%s/undo", folder);
	fill(before);
	write_file(image, before);
	cut(image, undo);
	put_back(image, undo);
	fd = open(image, O_RDONLY | O_CLOEXEC);
	assert_int_equal(read(fd, after, sizeof(after)), FILE_BYTES);
	assert_memory_equal(after, before, FILE_BYTES);
	close(fd);
	(void)unlink(image);
	(void)unlink(undo);
	(void)rmdir(folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(cut_below_its_header)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
