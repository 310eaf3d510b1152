/* SPDX-License-Identifier: MIT */
/*
 * What plans are made of, each by itself: segments against a model that knows every byte, the store
 * in memory and in its file, places.
 */
#include <qcow2/edit.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "plan/places.h"
#include "plan/plan.h"

#include <cmocka.h>

#define SPACE  4096
#define ROUNDS 40
#define WRITES 3000

static struct qcow2_error err;

static uint32_t next_random(uint64_t *state)
{
	*state = *state * UINT64_C(6364136223846793005) + 1442695040888963407;
	return (uint32_t)(*state >> 33);
}

/* Of each byte: the write that has the last word, plus one, and its phase. */
struct model {
	uint32_t write[SPACE];
	uint32_t phase[SPACE];
};

static void note(void *opaque, uint32_t write)
{
	((bool *)opaque)[write] = true;
}

static void compare(const struct q2_segments *segments, const struct model *model)
{
	struct q2_segment_at at;
	const struct q2_segment *segment = q2_segments_find(segments, 0, &at);
	uint64_t byte = 0;

	for (; segment; segment = q2_segments_next(segments, &at)) {
		assert_true(segment->size_bytes > 0 && segment->offset_bytes >= byte);
		for (; byte < segment->offset_bytes; byte++)
			assert_int_equal(model->write[byte], 0);
		for (; byte < segment->offset_bytes + segment->size_bytes; byte++) {
			assert_int_equal(model->write[byte], segment->write + 1);
			assert_int_equal(model->phase[byte], segment->phase);
		}
	}
	for (; byte < SPACE; byte++)
		assert_int_equal(model->write[byte], 0);
}

/* The first segment that ends behind each byte. */
static void compare_finds(const struct q2_segments *segments, const struct model *model)
{
	struct q2_segment_at at;

	for (uint64_t byte = 0; byte < SPACE; byte += 7) {
		const struct q2_segment *segment = q2_segments_find(segments, byte, &at);

		if (model->write[byte] != 0) {
			assert_non_null(segment);
			assert_true(segment->offset_bytes <= byte);
			assert_int_equal(segment->write + 1, model->write[byte]);
		} else if (segment) {
			assert_true(segment->offset_bytes > byte);
		}
	}
}

static void add_random(struct q2_segments *segments, struct model *model, uint32_t number,
		       uint64_t *random)
{
	bool overlaps[WRITES] = {false}, expected[WRITES] = {false};
	uint64_t most = next_random(random) % 16 == 0 ? SPACE : 24;
	struct q2_segment segment = {
		.offset_bytes = next_random(random) % SPACE,
		.size_bytes = 1 + next_random(random) % most,
		.write = number,
		.phase = next_random(random) % 5,
	};

	if (segment.size_bytes > SPACE - segment.offset_bytes)
		segment.size_bytes = SPACE - segment.offset_bytes;
	for (uint64_t i = 0; i < segment.size_bytes; i++) {
		uint64_t byte = segment.offset_bytes + i;

		if (model->write[byte] != 0)
			expected[model->write[byte] - 1] = true;
		if (model->write[byte] != 0 && model->phase[byte] > segment.phase)
			continue;
		model->write[byte] = number + 1;
		model->phase[byte] = segment.phase;
	}
	assert_true(q2_segments_add(segments, &segment, note, overlaps));
	assert_memory_equal(overlaps, expected, sizeof(overlaps));
}

static void segments_are_the_model(void **state)
{
	(void)state;
	for (uint64_t round = 0; round < ROUNDS; round++) {
		struct model model = {.write = {0}};
		struct q2_segments segments;
		uint64_t random = round;
		uint32_t count = round % 4 == 0 ? WRITES : 60;

		q2_segments_init(&segments);
		for (uint32_t i = 0; i < count; i++)
			add_random(&segments, &model, i, &random);
		compare(&segments, &model);
		compare_finds(&segments, &model);
		q2_segments_release(&segments);
	}
}

