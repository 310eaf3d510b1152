/* SPDX-License-Identifier: MIT */
/*
 * Sources of every kind: what they read, what they refuse, holes, budgets and threads.
 */
#include <qcow2/source.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

/* A folder of our own for each test, and a path in it. */
struct place {
	char folder[64];
	char path[80];
};

static int setup(void **state)
{
	struct place *place = calloc(1, sizeof(*place));
	const char *tmp = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";

	if (!place)
		return -1;
	snprintf(place->folder, sizeof(place->folder), "%s/source-XXXXXX", tmp);
	if (!mkdtemp(place->folder))
		return -1;
	snprintf(place->path, sizeof(place->path), "%s/image", place->folder);
	*state = place;
	return 0;
}

static int teardown(void **state)
{
	struct place *place = *state;

	(void)unlink(place->path);
	(void)rmdir(place->folder);
	free(place);
	return 0;
}

static void write_at(const char *path, off_t offset, const void *data, size_t size)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, data, size, offset), size);
	assert_int_equal(close(fd), 0);
}

static struct qcow2_source *open_path(const char *path)
{
	struct qcow2_source *source = NULL;
	struct qcow2_error err;

	assert_int_equal(qcow2_source_open(path, &source, &err), 0);
	assert_non_null(source);
	return source;
}

static void assert_open_fails(const char *path, enum qcow2_error_code code, int errnum)
{
	struct qcow2_source *source = NULL;
	struct qcow2_error err;

	assert_int_equal(qcow2_source_open(path, &source, &err), -1);
	assert_int_equal(err.code, code);
	assert_int_equal(err.errnum, errnum);
	assert_true(err.offset_bytes == QCOW2_NO_OFFSET);
	assert_true(err.text[0] != '\0');
	assert_null(source);
}

/* Reads within, at and past the end behave the same for every kind of source of "0123456789". */
static void assert_reads_ten_digits(struct qcow2_source *source)
{
	struct qcow2_error err;
	char buffer[16] = "";

	assert_int_equal(qcow2_source_size_bytes(source), 10);
	assert_int_equal(qcow2_source_read_bytes(source), 0);
	assert_int_equal(qcow2_source_read(source, 3, buffer, 4, &err), 0);
	assert_string_equal(buffer, "3456");
	assert_int_equal(qcow2_source_read(source, 0, buffer, 10, &err), 0);
	assert_string_equal(buffer, "0123456789");
	assert_int_equal(qcow2_source_read(source, 10, buffer, 0, &err), 0);
	assert_int_equal(qcow2_source_read_bytes(source), 14);

	assert_int_equal(qcow2_source_read(source, 7, buffer, 4, &err), -1);
	assert_int_equal(err.code, QCOW2_ERROR_BROKEN);
	assert_int_equal(err.offset_bytes, 7);
	assert_int_equal(qcow2_source_read(source, 11, buffer, 0, &err), -1);
	assert_int_equal(err.code, QCOW2_ERROR_BROKEN);
	/* offset + size wraps around */
	assert_int_equal(qcow2_source_read(source, UINT64_MAX, buffer, 2, &err), -1);
	assert_int_equal(err.code, QCOW2_ERROR_BROKEN);
	assert_int_equal(qcow2_source_read(source, 2, buffer, SIZE_MAX, NULL), -1);
	assert_int_equal(qcow2_source_read_bytes(source), 14);
}

static void memory_is_read(void **state)
{
	struct qcow2_source *source = NULL;
	struct qcow2_error err;

	(void)state;
	assert_int_equal(qcow2_source_from_memory("0123456789", 10, &source, &err), 0);
	assert_reads_ten_digits(source);
	assert_int_equal(qcow2_source_allocated_bytes(source), 10);
	assert_int_equal(qcow2_source_hole_end(source, 4), 4);
	assert_int_equal(qcow2_source_data_end(source, 4), 10);
	assert_int_equal(qcow2_source_data_end(source, 10), 10);
	qcow2_source_close(source);

	assert_int_equal(qcow2_source_from_memory(NULL, 0, &source, &err), 0);
	assert_int_equal(qcow2_source_read(source, 0, NULL, 0, &err), 0);
	assert_int_equal(qcow2_source_hole_end(source, 0), 0);
	qcow2_source_close(source);
	qcow2_source_close(NULL);
}

