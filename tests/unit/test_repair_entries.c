/* SPDX-License-Identifier: MIT */
/*
 * What a repair does about one entry of an L1 or L2 table: each kind of problem, with version 2 and
 * 3, extended entries, a backing file and a data file; and what is read before and after.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "repair/mapping/l2_entry.h"

#define COPIED     (UINT64_C(1) << 63)
#define COMPRESSED (UINT64_C(1) << 62)
#define ZERO       UINT64_C(1)
#define CLUSTER    UINT64_C(0x10000)
#define GUEST      (3 * CLUSTER)
#define FILE_END   (100 * CLUSTER)
#define BEYOND     (200 * CLUSTER)
#define ZEROES     (UINT64_C(0xffffffff) << 32)

/* Kinds of images. */
enum flags {
	V2 = 1,
	BACKING = 2,
	EXTENDED = 4,
	DATA_FILE = 8,
	RAW = 16,
};

static struct qcow2_geometry geometry_of(unsigned flags)
{
	return (struct qcow2_geometry){
		.cluster_size_bytes = CLUSTER,
		.cluster_bits = 16,
		.file_size_bytes = FILE_END,
		.l2_entry_bytes = flags & EXTENDED ? 16 : 8,
		.extended_l2 = (flags & EXTENDED) != 0,
		.data_file = (flags & DATA_FILE) != 0,
	};
}

static struct q2_entries entries_of(const struct qcow2_geometry *geometry, unsigned flags)
{
	return (struct q2_entries){
		.geometry = geometry,
		.version_2 = (flags & V2) != 0,
		.has_backing = (flags & BACKING) != 0,
		.raw = (flags & RAW) != 0,
	};
}

struct l2_case {
	enum qcow2_problem_id id;
	unsigned flags;
	struct q2_l2_pair pair;
	int fact; /* enum fact */
	struct q2_l2_pair mended;
	int cost;                       /* enum cost */
	enum qcow2_reads before, after; /* of subcluster 0 */
};

#define K(id) QCOW2_PROBLEM_##id
#define R(id) QCOW2_READS_##id

/* What a mend comes to: it costs something, and takes a cluster of zeros. */
enum cost { FREE = 0, COSTS = 1, PLACED = 2, COSTS_PLACED = 3 };

/* What else the image says. */
enum fact { NONE, OWNED, MAYBE, INFLATES, INFLATES_40, INFLATES_1000, HOLDS_ZEROS };

static const struct q2_l2_facts facts_of[] = {
	[NONE] = {.owned = Q2_OWNED_NOT},
	[OWNED] = {.owned = Q2_OWNED_SURE},
	[MAYBE] = {.owned = Q2_OWNED_MAYBE},
	[INFLATES] = {.inflates = true},
	[INFLATES_40] = {.inflates = true, .used_bytes = 40},
	[INFLATES_1000] = {.inflates = true, .used_bytes = 1000},
	[HOLDS_ZEROS] = {.zeros = 1},
};

#define ROW(id, flags, entry, bits, fact, new_entry, new_bits, cost, before, after)                \
	{                                                                                          \
		K(id), flags, {entry, bits}, fact, {new_entry, new_bits}, cost, R(before),         \
			R(after)                                                                   \
	}

