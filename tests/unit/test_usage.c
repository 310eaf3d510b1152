/* SPDX-License-Identifier: MIT */
/*
 * What occupies the file, cluster by cluster, and who uses it: every kind, snapshots that share L2
 * tables and data, the state of a machine, conflicts, and files that end within a cluster. What has
 * to be told was worked out from the layout below by hand.
 */
#include "image_fixture.h"

#include "usage/freed.h"
#include "usage/usage.h"

#define AT(cluster) ((uint64_t)(cluster)*CLUSTER)
#define COPIED      (UINT64_C(1) << 63)
#define ENTRIES     (CLUSTER / 8)

/* Where everything is, as numbers of clusters of 512 bytes. */
enum {
	TABLE = 1, /* refcount table */
	BLOCK,
	L1,
	L2_OWN,    /* active L1 entry 0 */
	L2_SHARED, /* active L1 entry 1, and entry 0 of both snapshots */
	FIRST_L1,
	SECOND_L1,
	L2_SNAPSHOTS, /* entry 1 of both snapshots */
	L2_MACHINE,   /* entry 2 of the second one, behind its disk */
	DATA_OWN,
	DATA_MOVED, /* of the active image by L2_OWN, and of the snapshots by L2_SNAPSHOTS */
	COMPRESSED,
	DATA_OF_ALL,
	DATA_OF_SNAPSHOTS,
	MACHINE, /* two clusters */
	SNAPSHOTS = MACHINE + 2,
	DIRECTORY,
	BITMAP_TABLE,
	BITMAP_DATA,
	LUKS,              /* two clusters */
	LEAKED = LUKS + 2, /* two clusters */
	FREE = LEAKED + 2, /* two clusters */
	LAST = FREE + 2,   /* data of the active image, which the file may cut */
	CLUSTERS = LAST + 1,
};

static void put_entry(unsigned cluster, unsigned index, uint64_t entry)
{
	put_be(bytes + AT(cluster) + (size_t)index * 8, 8, entry);
}

static void put_snapshots(void)
{
	static const unsigned l1s[] = {FIRST_L1, SECOND_L1};

	for (unsigned i = 0; i < 2; i++) {
		uint8_t *at = bytes + AT(SNAPSHOTS) + (size_t)i * 64;

		put_snapshot(at, 1, 1, 16);
		put_be(at, 8, AT(l1s[i]));
		put_be(at + 8, 4, 2 + i);
		put_be(at + 48, 8, 2 * ENTRIES * CLUSTER);
		memcpy(at + 56, i ? "2b" : "1a", 2);
		put_entry(l1s[i], 0, AT(L2_SHARED));
		put_entry(l1s[i], 1, AT(L2_SNAPSHOTS));
	}
	put_entry(SECOND_L1, 2, AT(L2_MACHINE));
	put_entry(L2_MACHINE, 0, AT(MACHINE));
	put_entry(L2_MACHINE, 1, AT(MACHINE + 1));
	put_entry(L2_SNAPSHOTS, 0, AT(DATA_OF_SNAPSHOTS));
	put_entry(L2_SNAPSHOTS, 1, AT(DATA_MOVED));
}

static void put_bitmap_of_one_cluster(void)
{
	put_be(bytes + 88, 8, 1);
	put_bitmaps(bytes + 104, 1, 32, AT(DIRECTORY));
	put_bitmap(bytes + AT(DIRECTORY), 1, 0);
	put_be(bytes + AT(DIRECTORY), 8, AT(BITMAP_TABLE));
	put_be(bytes + AT(DIRECTORY) + 8, 4, 1);
	bytes[AT(DIRECTORY) + 24] = 'b';
	put_entry(BITMAP_TABLE, 0, AT(BITMAP_DATA));
}

