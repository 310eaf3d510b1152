/* SPDX-License-Identifier: MIT */
/* Reading a disk: where the bytes come from, in chains, with every kind of cluster. */
#include "guest_fixture.h"

#include "guest/disk.h"

static struct chain *c;

static int setup(void **state)
{
	(void)state;
	c = new_chain();
	make_image(c, 0, 32768);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	close_chain(c);
	return 0;
}

/* ---- one image ---- */

static void ranges(void **state)
{
	uint8_t byte = 0;

	(void)state;
	put_entry(c, 0, 0, DATA_AT + 0x800);
	put_entry(c, 0, 1, DATA_AT);
	put_entry(c, 0, 2, DATA_AT + 0x200);
	put_entry(c, 0, 4, 1);
	open_chain(c);
	assert_bytes(c, 0, 512, 0, DATA_AT + 0x800);
	assert_bytes(c, 512, 1024, 0, DATA_AT);
	assert_bytes(c, 513, 1, 0, DATA_AT + 1);
	assert_bytes(c, 700, 700, 0, DATA_AT + 188);
	assert_zeros(c, 3 * CLUSTER, 1024);
	assert_zeros(c, 32768 - 1, 1);
	assert_int_equal(read_disk(c, 32768, &byte, 0), 0);
	assert_int_equal(read_disk(c, 0, NULL, 0), 0);
	expect_failure(c, 32768, 1, QCOW2_ERROR_ARGUMENT);
	expect_failure(c, 32769, 0, QCOW2_ERROR_ARGUMENT);
	expect_failure(c, 32000, 1000, QCOW2_ERROR_ARGUMENT);
	expect_failure(c, UINT64_MAX, 2, QCOW2_ERROR_ARGUMENT);
}

/* The file ends within the last cluster: the rest of that is zeros. */
static void short_last_cluster(void **state)
{
	(void)state;
	c->files[0].size = DATA_AT + 100;
	put_entry(c, 0, 0, DATA_AT);
	put_entry(c, 0, 1, DATA_AT + 512);
	open_chain(c);
	assert_bytes(c, 0, 100, 0, DATA_AT);
	assert_zeros(c, 100, 412);
	expect_failure(c, 512, 1, QCOW2_ERROR_BROKEN);
	assert_int_equal(c->err.offset_bytes, L2_AT + 8);
	assert_non_null(strstr(c->err.text, "0x200"));
}

static void compressed(void **state)
{
	(void)state;
	put_entry(c, 0, 5, put_deflated(c->files[0].bytes, 0x4003, 512));
	put_entry(c, 0, 6, put_deflated(c->files[0].bytes, 0x4803, 511));
	for (unsigned slots = 0; slots < 2; slots++) {
		c->options.memory_limit_bytes = slots ? 0 : 1;
		open_chain(c);
		assert_bytes(c, 5 * CLUSTER, 512, 0, 0x4008);
		assert_bytes(c, 5 * CLUSTER + 17, 100, 0, 0x4008 + 17);
		assert_bytes(c, 5 * CLUSTER + 511, 1, 0, 0x4008 + 511);
		/* Less than a cluster. */
		expect_failure(c, 6 * CLUSTER, 512, QCOW2_ERROR_BROKEN);
		expect_failure(c, 6 * CLUSTER + 1, 1, QCOW2_ERROR_BROKEN);
		qcow2_disk_close(c->disk);
		c->disk = NULL;
	}
}

/* What the cache keeps is not read again. */
static void cache(void **state)
{
	uint64_t before;

	(void)state;
	put_entry(c, 0, 5, put_deflated(c->files[0].bytes, 0x4003, 512));
	open_chain(c);
	assert_bytes(c, 5 * CLUSTER + 1, 1, 0, 0x4009);
	before = qcow2_source_read_bytes(c->files[0].source);
	for (unsigned i = 0; i < 512; i += 7)
		assert_bytes(c, 5 * CLUSTER + i, 1, 0, 0x4008 + i);
	assert_int_equal(qcow2_source_read_bytes(c->files[0].source), before);
	assert_zeros(c, 0, 512);
	assert_bytes(c, 5 * CLUSTER + 3, 9, 0, 0x400b);
}

