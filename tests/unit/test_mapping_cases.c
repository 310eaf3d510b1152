/* SPDX-License-Identifier: MIT */
/*
 * Guest extents one by one: tables that are missing, short or bad, snapshots, the largest disks; and
 * what hostile images may cost.
 */
#include "mapping_fixture.h"

/* ---- single extents ---- */

/* The next extent is of that kind and length. */
static const struct qcow2_mapping_extent *expect(struct qcow2_mapping *mapping,
						 enum qcow2_l2_kind kind, uint64_t length)
{
	const struct qcow2_mapping_extent *extent;

	assert_int_equal(qcow2_mapping_next(mapping, &extent, &err), 1);
	assert_int_equal(extent->kind, kind);
	assert_true(extent->length_bytes == length);
	return extent;
}

static void expect_problem(struct qcow2_mapping *mapping, unsigned problem, uint64_t length)
{
	assert_int_equal(expect(mapping, QCOW2_L2_INVALID, length)->problem, problem);
}

static void expect_end(struct qcow2_mapping *mapping)
{
	const struct qcow2_mapping_extent *extent;

	assert_int_equal(qcow2_mapping_next(mapping, &extent, &err), 0);
	qcow2_mapping_close(mapping);
}

#define PER_TABLE ((uint64_t)BYTES / 8 * BYTES)

static void short_l1(void **state)
{
	struct qcow2_mapping *mapping;

	(void)state;
	put_form(&forms[1], PER_TABLE * 3 + 100, 1);
	put_be(bytes + L1_AT, 8, TABLES_AT);
	put_be(bytes + TABLES_AT, 8, 0x10000);
	/* The second entry is not part of the table. */
	put_be(bytes + L1_AT + 8, 8, TABLES_AT);
	mapping = open_mapping();
	assert_true(expect(mapping, QCOW2_L2_DATA, BYTES)->host.byte == 0x10000);
	expect(mapping, QCOW2_L2_UNALLOCATED, PER_TABLE * 3 + 100 - BYTES);
	expect_end(mapping);
	put_be(bytes + 36, 4, 0);
	mapping = open_mapping();
	expect(mapping, QCOW2_L2_UNALLOCATED, PER_TABLE * 3 + 100);
	expect_end(mapping);
	put_be(bytes + 24, 8, 0);
	expect_end(open_mapping());
}

static void bad_l1(void **state)
{
	struct qcow2_mapping *mapping;

	(void)state;
	put_form(&forms[1], PER_TABLE * 200, 100);
	put_be(bytes + 40, 8, L1_AT + 8);
	mapping = open_mapping();
	expect_problem(mapping, QCOW2_PROBLEM_L1_OFFSET_UNALIGNED, PER_TABLE * 100);
	expect(mapping, QCOW2_L2_UNALLOCATED, PER_TABLE * 100);
	expect_end(mapping);
	/* The file ends with the table's first cluster, of 64 entries, that end in the middle. */
	put_be(bytes + 40, 8, L1_AT);
	open_bytes(L1_AT + 100);
	assert_int_equal(qcow2_mapping_open(image, &mapping, &err), 0);
	expect(mapping, QCOW2_L2_UNALLOCATED, PER_TABLE * 64);
	expect_problem(mapping, QCOW2_PROBLEM_L1_BEYOND_END, PER_TABLE * 36);
	expect(mapping, QCOW2_L2_UNALLOCATED, PER_TABLE * 100);
	expect_end(mapping);
	put_be(bytes + 40, 8, 1 << 30);
	put_be(bytes + 36, 4, UINT32_MAX);
	mapping = open_mapping();
	expect_problem(mapping, QCOW2_PROBLEM_L1_BEYOND_END, PER_TABLE * 200);
	expect_end(mapping);
	/* No cluster size, no mapping. */
	put_be(bytes + 20, 4, 77);
	open_bytes(sizeof(bytes));
	assert_int_equal(qcow2_mapping_open(image, &mapping, &err), -1);
	assert_int_equal(err.code, QCOW2_ERROR_BROKEN);
	assert_int_equal(qcow2_mapping_open_snapshot(image, 0, &mapping, &err), -1);
	assert_int_equal(err.code, QCOW2_ERROR_BROKEN);
	/* Nor is there one if an unknown feature may change what entries mean. */
	put_be(bytes + 20, 4, 9);
	bytes[72] = 0x80;
	open_bytes(sizeof(bytes));
	assert_int_equal(qcow2_mapping_open(image, &mapping, &err), -1);
	assert_int_equal(err.code, QCOW2_ERROR_UNSUPPORTED);
	assert_int_equal(qcow2_mapping_open_snapshot(image, 0, &mapping, &err), -1);
	assert_int_equal(err.code, QCOW2_ERROR_UNSUPPORTED);
}