/* A caller's backend over ten digits that can be told to fail. */
struct digits {
	int result;
	int closed;
};

static int digits_read(void *opaque, uint64_t offset_bytes, void *buffer, size_t size)
{
	const struct digits *digits = opaque;

	assert_true(offset_bytes <= 10 && size <= 10 - offset_bytes);
	memcpy(buffer, &"0123456789"[offset_bytes], size);
	return digits->result;
}

static void digits_close(void *opaque)
{
	struct digits *digits = opaque;

	digits->closed++;
}

static void callers_backend_is_read(void **state)
{
	const struct qcow2_source_ops ops = {
		.size = sizeof(ops), .read = digits_read, .close = digits_close};
	struct digits digits = {0, 0};
	struct qcow2_source *source = NULL;
	struct qcow2_error err;
	char buffer[16];

	(void)state;
	assert_int_equal(qcow2_source_from_ops(&ops, &digits, 10, &source, &err), 0);
	assert_reads_ten_digits(source);
	assert_int_equal(qcow2_source_allocated_bytes(source), 10);
	assert_int_equal(qcow2_source_hole_end(source, 0), 0);

	digits.result = ENOSPC;
	assert_int_equal(qcow2_source_read(source, 2, buffer, 3, &err), -1);
	assert_int_equal(err.code, QCOW2_ERROR_IO);
	assert_int_equal(err.errnum, ENOSPC);
	assert_int_equal(err.offset_bytes, 2);
	digits.result = -1;
	assert_int_equal(qcow2_source_read(source, 2, buffer, 3, &err), -1);
	assert_int_equal(err.code, QCOW2_ERROR_IO);
	assert_int_equal(err.errnum, EIO);
	assert_int_equal(digits.closed, 0);
	qcow2_source_close(source);
	assert_int_equal(digits.closed, 1);
}

static void callers_backend_is_refused(void **state)
{
	struct qcow2_source_ops ops = {.size = sizeof(ops), .close = digits_close};
	struct digits digits = {0, 0};
	struct qcow2_source *source = NULL;
	struct qcow2_error err;

	(void)state;
	assert_int_equal(qcow2_source_from_ops(&ops, &digits, 10, &source, &err), -1);
	assert_int_equal(err.code, QCOW2_ERROR_ARGUMENT);
	ops.read = digits_read;
	assert_int_equal(qcow2_source_from_ops(&ops, &digits, UINT64_C(1) << 63, &source, &err),
			 -1);
	assert_int_equal(err.code, QCOW2_ERROR_ARGUMENT);
	assert_null(source);
	assert_int_equal(digits.closed, 0);
	ops.close = NULL;
	assert_int_equal(qcow2_source_from_ops(&ops, &digits, INT64_MAX, &source, &err), 0);
	qcow2_source_close(source);
}

static void file_is_read(void **state)
{
	const struct place *place = *state;
	struct qcow2_source *source;
	struct stat st;

	write_at(place->path, 0, "0123456789", 10);
	assert_int_equal(stat(place->path, &st), 0);
	source = open_path(place->path);
	assert_reads_ten_digits(source);
	assert_int_equal(qcow2_source_allocated_bytes(source), st.st_blocks * 512);
	qcow2_source_close(source);
}

static void empty_file_is_opened(void **state)
{
	const struct place *place = *state;
	struct qcow2_source *source;

	write_at(place->path, 0, "", 0);
	source = open_path(place->path);
	assert_int_equal(qcow2_source_size_bytes(source), 0);
	assert_int_equal(qcow2_source_hole_end(source, 0), 0);
	qcow2_source_close(source);
}

static void paths_that_cannot_be_opened(void **state)
{
	const struct place *place = *state;

	assert_open_fails(place->path, QCOW2_ERROR_IO, ENOENT);
	assert_open_fails("", QCOW2_ERROR_IO, ENOENT);
	/* not a scheme, only a file that does not exist */
	assert_open_fails("json:{\"driver\":\"file\"}", QCOW2_ERROR_IO, ENOENT);
	assert_int_equal(symlink("image", place->path), 0);
	assert_open_fails(place->path, QCOW2_ERROR_IO, ELOOP);
}

