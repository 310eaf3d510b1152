/* SPDX-License-Identifier: MIT */
/* What threads share: the crew that does numbered pieces, the limit on memory, and digests. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

#include "base/crew.h"
#include "base/digest.h"
#include "base/memory.h"

#include <cmocka.h>

#define PIECES  1000
#define THREADS 8

struct tally {
	_Atomic unsigned done[PIECES];
	_Atomic unsigned by_worker[THREADS];
	uint64_t stop_at; /* this piece stops everybody */
};

static bool note_piece(void *opaque, unsigned worker, uint64_t piece)
{
	struct tally *tally = opaque;

	tally->done[piece]++;
	tally->by_worker[worker]++;
	return piece != tally->stop_at;
}

static void every_piece_once(void **state)
{
	(void)state;
	for (unsigned threads = 1; threads <= THREADS; threads++) {
		struct tally tally = {.stop_at = UINT64_MAX};
		unsigned sum = 0;

		assert_true(
			q2_crew_run(&(struct q2_crew_work){PIECES, threads, note_piece, &tally}));
		for (unsigned i = 0; i < PIECES; i++)
			assert_int_equal(tally.done[i], 1);
		for (unsigned i = 0; i < THREADS; i++) {
			assert_true(i < threads || tally.by_worker[i] == 0);
			sum += tally.by_worker[i];
		}
		assert_int_equal(sum, PIECES);
	}
}

static void no_piece_at_all(void **state)
{
	struct tally tally = {.stop_at = UINT64_MAX};

	(void)state;
	assert_true(q2_crew_run(&(struct q2_crew_work){0, 4, note_piece, &tally}));
	assert_int_equal(tally.by_worker[0], 0);
}

/* With one thread, the pieces come in their order, and none after the one that stops. */
static void one_that_stops(void **state)
{
	struct tally tally = {.stop_at = 10};

	(void)state;
	assert_false(q2_crew_run(&(struct q2_crew_work){PIECES, 1, note_piece, &tally}));
	for (unsigned i = 0; i < PIECES; i++)
		assert_int_equal(tally.done[i], i <= 10);
}

static void stops_all_threads(void **state)
{
	struct tally tally = {.stop_at = 0};

	(void)state;
	assert_false(q2_crew_run(&(struct q2_crew_work){PIECES, THREADS, note_piece, &tally}));
	for (unsigned i = 0; i < PIECES; i++)
		assert_true(tally.done[i] <= 1);
	assert_int_equal(tally.done[0], 1);
}

static void memory_up_to_the_limit(void **state)
{
	struct q2_memory memory = {.limit_bytes = 100};

	(void)state;
	assert_true(q2_memory_charge(&memory, 60));
	assert_true(q2_memory_charge(&memory, 40));
	assert_false(memory.limited);
	assert_false(q2_memory_charge(&memory, 1));
	assert_true(memory.limited);
	assert_int_equal(memory.used_bytes, 100);
	assert_true(q2_memory_charge(&memory, 0));
	/* No sum that wraps gets past the limit. */
	assert_false(q2_memory_charge(&memory, UINT64_MAX));
	assert_false(q2_memory_charge(&memory, UINT64_MAX - 99));
	assert_int_equal(memory.used_bytes, 100);
}

static void memory_is_given_back(void **state)
{
	struct q2_memory memory = {.limit_bytes = 1000};
	uint8_t *first = q2_memory_get(&memory, 100, 4);
	void *second;

	(void)state;
	assert_non_null(first);
	assert_int_equal(memory.used_bytes, 400);
	for (unsigned i = 0; i < 400; i++)
		assert_int_equal(first[i], 0);
	assert_null(q2_memory_get(&memory, 601, 1));
	assert_null(q2_memory_get(&memory, UINT64_MAX, 2));
	assert_int_equal(memory.used_bytes, 400);
	second = q2_memory_get(&memory, 600, 1);
	assert_non_null(second);
	q2_memory_put(&memory, first, 100, 4);
	assert_int_equal(memory.used_bytes, 600);
	q2_memory_put(&memory, NULL, 100, 4);
	assert_int_equal(memory.used_bytes, 600);
	q2_memory_put(&memory, second, 600, 1);
	assert_int_equal(memory.used_bytes, 0);
}

