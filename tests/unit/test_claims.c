/* SPDX-License-Identifier: MIT */
/*
 * qcow2_claims_walk(): each kind of claim, their order and weights, what is told of broken images,
 * stopping and limits. What has to be told was worked out from the layout below by hand, and
 * references are counted once more from the bytes of the image, without the library.
 */
#include "image_fixture.h"

#include <qcow2/claims.h>

#include <stdio.h>

#include "claims_near.h"

#define AT(cluster) ((uint64_t)(cluster)*CLUSTER)
#define COPIED      (UINT64_C(1) << 63)
#define CLUSTERS    19

/* Where everything is, as numbers of clusters of 512 bytes. */
enum {
	TABLE = 1, /* refcount table */
	BLOCK,
	L1,
	L2_OWN,    /* active L1 entry 0 */
	L2_SHARED, /* active L1 entry 1, and entry 0 of both snapshots */
	SNAPSHOT_L1,
	L2_SNAPSHOT, /* entry 1 of both snapshots */
	DATA_COPIED,
	DATA_SHARED,
	COMPRESSED,
	DATA_OF_ALL,
	DATA_OF_SNAPSHOTS,
	SNAPSHOTS,
	DIRECTORY,
	BITMAP_TABLE,
	BITMAP_DATA,
	LUKS, /* two clusters */
};

static void put_entry(unsigned cluster, unsigned index, uint64_t entry)
{
	put_be(bytes + AT(cluster) + (size_t)index * 8, 8, entry);
}

#define DISK       (2 * 64 * CLUSTER)
#define SMALL_DISK (UINT64_C(70) * CLUSTER)

/* An image with every structure there is, two snapshots with one L1 table, and one bitmap. */
static void make_image(void)
{
	put_header(bytes, DISK);
	put_be(bytes + 36, 4, 2);
	put_be(bytes + 40, 8, AT(L1));
	put_be(bytes + 48, 8, AT(TABLE));
	put_be(bytes + 56, 4, 1);
	put_be(bytes + 60, 4, 2);
	put_be(bytes + 64, 8, AT(SNAPSHOTS));
	put_be(bytes + 88, 8, 1);
	put_bitmaps(bytes + 104, 1, 32, AT(DIRECTORY));
	put_mark(bytes + 136, 0x0537be77, 16);
	put_be(bytes + 144, 8, AT(LUKS));
	put_be(bytes + 152, 8, 600);
	put_entry(TABLE, 0, AT(BLOCK));
	put_entry(L1, 0, AT(L2_OWN) | COPIED);
	put_entry(L1, 1, AT(L2_SHARED));
	put_entry(SNAPSHOT_L1, 0, AT(L2_SHARED));
	put_entry(SNAPSHOT_L1, 1, AT(L2_SNAPSHOT));
	put_entry(L2_OWN, 0, AT(DATA_COPIED) | COPIED);
	put_entry(L2_OWN, 1, UINT64_C(1) << 62 | UINT64_C(1) << 61 | (AT(COMPRESSED) + 100));
	put_entry(L2_OWN, 2, 1); /* reads as zeros, and uses nothing */
	put_entry(L2_OWN, 63, AT(DATA_SHARED));
	put_entry(L2_SHARED, 5, AT(DATA_OF_ALL));
	put_entry(L2_SNAPSHOT, 0, AT(DATA_OF_SNAPSHOTS) | COPIED);
	for (unsigned i = 0; i < 2; i++) {
		put_snapshot(bytes + AT(SNAPSHOTS) + (size_t)i * 64, 1, 1, 16);
		put_be(bytes + AT(SNAPSHOTS) + (size_t)i * 64, 8, AT(SNAPSHOT_L1));
		put_be(bytes + AT(SNAPSHOTS) + (size_t)i * 64 + 8, 4, 2);
		/* The first one's disk has no bytes, so that all of it lies past the end. */
		put_be(bytes + AT(SNAPSHOTS) + (size_t)i * 64 + 48, 8, i * SMALL_DISK);
		memcpy(bytes + AT(SNAPSHOTS) + (size_t)i * 64 + 56, i ? "2b" : "1a", 2);
	}
	put_bitmap(bytes + AT(DIRECTORY), 1, 0);
	put_be(bytes + AT(DIRECTORY), 8, AT(BITMAP_TABLE));
	put_be(bytes + AT(DIRECTORY) + 8, 4, 2);
	bytes[AT(DIRECTORY) + 24] = 'b';
	put_entry(BITMAP_TABLE, 0, AT(BITMAP_DATA));
	put_entry(BITMAP_TABLE, 1, 1); /* all ones, without data */
}