static void make_image(void)
{
	put_header(bytes, 2 * ENTRIES * CLUSTER);
	put_be(bytes + 36, 4, 2);
	put_be(bytes + 40, 8, AT(L1));
	put_be(bytes + 48, 8, AT(TABLE));
	put_be(bytes + 56, 4, 1);
	put_be(bytes + 60, 4, 2);
	put_be(bytes + 64, 8, AT(SNAPSHOTS));
	put_mark(bytes + 136, 0x0537be77, 16);
	put_be(bytes + 144, 8, AT(LUKS));
	put_be(bytes + 152, 8, 600);
	put_entry(TABLE, 0, AT(BLOCK));
	/* Only those of clusters that nothing claims matter here. */
	for (unsigned i = 0; i < 2; i++)
		put_be(bytes + AT(BLOCK) + (size_t)(LEAKED + i) * 2, 2, 1);
	put_entry(L1, 0, AT(L2_OWN) | COPIED);
	put_entry(L1, 1, AT(L2_SHARED));
	put_entry(L2_OWN, 0, AT(DATA_OWN) | COPIED);
	put_entry(L2_OWN, 1, UINT64_C(1) << 62 | (AT(COMPRESSED) + 100));
	put_entry(L2_OWN, 2, AT(DATA_MOVED));
	put_entry(L2_OWN, 3, AT(LAST) | COPIED | 1);
	put_entry(L2_SHARED, 5, AT(DATA_OF_ALL));
	put_snapshots();
	put_bitmap_of_one_cluster();
}

static struct qcow2_usage *open_usage(struct qcow2_usage_options options)
{
	struct qcow2_usage *usage;

	options.size = sizeof(options);
	assert_int_equal(qcow2_usage_open(image, &options, &usage, &err), 0);
	return usage;
}

/* What is known of each user in advance is what a look at all of them says. */
static void test_freed_but_one(void **state)
{
	struct qcow2_usage *usage;

	(void)state;
	make_image();
	open_bytes(AT(CLUSTERS));
	usage = open_usage((struct qcow2_usage_options){.users = true});
	assert_int_equal(qcow2_usage_user_count(usage), 4);
	for (uint64_t kept = 0; kept < 4; kept++) {
		uint64_t users[3], freed;
		size_t count = 0;

		for (uint64_t i = 1; i < 4; i++)
			if (i != kept)
				users[count++] = i;
		assert_int_equal(qcow2_usage_freed_bytes(usage, users, count, &freed, &err), 0);
		assert_true(freed > 0);
		assert_int_equal(AT(q2_usage_freed_but(usage, kept)), freed);
	}
	qcow2_usage_close(usage);
}

/* A run as a test expects it. */
struct expected {
	unsigned first, count;
	enum qcow2_usage_kind kind;
	const char *where;
};

static const struct expected all[] = {
	{0, 1, QCOW2_USAGE_HEADER, "header"},
	{TABLE, 1, QCOW2_USAGE_REFCOUNT_TABLE, "refcount_table"},
	{BLOCK, 1, QCOW2_USAGE_REFCOUNT_BLOCK, "refcounts/0"},
	{L1, 1, QCOW2_USAGE_L1_TABLE, "l1"},
	{L2_OWN, 2, QCOW2_USAGE_L2_TABLE, "l2/0"},
	{FIRST_L1, 2, QCOW2_USAGE_L1_TABLE, "snapshots/0/l1"},
	{L2_SNAPSHOTS, 2, QCOW2_USAGE_L2_TABLE, "snapshots/0/l2/1"},
	{DATA_OWN, 1, QCOW2_USAGE_DATA, "l2/0/0"},
	{DATA_MOVED, 1, QCOW2_USAGE_SHARED, "l2/0/2"},
	{COMPRESSED, 1, QCOW2_USAGE_COMPRESSED, "l2/0/1"},
	{DATA_OF_ALL, 1, QCOW2_USAGE_SHARED, "l2/1/5"},
	{DATA_OF_SNAPSHOTS, 3, QCOW2_USAGE_SNAPSHOT_ONLY, "snapshots/0/l2/1/0"},
	{SNAPSHOTS, 1, QCOW2_USAGE_SNAPSHOT_TABLE, "snapshots"},
	{DIRECTORY, 1, QCOW2_USAGE_BITMAP_DIRECTORY, "bitmaps"},
	{BITMAP_TABLE, 1, QCOW2_USAGE_BITMAP_TABLE, "bitmaps/0/table"},
	{BITMAP_DATA, 1, QCOW2_USAGE_BITMAP_DATA, "bitmaps/0/table/0"},
	{LUKS, 2, QCOW2_USAGE_CRYPTO, "luks"},
	{LEAKED, 2, QCOW2_USAGE_LEAKED, NULL},
	{FREE, 2, QCOW2_USAGE_FREE, NULL},
	{LAST, 1, QCOW2_USAGE_DATA, "l2/0/3"},
};