static void bad_tables(void **state)
{
	struct qcow2_mapping *mapping;

	(void)state;
	put_be(bytes + 20, 4, 10);
	put_form(&forms[1], 128 * 1024 * 4, 4);
	put_be(bytes + L1_AT, 8, TABLES_AT + 512);
	put_be(bytes + L1_AT + 8, 8, TABLES_AT + 1536);
	put_be(bytes + L1_AT + 16, 8, STORED);
	put_be(bytes + L1_AT + 24, 8, TABLES_AT);
	put_be(bytes + TABLES_AT, 8, 0x10200);
	put_be(bytes + TABLES_AT + 8, 8, 0x10201);
	put_be(bytes + TABLES_AT + 16, 8, 0x10400);
	mapping = open_mapping();
	expect_problem(mapping, QCOW2_PROBLEM_L2_TABLE_UNALIGNED, 2 * 128 * 1024);
	expect_problem(mapping, QCOW2_PROBLEM_L2_TABLE_BEYOND_END, 128 * 1024);
	expect_problem(mapping, QCOW2_PROBLEM_DATA_UNALIGNED, 2048);
	expect(mapping, QCOW2_L2_DATA, 1024);
	expect(mapping, QCOW2_L2_UNALLOCATED, 125 * 1024);
	expect_end(mapping);
}

/* Disks that end with the numbers. */
static void largest_disk(void **state)
{
	struct qcow2_mapping *mapping;

	(void)state;
	put_form(&forms[1], UINT64_MAX, 1);
	put_be(bytes + L1_AT, 8, TABLES_AT);
	put_be(bytes + TABLES_AT, 8, 0x10000);
	mapping = open_mapping();
	expect(mapping, QCOW2_L2_DATA, BYTES);
	expect(mapping, QCOW2_L2_UNALLOCATED, UINT64_MAX - BYTES);
	qcow2_mapping_seek(mapping, (struct qcow2_guest){UINT64_MAX - 3}, UINT64_MAX);
	expect(mapping, QCOW2_L2_UNALLOCATED, 3);
	expect_end(mapping);
	put_be(bytes + 20, 4, 30);
	put_be(bytes + 36, 4, UINT32_MAX);
	mapping = open_mapping();
	expect_problem(mapping, QCOW2_PROBLEM_L1_OFFSET_UNALIGNED, UINT64_MAX);
	expect_end(mapping);
}

/* ---- tables that many L1 entries share ---- */

/* A disk of three tables, which are the same one, that is read from end to end. */
static struct qcow2_mapping *open_shared(const struct form *form)
{
	uint64_t per_table = PER_TABLE / (form->extended ? 2 : 1);

	put_form(form, per_table * 3, 3);
	for (unsigned i = 0; i < 3; i++)
		put_be(bytes + L1_AT + i * 8, 8, TABLES_AT);
	return open_mapping();
}

/* All entries but the last say the same. */
static void shared_but_last(void **state)
{
	struct qcow2_mapping *mapping;

	(void)state;
	put_be(bytes + TABLES_AT + BYTES - 8, 8, 1);
	mapping = open_shared(&forms[1]);
	for (unsigned i = 0; i < 3; i++) {
		expect(mapping, QCOW2_L2_UNALLOCATED, PER_TABLE - BYTES);
		expect(mapping, QCOW2_L2_ZERO, BYTES);
	}
	expect_end(mapping);
}

/* All entries are bad in the same way. */
static void shared_bad(void **state)
{
	struct qcow2_mapping *mapping;

	(void)state;
	for (uint64_t at = 0; at < BYTES; at += 8)
		put_be(bytes + TABLES_AT + at, 8, STORED);
	mapping = open_shared(&forms[1]);
	expect_problem(mapping, QCOW2_PROBLEM_DATA_BEYOND_END, PER_TABLE * 3);
	expect_end(mapping);
}