/* What a claim has to say. */
struct expected {
	uint64_t offset, length, weight;
	enum qcow2_claim_use use;
	const char *where;
	uint64_t guest, guest_length;
	enum qcow2_part_of part_of;
	uint64_t part_of_index;
};

#define NO_GUEST UINT64_MAX

static const struct expected all[] = {
	{0, CLUSTER, 1, QCOW2_USE_METADATA, "header", NO_GUEST, 0, QCOW2_PART_OF_IMAGE, 0},
	{AT(L1), 16, 1, QCOW2_USE_METADATA, "l1", 0, DISK, QCOW2_PART_OF_IMAGE, 0},
	{AT(TABLE), CLUSTER, 1, QCOW2_USE_METADATA, "refcount_table", NO_GUEST, 0,
	 QCOW2_PART_OF_IMAGE, 0},
	{AT(LUKS), 600, 1, QCOW2_USE_METADATA, "luks", NO_GUEST, 0, QCOW2_PART_OF_IMAGE, 0},
	{AT(SNAPSHOT_L1), 16, 1, QCOW2_USE_METADATA, "snapshots/0/l1", 0, DISK,
	 QCOW2_PART_OF_SNAPSHOT, 0},
	{AT(SNAPSHOT_L1), 16, 1, QCOW2_USE_METADATA, "snapshots/1/l1", 0, SMALL_DISK,
	 QCOW2_PART_OF_SNAPSHOT, 1},
	{AT(SNAPSHOTS), 128, 1, QCOW2_USE_METADATA, "snapshots", NO_GUEST, 0, QCOW2_PART_OF_IMAGE,
	 0},
	{AT(DIRECTORY), 32, 1, QCOW2_USE_METADATA, "bitmaps", NO_GUEST, 0, QCOW2_PART_OF_IMAGE, 0},
	{AT(BITMAP_TABLE), 16, 1, QCOW2_USE_METADATA, "bitmaps/0/table", NO_GUEST, 0,
	 QCOW2_PART_OF_BITMAP, 0},
	{AT(BITMAP_DATA), CLUSTER, 1, QCOW2_USE_METADATA, "bitmaps/0/table/0", NO_GUEST, 0,
	 QCOW2_PART_OF_BITMAP, 0},
	{AT(BLOCK), CLUSTER, 1, QCOW2_USE_METADATA, "refcounts/0", NO_GUEST, 0, QCOW2_PART_OF_IMAGE,
	 0},
	{AT(L2_OWN), CLUSTER, 1, QCOW2_USE_L2_COPIED, "l2/0", 0, 64 * CLUSTER, QCOW2_PART_OF_IMAGE,
	 0},
	{AT(L2_SHARED), CLUSTER, 3, QCOW2_USE_L2_SHARED, "l2/1", 64 * CLUSTER, 64 * CLUSTER,
	 QCOW2_PART_OF_IMAGE, 0},
	{AT(L2_SNAPSHOT), CLUSTER, 2, QCOW2_USE_METADATA, "snapshots/0/l2/1", 64 * CLUSTER,
	 64 * CLUSTER, QCOW2_PART_OF_SNAPSHOT, 0},
	{AT(DATA_COPIED), CLUSTER, 1, QCOW2_USE_DATA_COPIED, "l2/0/0", 0, CLUSTER,
	 QCOW2_PART_OF_IMAGE, 0},
	/* one more sector than the first: up to the end of that */
	{AT(COMPRESSED) + 100, 2 * CLUSTER - 100, 1, QCOW2_USE_COMPRESSED, "l2/0/1", CLUSTER,
	 CLUSTER, QCOW2_PART_OF_IMAGE, 0},
	{AT(DATA_SHARED), CLUSTER, 1, QCOW2_USE_DATA_SHARED, "l2/0/63", 63 * CLUSTER, CLUSTER,
	 QCOW2_PART_OF_IMAGE, 0},
	{AT(DATA_OF_ALL), CLUSTER, 3, QCOW2_USE_DATA_SHARED, "l2/1/5", 69 * CLUSTER, CLUSTER,
	 QCOW2_PART_OF_IMAGE, 0},
	/* the copied flag means nothing in a snapshot's tables */
	{AT(DATA_OF_SNAPSHOTS), CLUSTER, 2, QCOW2_USE_DATA, "snapshots/0/l2/1/0", 64 * CLUSTER,
	 CLUSTER, QCOW2_PART_OF_SNAPSHOT, 0},
};