static void many_blocks(void **state)
{
	struct q2_segments segments;
	struct q2_segment_at at;
	const struct q2_segment *segment;
	struct q2_segment all = {.offset_bytes = 0, .size_bytes = 1 << 24, .write = 1};
	uint64_t count = 0;

	(void)state;
	q2_segments_init(&segments);
	for (uint64_t i = 0; i < 100000; i++) {
		const struct q2_segment one = {i * 7919 % 100000 * 16, 8, (uint32_t)i, 0};

		assert_true(q2_segments_add(&segments, &one, NULL, NULL));
	}
	segment = q2_segments_find(&segments, 0, &at);
	for (; segment; segment = q2_segments_next(&segments, &at))
		assert_int_equal(segment->offset_bytes, 16 * count++);
	assert_int_equal(count, 100000);
	assert_true(q2_segments_add(&segments, &all, NULL, NULL));
	assert_int_equal(segments.count, 1);
	assert_int_equal(segments.blocks[0]->count, 1);
	q2_segments_release(&segments);
}

/* Bytes that depend on where they are. */
static void fill(uint8_t *bytes, size_t size, uint64_t number)
{
	for (size_t i = 0; i < size; i++)
		bytes[i] = (uint8_t)((i + number) * 131 >> 3);
}

static void put_and_get(struct q2_store *store, uint64_t total)
{
	static uint8_t bytes[300001], got[300001];
	uint64_t places[1000], count = 0, at;
	uint64_t random = 5;

	while (store->end_bytes < total) {
		size_t size = 1 + next_random(&random) % (sizeof(bytes) - 1);

		fill(bytes, size, count);
		assert_int_equal(q2_store_put(store, (struct qcow2_bytes){bytes, size}, &at, &err),
				 0);
		assert_true(count < 1000);
		places[count++] = at;
	}
	random = 5;
	for (uint64_t i = 0; i < count; i++) {
		size_t size = 1 + next_random(&random) % (sizeof(bytes) - 1), from = size / 3;

		fill(bytes, size, i);
		assert_int_equal(q2_store_get(store, places[i] + from, got, size - from, &err), 0);
		assert_memory_equal(got, bytes + from, size - from);
	}
}

static void store_in_memory(void **state)
{
	struct q2_store store;
	uint8_t byte = 1;
	uint64_t at;

	(void)state;
	q2_store_init(&store);
	store.memory_most = 4 * Q2_STORE_CHUNK_BYTES;
	put_and_get(&store, 3 * Q2_STORE_CHUNK_BYTES);
	while (q2_store_put(&store, (struct qcow2_bytes){&byte, 1}, &at, &err) == 0)
		;
	assert_int_equal(err.code, QCOW2_ERROR_LIMIT);
	assert_int_equal(store.end_bytes, 4 * Q2_STORE_CHUNK_BYTES);
	assert_null(store.file);
	q2_store_release(&store);
}

static void store_in_a_file(void **state)
{
	char folder[] = "/tmp/store-XXXXXX", beside[64];
	struct q2_store store;

	(void)state;
	assert_non_null(mkdtemp(folder));
	snprintf(beside, sizeof(beside), "%s/undo", folder);
	q2_store_init(&store);
	assert_int_equal(q2_store_spill_beside(&store, beside, &err), 0);
	store.memory_most = 2 * Q2_STORE_CHUNK_BYTES;
	put_and_get(&store, 20 * Q2_STORE_CHUNK_BYTES);
	assert_non_null(store.file);
	assert_int_equal(store.chunk_count, 2);
	/* It has no name: the folder is empty. */
	assert_int_equal(rmdir(folder), 0);
	q2_store_release(&store);
}

static void store_without_its_folder(void **state)
{
	struct q2_store store;
	uint64_t at;

	(void)state;
	q2_store_init(&store);
	assert_int_equal(q2_store_spill_beside(&store, "/nowhere/undo", &err), 0);
	store.memory_most = 0;
	assert_int_equal(
		q2_store_put(&store, (struct qcow2_bytes){(const uint8_t *)"x", 1}, &at, &err), -1);
	assert_int_equal(err.code, QCOW2_ERROR_IO);
	assert_non_null(strstr(err.text, "/nowhere/undo"));
	q2_store_release(&store);
}