/* Extended entries: the same words throughout, but not all subclusters are of one kind. */
static void shared_subclusters(void **state)
{
	struct qcow2_mapping *mapping;

	(void)state;
	for (uint64_t at = 8; at < BYTES; at += 16)
		put_be(bytes + TABLES_AT + at, 8, UINT64_C(0xffff0000) << 32);
	mapping = open_shared(&forms[2]);
	for (unsigned i = 0; i < 3 * 32; i++) {
		expect(mapping, QCOW2_L2_UNALLOCATED, BYTES / 2);
		expect(mapping, QCOW2_L2_ZERO, BYTES / 2);
	}
	expect_end(mapping);
	/* The first halves of the words are all the same, the second ones change once. */
	memset(bytes + TABLES_AT, 0, BYTES);
	for (uint64_t at = 8; at < BYTES / 2; at += 16)
		put_be(bytes + TABLES_AT + at, 8, (uint64_t)UINT32_MAX << 32);
	mapping = open_shared(&forms[2]);
	for (unsigned i = 0; i < 3; i++) {
		expect(mapping, QCOW2_L2_ZERO, PER_TABLE / 4);
		expect(mapping, QCOW2_L2_UNALLOCATED, PER_TABLE / 4);
	}
	expect_end(mapping);
}

/*
 * Parts of clusters have a price, too: else a small file would give a hundred million extents. Most
 * of the limit is spent on a table of two halves, which has few extents, and the rest on parts.
 */
static void shared_parts(void **state)
{
	enum { SIZE = 65536, HALVES = 1100, TABLES = 1200, ENTRY_COST = 16 + 31 * 4 };
	const uint64_t limit_bytes = 16 * STORED + (UINT64_C(64) << 20);
	const struct qcow2_mapping_extent *extent;
	struct qcow2_mapping *mapping;
	uint64_t extents = 0;
	int more;

	(void)state;
	put_form(&forms[2], UINT64_MAX, TABLES);
	put_be(bytes + 20, 4, 16);
	put_be(bytes + 40, 8, 3 * SIZE);
	for (uint64_t at = 8; at < SIZE; at += 16) {
		put_be(bytes + SIZE + at, 8, (at < SIZE / 2 ? (uint64_t)UINT32_MAX : 0) << 32);
		put_be(bytes + 2 * SIZE + at, 8, UINT64_C(0x55555555) << 32);
	}
	for (uint64_t i = 0; i < TABLES; i++)
		put_be(bytes + 3 * SIZE + i * 8, 8, i < HALVES ? SIZE : 2 * SIZE);
	mapping = open_mapping();
	while ((more = qcow2_mapping_next(mapping, &extent, &err)) > 0)
		extents++;
	assert_int_equal(more, -1);
	assert_int_equal(err.code, QCOW2_ERROR_LIMIT);
	extents -= 2 * HALVES;
	assert_true(extents / 32 == (limit_bytes - (uint64_t)HALVES * SIZE) / ENTRY_COST);
	qcow2_mapping_close(mapping);
}

/* What was seen before a seek says nothing of what it leaves out. */
static void seeks(void **state)
{
	const struct qcow2_mapping_extent *extent;
	struct qcow2_mapping *mapping;

	(void)state;
	put_be(bytes + TABLES_AT + 80, 8, 0x10000);
	mapping = open_shared(&forms[1]);
	qcow2_mapping_seek(mapping, (struct qcow2_guest){0}, BYTES * 10);
	expect(mapping, QCOW2_L2_UNALLOCATED, BYTES * 10);
	qcow2_mapping_seek(mapping, (struct qcow2_guest){BYTES * 11}, PER_TABLE - BYTES * 11);
	expect(mapping, QCOW2_L2_UNALLOCATED, PER_TABLE - BYTES * 11);
	/* In the middle of a range, with an extent that is found and not told. */
	qcow2_mapping_seek(mapping, (struct qcow2_guest){0}, UINT64_MAX);
	expect(mapping, QCOW2_L2_UNALLOCATED, BYTES * 10);
	qcow2_mapping_seek(mapping, (struct qcow2_guest){BYTES * 3}, BYTES);
	extent = expect(mapping, QCOW2_L2_UNALLOCATED, BYTES);
	assert_true(extent->start.byte == BYTES * 3);
	qcow2_mapping_seek(mapping, (struct qcow2_guest){BYTES * 10 + 7}, UINT64_MAX);
	extent = expect(mapping, QCOW2_L2_DATA, BYTES - 7);
	assert_true(extent->host.byte == 0x10007);
	expect(mapping, QCOW2_L2_UNALLOCATED, PER_TABLE - BYTES);
	qcow2_mapping_close(mapping);
}

/* ---- snapshots ---- */

