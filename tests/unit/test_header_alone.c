/* SPDX-License-Identifier: MIT */
/*
 * Whether the first cluster is the header's alone: entries of L2 tables that lead there are found
 * among many that do not, in each form of tables.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "check/structures.h"
#include "unit/image_bytes.h"

#include <cmocka.h>

#define COPIED (UINT64_C(1) << 63)
#define PACKED (UINT64_C(1) << 62)

static struct qcow2_error err;

static uint64_t one_of(unsigned count)
{
	return (uint64_t)(rand() % (int)count);
}

/* An image with a table of L2 entries of some form. */
struct form {
	unsigned cluster_bits;
	uint64_t features;
};

#define LARGEST ((size_t)1 << 16)

static uint8_t large[5 * LARGEST];

/* A header, an L1 table, a refcount table without blocks, and an L2 table without entries. */
static void make_form(const struct form *form)
{
	const size_t cluster = (size_t)1 << form->cluster_bits;

	memset(large, 0, sizeof(large));
	put_header(large, cluster * cluster / 16);
	put_be(large + 20, 4, form->cluster_bits);
	put_be(large + 36, 4, 1);
	put_be(large + 40, 8, cluster);
	put_be(large + 48, 8, 2 * cluster);
	put_be(large + 56, 4, 1);
	put_be(large + 72, 8, form->features);
	put_be(large + cluster, 8, 3 * cluster);
}

static bool is_alone(const struct form *form)
{
	const struct qcow2_check_options how = {.threads = 1};
	struct q2_structures structures;
	struct q2_header_alone alone;
	struct qcow2_source *source;
	struct qcow2_image *image;

	assert_int_equal(
		qcow2_source_from_memory(large, (size_t)5 << form->cluster_bits, &source, &err), 0);
	assert_int_equal(qcow2_image_open(source, &image, &err), 0);
	assert_int_equal(q2_check_header_alone(image, &how, &structures, &alone, &err), 0);
	assert_true(structures.is_whole);
	qcow2_image_close(image);
	qcow2_source_close(source);
	return alone.is_alone;
}

/* Any entry that leads to the first cluster is seen, and no other one, wherever it is. */
static void one_entry(void **state)
{
	static const struct form forms[] = {
		{9, 0},
		{12, 0},
		{16, 0},
		{14, QCOW2_INCOMPATIBLE_EXTENDED_L2},
		{16, QCOW2_INCOMPATIBLE_EXTENDED_L2},
	};

	(void)state;
	for (unsigned round = 0; round < 200; round++) {
		const struct form *form = &forms[round % 5];
		const size_t cluster = (size_t)1 << form->cluster_bits;
		const unsigned bits = 62 - (form->cluster_bits - 8),
			       entry = form->features ? 16 : 8;
		const uint64_t sectors = round % 3 ? UINT64_C(1) << bits : 0;
		uint8_t *at;

		srand(round);
		make_form(form);
		for (size_t i = 0; i < cluster; i += entry)
			put_be(large + 3 * cluster + i, 8, one_of(2) ? 0 : COPIED | 4 * cluster);
		for (size_t i = entry - 8; entry > 8 && i < cluster; i += entry)
			put_be(large + 3 * cluster + i, 8, one_of(32) << 9 | one_of(3));
		assert_true(is_alone(form));
		at = large + 3 * cluster + entry * one_of((unsigned)(cluster / entry));
		put_be(at, 8, PACKED | sectors | (cluster + one_of(9)));
		assert_true(is_alone(form));
		put_be(at, 8, PACKED | sectors | one_of((unsigned)cluster));
		assert_false(is_alone(form));
		put_be(at, 8, (one_of(2) ? COPIED : 0) | (cluster - 512));
		assert_int_equal(is_alone(form), cluster == 512);
		put_be(at, 8, COPIED | cluster);
		assert_true(is_alone(form));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_entry),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
