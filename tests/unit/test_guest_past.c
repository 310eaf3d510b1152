/* SPDX-License-Identifier: MIT */
/* Reading past what is damaged, and the extents of a disk. */
#include "guest_fixture.h"

#define HEARD_MOST 64

static struct chain *c;

static struct {
	struct qcow2_disk_fault faults[HEARD_MOST];
	unsigned count, stop_at;
	const uint8_t *buffer;
} heard;

static int setup(void **state)
{
	(void)state;
	c = new_chain();
	make_image(c, 0, 32768);
	memset(&heard, 0, sizeof(heard));
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	close_chain(c);
	return 0;
}

static int hear(void *opaque, const struct qcow2_disk_fault *fault)
{
	assert_ptr_equal(opaque, &heard);
	assert_true(fault->size == sizeof(*fault));
	assert_true(heard.count < HEARD_MOST);
	if (heard.count > 0)
		assert_true(heard.faults[heard.count - 1].start.byte +
				    heard.faults[heard.count - 1].length_bytes <=
			    fault->start.byte);
	heard.faults[heard.count++] = *fault;
	return heard.count == heard.stop_at;
}

static int read_past(uint64_t at, uint8_t *buffer, size_t size)
{
	memset(buffer, 0xee, size);
	return qcow2_disk_read_past(c->disk, (struct qcow2_guest){at}, buffer, size, hear, &heard,
				    &c->err);
}

static void assert_fault(unsigned index, uint64_t at, uint64_t length, uint32_t depth,
			 enum qcow2_error_code code)
{
	const struct qcow2_disk_fault *fault = &heard.faults[index];

	assert_true(index < heard.count);
	assert_int_equal(fault->start.byte, at);
	assert_int_equal(fault->length_bytes, length);
	assert_int_equal(fault->depth, depth);
	assert_int_equal(fault->error.code, code);
}

/* ---- faults ---- */

/* Of clusters: data, an entry without meaning, data, compressed nonsense, a file that is missing. */
static void make_damage(void)
{
	put_backing(c, 0, "base");
	c->turns[0].answer = QCOW2_DISK_MISSING;
	put_entry(c, 0, 0, DATA_AT);
	put_entry(c, 0, 1, DATA_AT + 0x400 + 512 * 1000);
	put_entry(c, 0, 2, DATA_AT + 0x400);
	put_entry(c, 0, 3, PACKED | 0x9000);
	put_entry(c, 0, 5, 1);
	open_chain(c);
}

static void all_faults(void **state)
{
	uint8_t buffer[6 * CLUSTER];
	const uint8_t zeros[2 * CLUSTER] = {0};

	(void)state;
	make_damage();
	assert_int_equal(read_past(0, buffer, sizeof(buffer)), 0);
	assert_int_equal(heard.count, 3);
	assert_fault(0, 512, 512, 0, QCOW2_ERROR_BROKEN);
	assert_int_equal(heard.faults[0].problem, QCOW2_PROBLEM_DATA_BEYOND_END);
	assert_int_equal(heard.faults[0].error.offset_bytes, L2_AT + 8);
	assert_fault(1, 3 * 512, 512, 0, QCOW2_ERROR_BROKEN);
	assert_int_equal(heard.faults[1].error.offset_bytes, 0x9000);
	assert_fault(2, 4 * 512, 512, 1, QCOW2_ERROR_NOT_FOUND);
	assert_memory_equal(buffer, c->files[0].bytes + DATA_AT, 512);
	assert_memory_equal(buffer + 512, zeros, 512);
	assert_memory_equal(buffer + 1024, c->files[0].bytes + DATA_AT + 0x400, 512);
	assert_memory_equal(buffer + 1536, zeros, 1024);
	assert_memory_equal(buffer + 2560, zeros, 512);
}