static void things_that_are_no_files(void **state)
{
	const struct place *place = *state;
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd;

	assert_open_fails(place->folder, QCOW2_ERROR_NOT_QCOW2, 0);
	assert_open_fails("/dev/null", QCOW2_ERROR_NOT_QCOW2, 0);

	/* nobody writes to it: a wait would last for ever, so let it end the test */
	assert_int_equal(mkfifo(place->path, 0600), 0);
	alarm(20);
	assert_open_fails(place->path, QCOW2_ERROR_NOT_QCOW2, 0);
	alarm(0);
	assert_int_equal(unlink(place->path), 0);

	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_true(fd >= 0);
	memcpy(address.sun_path, place->path, sizeof(place->path));
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_open_fails(place->path, QCOW2_ERROR_NOT_QCOW2, 0);
	assert_int_equal(close(fd), 0);
}

static void file_that_became_shorter(void **state)
{
	const struct place *place = *state;
	struct qcow2_source *source;
	struct qcow2_error err;
	char buffer[10];

	write_at(place->path, 0, "0123456789", 10);
	source = open_path(place->path);
	assert_int_equal(truncate(place->path, 6), 0);
	assert_int_equal(qcow2_source_read(source, 2, buffer, 4, &err), 0);
	assert_int_equal(qcow2_source_read(source, 4, buffer, 4, &err), -1);
	assert_int_equal(err.code, QCOW2_ERROR_IO);
	assert_int_equal(err.errnum, 0);
	assert_int_equal(err.offset_bytes, 4);
	assert_non_null(strstr(err.text, "shorter"));
	/* what is gone is not a hole */
	assert_int_equal(qcow2_source_hole_end(source, 8), 8);
	qcow2_source_close(source);
}

static void holes(void **state)
{
	const struct place *place = *state;
	const uint64_t mib = 1 << 20;
	char data[4096];
	struct qcow2_source *source;

	memset(data, 'x', sizeof(data));
	write_at(place->path, 0, data, sizeof(data));
	write_at(place->path, 4 << 20, data, sizeof(data));
	assert_int_equal(truncate(place->path, 8 << 20), 0);
	source = open_path(place->path);
	assert_int_equal(qcow2_source_hole_end(source, 0), 0);
	assert_int_equal(qcow2_source_hole_end(source, 100), 100);
	if (qcow2_source_hole_end(source, mib) == mib) {
		qcow2_source_close(source);
		print_message("the file system does not tell holes\n");
		skip();
	}
	/* from the middle of a hole to the data, and to the end of the file */
	assert_int_equal(qcow2_source_hole_end(source, mib), 4 * mib);
	assert_int_equal(qcow2_source_hole_end(source, 4 * mib), 4 * mib);
	assert_int_equal(qcow2_source_hole_end(source, 5 * mib), 8 * mib);
	assert_true(qcow2_source_hole_end(source, 8 * mib) == 8 * mib);
	assert_true(qcow2_source_hole_end(source, UINT64_MAX) == UINT64_MAX);
	/* and from the middle of the data to the next hole, which may begin after a whole block */
	assert_in_range(qcow2_source_data_end(source, 0), sizeof(data), mib);
	assert_true(qcow2_source_data_end(source, 100) == qcow2_source_data_end(source, 0));
	assert_int_equal(qcow2_source_data_end(source, mib), mib);
	assert_in_range(qcow2_source_data_end(source, 4 * mib), 4 * mib + sizeof(data), 5 * mib);
	assert_int_equal(qcow2_source_data_end(source, 8 * mib), 8 * mib);
	assert_true(qcow2_source_data_end(source, UINT64_MAX) == UINT64_MAX);
	assert_true(qcow2_source_allocated_bytes(source) < mib);
	/* data that came later is not part of a source that is smaller */
	write_at(place->path, 9 << 20, data, sizeof(data));
	assert_int_equal(qcow2_source_hole_end(source, 5 * mib), 8 * mib);
	assert_int_equal(qcow2_source_read_bytes(source), 0);
	qcow2_source_close(source);
}

