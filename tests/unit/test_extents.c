/* SPDX-License-Identifier: MIT */
/*
 * Extents of bitmaps in memory, against bits looked at one by one: every alignment of a change,
 * runs across words, pieces and entries, entries without data, ends that are not whole, and what
 * combining gives.
 */
#include "image_fixture.h"

#include <qcow2/bitmap.h>

#include <stdlib.h>

#define TABLE_AT     0x400
#define DATA_AT      0x10000
#define GRANULE      1024
#define ENTRY_BITS   4096 /* of a cluster of 512 bytes */
#define ENTRIES      40
#define BITS         (ENTRIES * ENTRY_BITS - 777)
#define DISK_BYTES   ((uint64_t)BITS * GRANULE - 512)
#define STORED_BYTES (DATA_AT + ENTRIES * CLUSTER)

static bool expected[BITS];

/* A disk whose bitmap has an entry for each letter: 0 zeros, 1 ones, d its data, x past the end. */
static void make(const char *entries)
{
	put_be(bytes + 24, 8, DISK_BYTES);
	for (size_t i = 0; i < ENTRIES; i++) {
		uint64_t data = DATA_AT + i * CLUSTER;
		char kind = i < strlen(entries) ? entries[i] : '0';

		put_be(bytes + TABLE_AT + i * 8, 8,
		       kind == 'd'   ? data
		       : kind == 'x' ? 1 << 30
				     : (uint64_t)(kind == '1'));
		for (size_t bit = 0; bit < ENTRY_BITS && i * ENTRY_BITS + bit < BITS; bit++)
			expected[i * ENTRY_BITS + bit] =
				kind == '1' ||
				(kind == 'd' && bytes[data + bit / 8] >> bit % 8 & 1);
	}
}

static struct qcow2_dirty_extents *open_extents(uint32_t table_size)
{
	const struct qcow2_bitmap_dir_entry entry = {.bitmap_table_offset = TABLE_AT,
						     .bitmap_table_size = table_size,
						     .granularity_bits = 10};
	struct qcow2_dirty_extents *extents;

	assert_int_equal(qcow2_dirty_extents_open(image, &entry, QCOW2_DIRTY_EXTENTS_LENIENT,
						  &extents, &err),
			 0);
	assert_true(qcow2_dirty_extents_size_bytes(extents) == DISK_BYTES);
	return extents;
}

/* All extents of a stream, which is closed, are just the expected bits. */
static void compare(struct qcow2_dirty_extents *extents)
{
	struct qcow2_dirty_extent extent;
	uint64_t at = 0;
	bool last = false;
	int more;

	while ((more = qcow2_dirty_extents_next(extents, &extent, &err)) > 0) {
		uint64_t first = extent.start_bytes / GRANULE;
		uint64_t end = (extent.start_bytes + extent.length_bytes + GRANULE - 1) / GRANULE;

		assert_true(extent.start_bytes == at && extent.length_bytes > 0);
		assert_true(at == 0 || extent.dirty != last);
		for (uint64_t bit = first; bit < end; bit++)
			assert_int_equal(expected[bit], extent.dirty);
		at += extent.length_bytes;
		last = extent.dirty;
	}
	assert_int_equal(more, 0);
	assert_true(at == DISK_BYTES);
	assert_int_equal(qcow2_dirty_extents_next(extents, &extent, &err), 0);
	qcow2_dirty_extents_close(extents);
}

/* Taking several extents at once gives the same as taking them one by one. */
static void compare_taken(struct qcow2_dirty_extents *one, struct qcow2_dirty_extents *several)
{
	struct qcow2_dirty_extent extents[1100], extent;
	size_t most = 1, count;
	int more;

	while ((more = qcow2_dirty_extents_take(several, extents, most, &count, &err)) > 0) {
		assert_true(count > 0 && count <= most);
		for (size_t i = 0; i < count; i++) {
			assert_int_equal(qcow2_dirty_extents_next(one, &extent, &err), 1);
			assert_true(extent.start_bytes == extents[i].start_bytes);
			assert_true(extent.length_bytes == extents[i].length_bytes);
			assert_int_equal(extent.dirty, extents[i].dirty);
		}
		most = most * 3 % 1099 + 1;
	}
	assert_int_equal(more, 0);
	assert_true(count == 0);
	assert_int_equal(qcow2_dirty_extents_next(one, &extent, &err), 0);
	assert_int_equal(qcow2_dirty_extents_take(several, extents, 0, &count, &err), -1);
	assert_int_equal(err.code, QCOW2_ERROR_ARGUMENT);
	qcow2_dirty_extents_close(one);
	qcow2_dirty_extents_close(several);
}