static void stopping(void **state)
{
	uint8_t buffer[6 * CLUSTER];

	(void)state;
	make_damage();
	heard.stop_at = 2;
	assert_int_equal(read_past(0, buffer, sizeof(buffer)), -1);
	assert_int_equal(c->err.code, QCOW2_ERROR_STOPPED);
	assert_int_equal(heard.count, 2);
	/* Without anybody to tell, the first fault ends the call. */
	assert_int_equal(qcow2_disk_read_past(c->disk, (struct qcow2_guest){0}, buffer,
					      sizeof(buffer), NULL, NULL, &c->err),
			 -1);
	assert_int_equal(c->err.code, QCOW2_ERROR_BROKEN);
}

/* Of data that a device cannot read, no more is given up than a page. */
static void bad_data(void **state)
{
	static uint8_t buffer[32768];

	(void)state;
	for (unsigned i = 0; i < 64; i++)
		put_entry(c, 0, i, DATA_AT + i * 512);
	open_chain(c);
	c->files[0].bad = DATA_AT + 4096 + 100;
	c->files[0].bad_end = c->files[0].bad + 1;
	c->files[0].error = EIO;
	assert_int_equal(read_past(100, buffer, 32668), 0);
	assert_int_equal(heard.count, 1);
	assert_fault(0, 4096, 4096, 0, QCOW2_ERROR_IO);
	assert_int_equal(heard.faults[0].error.errnum, EIO);
	assert_memory_equal(buffer, c->files[0].bytes + DATA_AT + 100, 3996);
	assert_memory_equal(buffer + 8092, c->files[0].bytes + DATA_AT + 8192, 32668 - 8092);
	expect_failure(c, 0, 32768, QCOW2_ERROR_IO);
	assert_non_null(strstr(c->err.text, "of the disk"));
}

/* Of a table that a device cannot read, no more is given up than a sector maps. */
static void bad_table(void **state)
{
	static uint8_t buffer[256 * 4096];
	uint8_t *bytes = c->files[0].bytes;

	(void)state;
	/* Clusters of 4 KiB, an L2 table of 512 entries, all of which lead to one cluster. */
	put_header(bytes, sizeof(buffer));
	put_be(bytes + 20, 4, 12);
	put_be(bytes + 36, 4, 1);
	put_be(bytes + 40, 8, 0x1000);
	put_be(bytes + 0x1000, 8, 0x2000);
	for (unsigned i = 0; i < 512; i++)
		put_be(bytes + 0x2000 + i * 8, 8, 0x4000);
	open_chain(c);
	c->files[0].bad = 0x2000 + 1024 + 8;
	c->files[0].bad_end = c->files[0].bad + 8;
	c->files[0].error = EIO;
	assert_int_equal(read_past(0, buffer, sizeof(buffer)), 0);
	assert_int_equal(heard.count, 1);
	assert_fault(0, 128 * 4096, 64 * 4096, 0, QCOW2_ERROR_IO);
	for (unsigned i = 0; i < 256; i++)
		if (i < 128 || i >= 192)
			assert_memory_equal(buffer + i * 4096, bytes + 0x4000, 4096);
	/* The tables of a short range, too. */
	heard.count = 0;
	assert_int_equal(read_past(127 * 4096, buffer, 2 * 4096), 0);
	assert_fault(0, 128 * 4096, 4096, 0, QCOW2_ERROR_IO);
	assert_memory_equal(buffer, bytes + 0x4000, 4096);
}

/* What is the caller's limit is no fault of a range. */
static void limits_end_the_call(void **state)
{
	uint8_t buffer[2048];

	(void)state;
	put_entry(c, 0, 0, DATA_AT);
	open_chain(c);
	assert_int_equal(read_past(0, buffer, 512), 0);
	qcow2_source_set_budget(c->files[0].source, 600);
	assert_int_equal(read_past(0, buffer, 512), 0);
	assert_int_equal(read_past(0, buffer, 512), -1);
	assert_int_equal(c->err.code, QCOW2_ERROR_LIMIT);
	qcow2_source_set_budget(c->files[0].source, UINT64_MAX);
	qcow2_source_set_deadline(c->files[0].source, 1);
	assert_int_equal(read_past(0, buffer, 512), -1);
	assert_int_equal(c->err.code, QCOW2_ERROR_IO);
	assert_int_equal(c->err.errnum, ETIMEDOUT);
	qcow2_source_set_deadline(c->files[0].source, 0);
	assert_int_equal(read_past(0, buffer, 512), 0);
	assert_int_equal(heard.count, 0);
	assert_int_equal(read_past(32768, buffer, 1), -1);
	assert_int_equal(c->err.code, QCOW2_ERROR_ARGUMENT);
}