static void zstd(void **state)
{
	(void)state;
	put_be(c->files[0].bytes + 72, 8, 8);
	put_be(c->files[0].bytes + 100, 4, 112);
	c->files[0].bytes[104] = 1;
	put_entry(c, 0, 2, put_zstd(c->files[0].bytes, 0x4003, 0));
	/* A window of 128 MiB, of which nothing is needed. */
	put_entry(c, 0, 3, put_zstd(c->files[0].bytes, 0x4803, 17));
	put_entry(c, 0, 4, PACKED | 0x5000);
	open_chain(c);
	assert_bytes(c, 2 * CLUSTER, 512, 0, 0x400c);
	assert_bytes(c, 3 * CLUSTER, 512, 0, 0x480c);
	expect_failure(c, 4 * CLUSTER, 512, QCOW2_ERROR_BROKEN);
}

/* ---- chains ---- */

static void shorter_and_longer_backing(void **state)
{
	(void)state;
	put_backing(c, 0, "middle");
	make_image(c, 1, 4 * CLUSTER);
	put_backing(c, 1, "base");
	make_raw(c, 2, 32768 + 300);
	c->turns[0] = (struct turn){QCOW2_DISK_GIVEN_QCOW2, &c->files[1]};
	c->turns[1] = (struct turn){QCOW2_DISK_GIVEN_RAW, &c->files[2]};
	put_entry(c, 0, 0, DATA_AT);
	put_entry(c, 0, 1, 1);
	put_entry(c, 1, 1, DATA_AT);
	put_entry(c, 1, 2, DATA_AT + 512);
	open_chain(c);
	assert_int_equal(qcow2_disk_depth(c->disk), 3);
	assert_bytes(c, 0, 512, 0, DATA_AT);
	assert_zeros(c, 512, 512);
	assert_bytes(c, 1024, 512, 1, DATA_AT + 512);
	assert_bytes(c, 1536, 512, 2, 1536);
	/* Behind the end of the middle one, the base does not matter. */
	assert_zeros(c, 2048, 30720);
}

static void raw_that_ends_within_a_sector(void **state)
{
	(void)state;
	put_backing(c, 0, "base");
	make_raw(c, 1, 700);
	c->turns[0] = (struct turn){QCOW2_DISK_GIVEN_RAW, &c->files[1]};
	open_chain(c);
	assert_bytes(c, 0, 700, 1, 0);
	assert_zeros(c, 700, 32768 - 700);
}

static void raw_disk(void **state)
{
	uint8_t bytes[1024];

	(void)state;
	make_raw(c, 1, 700);
	open_file(&c->files[1]);
	assert_int_equal(qcow2_disk_open_raw(c->files[1].source, &c->disk, &c->err), 0);
	assert_int_equal(qcow2_disk_size_bytes(c->disk), 1024);
	assert_int_equal(qcow2_disk_depth(c->disk), 1);
	assert_bytes(c, 0, 700, 1, 0);
	assert_zeros(c, 700, 324);
	assert_int_equal(read_disk(c, 0, bytes, 1025), -1);
}

static void missing_backing(void **state)
{
	(void)state;
	put_backing(c, 0, "base");
	c->turns[0].answer = QCOW2_DISK_MISSING;
	put_entry(c, 0, 1, DATA_AT);
	open_chain(c);
	assert_int_equal(qcow2_disk_depth(c->disk), 2);
	assert_bytes(c, 512, 512, 0, DATA_AT);
	expect_failure(c, 0, 512, QCOW2_ERROR_NOT_FOUND);
	expect_failure(c, 1023, 2, QCOW2_ERROR_NOT_FOUND);
}

/* ---- data files ---- */