#define ALL        (sizeof(all) / sizeof(all[0]))
#define STRUCTURES 14 /* of them, those before the guest's data */

/* A listener: keeps what it hears. */
struct heard {
	struct qcow2_claim claims[64];
	size_t count;
	size_t stop_at; /* stops at this one; 0: never */
};

static int hear(void *opaque, const struct qcow2_claim *claim)
{
	struct heard *heard = opaque;

	assert_true(claim->weight > 0);
	assert_int_not_equal(claim->use, QCOW2_USE_NONE);
	assert_true(heard->count < sizeof(heard->claims) / sizeof(heard->claims[0]));
	heard->claims[heard->count++] = *claim;
	return heard->count == heard->stop_at;
}

static void walk(struct heard *heard)
{
	*heard = (struct heard){.count = 0};
	open_bytes(AT(CLUSTERS));
	assert_int_equal(qcow2_claims_walk(image, NULL, hear, heard, &err), 0);
}

static const struct qcow2_claim *find(const struct heard *heard, const char *where)
{
	char text[QCOW2_CLAIM_WHERE_MAX];

	for (size_t i = 0; i < heard->count; i++)
		if (strcmp(qcow2_claim_where(&heard->claims[i], text, sizeof(text)), where) == 0)
			return &heard->claims[i];
	return NULL;
}

static void assert_claim(const struct qcow2_claim *claim, const struct expected *expected)
{
	char text[QCOW2_CLAIM_WHERE_MAX];

	assert_string_equal(qcow2_claim_where(claim, text, sizeof(text)), expected->where);
	assert_int_equal(claim->offset_bytes, expected->offset);
	assert_int_equal(claim->length_bytes, expected->length);
	assert_int_equal(claim->weight, expected->weight);
	assert_int_equal(claim->use, expected->use);
	assert_int_equal(claim->part_of, expected->part_of);
	assert_int_equal(claim->part_of_index, expected->part_of_index);
	assert_int_equal(claim->has_guest, expected->guest != NO_GUEST);
	assert_int_equal(claim->guest_byte, claim->has_guest ? expected->guest : 0);
	assert_int_equal(claim->guest_length_bytes, claim->has_guest ? expected->guest_length : 0);
}

static void every_kind(void **state)
{
	struct heard heard;

	(void)state;
	make_image();
	walk(&heard);
	assert_int_equal(heard.count, ALL);
	for (size_t i = 0; i < ALL; i++)
		assert_claim(&heard.claims[i], &all[i]);
}

static void without_data(void **state)
{
	const struct qcow2_claims_options options = {.size = sizeof(options), .without_data = true};
	struct heard heard = {.count = 0};

	(void)state;
	make_image();
	open_bytes(AT(CLUSTERS));
	assert_int_equal(qcow2_claims_walk(image, &options, hear, &heard, NULL), 0);
	assert_int_equal(heard.count, STRUCTURES);
	for (size_t i = 0; i < STRUCTURES; i++)
		assert_claim(&heard.claims[i], &all[i]);
}