/* Kind, image; the entry and its second word; what the image says; both words then. */
static const struct l2_case cases[] = {
	/* Bits that no reader looks at. */
	ROW(L2_ENTRY_RESERVED, 0, CLUSTER | COPIED | 2, 0, NONE, CLUSTER | COPIED, 0, FREE, DATA,
	    DATA),
	ROW(L2_ENTRY_RESERVED, V2, UINT64_C(1) << 61, 0, NONE, 0, 0, FREE, ZEROS, ZEROS),
	ROW(L2_ENTRY_OFFSET_ZERO, BACKING, COPIED, 0, NONE, 0, 0, FREE, BACKING, BACKING),
	ROW(L2_ENTRY_OFFSET_ZERO, 0, COPIED | ZERO, 0, NONE, ZERO, 0, FREE, ZEROS, ZEROS),
	ROW(L2_ENTRY_ZERO_FLAG, EXTENDED, CLUSTER | ZERO, 1, NONE, CLUSTER, 1, FREE, DATA, DATA),
	/* The zero flag of version 2. */
	ROW(L2_ENTRY_ZERO_FLAG, V2, CLUSTER | COPIED | ZERO, 0, OWNED, CLUSTER | COPIED, 0, FREE,
	    ERROR, DATA),
	ROW(L2_ENTRY_ZERO_FLAG, V2, CLUSTER | ZERO, 0, MAYBE, CLUSTER, 0, COSTS, ERROR, DATA),
	ROW(L2_ENTRY_ZERO_FLAG, V2, CLUSTER | ZERO, 0, NONE, 0, 0, COSTS, ERROR, ZEROS),
	ROW(L2_ENTRY_ZERO_FLAG, V2, ZERO, 0, NONE, 0, 0, FREE, ERROR, ZEROS),
	ROW(L2_ENTRY_ZERO_FLAG, V2 | BACKING, ZERO, 0, NONE, 0, 0, COSTS_PLACED, ERROR, ZEROS),
	/* Places. */
	ROW(DATA_UNALIGNED, 0, (CLUSTER + 512) | COPIED, 0, OWNED, CLUSTER | COPIED, 0, FREE, ERROR,
	    DATA),
	ROW(DATA_UNALIGNED, 0, CLUSTER + 512, 0, MAYBE, ZERO, 0, COSTS, ERROR, ZEROS),
	ROW(DATA_UNALIGNED, 0, (CLUSTER + 512) | ZERO, 0, NONE, ZERO, 0, FREE, ERROR, ZEROS),
	ROW(DATA_UNALIGNED, V2, CLUSTER + 512, 0, NONE, 0, 0, COSTS, ERROR, ZEROS),
	ROW(DATA_UNALIGNED, V2 | BACKING, CLUSTER + 512, 0, NONE, 0, 0, COSTS_PLACED, ERROR, ZEROS),
	ROW(DATA_UNALIGNED, EXTENDED | BACKING, CLUSTER + 512, 1 | UINT64_C(4) << 32, NONE, 0,
	    UINT64_C(5) << 32, COSTS, ERROR, ZEROS),
	ROW(DATA_UNALIGNED, EXTENDED | BACKING, CLUSTER + 512, UINT64_C(4) << 32, NONE, 0,
	    UINT64_C(4) << 32, FREE, ERROR, BACKING),
	ROW(DATA_BEYOND_END, BACKING, BEYOND | COPIED, 0, NONE, ZERO, 0, FREE, ZEROS, ZEROS),
	ROW(DATA_BEYOND_END, V2, BEYOND | COPIED, 0, NONE, 0, 0, FREE, ZEROS, ZEROS),
	ROW(DATA_BEYOND_END, V2 | BACKING, BEYOND, 0, NONE, 0, 0, PLACED, ZEROS, ZEROS),
	ROW(DATA_BEYOND_END, EXTENDED | BACKING, BEYOND, 2, NONE, 0, UINT64_C(2) << 32, FREE,
	    BACKING, BACKING),
	/* One bit less, and it leads to a cluster that lacks a reference. */
	ROW(DATA_BEYOND_END, 0, (UINT64_C(1) << 40) | CLUSTER | COPIED, 0, OWNED, CLUSTER | COPIED,
	    0, FREE, ZEROS, DATA),
	ROW(DATA_BEYOND_END, 0, (UINT64_C(1) << 40) | CLUSTER | COPIED, 0, MAYBE, ZERO, 0, FREE,
	    ZEROS, ZEROS),
	ROW(COMPRESSED_OFFSET, 0, COMPRESSED | UINT64_C(1) << 53 | 77, 0, INFLATES_40,
	    COMPRESSED | 77, 0, FREE, ERROR, DATA),
	/* Not aligned either: nobody could read it, so that zeros are something new. */
	ROW(DATA_BEYOND_END, 0, BEYOND + 512, 0, NONE, ZERO, 0, COSTS, ERROR, ZEROS),
	ROW(ZERO_BEYOND_END, 0, BEYOND | COPIED | ZERO, 0, NONE, ZERO, 0, FREE, ZEROS, ZEROS),
	ROW(ZERO_BEYOND_END, EXTENDED, BEYOND | COPIED, ZEROES, NONE, 0, ZEROES, FREE, ZEROS,
	    ZEROS),
	/* The data file: guest offset and host offset are the same. */
	ROW(DATA_FILE_OFFSET, DATA_FILE, COPIED | BEYOND, 0, NONE, COPIED | GUEST, 0, FREE, ERROR,
	    DATA),
	ROW(DATA_FILE_OFFSET, DATA_FILE | BACKING, COPIED, 0, NONE, COPIED | GUEST, 0, COSTS, ERROR,
	    DATA),
	ROW(DATA_FILE_OFFSET, DATA_FILE, COPIED | ZERO, 0, NONE, ZERO, 0, FREE, ZEROS, ZEROS),
	ROW(DATA_FILE_OFFSET, DATA_FILE | EXTENDED, COPIED | BEYOND, 1, NONE, COPIED | GUEST, 1,
	    FREE, ERROR, DATA),
	ROW(DATA_FILE_COPIED_CLEAR, DATA_FILE, GUEST, 0, NONE, COPIED | GUEST, 0, FREE, DATA, DATA),
	/* Compressed clusters. */
	ROW(COMPRESSED_COPIED, 0, COMPRESSED | COPIED | CLUSTER, 0, INFLATES, COMPRESSED | CLUSTER,
	    0, FREE, DATA, DATA),
	ROW(COMPRESSED_COPIED, 0, COMPRESSED | COPIED | CLUSTER, 0, OWNED, COPIED | CLUSTER, 0,
	    FREE, ERROR, DATA),
	ROW(COMPRESSED_COPIED, EXTENDED, COMPRESSED | COPIED | CLUSTER, 7, OWNED, COPIED | CLUSTER,
	    7, FREE, ERROR, DATA),
	ROW(SUBCLUSTER_COMPRESSED, EXTENDED, COMPRESSED | CLUSTER, 1, INFLATES,
	    COMPRESSED | CLUSTER, 0, FREE, DATA, DATA),
	ROW(COMPRESSED_BEYOND_END, 0, COMPRESSED | UINT64_C(255) << 54 | (CLUSTER + 100), 0,
	    INFLATES_1000, COMPRESSED | UINT64_C(2) << 54 | (CLUSTER + 100), 0, FREE, DATA, DATA),
	ROW(COMPRESSED_BEYOND_END, 0, COMPRESSED | BEYOND, 0, NONE, ZERO, 0, COSTS, ERROR, ZEROS),
	ROW(COMPRESSED_OFFSET, V2 | BACKING, COMPRESSED | BEYOND, 0, NONE, 0, 0, COSTS_PLACED,
	    ERROR, ZEROS),
	ROW(COMPRESSED_BEYOND_END, EXTENDED, COMPRESSED | BEYOND, 0, NONE, 0, ZEROES, COSTS, ERROR,
	    ZEROS),
	ROW(COMPRESSED_DATA_FILE, DATA_FILE, COMPRESSED | COPIED | GUEST, 0, NONE, COPIED | GUEST,
	    0, FREE, ERROR, DATA),
	ROW(COMPRESSED_DATA_FILE, DATA_FILE | RAW, COMPRESSED | 5, 0, NONE, COPIED | GUEST, 0, FREE,
	    ERROR, DATA),
	ROW(COMPRESSED_DATA_FILE, DATA_FILE, COMPRESSED | 5, 0, NONE, ZERO, 0, COSTS, ERROR, ZEROS),
	/* Subclusters: only those that are at fault change. */
	ROW(SUBCLUSTER_BOTH, EXTENDED, CLUSTER, 3 | UINT64_C(1) << 32, HOLDS_ZEROS, CLUSTER,
	    2 | UINT64_C(1) << 32, FREE, ERROR, ZEROS),
	ROW(SUBCLUSTER_BOTH, EXTENDED, CLUSTER, 3 | UINT64_C(1) << 32, NONE, CLUSTER, 3, COSTS,
	    ERROR, DATA),
	ROW(SUBCLUSTER_WITHOUT_OFFSET, EXTENDED | BACKING, 0, 2, NONE, 0, UINT64_C(2) << 32, COSTS,
	    ERROR, BACKING),
	ROW(SUBCLUSTER_WITHOUT_OFFSET, EXTENDED, 0, 1 | UINT64_C(1) << 32, NONE, 0,
	    UINT64_C(1) << 32, FREE, ERROR, ZEROS),
};