/* ---- extents ---- */

static struct qcow2_disk_extents *extents;

static void assert_extent(uint64_t at, uint64_t length, enum qcow2_disk_kind kind, uint32_t depth,
			  struct qcow2_source *source, uint64_t host)
{
	const struct qcow2_disk_extent *e;

	assert_int_equal(qcow2_disk_extents_next(extents, &e, &c->err), 1);
	assert_int_equal(e->start.byte, at);
	assert_int_equal(e->length_bytes, length);
	assert_int_equal(e->kind, kind);
	assert_int_equal(e->depth, depth);
	assert_ptr_equal(e->source, source);
	assert_int_equal(e->host.byte, source ? host : QCOW2_NO_OFFSET);
	assert_false(e->encrypted);
}

static void assert_end(void)
{
	const struct qcow2_disk_extent *e;

	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(qcow2_disk_extents_next(extents, &e, &c->err), 0);
}

static void of_a_chain(void **state)
{
	(void)state;
	put_backing(c, 0, "middle");
	make_image(c, 1, 12 * CLUSTER);
	put_backing(c, 1, "base");
	make_raw(c, 2, 6 * CLUSTER + 10);
	c->turns[0] = (struct turn){QCOW2_DISK_GIVEN_QCOW2, &c->files[1]};
	c->turns[1] = (struct turn){QCOW2_DISK_GIVEN_RAW, &c->files[2]};
	put_entry(c, 0, 0, DATA_AT);
	put_entry(c, 0, 1, DATA_AT + 512);
	put_entry(c, 0, 2, 1);
	put_entry(c, 1, 1, DATA_AT);
	put_entry(c, 1, 4, put_deflated(c->files[1].bytes, 0x4003, 512));
	put_entry(c, 1, 9, 1);
	open_chain(c);
	assert_int_equal(qcow2_disk_extents_open(c->disk, &extents, &c->err), 0);
	for (unsigned turn = 0; turn < 2; turn++) {
		assert_extent(0, 1024, QCOW2_DISK_DATA, 0, c->files[0].source, DATA_AT);
		assert_extent(1024, 512, QCOW2_DISK_ZERO, 0, NULL, 0);
		assert_extent(1536, 512, QCOW2_DISK_DATA, 2, c->files[2].source, 1536);
		assert_extent(2048, 512, QCOW2_DISK_DATA, 1, c->files[1].source, 0x4003);
		assert_extent(2560, 1024, QCOW2_DISK_DATA, 2, c->files[2].source, 2560);
		assert_extent(3584, 1024, QCOW2_DISK_UNALLOCATED, 2, NULL, 0);
		assert_extent(4608, 512, QCOW2_DISK_ZERO, 1, NULL, 0);
		assert_extent(5120, 1024, QCOW2_DISK_UNALLOCATED, 2, NULL, 0);
		assert_extent(6144, 32768 - 6144, QCOW2_DISK_UNALLOCATED, 1, NULL, 0);
		assert_end();
		qcow2_disk_extents_seek(extents, (struct qcow2_guest){0}, UINT64_MAX);
	}
	/* A part of them, within clusters. */
	qcow2_disk_extents_seek(extents, (struct qcow2_guest){1000}, 1100);
	assert_extent(1000, 24, QCOW2_DISK_DATA, 0, c->files[0].source, DATA_AT + 1000);
	assert_extent(1024, 512, QCOW2_DISK_ZERO, 0, NULL, 0);
	assert_extent(1536, 512, QCOW2_DISK_DATA, 2, c->files[2].source, 1536);
	assert_extent(2048, 52, QCOW2_DISK_DATA, 1, c->files[1].source, 0x4003);
	assert_end();
	qcow2_disk_extents_seek(extents, (struct qcow2_guest){2100}, 1);
	assert_extent(2100, 1, QCOW2_DISK_DATA, 1, c->files[1].source, 0x4003);
	assert_end();
	qcow2_disk_extents_seek(extents, (struct qcow2_guest){UINT64_MAX}, UINT64_MAX);
	assert_end();
	qcow2_disk_extents_close(extents);
	qcow2_disk_extents_close(NULL);
}