/* A file that is made early is used later; one that cannot be made is done without. */
static void store_with_a_file_made_early(void **state)
{
	char folder[] = "/tmp/store-XXXXXX", beside[64];
	struct q2_store store;
	uint64_t at;

	(void)state;
	assert_non_null(mkdtemp(folder));
	snprintf(beside, sizeof(beside), "%s/undo", folder);
	q2_store_init(&store);
	assert_int_equal(q2_store_spill_beside(&store, beside, &err), 0);
	q2_store_open_file(&store);
	assert_non_null(store.file);
	assert_int_equal(rmdir(folder), 0);
	store.memory_most = 2 * Q2_STORE_CHUNK_BYTES;
	put_and_get(&store, 20 * Q2_STORE_CHUNK_BYTES);
	q2_store_release(&store);
	assert_int_equal(q2_store_spill_beside(&store, "/nowhere/undo", &err), 0);
	q2_store_open_file(&store);
	assert_null(store.file);
	assert_int_equal(
		q2_store_put(&store, (struct qcow2_bytes){(const uint8_t *)"x", 1}, &at, &err), 0);
	q2_store_release(&store);
}

static void places_join(void **state)
{
	struct q2_places places = {.items = NULL};

	(void)state;
	assert_true(q2_places_add(&places, &(struct q2_place){10, 5, 1}));
	assert_true(q2_places_add(&places, &(struct q2_place){15, 5, 1}));
	assert_true(q2_places_add(&places, &(struct q2_place){21, Q2_PLACE_MOST_BYTES + 1, 1}));
	assert_true(q2_places_add(&places, &(struct q2_place){22 + Q2_PLACE_MOST_BYTES, 3, 1}));
	/* What another phase writes is put back at another time. */
	assert_true(q2_places_add(&places, &(struct q2_place){25 + Q2_PLACE_MOST_BYTES, 2, 2}));
	assert_int_equal(places.count, 4);
	assert_int_equal(places.items[0].size_bytes, 10);
	assert_int_equal(places.items[1].size_bytes, Q2_PLACE_MOST_BYTES);
	assert_int_equal(places.items[2].offset_bytes, 21 + Q2_PLACE_MOST_BYTES);
	assert_int_equal(places.items[2].size_bytes, 4);
	q2_places_release(&places);
}

/* Of a plan over a file of zeros: rising, disjoint, what a write leaves alone left out. */
static void places_of_a_plan(void **state)
{
	static const uint8_t zeros[8192];
	struct qcow2_source *source;
	struct qcow2_plan *plan;
	struct q2_places places;

	(void)state;
	assert_int_equal(qcow2_source_from_memory(zeros, sizeof(zeros), &source, &err), 0);
	assert_int_equal(qcow2_plan_open(source, &plan, &err), 0);
	for (uint64_t at = 4096; at > 0; at -= 1024)
		assert_int_equal(qcow2_plan_write(plan, QCOW2_PHASE_NEW, at,
						  (struct qcow2_bytes){(const uint8_t *)"abcd", 4},
						  "a test", &err),
				 0);
	/* The same bytes again, and some over them in a later phase. */
	assert_int_equal(qcow2_plan_write(plan, QCOW2_PHASE_POINT, 1026,
					  (struct qcow2_bytes){(const uint8_t *)"xy", 2}, "a test",
					  &err),
			 0);
	assert_int_equal(q2_plan_places(plan, &places, &err), 0);
	assert_int_equal(places.count, 5);
	assert_int_equal(places.items[0].offset_bytes, 1024);
	assert_int_equal(places.items[0].size_bytes, 2);
	assert_int_equal(places.items[0].phase, QCOW2_PHASE_NEW);
	assert_int_equal(places.items[1].offset_bytes, 1026);
	assert_int_equal(places.items[1].size_bytes, 2);
	assert_int_equal(places.items[1].phase, QCOW2_PHASE_POINT);
	for (size_t i = 2; i < 5; i++) {
		assert_int_equal(places.items[i].offset_bytes, i * 1024);
		assert_int_equal(places.items[i].size_bytes, 4);
	}
	q2_places_release(&places);
	qcow2_plan_close(plan);
	qcow2_source_close(source);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(segments_are_the_model),
		cmocka_unit_test(many_blocks),
		cmocka_unit_test(store_in_memory),
		cmocka_unit_test(store_in_a_file),
		cmocka_unit_test(store_without_its_folder),
		cmocka_unit_test(store_with_a_file_made_early),
		cmocka_unit_test(places_join),
		cmocka_unit_test(places_of_a_plan),
	};

	return cmocka_run_group_tests_name("plan parts", tests, NULL, NULL);
}
