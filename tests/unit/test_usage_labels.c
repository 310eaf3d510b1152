/* SPDX-License-Identifier: MIT */
/*
 * The parts that keep the state of each cluster: maps, sets of users, joins of states, and labels of
 * every width, which are compared with a plain array after random marks and merges.
 */
#include "usage/labels.h"
#include "usage/usage.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define CLUSTERS (3 * Q2_LABEL_CHUNK + 77)
#define DATA     (Q2_WHAT_CLAIM + QCOW2_CLAIM_DATA)

static struct q2_memory memory;
static struct q2_states states;
static struct q2_joiner joiner;
static uint64_t seed;

static int start(void **state)
{
	(void)state;
	seed = 1;
	memory = (struct q2_memory){.limit_bytes = UINT64_C(1) << 28, .user = "the test"};
	joiner = (struct q2_joiner){.states = &states};
	return q2_states_init(&states, &memory) ? 0 : -1;
}

static int stop(void **state)
{
	(void)state;
	q2_states_release(&states);
	return memory.used_bytes == 0 ? 0 : -1;
}

static uint64_t random_below(uint64_t bound)
{
	seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (seed >> 33) % bound;
}

static void test_numbers(void **state)
{
	struct q2_numbers numbers = {.memory = &memory};

	(void)state;
	assert_int_equal(q2_numbers_find(&numbers, 7), Q2_NO_NUMBER);
	for (uint32_t i = 0; i < 5000; i++)
		assert_true(q2_numbers_put(&numbers, q2_pair(i, 0), i));
	for (uint32_t i = 0; i < 5000; i++)
		assert_int_equal(q2_numbers_find(&numbers, q2_pair(i, 0)), i);
	assert_int_equal(q2_numbers_find(&numbers, q2_pair(5000, 0)), Q2_NO_NUMBER);
	assert_int_equal(q2_numbers_find(&numbers, 1), Q2_NO_NUMBER);
	q2_numbers_release(&numbers);
}

static uint32_t set_of(uint32_t first, uint32_t last)
{
	uint32_t set = Q2_EMPTY_SET;

	for (uint32_t i = first; i <= last; i++)
		set = q2_sets_union(&states.sets, set, q2_sets_single(&states.sets, i));
	return set;
}

static void test_sets(void **state)
{
	const uint32_t low = set_of(1, 4), high = set_of(8, 9);
	const uint32_t both = q2_sets_union(&states.sets, high, low);
	const struct q2_user_span *spans;
	uint32_t count;

	(void)state;
	assert_int_equal(both, q2_sets_union(&states.sets, low, high));
	assert_int_equal(set_of(1, 4), low); /* found again */
	spans = q2_sets_spans(&states.sets, both, &count);
	assert_int_equal(count, 2);
	assert_int_equal(spans[0].first, 1);
	assert_int_equal(spans[0].last, 4);
	assert_int_equal(spans[1].first, 8);
	assert_int_equal(spans[1].last, 9);
	assert_int_equal(q2_sets_below(&states.sets, both, 8), low);
	assert_int_equal(q2_sets_below(&states.sets, both, 10), both);
	assert_int_equal(q2_sets_below(&states.sets, both, 1), Q2_EMPTY_SET);
	/* What is in between joins the spans to one. */
	assert_int_equal(q2_sets_union(&states.sets, both, set_of(5, 7)), set_of(1, 9));
	assert_int_equal(q2_sets_union(&states.sets, both, Q2_NO_NUMBER), Q2_NO_NUMBER);
}

static void test_joins(void **state)
{
	const uint32_t a = set_of(1, 1), b = set_of(2, 2);
	const uint32_t data_a = q2_joiner_state(&joiner, DATA, a);
	const uint32_t data_b = q2_joiner_state(&joiner, DATA, b);
	const uint32_t packed = q2_joiner_state(&joiner, Q2_WHAT_COMPRESSED, a);
	const uint32_t l2 = q2_joiner_state(&joiner, Q2_WHAT_CLAIM + QCOW2_CLAIM_L2_TABLE, a);
	const uint32_t clash_a = q2_joiner_state(&joiner, Q2_WHAT_CONFLICT, a);

	(void)state;
	assert_int_equal(q2_join(&joiner, Q2_NOTHING, data_a), data_a);
	assert_int_equal(q2_join(&joiner, data_a, data_a), data_a);
	assert_int_equal(q2_join(&joiner, packed, packed), packed);
	assert_int_equal(q2_join(&joiner, data_a, packed), clash_a);
	assert_int_equal(q2_join(&joiner, l2, l2), clash_a);
	assert_int_equal(q2_join(&joiner, clash_a, data_a), clash_a);
	assert_int_equal(q2_join(&joiner, data_a, data_b),
			 q2_joiner_state(&joiner, DATA, set_of(1, 2)));
	assert_int_equal(q2_join(&joiner, data_b, l2),
			 q2_joiner_state(&joiner, Q2_WHAT_CONFLICT, set_of(1, 2)));
	assert_false(joiner.failed);
}

