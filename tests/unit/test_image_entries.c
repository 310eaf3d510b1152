/* SPDX-License-Identifier: MIT */
/* The structures that an image's header leads to: the bitmap directory and the snapshots. */
#include "image_fixture.h"

static void assert_no_bitmaps(enum qcow2_error_code code)
{
	struct qcow2_bitmaps *bitmaps = NULL;

	assert_int_equal(qcow2_bitmaps_open(image, &bitmaps, &err), -1);
	assert_int_equal(err.code, code);
	assert_null(bitmaps);
}

static void directories_that_cannot_be_opened(void **state)
{
	(void)state;
	open_bytes(1024);
	assert_no_bitmaps(QCOW2_ERROR_NOT_FOUND);
	put_bitmaps(bytes + 104, 1, 32, 1024);
	put_mark(bytes + 104, QCOW2_EXTENSION_BITMAPS, 23);
	open_bytes(1024);
	assert_no_bitmaps(QCOW2_ERROR_NOT_FOUND);
	put_mark(bytes + 104, QCOW2_EXTENSION_BITMAPS, 24);
	open_bytes(1024);
	assert_no_bitmaps(QCOW2_ERROR_BROKEN);
	put_be(bytes + 128, 8, UINT64_MAX);
	open_bytes(1024);
	assert_no_bitmaps(QCOW2_ERROR_BROKEN);
	put_be(bytes + 128, 8, 512);
	put_be(bytes + 96, 4, 7);
	open_bytes(1024);
	assert_no_bitmaps(QCOW2_ERROR_BROKEN);
	qcow2_bitmaps_close(NULL);
}

/* Extra data comes before the name, and the padding is shown. */
static void entries_of_a_directory(void **state)
{
	struct qcow2_bitmaps *bitmaps = NULL;
	const struct qcow2_bitmap *b;

	(void)state;
	put_bitmaps(bytes + 104, 2, 72, 512);
	put_bitmap(bytes + 512, 3, 5);
	memcpy(bytes + 536, "EXTRAabc", 8);
	put_bitmap(bytes + 544, 9, 0);
	memcpy(bytes + 568, "ninebytes\0\0\7\0\0\0\0", 16);
	open_bytes(1024);
	assert_int_equal(qcow2_bitmaps_open(image, &bitmaps, &err), 0);
	assert_int_equal(qcow2_bitmaps_header(bitmaps)->nb_bitmaps, 2);
	assert_int_equal(qcow2_bitmaps_next(bitmaps, &b, &err), 1);
	assert_int_equal(b->size, sizeof(*b));
	assert_int_equal(b->offset_bytes, 512);
	assert_int_equal(b->size_bytes, 32);
	assert_int_equal(b->raw.size, 24);
	assert_memory_equal(b->raw.data, bytes + 512, 24);
	assert_int_equal(b->extra_data.size, 5);
	assert_memory_equal(b->extra_data.data, "EXTRA", 5);
	assert_int_equal(b->name.size, 3);
	assert_memory_equal(b->name.data, "abc", 3);
	assert_int_equal(b->padding.size, 0);
	assert_false(b->cut);
	assert_int_equal(qcow2_bitmaps_next(bitmaps, &b, &err), 1);
	assert_int_equal(b->index, 1);
	assert_int_equal(b->offset_bytes, 544);
	assert_memory_equal(b->name.data, "ninebytes", 9);
	assert_int_equal(b->padding.size, 7);
	assert_memory_equal(b->padding.data, "\0\0\7\0\0\0\0", 7);
	assert_int_equal(qcow2_bitmaps_used_bytes(bitmaps), 72);
	assert_int_equal(qcow2_bitmaps_next(bitmaps, &b, &err), 0);
	qcow2_bitmaps_close(bitmaps);
}

/* Opens the directory and expects one entry that is cut and nothing after it. */
static void assert_one_cut(size_t raw, size_t extra, size_t name)
{
	struct qcow2_bitmaps *bitmaps = NULL;
	const struct qcow2_bitmap *b;

	assert_int_equal(qcow2_bitmaps_open(image, &bitmaps, &err), 0);
	assert_int_equal(qcow2_bitmaps_next(bitmaps, &b, &err), 1);
	assert_true(b->cut);
	assert_int_equal(b->raw.size, raw);
	assert_int_equal(b->extra_data.size, extra);
	assert_int_equal(b->name.size, name);
	assert_int_equal(qcow2_bitmaps_next(bitmaps, &b, &err), 0);
	qcow2_bitmaps_close(bitmaps);
}

