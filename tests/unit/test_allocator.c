/* SPDX-License-Identifier: MIT */
/*
 * The allocator of clusters by itself: images of zeros with a refcount table, all widths of
 * refcounts. What it takes is compared with a model that counts every cluster, and what it plans is
 * decoded here, by the specification's text alone.
 */
#include <qcow2/edit.h>

#include "image_fixture.h"

#include "plan/allocator.h"

/* Clusters of the images here: header, refcount table, refcount block, and what tests count. */
#define TABLE    UINT64_C(0x200)
#define BLOCK    UINT64_C(0x400)
#define CLUSTERS 128

static struct qcow2_plan *plan;
static struct q2_allocator *allocator;
static unsigned order; /* refcount_order */

static uint64_t per_block(void)
{
	return (uint64_t)CLUSTER * 8 >> order;
}

/* "refcount block entry": widths below a byte start at the least significant bit. */
static uint64_t refcount_in(const uint8_t *block, uint64_t index)
{
	unsigned bits = 1u << order;
	uint64_t value = 0;

	if (bits < 8)
		return (uint64_t)block[index * bits / 8] >> index * bits % 8 & ((1u << bits) - 1);
	for (unsigned i = 0; i < bits / 8; i++)
		value = value << 8 | block[index * (bits / 8) + i];
	return value;
}

static void put_refcount(uint8_t *block, uint64_t index, uint64_t value)
{
	unsigned bits = 1u << order;

	if (bits < 8)
		block[index * bits / 8] |= (uint8_t)(value << index * bits % 8);
	else
		put_be(block + index * (bits / 8), bits / 8, value);
}

static uint64_t planned_be(uint64_t offset, unsigned width)
{
	uint8_t got[8];
	uint64_t value = 0;

	assert_int_equal(q2_plan_read(plan, offset, got, width, &err), 0);
	for (unsigned i = 0; i < width; i++)
		value = value << 8 | got[i];
	return value;
}

/* The refcount of a cluster in the file as it is planned. */
static uint64_t planned_refcount(uint64_t cluster)
{
	uint64_t table = planned_be(48, 8), index = cluster / per_block(), block;
	uint8_t got[CLUSTER];

	if (index >= planned_be(56, 4) * CLUSTER / 8)
		return 0;
	block = planned_be(table + index * 8, 8);
	if (block == 0)
		return 0;
	assert_int_equal(q2_plan_read(plan, block, got, sizeof(got), &err), 0);
	return refcount_in(got, cluster % per_block());
}

static void close_all(void)
{
	q2_allocator_close(allocator);
	qcow2_plan_close(plan);
	allocator = NULL;
	plan = NULL;
}

static int teardown_all(void **state)
{
	close_all();
	return teardown(state);
}

/* An image of `clusters` clusters, of which the first three are counted. */
static void make_image(unsigned refcount_order)
{
	memset(bytes, 0, sizeof(bytes));
	put_header(bytes, 1 << 20);
	order = refcount_order;
	put_be(bytes + 48, 8, TABLE);
	put_be(bytes + 56, 4, 1);
	put_be(bytes + 96, 4, order);
	put_be(bytes + TABLE, 8, BLOCK);
	for (uint64_t i = 0; i < 3; i++)
		put_refcount(bytes + BLOCK, i, 1);
}

static int try_allocator(uint64_t clusters, bool only_behind)
{
	close_all();
	open_bytes((size_t)clusters * CLUSTER);
	assert_int_equal(qcow2_plan_open(source, &plan, &err), 0);
	return q2_allocator_open(plan, image, only_behind, &allocator, &err);
}

static void open_allocator(uint64_t clusters, bool only_behind)
{
	assert_int_equal(try_allocator(clusters, only_behind), 0);
}

static uint64_t take(uint64_t count)
{
	uint64_t offset = 0;

	assert_int_equal(q2_allocator_take(allocator, count, &offset, &err), 0);
	assert_int_equal(offset % CLUSTER, 0);
	return offset / CLUSTER;
}

static void plan_counts(void)
{
	assert_int_equal(q2_allocator_plan(allocator, QCOW2_PHASE_COUNT, &err), 0);
}

