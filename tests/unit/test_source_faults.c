/* SPDX-License-Identifier: MIT */
/*
 * Sources and containers when the system fails them: reads that are interrupted, short or refused,
 * and every allocation that can fail.
 */
#include "faults.h"

#include "base/alloc.h"
#include "base/hash.h"
#include "base/vector.h"
#include "source/write.h"

#include <qcow2/source.h>

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static const char text[] = "The quick brown fox jumps over the lazy dog";
static char path[] = "/tmp/source-faults-XXXXXX";
static int calls;

static int group_setup(void **state)
{
	int fd = mkstemp(path);

	(void)state;
	if (fd < 0 || write(fd, text, sizeof(text)) != (ssize_t)sizeof(text))
		return -1;
	return close(fd);
}

static int group_teardown(void **state)
{
	(void)state;
	return unlink(path);
}

static int teardown(void **state)
{
	(void)state;
	faults_pread = NULL;
	faults_fail_allocation = 0;
	return 0;
}

/* Every other call is interrupted, the others give at most 3 bytes. */
static ssize_t pread_reluctant(int fd, void *buffer, size_t size, off_t offset)
{
	if (calls++ % 2 == 0) {
		errno = EINTR;
		return -1;
	}
	return __real_pread64(fd, buffer, size < 3 ? size : 3, offset);
}

/* The second call fails. */
static ssize_t pread_bad_sector(int fd, void *buffer, size_t size, off_t offset)
{
	if (calls++ == 1) {
		errno = EIO;
		return -1;
	}
	return __real_pread64(fd, buffer, size < 8 ? size : 8, offset);
}

/* Says the end is there after 8 bytes. */
static ssize_t pread_early_end(int fd, void *buffer, size_t size, off_t offset)
{
	return calls++ > 0 ? 0 : __real_pread64(fd, buffer, size < 8 ? size : 8, offset);
}

static struct qcow2_source *open_with(ssize_t (*hook)(int, void *, size_t, off_t))
{
	struct qcow2_source *source = NULL;

	assert_int_equal(qcow2_source_open(path, &source, NULL), 0);
	calls = 0;
	faults_pread = hook;
	return source;
}

static void short_and_interrupted_reads_are_resumed(void **state)
{
	struct qcow2_source *source = open_with(pread_reluctant);
	struct qcow2_error err;
	char buffer[sizeof(text)] = "";

	(void)state;
	assert_int_equal(qcow2_source_read(source, 0, buffer, sizeof(text), &err), 0);
	assert_string_equal(buffer, text);
	/* 44 bytes by threes, each after an interruption */
	assert_int_equal(calls, 30);
	assert_int_equal(qcow2_source_read_bytes(source), sizeof(text));
	qcow2_source_close(source);
}

static void failed_read_is_an_error(void **state)
{
	struct qcow2_source *source = open_with(pread_bad_sector);
	struct qcow2_error err;
	char buffer[sizeof(text)];

	(void)state;
	assert_int_equal(qcow2_source_read(source, 4, buffer, 20, &err), -1);
	assert_int_equal(err.code, QCOW2_ERROR_IO);
	assert_int_equal(err.errnum, EIO);
	assert_int_equal(err.offset_bytes, 4);
	assert_string_equal(err.text, "cannot read 20 bytes at 0x4: Input/output error");
	assert_int_equal(qcow2_source_read_bytes(source), 0);
	/* the source is still good for another read */
	assert_int_equal(qcow2_source_read(source, 4, buffer, 20, &err), 0);
	assert_memory_equal(buffer, text + 4, 20);
	qcow2_source_close(source);
}

static void early_end_is_an_error(void **state)
{
	struct qcow2_source *source = open_with(pread_early_end);
	struct qcow2_error err;
	char buffer[sizeof(text)];

	(void)state;
	assert_int_equal(qcow2_source_read(source, 0, buffer, 20, &err), -1);
	assert_int_equal(err.code, QCOW2_ERROR_IO);
	assert_string_equal(err.text, "cannot read 20 bytes at 0x0: the file became shorter");
	qcow2_source_close(source);
}

static int open_descriptors(void)
{
	DIR *folder = opendir("/proc/self/fd");
	int count = 0;

	assert_non_null(folder);
	while (readdir(folder))
		count++;
	assert_int_equal(closedir(folder), 0);
	return count;
}

static int never_read(void *opaque, uint64_t offset_bytes, void *buffer, size_t size)
{
	(void)opaque;
	(void)offset_bytes;
	(void)buffer;
	(void)size;
	return EIO;
}