static void assert_labels(const struct q2_labels *labels, const uint32_t *expected)
{
	uint64_t run;

	assert_false(labels->failed);
	for (uint64_t i = 0; i < labels->cluster_count; i += run) {
		uint32_t label;

		run = q2_labels_run(labels, i, &label);
		assert_true(run > 0 && run <= labels->cluster_count - i);
		for (uint64_t j = i; j < i + run; j++)
			if (expected[j] != label)
				fail_msg("cluster %llu", (unsigned long long)j);
	}
}

/* A range of one of the sizes that matter. */
static void choose_range(uint64_t *first, uint64_t *count)
{
	const uint64_t chunk = random_below(3) * Q2_LABEL_CHUNK;

	switch (random_below(5)) {
	case 0: /* a whole chunk, or some */
		*first = chunk;
		*count = random_below(2) ? Q2_LABEL_CHUNK : CLUSTERS - chunk;
		break;
	case 1:
		*first = random_below(CLUSTERS);
		*count = random_below(CLUSTERS - *first) + 1;
		break;
	case 2:
		*first = random_below(CLUSTERS - 100);
		*count = random_below(100) + 1;
		break;
	default:
		*first = random_below(CLUSTERS);
		*count = 1;
	}
}

/* Marks at random what may be one of so many states, in labels and in an array. */
static void mark_at_random(struct q2_labels *labels, uint32_t *expected, uint64_t users)
{
	const uint32_t set = q2_sets_single(&states.sets, (uint32_t)random_below(users) + 1);
	const uint32_t mark = q2_joiner_state(
		&joiner, random_below(50) ? DATA : Q2_WHAT_CLAIM + QCOW2_CLAIM_L2_TABLE, set);
	const bool fill = random_below(8) == 0;
	uint64_t first, count;

	choose_range(&first, &count);
	for (uint64_t i = first; i < first + count; i++)
		if (!fill || expected[i] == Q2_NOTHING)
			expected[i] = q2_join(&joiner, expected[i], mark);
	if (fill)
		q2_labels_fill(labels, first, count, mark);
	else if (count > 1 || !q2_labels_mark_fresh(labels, first, mark))
		q2_labels_mark(labels, first, count, mark);
	q2_labels_prefetch(labels, first, mark);
}

static void test_random_marks(void **state)
{
	static uint32_t expected[2][CLUSTERS];
	struct q2_labels labels[2];

	(void)state;
	for (unsigned round = 0; round < 24; round++) {
		memset(expected, 0, sizeof(expected));
		for (unsigned i = 0; i < 2; i++) {
			assert_true(q2_labels_init(&labels[i], CLUSTERS, &joiner));
			/* Few users leave few states, many need wide labels. */
			for (uint64_t j = random_below(30); j > 0; j--)
				mark_at_random(&labels[i], expected[i], round < 8 ? 2 : 200);
			assert_labels(&labels[i], expected[i]);
		}
		q2_labels_merge(&labels[0], &labels[1]);
		for (unsigned i = 0; i < CLUSTERS; i++)
			expected[0][i] = q2_join(&joiner, expected[0][i], expected[1][i]);
		assert_labels(&labels[0], expected[0]);
		q2_labels_release(&labels[0]);
		q2_labels_release(&labels[1]);
	}
	assert_true(states.count > UINT8_MAX); /* else wide labels were not tried */
}

