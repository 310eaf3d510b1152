/* SPDX-License-Identifier: MIT */
/*
 * Rows that a walk tells many at once are those that it tells one by one: of tables with random
 * entries, with selectors, when a read or an allocation fails, and when the visitor asks to stop.
 */
#include "fault_file.h"
#include "image_bytes.h"

#include <qcow2/image.h>
#include <qcow2/source.h>
#include <qcow2/walk.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define BITS        12
#define LARGE       (1U << BITS)
#define IMAGE_BYTES (12 * LARGE)
#define ENTRIES     (LARGE / 8)
#define DISK_BYTES  ((uint64_t)ENTRIES * ENTRIES * LARGE)

/* A number that is often one of a few, so that rows repeat. */
static uint64_t any_entry(void)
{
	static const uint64_t few[] = {0, 1, 0x5000, UINT64_C(1) << 63 | 0x5000, 0xffff};
	const unsigned chance = (unsigned)rand() % 8;

	if (chance < 5)
		return few[(unsigned)rand() % 5];
	return (uint64_t)rand() << 33 ^ (uint64_t)rand() << (chance == 7 ? 3 : 12);
}

static void put_table(uint8_t *at)
{
	uint64_t entry = 0;

	for (unsigned i = 0; i < ENTRIES; i++) {
		entry = rand() % 3 ? any_entry() : entry;
		put_be(at + 8 * i, 8, entry);
	}
}

/* Clusters: header, directory, bitmap table, L1, refcount table, two refcount blocks, L2 tables. */
static void build(uint8_t *image)
{
	put_header(image, DISK_BYTES);
	put_be(image + 20, 4, BITS);
	put_be(image + 36, 4, ENTRIES);
	put_be(image + 40, 8, 3 * LARGE);
	put_be(image + 48, 8, 4 * LARGE);
	put_be(image + 56, 4, 1);
	put_be(image + 88, 8, 1);
	put_bitmaps(image + 104, 1, 32, LARGE);
	put_bitmap(image + LARGE, 1, 0);
	put_be(image + LARGE, 8, 2 * LARGE);
	put_be(image + LARGE + 8, 4, ENTRIES);
	image[LARGE + 24] = 'b';
	srand(7);
	for (unsigned i = 2; i < 12; i++)
		put_table(image + (size_t)i * LARGE);
	put_be(image + (size_t)3 * LARGE, 8, UINT64_C(1) << 63 | 7 * LARGE);
	put_be(image + (size_t)3 * LARGE + 8, 8, 8 * LARGE);
	put_be(image + (size_t)4 * LARGE, 8, 5 * LARGE);
	put_be(image + (size_t)4 * LARGE + 8, 8, 6 * LARGE);
}

static int group_setup(void **state)
{
	static uint8_t image[IMAGE_BYTES];

	(void)state;
	build(image);
	return make_file(image, sizeof(image));
}

static int teardown(void **state)
{
	(void)state;
	faults_pread = NULL;
	faults_fail_allocation = 0;
	return 0;
}

/* What was told, as numbers that are the same for the same rows. */
struct heard {
	uint64_t sum, values, problems, batches;
	uint64_t stop_at; /* stop after so many calls of rows; 0: never */
	bool stopped;
};

static void add(struct heard *heard, uint64_t number)
{
	heard->sum = (heard->sum ^ number) * UINT64_C(0x9e3779b97f4a7c15) + 1;
}

static void add_text(struct heard *heard, const void *text, size_t size)
{
	for (size_t i = 0; i < size; i++)
		add(heard, ((const uint8_t *)text)[i]);
}

static int hear_begin(void *opaque, const struct qcow2_node *node)
{
	struct heard *heard = opaque;

	assert_false(heard->stopped);
	add(heard, node->index);
	add(heard, node->layout == QCOW2_LAYOUT_ROW && node->repeats);
	return 0;
}

static int hear_end(void *opaque, const struct qcow2_node *node)
{
	struct heard *heard = opaque;

	assert_false(heard->stopped);
	add(heard, node->layout == QCOW2_LAYOUT_ROW);
	return 0;
}

static int hear_list(void *opaque, const struct qcow2_node *node)
{
	(void)node;
	add(opaque, 5);
	return 0;
}

static int hear_field(void *opaque, const struct qcow2_value *value)
{
	struct heard *heard = opaque;

	assert_false(heard->stopped);
	heard->values++;
	add_text(heard, value->name, strlen(value->name));
	add(heard, value->audience);
	add(heard, value->style);
	add(heard, value->number);
	if (value->kind == QCOW2_VALUE_TEXT)
		add_text(heard, value->bytes.data, value->bytes.size);
	return 0;
}

static int hear_problem(void *opaque, const struct qcow2_problem *problem)
{
	struct heard *heard = opaque;

	(void)problem;
	heard->problems++;
	return 0;
}

static void hear_row(struct heard *heard, const struct qcow2_rows *rows, size_t i)
{
	struct qcow2_node node = {
		.index = rows->index + i, .layout = QCOW2_LAYOUT_ROW, .repeats = rows->repeats[i]};

	hear_begin(heard, &node);
	for (size_t c = 0; c < rows->column_count; c++) {
		const struct qcow2_column *column = rows->columns[c];
		struct qcow2_value value = {
			.name = column->name, .audience = column->audience, .style = column->style};

		value.number = rows->values[i * rows->column_count + c];
		if (column->texts) {
			assert_true(value.number < column->text_count);
			value.kind = QCOW2_VALUE_TEXT;
			value.bytes.data = (const uint8_t *)column->texts[value.number];
			value.bytes.size = strlen(column->texts[value.number]);
			value.number = 0;
		}
		hear_field(heard, &value);
	}
	hear_end(heard, &node);
}