static void data_file(void **state)
{
	(void)state;
	put_be(c->files[0].bytes + 72, 8, 4);
	for (unsigned i = 0; i < 8; i++)
		put_entry(c, 0, i, (uint64_t)i * CLUSTER | UINT64_C(1) << 63);
	make_raw(c, 1, 1100);
	c->turns[0] = (struct turn){QCOW2_DISK_GIVEN_RAW, &c->files[1]};
	open_chain(c);
	assert_bytes(c, 0, 1100, 1, 0);
	assert_zeros(c, 1100, 1536 - 1100);
	/* It was cut. */
	expect_failure(c, 1536, 1, QCOW2_ERROR_BROKEN);
	expect_failure(c, 1000, 600, QCOW2_ERROR_BROKEN);
	assert_zeros(c, 8 * CLUSTER, 512);
}

/* ---- extended entries ---- */

static void subclusters(void **state)
{
	struct file *file = &c->files[0];

	(void)state;
	/* Clusters of 16 KiB, subclusters of 512 bytes. */
	put_be(file->bytes + 20, 4, 14);
	put_be(file->bytes + 72, 8, 16);
	put_be(file->bytes + 40, 8, 0x4000);
	put_be(file->bytes + 0x4000, 8, 0x8000);
	put_be(file->bytes + 0x8000, 8, 0xc000);
	put_be(file->bytes + 0x8008, 8, UINT64_C(0x0000000200000005));
	put_be(file->bytes + 0x8010, 8, 0xc000);
	put_be(file->bytes + 0x8018, 8, UINT64_C(0x0000000100000001));
	put_be(file->bytes + 8, 8, 0x180);
	put_backing(c, 0, "base");
	make_raw(c, 1, 32768);
	c->turns[0] = (struct turn){QCOW2_DISK_GIVEN_RAW, &c->files[1]};
	open_chain(c);
	assert_bytes(c, 0, 512, 0, 0xc000);
	assert_zeros(c, 512, 512);
	assert_bytes(c, 1024, 512, 0, 0xc400);
	assert_bytes(c, 1536, 16384 - 1536, 1, 1536);
	/* A subcluster that is both spoils its cluster. */
	expect_failure(c, 32768 - 1, 1, QCOW2_ERROR_BROKEN);
}

/* ---- snapshots ---- */

/* A snapshot of a disk of two clusters, with a state of three in the second L1 entry. */
static void put_snapshot_with_state(uint64_t disk_bytes, uint64_t state_bytes)
{
	uint8_t *bytes = c->files[0].bytes;

	put_be(bytes + 60, 4, 1);
	put_be(bytes + 64, 8, 0x800);
	put_snapshot(bytes + 0x800, 1, 1, 16);
	put_be(bytes + 0x800, 8, 0xa00);
	put_be(bytes + 0x808, 4, 2);
	put_be(bytes + 0x828, 8, state_bytes);
	put_be(bytes + 0x830, 8, disk_bytes);
	put_be(bytes + 0xa00, 8, 0xc00);
	put_be(bytes + 0xa08, 8, 0xe00);
	put_be(bytes + 0xc00, 8, DATA_AT + 0x200);
	put_be(bytes + 0xe00, 8, DATA_AT + 0x400);
	c->options.has_snapshot = true;
}

static void snapshot(void **state)
{
	(void)state;
	put_entry(c, 0, 0, DATA_AT);
	put_snapshot_with_state(1024, 1536);
	open_chain(c);
	assert_int_equal(qcow2_disk_size_bytes(c->disk), 1024);
	assert_bytes(c, 0, 512, 0, DATA_AT + 0x200);
	assert_zeros(c, 512, 512);
	expect_failure(c, 1024, 1, QCOW2_ERROR_ARGUMENT);
	qcow2_disk_close(c->disk);
	c->disk = NULL;
	c->options.snapshot_index = 1;
	expect_refusal(c, QCOW2_ERROR_NOT_FOUND);
}