/* A program that was built when the options ended with the memory limit. */
static void older_options(void **state)
{
	struct qcow2_claims_options options = {
		.size = offsetof(struct qcow2_claims_options, without_data), .without_data = true};
	struct heard heard = {.count = 0};

	(void)state;
	make_image();
	open_bytes(AT(CLUSTERS));
	assert_int_equal(qcow2_claims_walk(image, &options, hear, &heard, &err), 0);
	assert_int_equal(heard.count, ALL);
}

static void stopped(void **state)
{
	(void)state;
	make_image();
	open_bytes(AT(CLUSTERS));
	for (size_t at = 1; at <= ALL; at++) {
		struct heard heard = {.stop_at = at};

		assert_int_equal(qcow2_claims_walk(image, NULL, hear, &heard, &err), -1);
		assert_int_equal(err.code, QCOW2_ERROR_STOPPED);
		assert_int_equal(heard.count, at);
		heard = (struct heard){.stop_at = at};
		assert_int_equal(qcow2_claims_walk(image, NULL, hear, &heard, NULL), -1);
	}
}

static void limited(void **state)
{
	struct qcow2_claims_options options = {.size = sizeof(options)};
	struct heard heard;

	(void)state;
	make_image();
	open_bytes(AT(CLUSTERS));
	for (options.memory_limit_bytes = 1;; options.memory_limit_bytes += 64) {
		heard = (struct heard){.count = 0};
		if (qcow2_claims_walk(image, &options, hear, &heard, &err) == 0)
			break;
		assert_int_equal(err.code, QCOW2_ERROR_LIMIT);
		assert_true(options.memory_limit_bytes < 1000000);
	}
	assert_int_equal(heard.count, ALL);
}

/* Whatever cannot be read ends the walk with an error, wherever it is. */
static void unreadable(void **state)
{
	struct heard heard = {.count = 0};
	uint64_t budget = 0;

	(void)state;
	make_image();
	open_bytes(AT(CLUSTERS));
	for (;; budget += 64) {
		heard.count = 0;
		qcow2_source_set_budget(source, budget);
		if (qcow2_claims_walk(image, NULL, hear, &heard, &err) == 0)
			break;
		assert_int_equal(err.code, QCOW2_ERROR_LIMIT);
		assert_true(heard.count < ALL && budget < 1000000);
	}
	assert_int_equal(heard.count, ALL);
	assert_true(budget > 0);
}

static void refused(void **state)
{
	struct heard heard = {.count = 0};

	(void)state;
	make_image();
	put_be(bytes + 72, 8, 1 << 20);
	open_bytes(AT(CLUSTERS));
	assert_int_equal(qcow2_claims_walk(image, NULL, hear, &heard, &err), -1);
	assert_int_equal(err.code, QCOW2_ERROR_UNSUPPORTED);
	assert_int_equal(err.offset_bytes, 72);
	put_be(bytes + 72, 8, 0);
	put_be(bytes + 20, 4, 8);
	open_bytes(AT(CLUSTERS));
	assert_int_equal(qcow2_claims_walk(image, NULL, hear, &heard, &err), -1);
	assert_int_equal(err.code, QCOW2_ERROR_BROKEN);
	assert_int_equal(heard.count, 0);
}