/* Labels of each width, next to each other in one chunk and in a merge. */
static void test_widths(void **state)
{
	static uint32_t expected[CLUSTERS];
	struct q2_labels labels, other;

	(void)state;
	assert_true(q2_labels_init(&labels, CLUSTERS, &joiner));
	assert_true(q2_labels_init(&other, CLUSTERS, &joiner));
	for (uint32_t user = 1; user < 70000; user++) {
		const uint32_t mark =
			q2_joiner_state(&joiner, DATA, q2_sets_single(&states.sets, user));
		const uint64_t at = user % (CLUSTERS / 2);

		if (user > 3 && user < 69000 && (user < 250 || user > 300))
			continue;
		q2_labels_mark(user % 2 ? &labels : &other, at, 1, mark);
		expected[at] = mark;
	}
	while (states.count <= UINT16_MAX + 5U) /* numbers that need four bytes */
		q2_joiner_state(&joiner, DATA,
				q2_sets_single(&states.sets, 100000 + (uint32_t)states.count));
	expected[9] = q2_joiner_state(&joiner, DATA, set_of(5, 6));
	q2_labels_mark(&other, 9, 1, expected[9]);
	q2_labels_merge(&labels, &other);
	assert_labels(&labels, expected);
	q2_labels_release(&labels);
	q2_labels_release(&other);
}

static void assert_label(const struct q2_labels *labels, uint64_t cluster, uint32_t expected)
{
	uint32_t label;

	q2_labels_run(labels, cluster, &label);
	assert_int_equal(label, expected);
}

/* A file of exabytes: what is alike takes no memory, and its parts can be told apart. */
static void test_leaves(void **state)
{
	const uint64_t clusters = UINT64_C(1) << 40, at = 5 * Q2_LABEL_LEAF + 3;
	const uint32_t a = q2_joiner_state(&joiner, DATA, set_of(1, 1));
	const uint32_t b = q2_joiner_state(&joiner, DATA, set_of(2, 2));
	const uint32_t both = q2_join(&joiner, a, b);
	struct q2_labels labels, other;
	uint32_t label;

	(void)state;
	assert_true(q2_labels_init(&labels, clusters, &joiner));
	assert_true(q2_labels_init(&other, clusters, &joiner));
	q2_labels_mark(&labels, 0, clusters, a);
	q2_labels_mark(&other, at, 1, b);
	q2_labels_mark(&other, 7 * Q2_LABEL_LEAF, Q2_LABEL_LEAF, b);
	assert_true(memory.used_bytes < (UINT64_C(4) << 20));
	q2_labels_merge(&labels, &other);
	q2_labels_release(&other);
	assert_int_equal(q2_labels_run(&labels, 0, &label), Q2_LABEL_LEAF);
	assert_int_equal(label, a);
	assert_label(&labels, at - 1, a);
	assert_label(&labels, at, both);
	assert_label(&labels, at + 1, a);
	assert_label(&labels, 7 * Q2_LABEL_LEAF - 1, a);
	assert_label(&labels, 8 * Q2_LABEL_LEAF - 1, both);
	assert_label(&labels, clusters - 1, a);
	q2_labels_release(&labels);
}

/* Of two claims that pass the end of the file, the first in order stands, whichever thread hears it. */
static void test_order_of_threads(void **state)
{
	const struct qcow2_geometry geometry = {
		.cluster_bits = 9, .cluster_size_bytes = 512, .file_size_bytes = 8 * 512};
	const struct qcow2_claim claim = {.offset_bytes = 7 * 512, .length_bytes = 3 * 512};
	struct q2_marker markers[2] = {0};
	struct qcow2_usage usage = {
		.geometry = &geometry, .markers = markers, .threads = 2, .file_clusters = 8};
	uint32_t label;

	(void)state;
	usage.memory = (struct q2_memory){.limit_bytes = UINT64_C(1) << 28, .user = "the test"};
	assert_true(q2_states_init(&usage.states, &usage.memory));
	for (uint32_t i = 0; i < 2; i++) {
		assert_true(q2_marker_init(&markers[i], &usage));
		markers[i].order = 2 - i;
		assert_true(q2_marker_claim(&markers[i], &claim, 1 + i));
	}
	assert_int_equal(q2_markers_join(&usage), 0);
	assert_int_equal(q2_labels_run(&markers[0].labels, 7, &label), 1);
	assert_int_equal(label, 2);
	for (unsigned i = 0; i < 2; i++)
		q2_marker_release(&markers[i]);
	q2_states_release(&usage.states);
	assert_int_equal(usage.memory.used_bytes, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_numbers, start, stop),
		cmocka_unit_test_setup_teardown(test_sets, start, stop),
		cmocka_unit_test_setup_teardown(test_joins, start, stop),
		cmocka_unit_test_setup_teardown(test_random_marks, start, stop),
		cmocka_unit_test_setup_teardown(test_widths, start, stop),
		cmocka_unit_test_setup_teardown(test_leaves, start, stop),
		cmocka_unit_test(test_order_of_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