static void machine_state(void **state)
{
	(void)state;
	put_backing(c, 0, "base");
	put_snapshot_with_state(1024, 1500);
	c->options.vm_state = true;
	open_chain(c);
	assert_int_equal(c->asked, 0);
	assert_int_equal(qcow2_disk_depth(c->disk), 1);
	assert_int_equal(qcow2_disk_size_bytes(c->disk), 1500);
	assert_bytes(c, 0, 512, 0, DATA_AT + 0x400);
	assert_bytes(c, 100, 412, 0, DATA_AT + 0x464);
	assert_zeros(c, 512, 1500 - 512);
}

/* The disk is empty: its state begins with the first entry of the L1 table. */
static void state_of_an_empty_disk(void **state)
{
	(void)state;
	put_snapshot_with_state(0, 600);
	c->options.vm_state = true;
	open_chain(c);
	assert_bytes(c, 0, 512, 0, DATA_AT + 0x200);
	assert_zeros(c, 512, 88);
}

static void state_behind_all_numbers(void **state)
{
	(void)state;
	put_snapshot_with_state(UINT64_MAX - 511, 600);
	open_chain(c);
	assert_int_equal(qcow2_disk_size_bytes(c->disk), UINT64_MAX - 511);
	expect_failure(c, UINT64_MAX - 1023, 512, QCOW2_ERROR_BROKEN);
	qcow2_disk_close(c->disk);
	c->disk = NULL;
	c->options.vm_state = true;
	expect_refusal(c, QCOW2_ERROR_BROKEN);
}

/* ---- sizes of clusters ---- */

/* A file of clusters of 1 GiB: the L1 table in the second one, the L2 table in the third, then data. */
static int read_huge(void *opaque, uint64_t offset, void *buffer, size_t size)
{
	const struct {
		uint64_t at, value;
	} words[] = {{1, 2}, {2, PACKED | UINT64_C(3) << 30}, {2, UINT64_C(3) << 30}};

	memset(buffer, 0, size);
	if (offset == 0)
		memcpy(buffer, opaque, size < 512 ? size : 512);
	for (unsigned i = 0; i < 3; i++) {
		const uint64_t at = (words[i].at << 30) + (i == 2 ? 8 : 0);

		if (at >= offset && at + 8 <= offset + size)
			put_be((uint8_t *)buffer + (at - offset), 8,
			       i == 0 ? words[i].value << 30 : words[i].value);
	}
	if (offset >= UINT64_C(3) << 30)
		memset(buffer, 0x5a, size);
	return 0;
}

static void cluster_of_a_gib(void **state)
{
	static const struct qcow2_source_ops ops = {.size = sizeof(ops), .read = read_huge};
	struct file *file = &c->files[0];
	struct qcow2_source *source;
	uint8_t got[700], wanted[700];

	(void)state;
	put_be(file->bytes + 20, 4, 30);
	put_be(file->bytes + 24, 8, UINT64_C(1) << 31);
	put_be(file->bytes + 40, 8, UINT64_C(1) << 30);
	assert_int_equal(qcow2_source_from_ops(&ops, file->bytes, UINT64_C(4) << 30, &source, NULL),
			 0);
	assert_int_equal(qcow2_image_open(source, &c->image, &c->err), 0);
	open_chain(c);
	memset(wanted, 0x5a, sizeof(wanted));
	assert_int_equal(read_disk(c, (UINT64_C(1) << 30) + 77, got, sizeof(got)), 0);
	assert_memory_equal(got, wanted, sizeof(got));
	/* A compressed one would take more memory than is allowed. */
	expect_failure(c, 0, 512, QCOW2_ERROR_LIMIT);
	qcow2_disk_close(c->disk);
	qcow2_image_close(c->image);
	c->disk = NULL;
	c->image = NULL;
	qcow2_source_close(source);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(ranges),
		TEST(short_last_cluster),
		TEST(compressed),
		TEST(cache),
		TEST(zstd),
		TEST(shorter_and_longer_backing),
		TEST(raw_that_ends_within_a_sector),
		TEST(raw_disk),
		TEST(missing_backing),
		TEST(data_file),
		TEST(subclusters),
		TEST(snapshot),
		TEST(machine_state),
		TEST(state_of_an_empty_disk),
		TEST(state_behind_all_numbers),
		TEST(cluster_of_a_gib),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