static void check_case(const struct l2_case *c)
{
	const struct qcow2_geometry geometry = geometry_of(c->flags);
	const struct q2_entries entries = entries_of(&geometry, c->flags);
	struct q2_l2_facts facts = facts_of[c->fact];
	struct q2_l2_mended mended;
	enum qcow2_reads after;

	facts.guest_byte = GUEST;
	assert_true(q2_l2_mend(&entries, c->id, c->pair, &facts, &mended));
	assert_int_equal(mended.pair.entry, c->mended.entry);
	assert_int_equal(mended.pair.subclusters, c->mended.subclusters);
	assert_int_equal(mended.costs, (c->cost & COSTS) != 0);
	assert_int_equal(mended.wants_zeros, (c->cost & PLACED) != 0);
	assert_non_null(mended.does);
	assert_int_equal(q2_l2_reads(&entries, c->pair, &facts, 0), c->before);
	after = mended.wants_zeros ? QCOW2_READS_ZEROS
				   : q2_l2_reads(&entries, mended.pair, &facts, 0);
	assert_int_equal(after, c->after);
	/* What costs nothing lets nothing be read otherwise. */
	if (!mended.costs && c->before != QCOW2_READS_ERROR && facts.owned != Q2_OWNED_SURE)
		assert_int_equal(c->before, after);
}

static void each_kind_is_mended(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		print_message("case %zu: %s\n", i, qcow2_problem_kind_get(cases[i].id)->id);
		check_case(&cases[i]);
	}
	for (const enum qcow2_problem_id *id = q2_l2_kinds; *id != QCOW2_PROBLEM_NONE; id++) {
		bool tried = false;

		for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
			tried |= cases[i].id == *id;
		assert_true(tried);
	}
}