static int hear_rows(void *opaque, const struct qcow2_rows *rows)
{
	struct heard *heard = opaque;

	assert_false(heard->stopped);
	assert_true(rows->count > 0);
	heard->batches++;
	for (size_t i = 0; i < rows->count; i++)
		hear_row(heard, rows, i);
	heard->stopped = heard->batches == heard->stop_at;
	return heard->stopped;
}

static int look(const char *selector, bool in_rows, struct heard *heard, struct qcow2_error *err)
{
	const struct qcow2_visitor visitor = {.size = sizeof(visitor),
					      .begin_struct = hear_begin,
					      .end_struct = hear_end,
					      .begin_list = hear_list,
					      .end_list = hear_list,
					      .field = hear_field,
					      .problem = hear_problem,
					      .rows = in_rows ? hear_rows : NULL};
	struct qcow2_source *source = NULL;
	struct qcow2_image *image = NULL;
	struct qcow2_selection *selection = NULL;
	int result = -1;

	if (qcow2_source_open(path, &source, err) == 0 &&
	    qcow2_image_open(source, &image, err) == 0 &&
	    qcow2_selection_new(&selector, 1, &selection, err) == 0)
		result = qcow2_walk(image, selection, 0, &visitor, heard, err);
	qcow2_selection_free(selection);
	qcow2_image_close(image);
	qcow2_source_close(source);
	return result;
}

static void same(void **state)
{
	static const struct {
		const char *selector;
		bool in_rows; /* all of a table is wanted */
	} cases[] = {
		{"all", true},          {"l1", true},
		{"l2", true},           {"l2/1", true},
		{"l2/*/entries", true}, {"refcount_table", true},
		{"refcounts/0", true},  {"bitmaps/b/table", true},
		{"l2/0/3..400", false}, {"l2/*/*/guest", false},
		{"l1/0..40", false},    {"refcounts/1/7", false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct heard one = {0}, many = {0};
		struct qcow2_error err;

		assert_int_equal(look(cases[i].selector, false, &one, &err), 0);
		assert_int_equal(look(cases[i].selector, true, &many, &err), 0);
		assert_true(one.values > 0 && one.values == many.values);
		assert_true(one.sum == many.sum && one.problems == many.problems);
		assert_true(one.batches == 0 && (many.batches > 0) == cases[i].in_rows);
	}
}

/* Rows that were read before a read failed are told. */
static void each_read(void **state)
{
	struct qcow2_error err;
	struct heard one = {0};

	(void)state;
	faults_pread = count_read;
	reads = fail_read = 0;
	assert_int_equal(look("all", false, &one, &err), 0);
	for (long n = 1, all = reads; n <= all; n++) {
		struct heard many = {0};

		one = (struct heard){0};
		fail_read = n;
		reads = 0;
		assert_int_equal(look("all", false, &one, &err), -1);
		reads = 0;
		assert_int_equal(look("all", true, &many, &err), -1);
		assert_int_equal(err.code, QCOW2_ERROR_IO);
		assert_true(one.values == many.values && one.sum == many.sum);
	}
}

static void each_allocation(void **state)
{
	struct qcow2_error err;
	unsigned long n = 0;
	int result;

	(void)state;
	do {
		struct heard heard = {0};

		faults_fail_allocation = ++n;
		result = look("all", true, &heard, &err);
		if (result != 0)
			assert_int_equal(err.code, QCOW2_ERROR_MEMORY);
	} while (result != 0);
	assert_true(n > 5);
}

/* Nothing is told after a call that asked to stop. */
static void each_stop(void **state)
{
	struct heard all = {0};
	struct qcow2_error err;

	(void)state;
	assert_int_equal(look("all", true, &all, &err), 0);
	for (uint64_t n = 1; n <= all.batches; n++) {
		struct heard heard = {.stop_at = n};

		assert_int_equal(look("all", true, &heard, &err), -1);
		assert_int_equal(err.code, QCOW2_ERROR_STOPPED);
		assert_true(heard.batches == n);
	}
}

/* A selection finds the same in each of several walks, also where a list has nothing. */
static void selection_used_again(void **state)
{
	static const char *const selectors[] = {"snapshots", "l2/1/3", "header"};
	const struct qcow2_visitor visitor = {.size = sizeof(visitor), .field = hear_field};
	struct qcow2_source *source;
	struct qcow2_image *image;
	struct qcow2_error err;

	(void)state;
	assert_int_equal(qcow2_source_open(path, &source, &err), 0);
	assert_int_equal(qcow2_image_open(source, &image, &err), 0);
	for (size_t i = 0; i < sizeof(selectors) / sizeof(selectors[0]); i++) {
		struct qcow2_selection *selection;
		struct heard first = {0};

		assert_int_equal(qcow2_selection_new(&selectors[i], 1, &selection, &err), 0);
		assert_int_equal(qcow2_walk(image, selection, 0, &visitor, &first, &err), 0);
		for (unsigned n = 0; n < 2; n++) {
			struct heard again = {0};

			assert_int_equal(qcow2_walk(image, selection, 0, &visitor, &again, &err),
					 0);
			assert_true(again.sum == first.sum);
		}
		qcow2_selection_free(selection);
	}
	qcow2_image_close(image);
	qcow2_source_close(source);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(same, teardown),
		cmocka_unit_test_teardown(each_read, teardown),
		cmocka_unit_test_teardown(each_allocation, teardown),
		cmocka_unit_test_teardown(each_stop, teardown),
		cmocka_unit_test_teardown(selection_used_again, teardown),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