static void entries_that_are_cut(void **state)
{
	(void)state;
	put_bitmap(bytes + 512, 4, 4);
	put_bitmaps(bytes + 104, 0xffffffff, 23, 512);
	open_bytes(1024);
	assert_one_cut(23, 0, 0);
	put_bitmaps(bytes + 104, 0xffffffff, 27, 512);
	open_bytes(1024);
	assert_one_cut(24, 3, 0);
	put_bitmaps(bytes + 104, 0xffffffff, 30, 512);
	open_bytes(1024);
	assert_one_cut(24, 4, 2);
	/* the padding alone */
	put_bitmap(bytes + 512, 3, 4);
	put_bitmaps(bytes + 104, 0xffffffff, 31, 512);
	open_bytes(1024);
	assert_one_cut(24, 4, 3);
	/* the file ends first */
	put_bitmap(bytes + 1000, 4, 0);
	put_bitmaps(bytes + 104, 0xffffffff, UINT64_MAX, 1000);
	open_bytes(1010);
	assert_one_cut(10, 0, 0);
}

/* Where the file ends with the directory, the padding need not be there; the name must be. */
static void padding_may_be_missing(void **state)
{
	struct qcow2_bitmaps *bitmaps = NULL;
	const struct qcow2_bitmap *b;

	(void)state;
	put_bitmaps(bytes + 104, 0xffffffff, 32, 512);
	put_bitmap(bytes + 512, 4, 0);
	memcpy(bytes + 536, "abcd", 4);
	open_bytes(540);
	assert_int_equal(qcow2_bitmaps_open(image, &bitmaps, &err), 0);
	assert_int_equal(qcow2_bitmaps_next(bitmaps, &b, &err), 1);
	assert_false(b->cut);
	assert_memory_equal(b->name.data, "abcd", 4);
	assert_int_equal(b->padding.size, 0);
	assert_int_equal(qcow2_bitmaps_next(bitmaps, &b, &err), 0);
	qcow2_bitmaps_close(bitmaps);
	open_bytes(539);
	assert_one_cut(24, 0, 3);
}

/* Of much extra data the first 4096 bytes are shown; the name comes after all of it. */
static void much_extra_data(void **state)
{
	struct qcow2_bitmaps *bitmaps = NULL;
	struct qcow2_snapshots *snapshots = NULL;
	const struct qcow2_snapshot *s;
	const struct qcow2_bitmap *b;

	(void)state;
	put_bitmaps(bytes + 104, 1, 5032, 512);
	put_bitmap(bytes + 512, 3, 5000);
	memset(bytes + 536, 'x', 5000);
	memcpy(bytes + 5536, "abc", 3);
	put_be(bytes + 60, 4, 1);
	put_be(bytes + 64, 8, 8192);
	put_snapshot(bytes + 8192, 2, 3, 5000);
	memset(bytes + 8232, 'y', 5000);
	memcpy(bytes + 13232, "17abc", 5);
	open_bytes(16384);
	assert_int_equal(qcow2_bitmaps_open(image, &bitmaps, &err), 0);
	assert_int_equal(qcow2_bitmaps_next(bitmaps, &b, &err), 1);
	assert_false(b->cut);
	assert_int_equal(b->name.size, 3);
	assert_memory_equal(b->name.data, "abc", 3);
	assert_int_equal(b->extra_data.size, 4096);
	assert_memory_equal(b->extra_data.data, bytes + 536, 4096);
	qcow2_bitmaps_close(bitmaps);
	assert_int_equal(qcow2_snapshots_open(image, &snapshots, &err), 0);
	assert_int_equal(qcow2_snapshots_next(snapshots, &s, &err), 1);
	assert_memory_equal(s->id.data, "17", 2);
	assert_memory_equal(s->name.data, "abc", 3);
	assert_int_equal(s->extra_data.size, 4096);
	assert_memory_equal(s->extra_data.data, bytes + 8232, 4096);
	assert_true(s->disk_size_bytes == UINT64_C(0x7979797979797979));
	qcow2_snapshots_close(snapshots);
}