static void arrays_grow_within_the_limit(void **state)
{
	struct q2_memory memory = {.limit_bytes = 64 * 8 * 2};
	void *array = NULL;
	size_t capacity = 0;

	(void)state;
	assert_true(q2_memory_grow(&memory, &array, &capacity, 8));
	assert_int_equal(memory.used_bytes, capacity * 8);
	((uint64_t *)array)[capacity - 1] = 77;
	assert_true(q2_memory_grow(&memory, &array, &capacity, 8));
	assert_int_equal(memory.used_bytes, capacity * 8);
	assert_int_equal(capacity, 128);
	assert_true(((uint64_t *)array)[63] == 77);
	/* Refused: the array is what it was. */
	assert_false(q2_memory_grow(&memory, &array, &capacity, 8));
	assert_int_equal(capacity, 128);
	assert_true(memory.limited);
	q2_memory_put(&memory, array, capacity, 8);
	assert_int_equal(memory.used_bytes, 0);
}

static struct q2_digest digest_of(uint64_t offset, const char *text, size_t size)
{
	struct q2_digest digest = {{0, 0}};

	q2_digest_add(&digest, offset, (struct qcow2_bytes){(const uint8_t *)text, size});
	return digest;
}

static bool is_same(struct q2_digest a, struct q2_digest b)
{
	return memcmp(&a, &b, sizeof(a)) == 0;
}

/* The first number is the one that the authors of XXH3 publish. */
static void checksums_tell_bytes_and_seeds_apart(void **state)
{
	const struct qcow2_bytes nothing = {(const uint8_t *)"", 0},
				 one = {(const uint8_t *)"\1", 1};

	(void)state;
	assert_int_equal(q2_checksum(0, nothing), UINT64_C(0x2d06800538d394c2));
	assert_int_not_equal(q2_checksum(0, one), q2_checksum(0, nothing));
	assert_int_not_equal(q2_checksum(0, one), q2_checksum(1, one));
}

static void digests_do_not_depend_on_order(void **state)
{
	struct q2_digest forth = {{0, 0}}, back = {{0, 0}}, joined = digest_of(0, "one", 3);
	struct q2_digest other = digest_of(512, "two", 3);
	struct qcow2_bytes one = {(const uint8_t *)"one", 3}, two = {(const uint8_t *)"two", 3};

	(void)state;
	q2_digest_add(&forth, 0, one);
	q2_digest_add(&forth, 512, two);
	q2_digest_add(&back, 512, two);
	q2_digest_add(&back, 0, one);
	q2_digest_join(&joined, &other);
	assert_true(is_same(forth, back));
	assert_true(is_same(forth, joined));
}

static void digests_know_place_and_content(void **state)
{
	(void)state;
	assert_false(is_same(digest_of(0, "one", 3), digest_of(512, "one", 3)));
	assert_false(is_same(digest_of(0, "one", 3), digest_of(0, "onf", 3)));
	assert_false(is_same(digest_of(0, "one", 3), digest_of(0, "one", 2)));
	/* Both halves count. */
	assert_true(digest_of(0, "one", 3).sum[0] != digest_of(512, "one", 3).sum[0]);
	assert_true(digest_of(0, "one", 3).sum[1] != digest_of(512, "one", 3).sum[1]);
}

/* A hole and zeros that are stored are the same, wherever the last bytes differ from zero. */
static void digests_of_zeros_are_nothing(void **state)
{
	const struct q2_digest nothing = {{0, 0}};
	char zeros[600] = {0};

	(void)state;
	assert_true(is_same(digest_of(512, zeros, sizeof(zeros)), nothing));
	assert_true(is_same(digest_of(512, zeros, 1), nothing));
	assert_true(is_same(digest_of(512, NULL, 0), nothing));
	for (size_t at = 0; at < sizeof(zeros); at += 599) {
		zeros[at] = 1;
		assert_false(is_same(digest_of(512, zeros, sizeof(zeros)), nothing));
		zeros[at] = 0;
	}
	/* All bytes alike, but not zero. */
	memset(zeros, 7, sizeof(zeros));
	assert_false(is_same(digest_of(512, zeros, sizeof(zeros)), nothing));
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_piece_once),
		cmocka_unit_test(no_piece_at_all),
		cmocka_unit_test(one_that_stops),
		cmocka_unit_test(stops_all_threads),
		cmocka_unit_test(memory_up_to_the_limit),
		cmocka_unit_test(memory_is_given_back),
		cmocka_unit_test(arrays_grow_within_the_limit),
		cmocka_unit_test(checksums_tell_bytes_and_seeds_apart),
		cmocka_unit_test(digests_do_not_depend_on_order),
		cmocka_unit_test(digests_know_place_and_content),
		cmocka_unit_test(digests_of_zeros_are_nothing),
	};

	return cmocka_run_group_tests_name("what threads share", tests, NULL, NULL);
}