/* Entries as they stand: beyond the end, unaligned, twice. */
static void broken(void **state)
{
	struct heard heard;

	(void)state;
	make_image();
	put_entry(L1, 0, AT(CLUSTERS)); /* an L2 table beyond the end: not told */
	put_entry(L2_SHARED, 6, (UINT64_C(1) << 56) - CLUSTER);
	put_entry(L2_SHARED, 7, AT(CLUSTERS)); /* data past the last cluster */
	put_entry(L2_SHARED, 8, AT(L2_SHARED) + 512);
	put_entry(TABLE, 1, AT(BLOCK) + 512 * 40); /* a block beyond the end: not told */
	put_entry(TABLE, 2, AT(BLOCK));            /* one block twice */
	put_entry(BITMAP_TABLE, 1, AT(BITMAP_DATA) | 1);
	put_be(bytes + AT(SNAPSHOTS), 8, UINT64_MAX - 511); /* an L1 table nowhere */
	put_be(bytes + AT(SNAPSHOTS) + 8, 4, UINT32_MAX);
	walk(&heard);
	assert_null(find(&heard, "l2/0"));
	assert_int_equal(find(&heard, "l2/1/6")->offset_bytes, (UINT64_C(1) << 56) - CLUSTER);
	assert_int_equal(find(&heard, "l2/1/7")->offset_bytes, AT(CLUSTERS));
	assert_int_equal(find(&heard, "l2/1/8")->offset_bytes, AT(L2_SHARED) + 512);
	assert_null(find(&heard, "refcounts/1"));
	assert_int_equal(find(&heard, "refcounts/2")->offset_bytes, AT(BLOCK));
	assert_int_equal(find(&heard, "bitmaps/0/table/1")->offset_bytes, AT(BITMAP_DATA));
	assert_int_equal(find(&heard, "snapshots/0/l1")->length_bytes, UINT32_MAX * UINT64_C(8));
	assert_int_equal(find(&heard, "l2/1")->weight, 2);
	assert_int_equal(find(&heard, "snapshots/1/l2/1")->weight, 1);
}

/* Clusters of a data file are not in this file; bitmaps that nobody may trust are not told. */
static void left_out(void **state)
{
	struct heard heard;

	(void)state;
	make_image();
	put_be(bytes + 72, 8, 4);
	put_be(bytes + 88, 8, 0);
	walk(&heard);
	assert_int_equal(heard.count, STRUCTURES - 3);
	assert_null(find(&heard, "bitmaps"));
	assert_null(find(&heard, "l2/0/0"));
	assert_non_null(find(&heard, "l2/0"));
}

/* L1 tables of snapshots that overlap: their common entries count once. */
static void overlapping(void **state)
{
	struct heard heard;

	(void)state;
	make_image();
	put_be(bytes + AT(SNAPSHOTS) + 64, 8, AT(SNAPSHOT_L1) + 8);
	put_entry(SNAPSHOT_L1, 2, AT(DATA_OF_ALL)); /* only the second snapshot's */
	walk(&heard);
	assert_int_equal(find(&heard, "l2/1")->weight, 2);
	assert_int_equal(find(&heard, "snapshots/0/l2/1")->weight, 1);
	assert_int_equal(find(&heard, "snapshots/1/l2/1")->offset_bytes, AT(DATA_OF_ALL));
}

static void short_text(void **state)
{
	const struct qcow2_claim claim = {.part = QCOW2_CLAIM_BITMAP_DATA,
					  .part_of = QCOW2_PART_OF_BITMAP,
					  .part_of_index = UINT64_MAX,
					  .index = UINT64_MAX};
	const struct qcow2_claim data = {.part = QCOW2_CLAIM_DATA,
					 .part_of = QCOW2_PART_OF_SNAPSHOT,
					 .part_of_index = UINT64_MAX,
					 .index = UINT64_MAX,
					 .entry = UINT64_MAX};
	char text[QCOW2_CLAIM_WHERE_MAX];

	(void)state;
	assert_string_equal(qcow2_claim_where(&claim, text, 1), "");
	assert_string_equal(qcow2_claim_where(&claim, text, 9), "bitmaps/");
	assert_string_equal(qcow2_claim_where(&data, text, sizeof(text)),
			    "snapshots/18446744073709551615/l2/18446744073709551615/"
			    "18446744073709551615");
}

/* ---- references counted without the library ---- */

static uint64_t get_entry(unsigned cluster, unsigned index)
{
	uint64_t entry = 0;

	for (unsigned i = 0; i < 8; i++)
		entry = entry << 8 | bytes[AT(cluster) + (size_t)index * 8 + i];
	return entry;
}