static void snapshots(void **state)
{
	struct qcow2_mapping *mapping;

	(void)state;
	put_form(&forms[1], PER_TABLE, 1);
	put_be(bytes + 60, 4, 3);
	put_be(bytes + 64, 8, 0x4000);
	/* The first has a disk of two tables, the second one as large as now, the third one is cut. */
	put_snapshot(bytes + 0x4000, 1, 1, 16);
	put_be(bytes + 0x4000, 8, L1_AT + BYTES);
	put_be(bytes + 0x4008, 4, 2);
	put_be(bytes + 0x4000 + 48, 8, PER_TABLE * 2);
	put_snapshot(bytes + 0x4040, 1, 1, 0);
	put_be(bytes + 0x4040, 8, L1_AT + 8);
	put_be(bytes + 0x4048, 4, 2);
	put_snapshot(bytes + 0x4070, 1, 1, UINT32_MAX);
	put_be(bytes + L1_AT + BYTES + 8, 8, TABLES_AT);
	put_be(bytes + TABLES_AT, 8, 0x10000);
	open_bytes(sizeof(bytes));
	assert_int_equal(qcow2_mapping_open_snapshot(image, 0, &mapping, &err), 0);
	assert_true(qcow2_mapping_size_bytes(mapping) == 2 * PER_TABLE);
	expect(mapping, QCOW2_L2_UNALLOCATED, PER_TABLE);
	expect(mapping, QCOW2_L2_DATA, BYTES);
	expect(mapping, QCOW2_L2_UNALLOCATED, PER_TABLE - BYTES);
	expect_end(mapping);
	assert_int_equal(qcow2_mapping_open_snapshot(image, 1, &mapping, &err), 0);
	expect_problem(mapping, QCOW2_PROBLEM_SNAPSHOT_L1_OFFSET, PER_TABLE);
	expect_end(mapping);
	assert_int_equal(qcow2_mapping_open_snapshot(image, 2, &mapping, &err), -1);
	assert_int_equal(err.code, QCOW2_ERROR_BROKEN);
	assert_int_equal(qcow2_mapping_open_snapshot(image, 3, &mapping, &err), -1);
	assert_int_equal(err.code, QCOW2_ERROR_NOT_FOUND);
	put_be(bytes + 60, 4, 0);
	open_bytes(sizeof(bytes));
	assert_int_equal(qcow2_mapping_open_snapshot(image, 0, &mapping, &err), -1);
	assert_int_equal(err.code, QCOW2_ERROR_NOT_FOUND);
}

/* ---- what it costs ---- */

#define BIG_BITS    16
#define BIG         (UINT64_C(1) << BIG_BITS)
#define BIG_TABLE   (BIG / 8 * BIG) /* bytes of the disk that one table maps */
#define BIG_L1_AT   BIG
#define BIG_ENTRIES (UINT64_C(1) << 20)
#define BIG_TABLES  (BIG * 200) /* where L2 tables start */
#define BIG_STORED  400         /* clusters of the file */

/* A file that is made up while it is read: a header, an L1 table, L2 tables. Counts the bytes. */
struct made_up {
	uint64_t l1_entries;  /* stored ones, all from the start of the table */
	uint64_t table_count; /* they lead to so many tables in turn, at BIG_TABLES and up */
	bool data;            /* tables have one cluster of data */
	uint64_t read_bytes, holes_asked;
};

static int read_made_up(void *opaque, uint64_t offset, void *buffer, size_t size)
{
	struct made_up *file = opaque;
	uint8_t *to = buffer;

	file->read_bytes += size;
	memset(buffer, 0, size);
	if (offset < BYTES)
		memcpy(buffer, bytes + offset,
		       size < BYTES - offset ? size : (size_t)(BYTES - offset));
	for (size_t i = 0; offset >= BIG_L1_AT && offset < BIG_TABLES && i + 8 <= size; i += 8) {
		uint64_t index = (offset - BIG_L1_AT + i) / 8;

		if (index < file->l1_entries)
			put_be(to + i, 8, BIG_TABLES + BIG * (index % file->table_count));
	}
	if (offset >= BIG_TABLES && file->data && offset % BIG == 0)
		put_be(to, 8, BIG);
	return 0;
}

/* Everything between the stored part of the L1 table and the L2 tables is a hole. */
static uint64_t hole_made_up(void *opaque, uint64_t offset)
{
	struct made_up *file = opaque;

	file->holes_asked++;
	if (offset >= BIG_L1_AT + file->l1_entries * 8 && offset < BIG_TABLES)
		return BIG_TABLES;
	return offset;
}

static struct qcow2_mapping *open_made_up(struct made_up *file, uint32_t l1_size)
{
	const struct qcow2_source_ops ops = {
		.size = sizeof(ops), .read = read_made_up, .hole_end = hole_made_up};
	struct qcow2_mapping *mapping;