static void takes_the_first_that_are_free(void **state)
{
	(void)state;
	make_image(4);
	put_refcount(bytes + BLOCK, 4, 1);
	put_refcount(bytes + BLOCK, 7, 1);
	open_allocator(10, false);
	assert_int_equal(take(1), 3);
	assert_int_equal(take(2), 5);
	assert_int_equal(take(1), 8);
	/* Behind the end of the file, which grows when the cluster is written. */
	assert_int_equal(take(4), 9);
	plan_counts();
	for (uint64_t i = 0; i < 13; i++)
		assert_int_equal(planned_refcount(i), 1);
	assert_int_equal(planned_refcount(13), 0);
}

/* Refcounts that cannot be trusted: nothing inside the file is taken. */
static void only_behind_the_end(void **state)
{
	(void)state;
	make_image(4);
	open_allocator(10, true);
	assert_int_equal(take(1), 10);
	assert_int_equal(take(1), 11);
}

static void sets_what_is_counted(void **state)
{
	(void)state;
	make_image(4);
	open_allocator(10, false);
	assert_int_equal(q2_allocator_set(allocator, 5, 7, &err), 0);
	/* No refcount block counts this one: it is left alone. */
	assert_int_equal(q2_allocator_set(allocator, 1000, 7, &err), 0);
	plan_counts();
	assert_int_equal(planned_refcount(5), 7);
	assert_int_equal(planned_refcount(1000), 0);
	assert_int_equal(planned_be(TABLE + 8 * (1000 / per_block()), 8), 0);
	assert_int_equal(take(1), 3);
	assert_int_equal(take(1), 4);
	assert_int_equal(take(1), 6);
}

/* A block is made for clusters that none counts, and is counted itself. */
static void makes_refcount_blocks(void **state)
{
	uint64_t first, block;

	(void)state;
	make_image(6); /* 64 refcounts a block */
	open_allocator(10, false);
	first = take(100);
	plan_counts();
	block = planned_be(TABLE + 8, 8);
	assert_true(block != 0 && block % CLUSTER == 0);
	assert_int_equal(planned_refcount(block / CLUSTER), 1);
	for (uint64_t i = first; i < first + 100; i++)
		assert_int_equal(planned_refcount(i), 1);
	assert_true(block / CLUSTER < first || block / CLUSTER >= first + 100);
	assert_int_equal(planned_be(TABLE, 8), BLOCK);
}

/* The table of one cluster leads to 64 blocks of 64 refcounts of 64 bits: 4096 clusters. */
static void makes_a_larger_table(void **state)
{
	uint64_t offset, clusters, first;

	(void)state;
	make_image(6);
	open_allocator(10, false);
	assert_false(q2_allocator_moved_table(allocator, &offset, &clusters));
	first = take(5000);
	assert_true(q2_allocator_moved_table(allocator, &offset, &clusters));
	assert_int_equal(offset, TABLE);
	assert_int_equal(clusters, 1);
	plan_counts();
	assert_true(planned_be(48, 8) != TABLE);
	assert_true(planned_be(56, 4) > 1);
	for (uint64_t i = 0; i < planned_be(56, 4); i++)
		assert_int_equal(planned_refcount(planned_be(48, 8) / CLUSTER + i), 1);
	for (uint64_t i = first; i < first + 5000; i++)
		assert_int_equal(planned_refcount(i), 1);
	/* What was counted still is; the old table is the caller's to free. */
	for (uint64_t i = 0; i < 3; i++)
		assert_int_equal(planned_refcount(i), 1);
}

/* QEMU opens no image whose refcount table has over 8 MiB. */
static void refuses_too_large_a_table(void **state)
{
	uint64_t offset, most = ((uint64_t)8 << 20) / 8 * 64;

	(void)state;
	make_image(6);
	open_allocator(10, false);
	assert_int_equal(q2_allocator_take(allocator, most, &offset, &err), -1);
	assert_int_equal(err.code, QCOW2_ERROR_LIMIT);
	assert_non_null(strstr(err.text, "refcount table"));
}

static void lends_what_is_counted(void **state)
{
	static const uint64_t lent[] = {4, 5, 9};

	(void)state;
	make_image(4);
	for (uint64_t i = 3; i < 20; i++)
		put_refcount(bytes + BLOCK, i, 2);
	open_allocator(20, false);
	assert_int_equal(q2_allocator_lend(allocator, lent, 3, &err), 0);
	assert_int_equal(take(2), 4);
	assert_int_equal(take(1), 9);
	assert_int_equal(take(1), 20);
	plan_counts();
	assert_int_equal(planned_refcount(4), 1);
	assert_int_equal(planned_refcount(5), 1);
	assert_int_equal(planned_refcount(9), 1);
	assert_int_equal(planned_refcount(10), 2);
}