/* Entries lie across every place where a reader could have to read on. */
static void many_long_entries(void **state)
{
	struct qcow2_bitmaps *bitmaps = NULL;
	const struct qcow2_bitmap *b;
	size_t at = 512;

	(void)state;
	for (unsigned i = 0; i < 40; i++) {
		uint16_t size = (uint16_t)(5000 + i * 101);

		put_bitmap(bytes + at, size, 0);
		memset(bytes + at + 24, (int)('A' + i), size);
		at += (24 + (size_t)size + 7) & ~(size_t)7;
	}
	put_bitmaps(bytes + 104, 40, at - 512, 512);
	open_bytes(sizeof(bytes));
	assert_int_equal(qcow2_bitmaps_open(image, &bitmaps, &err), 0);
	for (unsigned i = 0; i < 40; i++) {
		assert_int_equal(qcow2_bitmaps_next(bitmaps, &b, &err), 1);
		assert_int_equal(b->name.size, 5000 + i * 101);
		assert_int_equal(b->name.data[0], 'A' + i);
		assert_int_equal(b->name.data[b->name.size - 1], 'A' + i);
	}
	assert_int_equal(qcow2_bitmaps_next(bitmaps, &b, &err), 0);
	assert_int_equal(qcow2_bitmaps_used_bytes(bitmaps), at - 512);
	qcow2_bitmaps_close(bitmaps);
}

static void assert_no_snapshots(enum qcow2_error_code code)
{
	struct qcow2_snapshots *snapshots = NULL;

	assert_int_equal(qcow2_snapshots_open(image, &snapshots, &err), -1);
	assert_int_equal(err.code, code);
	assert_null(snapshots);
}

static void snapshot_tables_that_cannot_be_opened(void **state)
{
	(void)state;
	open_bytes(1024);
	assert_no_snapshots(QCOW2_ERROR_NOT_FOUND);
	put_be(bytes + 60, 4, 1);
	put_be(bytes + 64, 8, 1024);
	open_bytes(1024);
	assert_no_snapshots(QCOW2_ERROR_BROKEN);
	put_be(bytes + 64, 8, UINT64_MAX);
	open_bytes(1024);
	assert_no_snapshots(QCOW2_ERROR_BROKEN);
	put_be(bytes + 64, 8, 512);
	put_be(bytes + 20, 4, 8);
	open_bytes(1024);
	assert_no_snapshots(QCOW2_ERROR_BROKEN);
	qcow2_snapshots_close(NULL);
}

static void entries_of_the_snapshot_table(void **state)
{
	struct qcow2_snapshots *snapshots = NULL;
	const struct qcow2_snapshot *s;

	(void)state;
	put_be(bytes + 60, 4, 3);
	put_be(bytes + 64, 8, 512);
	put_snapshot(bytes + 512, 1, 4, 24);
	put_be(bytes + 552, 8, 0x100000000);
	put_be(bytes + 560, 8, 12345);
	put_be(bytes + 568, 8, 42);
	memcpy(bytes + 576, "1name", 5);
	/* 40 + 24 + 5 is 69, padded to 72 */
	put_snapshot(bytes + 584, 2, 0, 0);
	memcpy(bytes + 624, "22", 2);
	put_snapshot(bytes + 632, 0, 0, 24);
	put_be(bytes + 688, 8, UINT64_MAX);
	open_bytes(1024);
	assert_int_equal(qcow2_snapshots_open(image, &snapshots, &err), 0);
	assert_int_equal(qcow2_snapshots_next(snapshots, &s, &err), 1);
	assert_int_equal(s->size, sizeof(*s));
	assert_int_equal(s->size_bytes, 72);
	assert_int_equal(s->extra_data.size, 24);
	assert_true(s->vm_state_size_bytes == 0x100000000);
	assert_true(s->has_disk_size);
	assert_int_equal(s->disk_size_bytes, 12345);
	assert_true(s->has_icount);
	assert_int_equal(s->extra.icount, 42);
	assert_int_equal(s->id.size, 1);
	assert_memory_equal(s->id.data, "1", 1);
	assert_int_equal(s->name.size, 4);
	assert_memory_equal(s->name.data, "name", 4);
	assert_int_equal(qcow2_snapshots_next(snapshots, &s, &err), 1);
	assert_int_equal(s->index, 1);
	assert_int_equal(s->offset_bytes, 584);
	assert_int_equal(s->vm_state_size_bytes, 77);
	assert_false(s->has_disk_size);
	assert_int_equal(s->disk_size_bytes, 1 << 20);
	assert_false(s->has_icount);
	assert_memory_equal(s->id.data, "22", 2);
	assert_int_equal(s->name.size, 0);
	assert_int_equal(qcow2_snapshots_next(snapshots, &s, &err), 1);
	assert_int_equal(s->offset_bytes, 632);
	assert_false(s->has_icount);
	assert_false(s->cut);
	assert_int_equal(qcow2_snapshots_next(snapshots, &s, &err), 0);
	qcow2_snapshots_close(snapshots);
}

