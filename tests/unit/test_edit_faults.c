/* SPDX-License-Identifier: MIT */
/*
 * Edits and undos when memory is short or a read fails: each allocation, and each read, fails once.
 * The image is then as it was, or the whole change is there; the leak checker watches.
 */
#include "faults.h"
#include "image_bytes.h"

#include <qcow2/edit.h>
#include <qcow2/undo.h>

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define IMAGE_BYTES (6 * CLUSTER)
#define FAULTS_MOST 400
#define DATA_AT     0xe00 /* behind the end, where the edit touches nothing */

static char folder[] = "/tmp/edit-faults-XXXXXX";
static char path[64], undo_path[64];
static uint8_t before[IMAGE_BYTES];
static long reads, fail_read;

static ssize_t failing_pread(int fd, void *buffer, size_t size, off_t offset)
{
	if (++reads == fail_read) {
		errno = EIO;
		return -1;
	}
	return __real_pread64(fd, buffer, size, offset);
}

static void write_image(void)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	assert_int_equal(pwrite(fd, before, sizeof(before), 0), sizeof(before));
	assert_int_equal(ftruncate(fd, sizeof(before)), 0);
	close(fd);
	(void)unlink(undo_path);
}

static bool is_original(void)
{
	uint8_t now[IMAGE_BYTES + 1];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t size = __real_pread64(fd, now, sizeof(now), 0);

	close(fd);
	return size == IMAGE_BYTES && memcmp(now, before, IMAGE_BYTES) == 0;
}

/*
 * What is left after undos that failed: one of them may have begun to write, and then nobody knows
 * whether a guest wrote, so that the autoclear bit stays clear.
 */
static bool is_put_back(void)
{
	uint8_t original = before[95];
	bool same = is_original();

	before[95] = 0;
	same |= is_original();
	before[95] = original;
	return same;
}

/* Everything that a plan is made of. 0 if all of it worked. */
static int edit(void)
{
	const struct qcow2_apply_options how = {sizeof(how), undo_path, path, "faults", NULL};
	struct qcow2_plan_verdict *verdict = NULL;
	struct qcow2_source *source = NULL;
	struct qcow2_plan *plan = NULL;
	struct qcow2_error err;
	const struct qcow2_write *write;
	int failed;

	failed = qcow2_source_open_for_edit(path, 0, &source, &err) ||
		 qcow2_plan_open(source, &plan, &err) || qcow2_edit_begin(plan, &err) ||
		 qcow2_edit_set(plan, "header/compatible_features", "1", NULL, &err) ||
		 qcow2_edit_set(plan, "l2/0/1", "1", NULL, &err) ||
		 qcow2_edit_set(plan, "refcounts/0/5", "0", NULL, &err) ||
		 qcow2_edit_feature(plan, "compatible", "7", true, &err) ||
		 qcow2_edit_extension(plan, QCOW2_EXTENSION_ADD, 5, (struct qcow2_bytes){before, 9},
				      &err) ||
		 qcow2_edit_backing(plan, (struct qcow2_bytes){before, 9}, "raw", &err) ||
		 qcow2_plan_resize(plan, IMAGE_BYTES - 20, &err) ||
		 qcow2_plan_at(plan, 0, &write, &err) ||
		 qcow2_plan_judge(plan, NULL, &verdict, &err) || qcow2_plan_apply(plan, &how, &err);
	qcow2_plan_verdict_free(verdict);
	qcow2_plan_close(plan);
	qcow2_source_close(source);
	return failed;
}

/* What the last undo failed for. */
static struct qcow2_error undo_error;

static int undo(void)
{
	struct qcow2_source *source = NULL;
	struct qcow2_undo *file = NULL;
	int failed = qcow2_source_open_for_edit(path, 0, &source, &undo_error) ||
		     qcow2_undo_open(undo_path, &file, &undo_error) ||
		     qcow2_undo_apply(file, source, NULL, NULL, &undo_error);

	qcow2_undo_close(file);
	qcow2_source_close(source);
	return failed;
}

static int group_setup(void **state)
{
	(void)state;
	if (!mkdtemp(folder))
		return -1;
	snprintf(path, sizeof(path), "%s/image", folder);
	snprintf(undo_path, sizeof(undo_path), "%s/undo", folder);
	put_header(before, 4096);
	put_be(before + 36, 4, 1);
	put_be(before + 40, 8, 0x200);
	put_be(before + 48, 8, 0x600);
	put_be(before + 56, 4, 1);
	put_be(before + 88, 8, 0x80);
	put_be(before + 0x200, 8, 0x8000000000000400);
	put_be(before + 0x400, 8, 0x8000000000000a00);
	put_be(before + 0x600, 8, 0x800);
	for (unsigned i = 0; i < 6; i++)
		put_be(before + 0x800 + 2 * (size_t)i, 2, 1);
	return 0;
}

static int group_teardown(void **state)
{
	(void)state;
	(void)unlink(path);
	(void)unlink(undo_path);
	return rmdir(folder);
}

static void allocations(void **state)
{
	unsigned long n = 0;
	int failed;

	(void)state;
	do {
		write_image();
		faults_fail_allocation = ++n;
		failed = edit();
		faults_fail_allocation = 0;
		assert_true(failed == 0 || is_original());
	} while (failed && n < FAULTS_MOST);
	assert_in_range(n, 20, FAULTS_MOST - 1);
	for (n = 0, failed = 1; failed; n++) {
		faults_fail_allocation = n + 1;
		failed = undo();
		faults_fail_allocation = 0;
	}
	assert_true(n > 3 && is_put_back());
}

static void failing_reads(void **state)
{
	int failed;

	(void)state;
	faults_pread = failing_pread;
	fail_read = 0;
	do {
		write_image();
		reads = 0;
		fail_read++;
		failed = edit();
		assert_true(failed == 0 || is_original());
	} while (failed && fail_read < FAULTS_MOST);
	assert_in_range(fail_read, 10, FAULTS_MOST - 1);
	for (fail_read = 1, failed = 1; failed; fail_read++) {
		reads = 0;
		failed = undo();
	}
	faults_pread = NULL;
	assert_true(fail_read > 3 && is_put_back());
}

/* A program that knows no locks writes to data while an undo is judged. */
static ssize_t disturbing_pread(int fd, void *buffer, size_t size, off_t offset)
{
	if (++reads == fail_read) {
		int other = open(path, O_WRONLY | O_CLOEXEC);

		assert_int_equal(pwrite(other, "guest", 5, DATA_AT), 5);
		close(other);
	}
	return __real_pread64(fd, buffer, size, offset);
}

/* Whichever of its reads the write falls behind: it is noticed, or all is put back around it. */
static void written_meanwhile(void **state)
{
	unsigned noticed = 0;
	uint8_t now[5];
	int fd;

	(void)state;
	for (fail_read = 1, reads = FAULTS_MOST; reads >= fail_read; fail_read++) {
		write_image();
		assert_int_equal(edit(), 0);
		faults_pread = disturbing_pread;
		reads = 0;
		if (undo() != 0 && strstr(undo_error.text, "while the undo was judged"))
			noticed++;
		faults_pread = NULL;
		if (reads < fail_read)
			break;
		fd = open(path, O_RDONLY | O_CLOEXEC);
		assert_int_equal(__real_pread64(fd, now, sizeof(now), DATA_AT), sizeof(now));
		close(fd);
		assert_memory_equal(now, "guest", sizeof(now));
	}
	assert_in_range(noticed, 3, FAULTS_MOST);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(allocations),
		cmocka_unit_test(failing_reads),
		cmocka_unit_test(written_meanwhile),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