static void count_bytes(unsigned *counts, uint64_t offset, uint64_t length, unsigned weight)
{
	for (uint64_t i = offset / CLUSTER; i <= (offset + length - 1) / CLUSTER && i < 64; i++)
		counts[i] += weight;
}

/* What the L2 tables of one L1 table refer to, entry by entry. */
static void count_l1(unsigned *counts, unsigned cluster)
{
	for (unsigned i = 0; i < 2; i++) {
		unsigned table = (unsigned)((get_entry(cluster, i) & ~COPIED) / CLUSTER);

		if (table == 0)
			continue;
		counts[table]++;
		for (unsigned j = 0; j < 64; j++) {
			uint64_t entry = get_entry(table, j);

			if (entry >> 62 & 1)
				count_bytes(counts, entry & ((UINT64_C(1) << 61) - 1),
					    ((entry >> 61 & 1) + 1) * 512 - entry % 512, 1);
			else if ((entry & ~COPIED) / CLUSTER)
				counts[(entry & ~COPIED) / CLUSTER]++;
		}
	}
}

static void random_entries(void **state)
{
	uint64_t seed = 1;

	(void)state;
	for (unsigned round = 0; round < 200; round++) {
		unsigned here[64] = {0}, theirs[64] = {0};
		struct heard heard;

		memset(bytes, 0, AT(CLUSTERS));
		make_image();
		for (unsigned i = 0; i < 12; i++) {
			unsigned table = (unsigned)(seed % 3);
			uint64_t entry = seed >> 8 & 15 ? AT(seed >> 8 & 15) : 1;

			seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407;
			if (seed >> 60 & 1)
				entry = UINT64_C(1) << 62 | (seed >> 59 & 1) << 61 |
					(entry + (seed >> 20 & 511));
			put_entry(table == 0   ? L2_OWN
				  : table == 1 ? L2_SHARED
					       : L2_SNAPSHOT,
				  (unsigned)(seed >> 32) % 64, entry | (seed & COPIED));
		}
		count_l1(here, L1);
		count_l1(here, SNAPSHOT_L1);
		count_l1(here, SNAPSHOT_L1);
		walk(&heard);
		for (size_t i = 0; i < heard.count; i++)
			if (heard.claims[i].part >= QCOW2_CLAIM_L2_TABLE)
				count_bytes(theirs, heard.claims[i].offset_bytes,
					    heard.claims[i].length_bytes,
					    (unsigned)heard.claims[i].weight);
		assert_memory_equal(here, theirs, sizeof(here));
		assert_near(heard.claims, heard.count, seed >> 40 & 8191,
			    (seed >> 40 & 8191) + (seed >> 20 & 1023));
		/* the first and the last byte of a cluster, and all there are */
		assert_near(heard.claims, heard.count, AT(seed >> 30 & 15), AT(seed >> 30 & 15));
		assert_near(heard.claims, heard.count, AT(seed >> 30 & 15) + 511,
			    AT(seed >> 30 & 15) + 511);
		assert_near(heard.claims, heard.count, 0, UINT64_MAX);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(every_kind, setup, teardown),
		cmocka_unit_test_setup_teardown(without_data, setup, teardown),
		cmocka_unit_test_setup_teardown(older_options, setup, teardown),
		cmocka_unit_test_setup_teardown(stopped, setup, teardown),
		cmocka_unit_test_setup_teardown(limited, setup, teardown),
		cmocka_unit_test_setup_teardown(unreadable, setup, teardown),
		cmocka_unit_test_setup_teardown(refused, setup, teardown),
		cmocka_unit_test_setup_teardown(broken, setup, teardown),
		cmocka_unit_test_setup_teardown(left_out, setup, teardown),
		cmocka_unit_test_setup_teardown(overlapping, setup, teardown),
		cmocka_unit_test(short_text),
		cmocka_unit_test_setup_teardown(random_entries, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