static void snapshots_that_are_cut(void **state)
{
	struct qcow2_snapshots *snapshots = NULL;
	const struct qcow2_snapshot *s;

	(void)state;
	put_be(bytes + 60, 4, 0xffffffff);
	put_be(bytes + 64, 8, 1000);
	open_bytes(1020);
	assert_int_equal(qcow2_snapshots_open(image, &snapshots, &err), 0);
	assert_int_equal(qcow2_snapshots_next(snapshots, &s, &err), 1);
	assert_true(s->cut);
	assert_int_equal(s->raw.size, 20);
	assert_int_equal(qcow2_snapshots_next(snapshots, &s, &err), 0);
	qcow2_snapshots_close(snapshots);

	put_be(bytes + 64, 8, 512);
	put_snapshot(bytes + 512, 0xffff, 0xffff, 0xffffffff);
	open_bytes(1024);
	assert_int_equal(qcow2_snapshots_open(image, &snapshots, &err), 0);
	assert_int_equal(qcow2_snapshots_next(snapshots, &s, &err), 1);
	assert_true(s->cut);
	assert_int_equal(s->id.size, 0);
	/* 40 + (2^32 - 1) + 2 * 65535 is 4294967295 + 131110, rounded up to 8 */
	assert_true(s->size_bytes == UINT64_C(4295098408));
	qcow2_snapshots_close(snapshots);
}

/* A field that the extra data does not reach whole is not there. */
static void extra_data_that_ends_inside_a_field(void **state)
{
	struct qcow2_snapshots *snapshots = NULL;
	const struct qcow2_snapshot *s;

	(void)state;
	put_be(bytes + 60, 4, 1);
	put_be(bytes + 64, 8, 512);
	put_snapshot(bytes + 512, 0, 0, 12);
	memset(bytes + 552, 0xff, 12);
	open_bytes(1024);
	assert_int_equal(qcow2_snapshots_open(image, &snapshots, &err), 0);
	assert_int_equal(qcow2_snapshots_next(snapshots, &s, &err), 1);
	assert_true(s->vm_state_size_bytes == UINT64_MAX);
	assert_int_equal(s->extra.disk_size, 0);
	assert_false(s->has_disk_size);
	assert_int_equal(s->disk_size_bytes, 1 << 20);
	qcow2_snapshots_close(snapshots);
}

/* The longest entry that has everything: 40 + 4096 + 2 * 65535 bytes. */
static void longest_snapshot(void **state)
{
	struct qcow2_snapshots *snapshots = NULL;
	const struct qcow2_snapshot *s;

	(void)state;
	put_be(bytes + 60, 4, 1);
	put_be(bytes + 64, 8, 512);
	put_snapshot(bytes + 512, 0xffff, 0xffff, 4096);
	memset(bytes + 4648, 'i', 65535);
	memset(bytes + 4648 + 65535, 'n', 65535);
	open_bytes(256 * 1024);
	assert_int_equal(qcow2_snapshots_open(image, &snapshots, &err), 0);
	assert_int_equal(qcow2_snapshots_next(snapshots, &s, &err), 1);
	assert_int_equal(s->id.size, 65535);
	assert_memory_equal(s->id.data, bytes + 4648, 65535);
	assert_int_equal(s->name.size, 65535);
	assert_memory_equal(s->name.data, bytes + 4648 + 65535, 65535);
	qcow2_snapshots_close(snapshots);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	static const struct CMUnitTest tests[] = {
		TEST(directories_that_cannot_be_opened),
		TEST(entries_of_a_directory),
		TEST(entries_that_are_cut),
		TEST(padding_may_be_missing),
		TEST(much_extra_data),
		TEST(many_long_entries),
		TEST(snapshot_tables_that_cannot_be_opened),
		TEST(entries_of_the_snapshot_table),
		TEST(snapshots_that_are_cut),
		TEST(extra_data_that_ends_inside_a_field),
		TEST(longest_snapshot),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