static void fill(unsigned share)
{
	for (size_t at = DATA_AT; at < STORED_BYTES; at++)
		for (unsigned bit = 0; bit < 8; bit++)
			if ((unsigned)rand() % 100 < share)
				bytes[at] |= (uint8_t)(1U << bit);
}

static void random_bits(void **state)
{
	static const char *const tables[] = {
		"dddddddddddddddddddddddddddddddddddddddd",
		"1d01d0dd11ddxxddd0001110dd1dd1dd1dd1ddd1",
		"0000000000000000000000000000000000000001",
		"1111111111111111111111111111111111111111",
		"",
	};

	(void)state;
	srand(5);
	for (unsigned share = 0; share <= 100; share += 20) {
		memset(bytes + DATA_AT, 0, STORED_BYTES - DATA_AT);
		fill(share);
		for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
			make(tables[i]);
			open_bytes(STORED_BYTES);
			compare(open_extents(ENTRIES));
			compare_taken(open_extents(ENTRIES), open_extents(ENTRIES));
		}
	}
}

/* One run of bits, at each place of a word and across words, pieces and entries. */
static void one_run(void **state)
{
	static const unsigned lengths[] = {1,   2,   7,   8,   9,    63,   64,   65,
					   127, 128, 129, 511, 4095, 4096, 4097, 5000};

	(void)state;
	for (unsigned first = 0; first < 150; first += 7) {
		for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
			unsigned length = lengths[i];

			memset(bytes + DATA_AT, 0, STORED_BYTES - DATA_AT);
			for (unsigned bit = first; bit < first + length; bit++)
				bytes[DATA_AT + bit / 8] |= (uint8_t)(1U << bit % 8);
			make("dd");
			open_bytes(STORED_BYTES);
			compare(open_extents(2));
		}
	}
}

/* Changes at each bit up to the end of disks of different numbers of whole words. */
static void every_bit_changes(void **state)
{
	static const unsigned words[] = {1, 2, 15, 16, 17, 31, 32, 48, 63, 64, 128, 640};

	(void)state;
	memset(bytes + DATA_AT, 0x55, STORED_BYTES - DATA_AT);
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		uint64_t bits = UINT64_C(64) * words[i], found = 0;
		uint32_t table_size = (uint32_t)((bits + ENTRY_BITS - 1) / ENTRY_BITS);
		const struct qcow2_bitmap_dir_entry entry = {.bitmap_table_offset = TABLE_AT,
							     .bitmap_table_size = table_size,
							     .granularity_bits = 10};
		struct qcow2_dirty_extents *extents;
		struct qcow2_dirty_extent extent;

		make("dddddddddddddddddddddddddddddddddddddddd");
		put_be(bytes + 24, 8, bits * GRANULE);
		open_bytes(STORED_BYTES);
		assert_int_equal(qcow2_dirty_extents_open(image, &entry,
							  QCOW2_DIRTY_EXTENTS_LENIENT, &extents,
							  &err),
				 0);
		for (; qcow2_dirty_extents_next(extents, &extent, &err) > 0; found++) {
			assert_true(extent.start_bytes == found * GRANULE);
			assert_true(extent.length_bytes == GRANULE);
			assert_int_equal(extent.dirty, found % 2 == 0);
		}
		assert_true(found == bits);
		qcow2_dirty_extents_close(extents);
	}
}

static void file_ends_early(void **state)
{
	(void)state;
	srand(6);
	fill(50);
	make("ddddd");
	memset(expected + ENTRY_BITS + 24, 0, (BITS - ENTRY_BITS - 24) * sizeof(expected[0]));
	open_bytes(DATA_AT + CLUSTER + 3);
	compare(open_extents(ENTRIES));
}

static void wrong_entries(void **state)
{
	static const uint64_t wrong[] = {2, UINT64_C(1) << 63, DATA_AT | 1};
	struct qcow2_dirty_extents *extents;
	struct qcow2_dirty_extent extent;

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		make("d");
		put_be(bytes + TABLE_AT + 8, 8, wrong[i]);
		open_bytes(STORED_BYTES);
		extents = open_extents(ENTRIES);
		assert_int_equal(qcow2_dirty_extents_next(extents, &extent, &err), -1);
		assert_int_equal(err.code, QCOW2_ERROR_BROKEN);
		assert_true(err.offset_bytes == TABLE_AT + 8);
		qcow2_dirty_extents_close(extents);
	}
}