static void of_damage(void **state)
{
	const struct qcow2_disk_extent *e;

	(void)state;
	make_damage();
	assert_int_equal(qcow2_disk_extents_open(c->disk, &extents, &c->err), 0);
	assert_extent(0, 512, QCOW2_DISK_DATA, 0, c->files[0].source, DATA_AT);
	assert_int_equal(qcow2_disk_extents_next(extents, &e, &c->err), 1);
	assert_int_equal(e->kind, QCOW2_DISK_UNREADABLE);
	assert_int_equal(e->problem, QCOW2_PROBLEM_DATA_BEYOND_END);
	assert_extent(1024, 512, QCOW2_DISK_DATA, 0, c->files[0].source, DATA_AT + 0x400);
	assert_extent(1536, 512, QCOW2_DISK_DATA, 0, c->files[0].source, 0x9000);
	assert_extent(2048, 512, QCOW2_DISK_UNREADABLE, 1, NULL, 0);
	assert_extent(2560, 512, QCOW2_DISK_ZERO, 0, NULL, 0);
	assert_extent(3072, 32768 - 3072, QCOW2_DISK_UNREADABLE, 1, NULL, 0);
	assert_end();
	qcow2_disk_extents_close(extents);
}

/* The L1 table cannot be read: what was found before is told, and the next call meets it again. */
static void of_a_table_that_fails(void **state)
{
	const struct qcow2_disk_extent *e;

	(void)state;
	put_be(c->files[0].bytes + 24, 8, 65536);
	put_be(c->files[0].bytes + 36, 4, 2);
	put_be(c->files[0].bytes + L1_AT + 8, 8, 0xc00);
	put_entry(c, 0, 0, DATA_AT);
	open_chain(c);
	c->files[0].bad = 0xc00;
	c->files[0].bad_end = 0xd00;
	c->files[0].error = EIO;
	assert_int_equal(qcow2_disk_extents_open(c->disk, &extents, &c->err), 0);
	assert_extent(0, 512, QCOW2_DISK_DATA, 0, c->files[0].source, DATA_AT);
	assert_extent(512, 32256, QCOW2_DISK_UNALLOCATED, 0, NULL, 0);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(qcow2_disk_extents_next(extents, &e, &c->err), -1);
		assert_int_equal(c->err.code, QCOW2_ERROR_IO);
	}
	c->files[0].bad_end = 0;
	assert_extent(32768, 32768, QCOW2_DISK_UNALLOCATED, 0, NULL, 0);
	assert_end();
	qcow2_disk_extents_close(extents);
}

static void of_a_data_file(void **state)
{
	(void)state;
	put_be(c->files[0].bytes + 72, 8, 4);
	for (unsigned i = 0; i < 8; i++)
		put_entry(c, 0, i, (uint64_t)i * CLUSTER | UINT64_C(1) << 63);
	make_raw(c, 1, 1100);
	c->turns[0] = (struct turn){QCOW2_DISK_GIVEN_RAW, &c->files[1]};
	open_chain(c);
	assert_int_equal(qcow2_disk_extents_open(c->disk, &extents, &c->err), 0);
	assert_extent(0, 1536, QCOW2_DISK_DATA, 0, c->files[1].source, 0);
	assert_extent(1536, 2560, QCOW2_DISK_UNREADABLE, 0, NULL, 0);
	assert_extent(4096, 32768 - 4096, QCOW2_DISK_UNALLOCATED, 0, NULL, 0);
	assert_end();
	qcow2_disk_extents_close(extents);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(all_faults),
		TEST(stopping),
		TEST(bad_data),
		TEST(bad_table),
		TEST(limits_end_the_call),
		TEST(of_a_chain),
		TEST(of_damage),
		TEST(of_a_table_that_fails),
		TEST(of_a_data_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