static void budget(void **state)
{
	struct qcow2_source *source = NULL;
	struct qcow2_error err;
	char buffer[16];

	(void)state;
	assert_int_equal(qcow2_source_from_memory("0123456789", 10, &source, &err), 0);
	assert_int_equal(qcow2_source_read(source, 0, buffer, 10, &err), 0);
	qcow2_source_set_budget(source, 5);
	assert_int_equal(qcow2_source_read(source, 0, buffer, 3, &err), 0);
	assert_int_equal(qcow2_source_read(source, 4, buffer, 3, &err), -1);
	assert_int_equal(err.code, QCOW2_ERROR_LIMIT);
	assert_int_equal(err.offset_bytes, 4);
	/* a range that does not exist is no matter of budgets, and costs nothing */
	assert_int_equal(qcow2_source_read(source, 9, buffer, 2, &err), -1);
	assert_int_equal(err.code, QCOW2_ERROR_BROKEN);
	assert_int_equal(qcow2_source_read(source, 8, buffer, 2, &err), 0);
	assert_int_equal(qcow2_source_read(source, 8, buffer, 1, &err), -1);
	assert_int_equal(err.code, QCOW2_ERROR_LIMIT);
	assert_int_equal(qcow2_source_read(source, 8, buffer, 0, &err), 0);
	assert_int_equal(qcow2_source_read_bytes(source), 15);
	qcow2_source_set_budget(source, UINT64_MAX);
	assert_int_equal(qcow2_source_read(source, 0, buffer, 10, &err), 0);
	qcow2_source_close(source);
}

#define THREADS 2
#define WORDS   4096
#define READS   20000

/* Reads words at places of its own order; returns how many were wrong or refused. */
static void *read_words(void *opaque)
{
	struct qcow2_source *source = opaque;
	uintptr_t wrong = 0;
	uint64_t index = (uintptr_t)&wrong / 64;

	for (int i = 0; i < READS; i++) {
		uint64_t word = UINT64_MAX;

		index = (index * 1103515245 + 12345) % WORDS;
		if (qcow2_source_read(source, index * 8, &word, 8, NULL) < 0 || word != index)
			wrong++;
		if (qcow2_source_hole_end(source, index * 8) != index * 8)
			wrong++;
	}
	return (void *)wrong;
}

/* Both threads together; returns the sum of what they return. */
static uintptr_t run_threads(struct qcow2_source *source)
{
	pthread_t threads[THREADS];
	uintptr_t sum = 0;

	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, read_words, source), 0);
	for (int i = 0; i < THREADS; i++) {
		void *result = NULL;

		assert_int_equal(pthread_join(threads[i], &result), 0);
		sum += (uintptr_t)result;
	}
	return sum;
}

static void threads_share_a_source(void **state)
{
	const struct place *place = *state;
	struct qcow2_source *source;
	uint64_t words[WORDS];

	for (uint64_t i = 0; i < WORDS; i++)
		words[i] = i;
	write_at(place->path, 0, words, sizeof(words));
	source = open_path(place->path);
	assert_int_equal(run_threads(source), 0);
	assert_int_equal(qcow2_source_read_bytes(source), THREADS * READS * 8);

	/* together they get what the budget allows, to the byte */
	qcow2_source_set_budget(source, READS * 8 + 80);
	assert_int_equal(run_threads(source), (THREADS - 1) * READS - 10);
	assert_int_equal(qcow2_source_read_bytes(source), (THREADS + 1) * READS * 8 + 80);
	qcow2_source_close(source);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(memory_is_read),
		cmocka_unit_test(callers_backend_is_read),
		cmocka_unit_test(callers_backend_is_refused),
		cmocka_unit_test(budget),
		cmocka_unit_test_setup_teardown(file_is_read, setup, teardown),
		cmocka_unit_test_setup_teardown(empty_file_is_opened, setup, teardown),
		cmocka_unit_test_setup_teardown(paths_that_cannot_be_opened, setup, teardown),
		cmocka_unit_test_setup_teardown(things_that_are_no_files, setup, teardown),
		cmocka_unit_test_setup_teardown(file_that_became_shorter, setup, teardown),
		cmocka_unit_test_setup_teardown(holes, setup, teardown),
		cmocka_unit_test_setup_teardown(threads_share_a_source, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