static void assert_run(const struct qcow2_usage_run *run, const struct expected *expected,
		       uint64_t size)
{
	const uint64_t end = AT(expected->first + expected->count);
	char where[QCOW2_CLAIM_WHERE_MAX];

	assert_int_equal(run->start.byte, AT(expected->first));
	assert_int_equal(run->kind, expected->kind);
	assert_int_equal(run->length_bytes, (end < size ? end : size) - run->start.byte);
	assert_int_equal(run->hole_bytes, 0);
	if (!expected->where)
		assert_null(run->owner);
	else
		assert_string_equal(qcow2_claim_where(run->owner, where, sizeof(where)),
				    expected->where);
}

static void assert_all_runs(struct qcow2_usage *usage, uint64_t size)
{
	const struct qcow2_usage_run *run;

	/* Twice, as it starts again. */
	for (unsigned i = 0; i < 2 * sizeof(all) / sizeof(all[0]); i++) {
		if (i == sizeof(all) / sizeof(all[0]))
			assert_int_equal(qcow2_usage_next(usage, &run, &err), 0);
		assert_int_equal(qcow2_usage_next(usage, &run, &err), 1);
		assert_run(run, &all[i % (sizeof(all) / sizeof(all[0]))], size);
	}
	assert_int_equal(qcow2_usage_next(usage, &run, &err), 0);
}

/* Windows that hold some of the runs, and end with the last run or do not. */
static void test_windows(void **state)
{
	(void)state;
	make_image();
	open_bytes(AT(CLUSTERS));
	for (uint64_t most = 1; most <= sizeof(all) / sizeof(all[0]) + 1; most++) {
		struct qcow2_usage *usage =
			open_usage((struct qcow2_usage_options){.owners = true});

		usage->window_runs_most = most;
		assert_all_runs(usage, AT(CLUSTERS));
		qcow2_usage_close(usage);
	}
}

static uint64_t sum_of_totals(const struct qcow2_usage *usage)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < QCOW2_USAGE_KINDS; i++)
		sum += qcow2_usage_total_of(usage, (enum qcow2_usage_kind)i)->bytes;
	return sum;
}

static void test_runs(void **state)
{
	struct qcow2_usage *usage;

	(void)state;
	make_image();
	for (uint64_t size = AT(CLUSTERS); size >= AT(CLUSTERS) - CLUSTER + 1; size -= 73) {
		open_bytes((size_t)size);
		usage = open_usage((struct qcow2_usage_options){.owners = true, .users = true});
		assert_all_runs(usage, size);
		assert_int_equal(sum_of_totals(usage), size);
		assert_int_equal(qcow2_usage_file_size_bytes(usage), size);
		assert_int_equal(qcow2_usage_end_bytes(usage), AT(CLUSTERS));
		qcow2_usage_close(usage);
	}
}

static void test_totals(void **state)
{
	uint64_t bytes_of[QCOW2_USAGE_KINDS] = {0}, runs_of[QCOW2_USAGE_KINDS] = {0};

	(void)state;
	make_image();
	open_bytes(AT(CLUSTERS));
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		bytes_of[all[i].kind] += AT(all[i].count);
		runs_of[all[i].kind]++;
	}
	for (unsigned users = 0; users < 2; users++) {
		struct qcow2_usage *usage = open_usage(
			(struct qcow2_usage_options){.users = users, .threads = 1 + users});

		for (unsigned i = 0; i < QCOW2_USAGE_KINDS; i++) {
			const struct qcow2_usage_total *total =
				qcow2_usage_total_of(usage, (enum qcow2_usage_kind)i);

			assert_int_equal(total->bytes, bytes_of[i]);
			assert_int_equal(total->runs, runs_of[i]);
			assert_int_equal(total->hole_bytes, 0);
			assert_non_null(qcow2_usage_kind_name((enum qcow2_usage_kind)i));
		}
		assert_int_equal(qcow2_usage_user_count(usage), users ? 4 : 0);
		assert_null(qcow2_usage_total_of(usage, QCOW2_USAGE_KINDS));
		qcow2_usage_close(usage);
	}
	assert_null(qcow2_usage_kind_name(QCOW2_USAGE_KINDS));
}

static void assert_user(const struct qcow2_usage *usage, uint64_t number,
			struct qcow2_usage_user expected)
{
	const struct qcow2_usage_user *user = qcow2_usage_user_at(usage, number);

	assert_int_equal(user->part_of, expected.part_of);
	assert_int_equal(user->index, expected.index);
	assert_int_equal(user->referenced_bytes, expected.referenced_bytes);
	assert_int_equal(user->exclusive_bytes, expected.exclusive_bytes);
	assert_int_equal(user->vm_state_bytes, expected.vm_state_bytes);
}

