/* SPDX-License-Identifier: MIT */
/*
 * Guest extents against a model that looks at one subcluster at a time, with the offsets and masks of
 * the specification: random tables of each form, ranges that start and end anywhere, tables that are
 * missing or bad, and what hostile images may cost.
 */
#include "image_fixture.h"

#include <qcow2/mapping.h>

#include <stdio.h>
#include <stdlib.h>

#define L1_AT     0x1000
#define L1_MOST   64
#define TABLES_AT 0x8000
#define STORED    ((uint64_t)sizeof(bytes))
#define COPIED    (UINT64_C(1) << 63)
#define PACKED    (UINT64_C(1) << 62)
#define STEPS     32 /* of a cluster of 512 bytes: subclusters of 16 bytes */
#define STEP      (BYTES / STEPS)
#define BYTES     ((uint64_t)CLUSTER) /* of a cluster */

/* ---- the model ---- */

/* What an image is made of. */
struct form {
	const char *name;
	unsigned version;
	bool extended, data_file;
};

static const struct form forms[] = {
	{"version 2", 2, false, false},        {"version 3", 3, false, false},
	{"extended", 3, true, false},          {"data file", 3, false, true},
	{"extended data file", 3, true, true},
};

static uint64_t get_be(const uint8_t *at)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < 8; i++)
		value = value << 8 | at[i];
	return value;
}

/* What is expected at a byte of the guest. host: QCOW2_NO_OFFSET if there is none. */
struct expected {
	enum qcow2_l2_kind kind;
	unsigned problem;
	uint64_t host, length;
};

static struct expected bad(unsigned problem)
{
	return (struct expected){QCOW2_L2_INVALID, problem, QCOW2_NO_OFFSET, 0};
}

static struct expected model_compressed(const struct form *form, uint64_t entry)
{
	/* x is 61 with clusters of 512 bytes */
	uint64_t offset = entry & ((UINT64_C(1) << 61) - 1), sectors = (entry >> 61 & 1) + 1;
	uint64_t length = sectors * 512 - offset % 512;

	if (form->data_file)
		return bad(QCOW2_PROBLEM_COMPRESSED_DATA_FILE);
	if (offset >> 56)
		return bad(QCOW2_PROBLEM_COMPRESSED_OFFSET);
	if (offset >= STORED || offset + length >= STORED + BYTES)
		return bad(QCOW2_PROBLEM_COMPRESSED_BEYOND_END);
	return (struct expected){QCOW2_L2_COMPRESSED, 0, offset, length};
}

/* What one step of a cluster is by its L2 entry and the word behind that. */
static struct expected model_entry(const struct form *form, uint64_t guest, const uint64_t *words)
{
	uint64_t offset = words[0] & UINT64_C(0x00fffffffffffe00);
	uint64_t allocated = words[1] & UINT32_MAX, zeroes = words[1] >> 32;
	unsigned step = (unsigned)(guest % BYTES / STEP);
	bool placed = offset != 0 || (form->data_file && (words[0] & COPIED));
	struct expected e = {QCOW2_L2_UNALLOCATED, 0, QCOW2_NO_OFFSET, 0};

	if (words[0] & PACKED)
		return model_compressed(form, words[0]);
	if (form->extended && (allocated & zeroes))
		return bad(QCOW2_PROBLEM_SUBCLUSTER_BOTH);
	if (form->extended && allocated && !placed)
		return bad(QCOW2_PROBLEM_SUBCLUSTER_WITHOUT_OFFSET);
	if (!form->extended && (words[0] & 1) && form->version == 2)
		return bad(QCOW2_PROBLEM_L2_ENTRY_ZERO_FLAG);
	if (placed && form->data_file && offset != guest - guest % BYTES)
		return bad(QCOW2_PROBLEM_DATA_FILE_OFFSET);
	if (placed && !form->data_file && offset >= STORED)
		return bad(QCOW2_PROBLEM_DATA_BEYOND_END);
	if (form->extended ? zeroes >> step & 1 : words[0] & 1)
		e.kind = placed ? QCOW2_L2_ZERO_ALLOCATED : QCOW2_L2_ZERO;
	else if (form->extended ? allocated >> step & 1 : placed)
		e.kind = QCOW2_L2_DATA;
	if (placed)
		e.host = offset + guest % BYTES;
	return e;
}

static struct expected model(const struct form *form, uint64_t guest)
{
	uint64_t entry_bytes = form->extended ? 16 : 8, per_table = BYTES / entry_bytes;
	uint64_t cluster = guest / BYTES, index = cluster / per_table, words[2] = {0, 0}, table;

	if (index < (get_be(bytes + 32) & UINT32_MAX)) {
		table = get_be(bytes + L1_AT + index * 8) & UINT64_C(0x00fffffffffffe00);
		if (table >= STORED)
			return bad(QCOW2_PROBLEM_L2_TABLE_BEYOND_END);
		table += cluster % per_table * entry_bytes;
		if (table >= BYTES) {
			words[0] = get_be(bytes + table);
			words[1] = form->extended ? get_be(bytes + table + 8) : 0;
		}
	}
	return model_entry(form, guest, words);
}