/* The smallest run that has room, so that larger ones stay whole. */
static void lends_tightly(void **state)
{
	static const uint64_t lent[] = {4, 5, 6, 7, 10, 11, 14, 15, 16};

	(void)state;
	make_image(4);
	for (uint64_t i = 3; i < per_block(); i++)
		put_refcount(bytes + BLOCK, i, 2);
	open_allocator(20, false);
	assert_int_equal(q2_allocator_lend(allocator, lent, 9, &err), 0);
	assert_int_equal(take(2), 10);
	assert_int_equal(take(3), 14);
	assert_int_equal(take(4), 4);
}

static void refuses_broken_tables(void **state)
{
	static const struct {
		uint64_t offset, clusters;
	} tables[] = {{0, 1}, {0x201, 1}, {0x200, 0}, {10 * CLUSTER, 1}, {0x200, 0x4001}};

	(void)state;
	for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
		make_image(4);
		put_be(bytes + 48, 8, tables[i].offset);
		put_be(bytes + 56, 4, tables[i].clusters);
		assert_int_equal(try_allocator(10, false), -1);
		assert_int_equal(err.code, QCOW2_ERROR_BROKEN);
		allocator = NULL;
	}
}

static void refuses_blocks_that_are_nowhere(void **state)
{
	static const uint64_t blocks[] = {0x600 + 8 * 64, 10 * CLUSTER, UINT64_C(1) << 55};
	uint64_t offset;

	(void)state;
	for (size_t i = 0; i < sizeof(blocks) / sizeof(blocks[0]); i++) {
		make_image(4);
		put_be(bytes + TABLE, 8, blocks[i] | (i == 0 ? 0x200 : 0));
		open_allocator(i == 0 ? 3 : 10, false);
		assert_int_equal(q2_allocator_take(allocator, 1, &offset, &err), -1);
		assert_int_equal(err.code, QCOW2_ERROR_BROKEN);
		assert_int_equal(err.offset_bytes, TABLE);
	}
}

static uint32_t next_random(uint64_t *state)
{
	*state = *state * UINT64_C(6364136223846793005) + 1442695040888963407;
	return (uint32_t)(*state >> 33);
}

/* What is taken was free, and nothing is taken twice; all that is taken is counted once. */
static void random_takes_are_the_model(void **state)
{
	static uint64_t counts[1 << 14];

	(void)state;
	for (unsigned width = 0; width <= 6; width++) {
		uint64_t random = width + 1;

		make_image(width);
		memset(counts, 0, sizeof(counts));
		for (uint64_t i = 0; i < CLUSTERS && i < per_block(); i++) {
			bool is_used = i < 3 || next_random(&random) % 2;

			counts[i] = is_used;
			if (i >= 3)
				put_refcount(bytes + BLOCK, i, is_used);
		}
		open_allocator(CLUSTERS, false);
		for (unsigned round = 0; round < 60; round++) {
			uint64_t count = 1 + next_random(&random) % 7, first = take(count);

			for (uint64_t i = first; i < first + count; i++) {
				assert_int_equal(counts[i], 0);
				counts[i] = 1;
			}
			if (round % 20 == 19)
				plan_counts();
		}
		for (uint64_t i = 0; i < CLUSTERS * 4; i++)
			assert_true(planned_refcount(i) >= counts[i]);
		/* What else is counted are the refcount blocks that were made. */
		for (uint64_t i = 1; i < CLUSTER / 8; i++)
			if (planned_be(TABLE + i * 8, 8) != 0)
				counts[planned_be(TABLE + i * 8, 8) / CLUSTER] += 1;
		for (uint64_t i = 0; i < CLUSTERS * 4; i++)
			assert_int_equal(planned_refcount(i), counts[i]);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown_all)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(takes_the_first_that_are_free), TEST(only_behind_the_end),
		TEST(sets_what_is_counted),          TEST(makes_refcount_blocks),
		TEST(makes_a_larger_table),          TEST(refuses_too_large_a_table),
		TEST(lends_what_is_counted),         TEST(lends_tightly),
		TEST(refuses_broken_tables),         TEST(refuses_blocks_that_are_nowhere),
		TEST(random_takes_are_the_model),
	};

	return cmocka_run_group_tests_name("allocator", tests, NULL, NULL);
}