static void test_users(void **state)
{
	static const uint64_t both[] = {1, 2}, everyone[] = {0, 1, 2, 3}, wrong[] = {2, 1};
	struct qcow2_usage *usage;
	uint64_t freed;

	(void)state;
	make_image();
	open_bytes(AT(CLUSTERS));
	usage = open_usage((struct qcow2_usage_options){.users = true});
	/* L1, two L2 tables, and five clusters, of which two are shared with an L2 table */
	assert_user(usage, 0,
		    (struct qcow2_usage_user){.part_of = QCOW2_PART_OF_IMAGE,
					      .referenced_bytes = AT(8),
					      .exclusive_bytes = AT(5)});
	assert_user(usage, 1,
		    (struct qcow2_usage_user){.part_of = QCOW2_PART_OF_SNAPSHOT,
					      .referenced_bytes = AT(6),
					      .exclusive_bytes = AT(1)});
	assert_user(usage, 2,
		    (struct qcow2_usage_user){.part_of = QCOW2_PART_OF_SNAPSHOT,
					      .index = 1,
					      .referenced_bytes = AT(9),
					      .exclusive_bytes = AT(4),
					      .vm_state_bytes = AT(2)});
	assert_user(usage, 3,
		    (struct qcow2_usage_user){.part_of = QCOW2_PART_OF_BITMAP,
					      .referenced_bytes = AT(2),
					      .exclusive_bytes = AT(2)});
	assert_null(qcow2_usage_user_at(usage, 4));
	assert_int_equal(qcow2_usage_freed_bytes(usage, both, 2, &freed, &err), 0);
	assert_int_equal(freed, AT(1 + 4 + 2)); /* an L2 table and data that both have */
	assert_int_equal(qcow2_usage_freed_bytes(usage, both + 1, 1, &freed, &err), 0);
	assert_int_equal(freed, AT(4));
	assert_int_equal(qcow2_usage_freed_bytes(usage, everyone, 4, &freed, &err), 0);
	assert_int_equal(freed, AT(CLUSTERS - 3 - 2 - 2 - 2 - 2));
	assert_int_equal(qcow2_usage_freed_bytes(usage, NULL, 0, &freed, &err), 0);
	assert_int_equal(freed, 0);
	assert_int_equal(qcow2_usage_freed_bytes(usage, wrong, 2, &freed, &err), -1);
	assert_int_equal(err.code, QCOW2_ERROR_ARGUMENT);
	qcow2_usage_close(usage);
}

static enum qcow2_usage_kind kind_at(unsigned cluster)
{
	struct qcow2_usage *usage;
	const struct qcow2_usage_run *run;
	enum qcow2_usage_kind kind = QCOW2_USAGE_KINDS;

	open_bytes(AT(CLUSTERS));
	usage = open_usage((struct qcow2_usage_options){.users = true});
	while (qcow2_usage_next(usage, &run, &err) > 0)
		if (AT(cluster) - run->start.byte < run->length_bytes)
			kind = run->kind;
	assert_int_equal(sum_of_totals(usage), AT(CLUSTERS));
	qcow2_usage_close(usage);
	return kind;
}

static void test_conflicts(void **state)
{
	(void)state;
	make_image();
	/* Data may be shared by anyone; data and a table, or data and compressed data, may not. */
	put_entry(L2_OWN, 6, AT(DATA_OWN));
	assert_int_equal(kind_at(DATA_OWN), QCOW2_USAGE_DATA);
	put_entry(L2_SNAPSHOTS, 6, AT(DATA_OWN));
	assert_int_equal(kind_at(DATA_OWN), QCOW2_USAGE_SHARED);
	put_entry(L2_OWN, 7, UINT64_C(1) << 62 | AT(COMPRESSED));
	assert_int_equal(kind_at(COMPRESSED), QCOW2_USAGE_COMPRESSED);
	put_entry(L2_OWN, 8, AT(COMPRESSED));
	assert_int_equal(kind_at(COMPRESSED), QCOW2_USAGE_CONFLICT);
	put_entry(L2_OWN, 9, AT(L1));
	assert_int_equal(kind_at(L1), QCOW2_USAGE_CONFLICT);
	put_entry(BITMAP_TABLE, 0, AT(BITMAP_TABLE));
	assert_int_equal(kind_at(BITMAP_TABLE), QCOW2_USAGE_CONFLICT);
	assert_int_equal(kind_at(BITMAP_DATA), QCOW2_USAGE_FREE);
}

