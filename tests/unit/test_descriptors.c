/* SPDX-License-Identifier: MIT */
/*
 * A program that uses the library may run with standard input, output or error closed. Whatever it
 * prints then must not land in an image or in an undo file: no descriptor of ours is below 3.
 */
#include <qcow2/edit.h>
#include <qcow2/undo.h>

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "source/write.h"

#include <cmocka.h>

#define FILE_BYTES 4096

static char folder[] = "/tmp/descriptors-XXXXXX", image[64], undo_path[64];
static struct qcow2_error err;

static int group_setup(void **state)
{
	(void)state;
	if (!mkdtemp(folder))
		return -1;
	snprintf(image, sizeof(image), "%s/image", folder);
	snprintf(undo_path, sizeof(undo_path), "%s/undo", folder);
	return 0;
}

static int group_teardown(void **state)
{
	(void)state;
	(void)unlink(image);
	(void)unlink(undo_path);
	return rmdir(folder);
}

static void fill(void)
{
	int fd = open(image, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, FILE_BYTES), 0);
	assert_int_equal(close(fd), 0);
	(void)unlink(undo_path);
}

/* What a program prints; true if it goes nowhere in each of the subset that is closed. */
static bool chatter_is_lost(unsigned closed)
{
	for (int fd = 0; fd <= 2; fd++)
		if ((closed & 1U << fd) && (write(fd, "chatter", 7) >= 0 || errno != EBADF))
			return false;
	return true;
}

/* Each way to open a file. Returns the number of the step that failed, or 0. */
static int open_each(unsigned closed)
{
	struct qcow2_source *source, *again;

	if (qcow2_source_open(image, &source, &err) || !chatter_is_lost(closed))
		return 1;
	qcow2_source_close(source);
	if (qcow2_source_open_for_edit(image, 0, &source, &err) || !chatter_is_lost(closed))
		return 2;
	qcow2_source_close(source);
	if (q2_source_create(undo_path, &source, &err) || !chatter_is_lost(closed))
		return 3;
	if (q2_source_reopen(undo_path, &again, &err) || !chatter_is_lost(closed))
		return 4;
	qcow2_source_close(source);
	qcow2_source_close(again);
	if (q2_source_create_unnamed(image, &source, &err) || !chatter_is_lost(closed))
		return 9;
	qcow2_source_close(source);
	if (q2_source_sync_name(undo_path, &err) || !q2_source_remove(undo_path) ||
	    !chatter_is_lost(closed))
		return 5;
	return 0;
}

/* An edit and its undo, with a program that talks in between. */
static int edit(unsigned closed)
{
	const struct qcow2_apply_options how = {
		.size = sizeof(how), .undo_path = undo_path, .image_path = image};
	struct qcow2_source *source;
	struct qcow2_undo *undo;
	struct qcow2_plan *plan;

	if (qcow2_source_open_for_edit(image, 0, &source, &err) ||
	    qcow2_plan_open(source, &plan, &err))
		return 6;
	if (qcow2_plan_write(plan, QCOW2_PHASE_POINT, 8,
			     (struct qcow2_bytes){(const uint8_t *)"new", 3}, "a test", &err) ||
	    !chatter_is_lost(closed) || qcow2_plan_apply(plan, &how, &err) ||
	    !chatter_is_lost(closed))
		return 7;
	qcow2_plan_close(plan);
	if (qcow2_undo_open(undo_path, &undo, &err) || !chatter_is_lost(closed))
		return 8;
	qcow2_undo_close(undo);
	qcow2_source_close(source);
	return 0;
}

static void assert_image(const char *at_eight)
{
	uint8_t bytes[FILE_BYTES + 1], expected[FILE_BYTES] = {0};
	int fd = open(image, O_RDONLY | O_CLOEXEC);

	memcpy(expected + 8, at_eight, strlen(at_eight));
	assert_true(fd >= 0);
	assert_int_equal(read(fd, bytes, sizeof(bytes)), FILE_BYTES);
	assert_memory_equal(bytes, expected, FILE_BYTES);
	assert_int_equal(close(fd), 0);
}

static void below_three_is_nothing_of_ours(void **state)
{
	(void)state;
	for (unsigned closed = 1; closed < 8; closed++) {
		int status;
		pid_t child;

		fill();
		child = fork();
		assert_true(child >= 0);
		if (child == 0) {
			int failed;

			for (int fd = 0; fd <= 2; fd++)
				if (closed & 1U << fd)
					(void)close(fd);
			failed = open_each(closed);
			_exit(failed ? failed : edit(closed));
		}
		assert_int_equal(waitpid(child, &status, 0), child);
		assert_true(WIFEXITED(status));
		assert_int_equal(WEXITSTATUS(status), 0);
		assert_image("new");
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(below_three_is_nothing_of_ours),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
