/* SPDX-License-Identifier: MIT */
/* What damage is gathered in: sparse sets of clusters, and ranges of L2 tables against a model. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "check/bits.h"
#include "check/ranges.h"

#define TABLES  5
#define ENTRIES 200

static struct q2_memory memory;

static uint64_t random_number(void)
{
	static uint64_t state = 1;

	state = state * UINT64_C(6364136223846793005) + 1442695040888963407;
	return state >> 33;
}

static void sets(void **state)
{
	const uint64_t members[] = {
		0, 63, 64, 65, 32767, 32768, UINT64_C(1) << 26, (UINT64_C(1) << 48) - 1};
	const size_t count = sizeof(members) / sizeof(members[0]);
	struct q2_bits bits = {.memory = &memory}, other = {.memory = &memory};
	uint64_t first = 0, length, found = 0;

	(void)state;
	memory.limit_bytes = UINT64_C(1) << 24;
	assert_false(q2_bits_run(&bits, UINT64_C(1) << 48, &first, &length));
	for (size_t i = 0; i < count; i++) {
		assert_false(q2_bits_has(&other, members[i]));
		q2_bits_add(&other, members[i]);
		q2_bits_add(&other, members[i]);
		assert_true(q2_bits_has(&other, members[i]));
	}
	assert_int_equal(other.count, count);
	q2_bits_join(&bits, &other);
	q2_bits_release(&other);
	assert_int_equal(bits.count, count);
	assert_false(bits.failed);
	for (; q2_bits_run(&bits, UINT64_C(1) << 48, &first, &length); first += length)
		found += length;
	assert_int_equal(found, count);
	first = 1;
	assert_true(q2_bits_run(&bits, 1000, &first, &length));
	assert_int_equal(first, 63);
	assert_int_equal(length, 3);
	assert_false(q2_bits_run(&bits, 32767, &(uint64_t){66}, &length));
	q2_bits_release(&bits);
	assert_int_equal(memory.used_bytes, 0);
}

/* 64 clusters at a step, in places that come and go, are those that are added one by one. */
static void sets_by_words(void **state)
{
	struct q2_bits words = {.memory = &memory}, single = {.memory = &memory}, joined = words;

	(void)state;
	memory.limit_bytes = UINT64_C(1) << 24;
	for (unsigned i = 0; i < 2000; i++) {
		uint64_t cluster = (random_number() % 4 << 40) + random_number() % 2000 * 64;
		uint64_t word = random_number() & random_number();

		q2_bits_add_word(&words, cluster, word);
		q2_bits_add_word(i % 2 ? &joined : &single, cluster, 0);
		for (unsigned bit = 0; bit < 64; bit++)
			if (word >> bit & 1)
				q2_bits_add(i % 3 ? &joined : &single, cluster + bit);
		assert_int_equal(q2_bits_word(&words, cluster) & word, word);
	}
	q2_bits_join(&joined, &single);
	assert_int_equal(joined.count, words.count);
	for (uint64_t part = 0; part < 4; part++)
		for (uint64_t i = 0; i < 2000; i++)
			assert_int_equal(q2_bits_word(&joined, (part << 40) + i * 64),
					 q2_bits_word(&words, (part << 40) + i * 64));
	q2_bits_release(&words);
	q2_bits_release(&single);
	q2_bits_release(&joined);
	q2_bits_add(&words, 5); /* of an empty set again */
	assert_int_equal(words.count, 1);
	q2_bits_release(&words);
	assert_int_equal(memory.used_bytes, 0);
}

static void sets_without_memory(void **state)
{
	struct q2_bits bits = {.memory = &memory};

	(void)state;
	memory.limit_bytes = 100000;
	for (uint64_t i = 0; i < 10; i++)
		q2_bits_add(&bits, i << 40);
	assert_true(bits.failed);
	q2_bits_add(&bits, 1); /* once members are missing, nothing is added */
	assert_false(q2_bits_has(&bits, 1));
	q2_bits_release(&bits);
	assert_int_equal(memory.used_bytes, 0);
}

/* What each entry should have come to; and what it came to. */
struct model {
	unsigned wanted[TABLES][ENTRIES], got[ENTRIES];
	uint64_t end;
};

static bool put(void *opaque, uint64_t first, uint64_t end, enum qcow2_damage damage)
{
	struct model *model = opaque;

	assert_true(first >= model->end && first < end && end <= ENTRIES);
	model->end = end;
	for (uint64_t i = first; i < end; i++)
		model->got[i] = damage;
	return true;
}

static void add_one(struct q2_ranges *ranges, struct model *model)
{
	struct q2_table_range range = {.table = (uint32_t)(random_number() % TABLES),
				       .first = (uint32_t)(random_number() % ENTRIES),
				       .damage = (uint32_t)(1 + random_number() % 3)};

	range.count = 1 + (uint32_t)(random_number() % 8);
	if (range.count > ENTRIES - range.first)
		range.count = ENTRIES - range.first;
	for (uint32_t i = range.first; i < range.first + range.count; i++)
		if (range.damage > model->wanted[range.table][i])
			model->wanted[range.table][i] = range.damage;
	q2_ranges_add(ranges, range);
}

/* exact: ranges are just what was added; else they cover it. */
static void compare(const struct q2_ranges *ranges, struct model *model, bool exact)
{
	for (uint32_t table = 0; table < TABLES; table++) {
		const struct q2_table_pieces pieces = {
			.table = table, .entries = ENTRIES, .put = put, .opaque = model};

		memset(model->got, 0, sizeof(model->got));
		model->end = 0;
		q2_ranges_pieces(ranges, &pieces);
		for (size_t i = 0; i < ENTRIES; i++)
			assert_true(exact ? model->got[i] == model->wanted[table][i]
					  : model->got[i] >= model->wanted[table][i]);
	}
}

static void ranges_of_tables(void **state)
{
	(void)state;
	memory.limit_bytes = UINT64_C(1) << 24;
	for (unsigned round = 0; round < 100; round++) {
		struct q2_ranges ranges = {.memory = &memory};
		struct model model = {0};

		for (uint64_t i = random_number() % 200; i > 0; i--)
			add_one(&ranges, &model);
		q2_ranges_settle(&ranges);
		assert_false(ranges.coarse || ranges.failed);
		compare(&ranges, &model, true);
		q2_ranges_release(&ranges);
	}
	assert_int_equal(memory.used_bytes, 0);
}

/* With room for 64 ranges, they are joined; with room for none, the list says so. */
static void ranges_in_little_memory(void **state)
{
	struct q2_ranges ranges = {.memory = &memory};
	struct model model = {0};

	(void)state;
	memory.limit_bytes = 64 * sizeof(struct q2_table_range);
	for (unsigned i = 0; i < 1000; i++)
		add_one(&ranges, &model);
	q2_ranges_settle(&ranges);
	assert_true(ranges.coarse);
	assert_false(ranges.failed);
	compare(&ranges, &model, false);
	q2_ranges_release(&ranges);
	memory.limit_bytes = 0;
	add_one(&ranges, &model);
	assert_true(ranges.failed);
	assert_int_not_equal(ranges.worst, QCOW2_DAMAGE_NONE);
	q2_ranges_release(&ranges);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sets),
		cmocka_unit_test(sets_by_words),
		cmocka_unit_test(sets_without_memory),
		cmocka_unit_test(ranges_of_tables),
		cmocka_unit_test(ranges_in_little_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
