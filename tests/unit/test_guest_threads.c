/* SPDX-License-Identifier: MIT */
/* One disk, read by several threads at once: plain and compressed clusters, with few readers and many. */
#include "guest_fixture.h"

#include "guest/disk.h"

#include <pthread.h>

#define THREADS         4
#define ROUNDS          300
#define PACKED_CLUSTERS 32

static struct chain *c;

static int setup(void **state)
{
	(void)state;
	c = new_chain();
	make_image(c, 0, 32768);
	put_backing(c, 0, "base");
	make_raw(c, 1, 32768);
	c->turns[0] = (struct turn){QCOW2_DISK_GIVEN_RAW, &c->files[1]};
	for (unsigned i = 0; i < PACKED_CLUSTERS; i++) {
		put_entry(c, 0, 2 * i, put_deflated(c->files[0].bytes, 0x4003 + i * 0x400, 512));
		if (i % 2)
			put_entry(c, 0, 2 * i + 1, DATA_AT + i * 512);
	}
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	close_chain(c);
	return 0;
}

static uint8_t wanted_at(uint64_t at)
{
	const uint64_t cluster = at / 512, i = cluster / 2;

	if (cluster % 2 == 0)
		return byte_at(0, 0x4008 + i * 0x400 + at % 512);
	return i % 2 ? byte_at(0, DATA_AT + i * 512 + at % 512) : byte_at(1, at);
}

/* cmocka's asserts are for the main thread: a thread gives what went wrong. */
static void *read_around(void *opaque)
{
	unsigned seed = *(const unsigned *)opaque;
	uint8_t buffer[3000];

	for (unsigned round = 0; round < ROUNDS; round++) {
		const uint64_t at = (seed = seed * 1103515245 + 12345) / 65536 % 30000;
		const size_t size = 1 + (seed = seed * 1103515245 + 12345) / 65536 % 2700;

		if (qcow2_disk_read(c->disk, (struct qcow2_guest){at}, buffer, size, NULL))
			return "cannot read";
		for (size_t i = 0; i < size; i++)
			if (buffer[i] != wanted_at(at + i))
				return "wrong byte";
	}
	return NULL;
}

static void read_by_threads(uint64_t limit_bytes, unsigned readers)
{
	pthread_t threads[THREADS];
	unsigned seeds[THREADS];

	c->options.memory_limit_bytes = limit_bytes;
	open_chain(c);
	for (unsigned i = 0; i < THREADS; i++) {
		seeds[i] = i;
		assert_int_equal(pthread_create(&threads[i], NULL, read_around, &seeds[i]), 0);
	}
	for (unsigned i = 0; i < THREADS; i++) {
		void *wrong;

		assert_int_equal(pthread_join(threads[i], &wrong), 0);
		if (wrong)
			fail_msg("%s", (const char *)wrong);
	}
	assert_true(c->disk->readers.made <= readers);
	qcow2_disk_close(c->disk);
	c->disk = NULL;
}

static void many_readers(void **state)
{
	(void)state;
	read_by_threads(0, THREADS);
}

/* Threads wait for each other, and for room among what is decompressed. */
static void one_reader(void **state)
{
	(void)state;
	read_by_threads(1, 1);
	c->asked = 0;
	read_by_threads(4096, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {TEST(many_readers), TEST(one_reader)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