/* ---- images ---- */

static uint64_t one_of(unsigned count)
{
	return (uint64_t)(rand() % (int)count);
}

/* The second word of an extended entry: mostly what a good image has. */
static uint64_t random_subclusters(void)
{
	uint64_t allocated = (uint64_t)rand() ^ (uint64_t)rand() << 8;
	uint64_t zeroes = (uint64_t)rand() ^ (uint64_t)rand() << 8;

	switch (one_of(8)) {
	case 0:
		return 0;
	case 1:
		return UINT32_MAX;
	case 2:
		return (uint64_t)UINT32_MAX << 32;
	case 3:
		return (allocated & UINT32_MAX) | (zeroes & UINT32_MAX) << 32;
	case 4:
		return (zeroes & UINT32_MAX) << 32;
	default:
		return (allocated & ~zeroes & UINT32_MAX) | (zeroes & ~allocated & UINT32_MAX)
								    << 32;
	}
}

/* An entry of the cluster `guest`; before is the entry of the cluster before it, often continued. */
static uint64_t random_entry(const struct form *form, uint64_t guest, uint64_t before)
{
	uint64_t offset = form->data_file && one_of(16) ? guest : one_of(STORED / BYTES) * BYTES;

	switch (one_of(20)) {
	case 0:
	case 1:
		return 0;
	case 2:
		return 1;
	case 3:
		return offset | 1;
	case 4:
		return PACKED | (STORED - one_of(1500)) | one_of(2) << 61;
	case 5:
		return PACKED | one_of(STORED) | one_of(2) << 61;
	case 6:
		return (uint64_t)rand() << 40 ^ (uint64_t)rand() << 20 ^ (uint64_t)rand();
	case 7:
		return STORED - BYTES * one_of(3) + BYTES;
	case 8:
	case 9:
	case 10:
		return offset | COPIED;
	default:
		return before & ~PACKED ? before + BYTES : 0;
	}
}

static void fill_table(const struct form *form, uint64_t at, uint64_t guest)
{
	unsigned width = form->extended ? 16 : 8;
	uint64_t before = 0, last_word = 0, word;

	for (unsigned i = 0; i < BYTES / width; i++, guest += BYTES) {
		before = random_entry(form, guest, before);
		put_be(bytes + at + i * width, 8, before);
		word = one_of(3) ? last_word : random_subclusters();
		if (form->extended)
			put_be(bytes + at + i * width + 8, 8, word);
		last_word = word;
	}
}

static void put_form(const struct form *form, uint64_t size, uint32_t l1_size)
{
	put_be(bytes + 4, 4, form->version);
	put_be(bytes + 24, 8, size);
	put_be(bytes + 36, 4, l1_size);
	put_be(bytes + 40, 8, L1_AT);
	put_be(bytes + 72, 8, (form->extended ? 16U : 0U) | (form->data_file ? 4U : 0U));
}

/* A disk whose tables say all sorts of things, some of them twice, and its size. */
static uint64_t make_random(const struct form *form)
{
	uint64_t per_table = BYTES / (form->extended ? 16 : 8) * BYTES;
	uint32_t l1_size = (uint32_t)one_of(20) + 1;
	uint64_t size = per_table * (l1_size + one_of(3)) - one_of(2) * one_of((unsigned)per_table);

	put_form(form, size, l1_size);
	for (unsigned i = 0; i < l1_size; i++) {
		uint64_t table = TABLES_AT + i * BYTES;

		if (one_of(5) == 0)
			table = one_of(4) ? 0 : STORED + BYTES * one_of(2);
		else if (one_of(5) == 0)
			table = TABLES_AT + one_of(i + 1) * BYTES;
		if (table < STORED && one_of(4))
			fill_table(form, TABLES_AT + i * BYTES, i * per_table);
		put_be(bytes + L1_AT + i * 8, 8, table | (one_of(2) ? COPIED : 0));
	}
	return size;
}

/* ---- comparing ---- */

/* Each byte of an extent is what the model says; steps have no other boundaries than extents. */
static void compare_extent(const struct form *form, const struct qcow2_mapping_extent *extent)
{
	uint64_t guest = extent->start.byte, end = guest + extent->length_bytes;

	assert_true(extent->size == sizeof(*extent));
	while (guest < end) {
		struct expected e = model(form, guest);
		uint64_t into = guest - extent->start.byte;

		assert_int_equal(extent->kind, e.kind);
		if (e.kind == QCOW2_L2_INVALID)
			assert_int_equal(extent->problem, e.problem);
		if (e.host == QCOW2_NO_OFFSET)
			assert_true(extent->host.byte == QCOW2_NO_OFFSET &&
				    extent->host_bytes == 0);
		else if (e.kind == QCOW2_L2_COMPRESSED)
			assert_true(extent->host.byte == e.host && extent->host_bytes == e.length);
		else
			assert_true(extent->host.byte + into == e.host);
		guest += STEP - guest % STEP;
	}
	if (extent->kind == QCOW2_L2_COMPRESSED)
		assert_true(extent->start.byte / BYTES == (end - 1) / BYTES);
	else if (extent->host.byte != QCOW2_NO_OFFSET)
		assert_true(extent->host_bytes == extent->length_bytes);
}