	put_form(&forms[1], UINT64_MAX, l1_size);
	put_be(bytes + 20, 4, BIG_BITS);
	put_be(bytes + 40, 8, BIG_L1_AT);
	assert_int_equal(qcow2_source_from_ops(&ops, file, BIG * BIG_STORED, &source, &err), 0);
	assert_int_equal(qcow2_image_open(source, &image, &err), 0);
	file->read_bytes = file->holes_asked = 0;
	assert_int_equal(qcow2_mapping_open(image, &mapping, &err), 0);
	return mapping;
}

/* A million L1 entries lead to a hundred empty tables: each is read once. */
static void shared_empty_tables(void **state)
{
	struct made_up file = {.l1_entries = BIG_ENTRIES, .table_count = 100};
	struct qcow2_mapping *mapping = open_made_up(&file, BIG_ENTRIES + 1000);

	(void)state;
	expect(mapping, QCOW2_L2_UNALLOCATED, UINT64_MAX);
	expect_end(mapping);
	assert_true(file.read_bytes <= BIG_ENTRIES * 8 + 100 * BIG + BIG);
	assert_true(file.holes_asked < 4000);
}

/* A table that maps data, again and again: a limit ends it. A new range may be looked at. */
static void shared_data_table(void **state)
{
	struct made_up file = {.l1_entries = BIG_ENTRIES, .table_count = 1, .data = true};
	struct qcow2_mapping *mapping = open_made_up(&file, UINT32_MAX);
	const struct qcow2_mapping_extent *extent;
	unsigned extents = 0;
	int more;

	(void)state;
	while ((more = qcow2_mapping_next(mapping, &extent, &err)) > 0)
		extents++;
	assert_int_equal(more, -1);
	assert_int_equal(err.code, QCOW2_ERROR_LIMIT);
	/* A source without a file system says that it stores all of its 400 clusters. */
	assert_true(extents == 2 * (16 * BIG_STORED + 1024) &&
		    file.read_bytes < (16 * BIG_STORED + 1200) * BIG);
	assert_int_equal(qcow2_mapping_next(mapping, &extent, &err), -1);
	qcow2_mapping_seek(mapping, (struct qcow2_guest){BIG_TABLE * 100000}, 2 * BIG);
	expect(mapping, QCOW2_L2_DATA, BIG);
	expect(mapping, QCOW2_L2_UNALLOCATED, BIG);
	expect_end(mapping);
}

/* An L1 table of which only the first entry is stored. */
static void holes(void **state)
{
	struct made_up file = {.l1_entries = 1, .table_count = 1, .data = true};
	struct qcow2_mapping *mapping = open_made_up(&file, 199 * BIG / 8);

	(void)state;
	expect(mapping, QCOW2_L2_DATA, BIG);
	expect(mapping, QCOW2_L2_UNALLOCATED, UINT64_MAX - BIG);
	/* A piece of the L1 table, and one of the L2 table. */
	assert_true(file.read_bytes == 2 * BIG && file.holes_asked < 10);
	qcow2_mapping_seek(mapping, (struct qcow2_guest){BIG * 77}, BIG_TABLE * 1000);
	expect(mapping, QCOW2_L2_UNALLOCATED, BIG_TABLE * 1000);
	expect_end(mapping);
}

static void kind_names(void **state)
{
	(void)state;
	assert_string_equal(qcow2_l2_kind_name(QCOW2_L2_UNALLOCATED), "unallocated");
	assert_string_equal(qcow2_l2_kind_name(QCOW2_L2_ZERO_ALLOCATED), "zero-allocated");
	assert_string_equal(qcow2_l2_kind_name(QCOW2_L2_INVALID), "invalid");
	assert_null(qcow2_l2_kind_name((enum qcow2_l2_kind)(QCOW2_L2_INVALID + 1)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(short_l1, setup, teardown),
		cmocka_unit_test_setup_teardown(bad_l1, setup, teardown),
		cmocka_unit_test_setup_teardown(bad_tables, setup, teardown),
		cmocka_unit_test_setup_teardown(largest_disk, setup, teardown),
		cmocka_unit_test_setup_teardown(seeks, setup, teardown),
		cmocka_unit_test_setup_teardown(shared_subclusters, setup, teardown),
		cmocka_unit_test_setup_teardown(shared_parts, setup, teardown),
		cmocka_unit_test_setup_teardown(shared_bad, setup, teardown),
		cmocka_unit_test_setup_teardown(shared_but_last, setup, teardown),
		cmocka_unit_test_setup_teardown(snapshots, setup, teardown),
		cmocka_unit_test_setup_teardown(shared_empty_tables, setup, teardown),
		cmocka_unit_test_setup_teardown(shared_data_table, setup, teardown),
		cmocka_unit_test_setup_teardown(holes, setup, teardown),
		cmocka_unit_test(kind_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