/* A structure that passes the end of the file is told where nothing else is, as it may be all there is. */
static void test_beyond_the_end(void **state)
{
	(void)state;
	make_image();
	put_be(bytes + 152, 8, 1 << 30);
	assert_int_equal(kind_at(LUKS), QCOW2_USAGE_CRYPTO);
	assert_int_equal(kind_at(LEAKED), QCOW2_USAGE_CRYPTO);
	assert_int_equal(kind_at(FREE), QCOW2_USAGE_CRYPTO);
	assert_int_equal(kind_at(LAST), QCOW2_USAGE_DATA);
}

static int stop(void *opaque, uint64_t done_bytes, uint64_t total_bytes)
{
	assert_true(done_bytes <= total_bytes);
	return --*(int *)opaque == 0;
}

static void test_errors(void **state)
{
	struct qcow2_usage_options options = {.size = sizeof(options), .memory_limit_bytes = 1000};
	struct qcow2_usage *usage;
	int left = 1;

	(void)state;
	make_image();
	open_bytes(AT(CLUSTERS));
	assert_int_equal(qcow2_usage_open(image, &options, &usage, &err), -1);
	assert_int_equal(err.code, QCOW2_ERROR_LIMIT);
	options.memory_limit_bytes = 0;
	options.progress = stop;
	options.opaque = &left;
	assert_int_equal(qcow2_usage_open(image, &options, &usage, &err), -1);
	assert_int_equal(err.code, QCOW2_ERROR_STOPPED);
	options.size = 0;
	assert_int_equal(qcow2_usage_open(image, &options, &usage, NULL), -1);
	put_be(bytes + 20, 4, 40);
	open_bytes(AT(CLUSTERS));
	assert_int_equal(qcow2_usage_open(image, NULL, &usage, &err), -1);
	assert_int_equal(err.code, QCOW2_ERROR_BROKEN);
	qcow2_usage_close(NULL);
}

static void test_fragmentation(void **state)
{
	struct qcow2_fragmentation sums = {.size = sizeof(sums)}, again = sums;
	struct qcow2_usage *kept;

	(void)state;
	make_image();
	open_bytes(AT(CLUSTERS));
	assert_int_equal(qcow2_fragmentation_measure(image, &sums, &err), 0);
	/* DATA_OWN, the compressed one, DATA_MOVED, and DATA_OF_ALL; that kept for zeros is none. */
	assert_int_equal(sums.data_bytes, AT(4));
	assert_int_equal(sums.runs, 4);
	assert_int_equal(sums.longest_bytes, CLUSTER);
	assert_int_equal(sums.seeks, 3);
	assert_int_equal(sums.seek_bytes, AT(COMPRESSED) + 100 - AT(DATA_OWN + 1) +
						  (AT(COMPRESSED + 1) - AT(DATA_MOVED)) +
						  (AT(DATA_OF_ALL) - AT(DATA_MOVED + 1)));
	assert_int_equal(sums.compressed_clusters, 1);
	kept = open_usage((struct qcow2_usage_options){.fragmentation = true});
	assert_int_equal(qcow2_usage_fragmentation(kept, &again, &err), 0);
	assert_memory_equal(&again, &sums, sizeof(sums));
	qcow2_usage_close(kept);
	kept = open_usage((struct qcow2_usage_options){.users = true});
	assert_int_equal(qcow2_usage_fragmentation(kept, &again, &err), -1);
	assert_int_equal(err.code, QCOW2_ERROR_ARGUMENT);
	qcow2_usage_close(kept);
	sums.size = 0;
	assert_int_equal(qcow2_fragmentation_measure(image, &sums, &err), -1);
	assert_int_equal(err.code, QCOW2_ERROR_ARGUMENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_runs, setup, teardown),
		cmocka_unit_test_setup_teardown(test_windows, setup, teardown),
		cmocka_unit_test_setup_teardown(test_totals, setup, teardown),
		cmocka_unit_test_setup_teardown(test_users, setup, teardown),
		cmocka_unit_test_setup_teardown(test_freed_but_one, setup, teardown),
		cmocka_unit_test_setup_teardown(test_conflicts, setup, teardown),
		cmocka_unit_test_setup_teardown(test_beyond_the_end, setup, teardown),
		cmocka_unit_test_setup_teardown(test_errors, setup, teardown),
		cmocka_unit_test_setup_teardown(test_fragmentation, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