/* Whether two neighbours should have been one extent. */
static bool alike(const struct qcow2_mapping_extent *a, const struct qcow2_mapping_extent *b)
{
	if (a->kind != b->kind || a->kind == QCOW2_L2_COMPRESSED)
		return false;
	if (a->kind == QCOW2_L2_INVALID)
		return a->problem == b->problem;
	if (a->host.byte == QCOW2_NO_OFFSET)
		return b->host.byte == QCOW2_NO_OFFSET;
	return a->host.byte + a->length_bytes == b->host.byte;
}

/* The raw entry is that of the first cluster, and lies where it is said to lie. */
static void compare_entry(const struct form *form, const struct qcow2_mapping_extent *extent)
{
	uint64_t at = extent->entry_at.byte;

	if (at == QCOW2_NO_OFFSET) {
		assert_true(extent->entry == 0 && extent->subclusters == 0);
		return;
	}
	assert_true(at < STORED && get_be(bytes + at) == extent->entry);
	if (form->extended && at >= TABLES_AT)
		assert_true(get_be(bytes + at + 8) == extent->subclusters);
	else
		assert_true(extent->subclusters == 0);
}

/* All extents of [start, start + length), which is cut by the disk's end. */
static void compare_range(const struct form *form, struct qcow2_mapping *mapping, uint64_t start,
			  uint64_t length)
{
	const struct qcow2_mapping_extent *extent;
	uint64_t size = qcow2_mapping_size_bytes(mapping);
	uint64_t at = start < size ? start : size;
	uint64_t end = length < size - at ? at + length : size;
	struct qcow2_mapping_extent last = {0};
	int more;

	qcow2_mapping_seek(mapping, (struct qcow2_guest){start}, length);
	while ((more = qcow2_mapping_next(mapping, &extent, &err)) > 0) {
		assert_true(extent->start.byte == at && extent->length_bytes > 0);
		assert_true(extent->length_bytes <= end - at);
		assert_true(last.length_bytes == 0 || !alike(&last, extent));
		compare_extent(form, extent);
		compare_entry(form, extent);
		at += extent->length_bytes;
		last = *extent;
	}
	assert_int_equal(more, 0);
	assert_true(at == end);
	assert_int_equal(qcow2_mapping_next(mapping, &extent, &err), 0);
}

static struct qcow2_mapping *open_mapping(void)
{
	struct qcow2_mapping *mapping;

	open_bytes(sizeof(bytes));
	assert_int_equal(qcow2_mapping_open(image, &mapping, &err), 0);
	return mapping;
}

static void random_tables(void **state)
{
	(void)state;
	for (unsigned seed = 0; seed < 200; seed++) {
		const struct form *form = &forms[seed % (sizeof(forms) / sizeof(forms[0]))];
		struct qcow2_mapping *mapping;
		uint64_t size;

		srand(seed);
		memset(bytes + L1_AT, 0, sizeof(bytes) - L1_AT);
		size = make_random(form);
		mapping = open_mapping();
		assert_true(qcow2_mapping_size_bytes(mapping) == size);
		compare_range(form, mapping, 0, UINT64_MAX);
		for (unsigned i = 0; i < 20; i++)
			compare_range(form, mapping, one_of((unsigned)size + 100),
				      one_of((unsigned)size / 2));
		compare_range(form, mapping, size - 1, 5);
		compare_range(form, mapping, 0, 0);
		compare_range(form, mapping, UINT64_MAX, UINT64_MAX);
		qcow2_mapping_close(mapping);
	}
}

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
		memcpy(buffer, bytes + offset, size < BYTES - offset ? size : BYTES - offset);
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
	const struct qcow2_source_ops ops = {.read = read_made_up, .hole_end = hole_made_up};
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
	qcow2_mapping_seek(mapping, (struct qcow2_guest){BIG * 77}, BIG_TABLE * 1000);
	expect(mapping, QCOW2_L2_UNALLOCATED, BIG_TABLE * 1000);
	expect_end(mapping);
	assert_true(file.read_bytes < 5 * BIG && file.holes_asked < 10);
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
		cmocka_unit_test_setup_teardown(random_tables, setup, teardown),
		cmocka_unit_test_setup_teardown(short_l1, setup, teardown),
		cmocka_unit_test_setup_teardown(bad_l1, setup, teardown),
		cmocka_unit_test_setup_teardown(bad_tables, setup, teardown),
		cmocka_unit_test_setup_teardown(largest_disk, setup, teardown),
		cmocka_unit_test_setup_teardown(snapshots, setup, teardown),
		cmocka_unit_test_setup_teardown(shared_empty_tables, setup, teardown),
		cmocka_unit_test_setup_teardown(shared_data_table, setup, teardown),
		cmocka_unit_test_setup_teardown(holes, setup, teardown),
		cmocka_unit_test(kind_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