static void never_close(void *opaque)
{
	(void)opaque;
	fail();
}

static void sources_without_memory(void **state)
{
	const struct qcow2_source_ops ops = {
		.size = sizeof(ops), .read = never_read, .close = never_close};
	struct qcow2_source *source = NULL;
	struct qcow2_error err;
	int before = open_descriptors();

	(void)state;
	faults_fail_allocation = 1;
	assert_int_equal(qcow2_source_open(path, &source, &err), -1);
	assert_int_equal(err.code, QCOW2_ERROR_MEMORY);
	assert_int_equal(open_descriptors(), before);
	faults_fail_allocation = 1;
	assert_int_equal(qcow2_source_from_memory(text, sizeof(text), &source, &err), -1);
	assert_int_equal(err.code, QCOW2_ERROR_MEMORY);
	faults_fail_allocation = 1;
	assert_int_equal(qcow2_source_from_ops(&ops, NULL, 10, &source, &err), -1);
	assert_int_equal(err.code, QCOW2_ERROR_MEMORY);
	assert_null(source);
}

/* A file that could be made, but not be kept, is not left behind. */
static void new_file_without_memory(void **state)
{
	char fresh[sizeof(path) + 4];
	struct qcow2_source *source = NULL;
	struct qcow2_error err;

	(void)state;
	snprintf(fresh, sizeof(fresh), "%s.new", path);
	faults_fail_allocation = 1;
	assert_int_equal(q2_source_create(fresh, &source, &err), -1);
	assert_int_equal(err.code, QCOW2_ERROR_MEMORY);
	assert_int_equal(access(fresh, F_OK), -1);
	assert_int_equal(q2_source_create(path, &source, &err), -1);
	assert_int_equal(err.errnum, EEXIST);
	assert_int_equal(access(path, F_OK), 0);
	assert_null(source);
}

static void descriptor_is_closed_on_exec_and_on_close(void **state)
{
	struct qcow2_source *source = NULL;
	int before = open_descriptors();
	int expected_fd = open(path, O_RDONLY);

	(void)state;
	/* the lowest free number is what the source gets */
	assert_int_equal(close(expected_fd), 0);
	assert_int_equal(qcow2_source_open(path, &source, NULL), 0);
	assert_int_equal(open_descriptors(), before + 1);
	assert_int_equal(fcntl(expected_fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	assert_int_equal(fcntl(expected_fd, F_GETFL) & O_ACCMODE, O_RDONLY);
	qcow2_source_close(source);
	assert_int_equal(open_descriptors(), before);
}

static void containers_without_memory(void **state)
{
	struct q2_vector vector;
	struct q2_name_set names;
	uint64_t earlier;

	(void)state;
	q2_vector_init(&vector, 1, 100);
	assert_int_equal(q2_vector_append(&vector, "0123456789abcdef", 16), QCOW2_ERROR_NONE);
	faults_fail_allocation = 1;
	assert_int_equal(q2_vector_push(&vector, "x"), QCOW2_ERROR_MEMORY);
	assert_int_equal(vector.count, 16);
	assert_memory_equal(vector.data, "0123456789abcdef", 16);
	assert_int_equal(q2_vector_push(&vector, "x"), QCOW2_ERROR_NONE);
	q2_vector_release(&vector);

	q2_name_set_init(&names, 100);
	for (uint64_t i = 0; i < 16; i++)
		assert_int_equal(q2_name_set_insert(&names, i, i, &earlier), QCOW2_ERROR_NONE);
	faults_fail_allocation = 1;
	assert_int_equal(q2_name_set_insert(&names, 16, 16, &earlier), QCOW2_ERROR_MEMORY);
	assert_int_equal(names.count, 16);
	assert_int_equal(q2_name_set_insert(&names, 3, 99, &earlier), QCOW2_ERROR_NONE);
	assert_int_equal(earlier, 3);
	q2_name_set_release(&names);

	faults_fail_allocation = 1;
	assert_null(q2_alloc(8));
	faults_fail_allocation = 1;
	assert_null(q2_alloc_buffer(8));
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(short_and_interrupted_reads_are_resumed, teardown),
		cmocka_unit_test_teardown(failed_read_is_an_error, teardown),
		cmocka_unit_test_teardown(early_end_is_an_error, teardown),
		cmocka_unit_test_teardown(sources_without_memory, teardown),
		cmocka_unit_test_teardown(new_file_without_memory, teardown),
		cmocka_unit_test_teardown(descriptor_is_closed_on_exec_and_on_close, teardown),
		cmocka_unit_test_teardown(containers_without_memory, teardown),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