/* What a strict stream does not take for zeros. */
static void strict(void **state)
{
	static const struct {
		const char *entries;
		uint32_t table_size;
		uint64_t second; /* entry, if not 0 */
		int opens, reads;
	} cases[] = {
		{"dddd", ENTRIES, 0, 0, 0},
		{"dddd", ENTRIES - 1, 0, -1, 0},
		{"dddd", ENTRIES + 1, 0, -1, 0},
		{"dxdd", ENTRIES, 0, 0, -1},
		{"dddd", ENTRIES, STORED_BYTES, 0, -1},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct qcow2_bitmap_dir_entry entry = {.bitmap_table_offset = TABLE_AT,
							     .bitmap_table_size =
								     cases[i].table_size,
							     .granularity_bits = 10};
		struct qcow2_dirty_extents *extents;
		struct qcow2_dirty_extent extent;
		int more;

		make(cases[i].entries);
		if (cases[i].second > 0)
			put_be(bytes + TABLE_AT + 8, 8, cases[i].second);
		open_bytes(STORED_BYTES);
		assert_int_equal(qcow2_dirty_extents_open(image, &entry, 0, &extents, &err),
				 cases[i].opens);
		if (cases[i].opens < 0) {
			assert_int_equal(err.code, QCOW2_ERROR_BROKEN);
			assert_true(err.offset_bytes == TABLE_AT);
			continue;
		}
		do
			more = qcow2_dirty_extents_next(extents, &extent, &err);
		while (more > 0);
		assert_int_equal(more, cases[i].reads);
		if (more < 0) {
			assert_int_equal(err.code, QCOW2_ERROR_BROKEN);
			assert_true(err.offset_bytes == TABLE_AT + 8);
		}
		qcow2_dirty_extents_close(extents);
	}
}

static void table_that_is_not_stored(void **state)
{
	const struct qcow2_bitmap_dir_entry entry = {.granularity_bits = 64};
	struct qcow2_dirty_extents *extents;

	(void)state;
	make("");
	open_bytes(STORED_BYTES);
	assert_int_equal(qcow2_dirty_extents_open(image, &entry, QCOW2_DIRTY_EXTENTS_LENIENT,
						  &extents, &err),
			 -1);
	assert_int_equal(err.code, QCOW2_ERROR_BROKEN);
}

/* The bits of three bitmaps, told one after the other, and what an operation makes of them. */
static void operations(void **state)
{
	static bool each[3][BITS];
	struct qcow2_dirty_extents *parts[3], *all;

	(void)state;
	srand(7);
	for (int operation = QCOW2_DIRTY_EXTENTS_UNION; operation <= QCOW2_DIRTY_EXTENTS_SUBTRACT;
	     operation++) {
		/* Streams read their data while the bytes are there: one image for all three. */
		memset(bytes + DATA_AT, 0, STORED_BYTES - DATA_AT);
		fill(30);
		for (unsigned i = 0; i < 3; i++) {
			make(i == 0 ? "dd0011dd11dd" : i == 1 ? "d1d1d0ddd1" : "0dd1d10dddd0");
			memcpy(bytes + 0x1000 + 0x200 * (size_t)i, bytes + TABLE_AT, ENTRIES * 8);
			memcpy(each[i], expected, sizeof(expected));
		}
		open_bytes(STORED_BYTES);
		for (unsigned i = 0; i < 3; i++) {
			const struct qcow2_bitmap_dir_entry entry = {
				.bitmap_table_offset = 0x1000 + 0x200 * (uint64_t)i,
				.bitmap_table_size = ENTRIES,
				.granularity_bits = 10};

			assert_int_equal(qcow2_dirty_extents_open(image, &entry,
								  QCOW2_DIRTY_EXTENTS_LENIENT,
								  &parts[i], &err),
					 0);
		}
		for (size_t bit = 0; bit < BITS; bit++) {
			bool a = each[0][bit], b = each[1][bit], c = each[2][bit];

			expected[bit] = operation == QCOW2_DIRTY_EXTENTS_UNION ? a || b || c
					: operation == QCOW2_DIRTY_EXTENTS_INTERSECT
						? a && b && c
						: a && !b && !c;
		}
		assert_int_equal(
			qcow2_dirty_extents_combine((enum qcow2_dirty_extents_operation)operation,
						    parts, 3, &all, &err),
			0);
		compare(all);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(random_bits, setup, teardown),
		cmocka_unit_test_setup_teardown(one_run, setup, teardown),
		cmocka_unit_test_setup_teardown(every_bit_changes, setup, teardown),
		cmocka_unit_test_setup_teardown(file_ends_early, setup, teardown),
		cmocka_unit_test_setup_teardown(wrong_entries, setup, teardown),
		cmocka_unit_test_setup_teardown(strict, setup, teardown),
		cmocka_unit_test_setup_teardown(table_that_is_not_stored, setup, teardown),
		cmocka_unit_test_setup_teardown(operations, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