static void candidates_are_what_clear_bits_leave(void **state)
{
	const struct qcow2_geometry v3 = geometry_of(0), data_file = geometry_of(DATA_FILE);
	const struct q2_entries plain = entries_of(&v3, 0), old = entries_of(&v3, V2),
				outside = entries_of(&data_file, DATA_FILE);

	(void)state;
	assert_int_equal(q2_l2_candidate(&plain, (struct q2_l2_pair){CLUSTER + 512, 0}), CLUSTER);
	assert_int_equal(q2_l2_candidate(&plain, (struct q2_l2_pair){CLUSTER, 0}), 0);
	assert_int_equal(q2_l2_candidate(&plain, (struct q2_l2_pair){CLUSTER | ZERO, 0}), 0);
	assert_int_equal(q2_l2_candidate(&old, (struct q2_l2_pair){CLUSTER | ZERO, 0}), CLUSTER);
	assert_int_equal(q2_l2_candidate(&plain, (struct q2_l2_pair){BEYOND + 512, 0}), 0);
	assert_int_equal(q2_l2_candidate(&plain, (struct q2_l2_pair){BEYOND, 0}), 72 * CLUSTER);
	assert_int_equal(
		q2_l2_candidate(&plain, (struct q2_l2_pair){UINT64_C(3) << 40 | CLUSTER, 0}), 0);
	assert_int_equal(q2_l2_candidate(&plain, (struct q2_l2_pair){512, 0}), 0);
	assert_int_equal(
		q2_l2_candidate(&plain, (struct q2_l2_pair){COMPRESSED | COPIED | CLUSTER, 0}),
		CLUSTER);
	assert_int_equal(q2_l2_candidate(&plain, (struct q2_l2_pair){COMPRESSED | CLUSTER, 0}), 0);
	assert_int_equal(q2_l2_candidate(&outside, (struct q2_l2_pair){CLUSTER + 512, 0}), 0);
}

struct l1_case {
	enum qcow2_problem_id id;
	unsigned flags;
	uint64_t entry;
	bool is_table;
	uint64_t mended;
	bool costs, wants_zeros;
	enum qcow2_reads before, after;
};

static const struct l1_case l1_cases[] = {
	{K(L1_ENTRY_RESERVED), 0, CLUSTER | COPIED | 1, false, CLUSTER | COPIED, false, false,
	 R(SAME), R(SAME)},
	{K(L1_ENTRY_OFFSET_ZERO), V2, COPIED, false, 0, false, false, R(SAME), R(SAME)},
	{K(L2_TABLE_UNALIGNED), 0, (CLUSTER + 1024) | COPIED, true, CLUSTER | COPIED, false, false,
	 R(ERROR), R(DATA)},
	{K(L2_TABLE_UNALIGNED), 0, CLUSTER + 1024, false, 0, true, false, R(ERROR), R(ZEROS)},
	{K(L2_TABLE_UNALIGNED), BACKING, CLUSTER + 1024, false, 0, true, true, R(ERROR), R(ZEROS)},
	{K(L2_TABLE_UNALIGNED), V2 | BACKING, CLUSTER + 1024, false, 0, true, false, R(ERROR),
	 R(BACKING)},
	{K(L2_TABLE_BEYOND_END), BACKING, BEYOND | COPIED, false, 0, false, false, R(BACKING),
	 R(BACKING)},
	{K(L2_TABLE_BEYOND_END), BACKING, (UINT64_C(1) << 50) | CLUSTER | COPIED, true,
	 CLUSTER | COPIED, false, false, R(BACKING), R(DATA)},
	{K(L2_TABLE_BEYOND_END), V2, BEYOND, false, 0, false, false, R(ZEROS), R(ZEROS)},
	{K(L2_TABLE_BEYOND_END), 0, BEYOND + 512, false, 0, true, false, R(ERROR), R(ZEROS)},
};

static void each_kind_of_l1_entry_is_mended(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(l1_cases) / sizeof(l1_cases[0]); i++) {
		const struct l1_case *c = &l1_cases[i];
		const struct qcow2_geometry geometry = geometry_of(c->flags);
		const struct q2_entries entries = entries_of(&geometry, c->flags);
		struct q2_l1_mended mended;

		assert_true(q2_l1_mend(&entries, c->id, c->entry, c->is_table, &mended));
		assert_int_equal(mended.entry, c->mended);
		assert_int_equal(mended.costs, c->costs);
		assert_int_equal(mended.wants_zeros, c->wants_zeros);
		assert_int_equal(mended.before, c->before);
		assert_int_equal(mended.after, c->after);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_kind_is_mended),
		cmocka_unit_test(candidates_are_what_clear_bits_leave),
		cmocka_unit_test(each_kind_of_l1_entry_is_mended),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
