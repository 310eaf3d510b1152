/* SPDX-License-Identifier: MIT */
/* Opening a disk: options, what a gate may answer, chains, and images that cannot be read. */
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

/* ---- options ---- */

static void no_options(void **state)
{
	(void)state;
	put_entry(c, 0, 3, DATA_AT);
	open_file(&c->files[0]);
	assert_int_equal(qcow2_image_open(c->files[0].source, &c->image, NULL), 0);
	assert_int_equal(qcow2_disk_open(c->image, NULL, &c->disk, NULL), 0);
	assert_int_equal(qcow2_disk_size_bytes(c->disk), 32768);
	assert_int_equal(qcow2_disk_depth(c->disk), 1);
	assert_bytes(c, 3 * CLUSTER, CLUSTER, 0, DATA_AT);
	qcow2_disk_close(NULL);
}

static void wrong_options(void **state)
{
	struct {
		struct qcow2_disk_options known;
		uint64_t more;
	} longer = {.known = {.size = sizeof(longer)}, .more = 1};

	(void)state;
	c->options.size = 0;
	expect_refusal(c, QCOW2_ERROR_ARGUMENT);
	assert_int_equal(qcow2_disk_open(c->image, &longer.known, &c->disk, &c->err), -1);
	assert_int_equal(c->err.code, QCOW2_ERROR_ARGUMENT);
	longer.more = 0;
	assert_int_equal(qcow2_disk_open(c->image, &longer.known, &c->disk, &c->err), 0);
	qcow2_disk_close(c->disk);
	c->disk = NULL;
	c->options.size = sizeof(c->options);
	c->options.vm_state = true;
	expect_refusal(c, QCOW2_ERROR_ARGUMENT);
	c->options.has_snapshot = true;
	expect_refusal(c, QCOW2_ERROR_NOT_FOUND);
}

static void sizes(void **state)
{
	(void)state;
	put_be(c->files[0].bytes + 24, 8, 32768 - 1);
	open_chain(c);
	assert_int_equal(qcow2_disk_size_bytes(c->disk), 32768 - 512);
}

static void names(void **state)
{
	(void)state;
	assert_string_equal(qcow2_disk_kind_name(QCOW2_DISK_UNALLOCATED), "unallocated");
	assert_string_equal(qcow2_disk_kind_name(QCOW2_DISK_ZERO), "zero");
	assert_string_equal(qcow2_disk_kind_name(QCOW2_DISK_DATA), "data");
	assert_string_equal(qcow2_disk_kind_name(QCOW2_DISK_UNREADABLE), "unreadable");
	assert_null(qcow2_disk_kind_name((enum qcow2_disk_kind)4));
	assert_null(qcow2_disk_kind_name((enum qcow2_disk_kind) - 1));
}

/* ---- images ---- */

static void insane_image(void **state)
{
	(void)state;
	put_be(c->files[0].bytes + 20, 4, 64);
	expect_refusal(c, QCOW2_ERROR_BROKEN);
}

static void unknown_feature(void **state)
{
	(void)state;
	put_be(c->files[0].bytes + 72, 8, UINT64_C(1) << 40);
	expect_refusal(c, QCOW2_ERROR_UNSUPPORTED);
}

static void unknown_compression(void **state)
{
	(void)state;
	put_be(c->files[0].bytes + 100, 4, 112);
	c->files[0].bytes[104] = 2;
	expect_refusal(c, QCOW2_ERROR_UNSUPPORTED);
}

static void snapshot_that_is_cut(void **state)
{
	(void)state;
	c->options.has_snapshot = true;
	c->files[0].size = 0x2000 - 8;
	put_be(c->files[0].bytes + 60, 4, 1);
	put_be(c->files[0].bytes + 64, 8, 0x2000 - 512);
	put_snapshot(c->files[0].bytes + 0x2000 - 512, 1, 600, 16);
	expect_refusal(c, QCOW2_ERROR_BROKEN);
}

/* ---- the gate ---- */

static void no_gate(void **state)
{
	(void)state;
	put_backing(c, 0, "base");
	c->options.gate = NULL;
	expect_refusal(c, QCOW2_ERROR_UNSUPPORTED);
	assert_non_null(strstr(c->err.text, "backing file"));
	put_backing(c, 0, "");
	put_be(c->files[0].bytes + 72, 8, 4);
	qcow2_image_close(c->image);
	c->image = NULL;
	expect_refusal(c, QCOW2_ERROR_UNSUPPORTED);
	assert_non_null(strstr(c->err.text, "data file"));
}

static int ask(void *opaque, const struct qcow2_disk_wanted *wanted, struct qcow2_source **source,
	       struct qcow2_error *err)
{
	assert_int_equal(wanted->role, QCOW2_DISK_BACKING);
	assert_int_equal(wanted->depth, 0);
	assert_ptr_equal(wanted->image, c->image);
	assert_int_equal(wanted->name.size, 4);
	assert_memory_equal(wanted->name.data, "base", 4);
	assert_int_equal(wanted->format.size, 3);
	assert_memory_equal(wanted->format.data, "raw", 3);
	return give(opaque, wanted, source, err);
}

static void what_is_asked(void **state)
{
	(void)state;
	put_backing(c, 0, "base");
	put_mark(c->files[0].bytes + 104, 0xe2792aca, 3);
	memcpy(c->files[0].bytes + 112, "raw", 3);
	c->options.gate = ask;
	make_raw(c, 1, 4096);
	c->turns[0] = (struct turn){QCOW2_DISK_GIVEN_RAW, &c->files[1]};
	open_chain(c);
	assert_int_equal(c->asked, 1);
	assert_int_equal(qcow2_disk_depth(c->disk), 2);
}

static void refusals(void **state)
{
	/* Answers without a source, and ones that are none. */
	static const int none[] = {0, 4, -2, QCOW2_DISK_GIVEN_RAW, QCOW2_DISK_GIVEN_QCOW2};

	(void)state;
	put_backing(c, 0, "base");
	for (unsigned i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
		c->asked = 0;
		c->turns[0] = (struct turn){none[i], NULL};
		expect_refusal(c, QCOW2_ERROR_ARGUMENT);
	}
	/* A gate that gives no reason. */
	c->asked = 0;
	c->turns[0] = (struct turn){QCOW2_DISK_REFUSED, NULL};
	memset(&c->err, 0xff, sizeof(c->err));
	expect_refusal(c, QCOW2_ERROR_UNSUPPORTED);
}

static void data_file_is_raw(void **state)
{
	(void)state;
	put_be(c->files[0].bytes + 72, 8, 4);
	make_raw(c, 1, 32768);
	c->turns[0] = (struct turn){QCOW2_DISK_GIVEN_QCOW2, &c->files[1]};
	expect_refusal(c, QCOW2_ERROR_ARGUMENT);
	c->asked = 0;
	c->turns[0].answer = QCOW2_DISK_GIVEN_RAW;
	open_chain(c);
}

/* A source that comes with the answer "missing" is not read. */
static void missing_means_missing(void **state)
{
	(void)state;
	put_be(c->files[0].bytes + 72, 8, 4);
	put_entry(c, 0, 1, 512 | UINT64_C(1) << 63);
	make_raw(c, 1, 32768);
	c->turns[0] = (struct turn){QCOW2_DISK_MISSING, &c->files[1]};
	open_chain(c);
	expect_failure(c, 512, 512, QCOW2_ERROR_NOT_FOUND);
	assert_zeros(c, 0, 512);
}

static void backing_that_is_no_image(void **state)
{
	(void)state;
	put_backing(c, 0, "base");
	make_raw(c, 1, 4096);
	c->turns[0] = (struct turn){QCOW2_DISK_GIVEN_QCOW2, &c->files[1]};
	expect_refusal(c, QCOW2_ERROR_NOT_QCOW2);
	assert_non_null(strstr(c->err.text, "file 1 of the chain"));
}

/* ---- backing files that the caller can do without ---- */

static struct {
	int answer;
	unsigned count;
	uint32_t depth;
	enum qcow2_error_code code;
} lost;

static int hear_lost(void *opaque, uint32_t depth, const struct qcow2_error *err)
{
	assert_ptr_equal(opaque, c);
	assert_true(strlen(err->text) > 0);
	lost.count++;
	lost.depth = depth;
	lost.code = err->code;
	return lost.answer;
}

static void forget_lost(int answer)
{
	qcow2_disk_close(c->disk);
	qcow2_image_close(c->image);
	c->disk = NULL;
	c->image = NULL;
	c->asked = 0;
	lost.answer = answer;
	lost.count = 0;
}

/* What cannot be opened is missing, if the caller says so; the image itself never is. */
static void backing_that_is_lost(void **state)
{
	(void)state;
	put_backing(c, 0, "base");
	put_entry(c, 0, 1, 512 | UINT64_C(1) << 63);
	make_raw(c, 1, 4096);
	c->turns[0] = (struct turn){QCOW2_DISK_GIVEN_QCOW2, &c->files[1]};
	c->options.lost = hear_lost;
	forget_lost(0);
	open_chain(c);
	assert_true(lost.count == 1 && lost.depth == 1 && lost.code == QCOW2_ERROR_NOT_QCOW2);
	assert_int_equal(qcow2_disk_depth(c->disk), 2);
	expect_failure(c, 0, 512, QCOW2_ERROR_NOT_FOUND);
	forget_lost(-1);
	expect_refusal(c, QCOW2_ERROR_NOT_QCOW2);
	assert_int_equal(lost.count, 1);
	/* What the gate refuses is refused. */
	c->turns[0].answer = QCOW2_DISK_REFUSED;
	forget_lost(0);
	expect_refusal(c, QCOW2_ERROR_UNSUPPORTED);
	assert_int_equal(lost.count, 0);
	/* A name that is lost. */
	put_be(c->files[0].bytes + 8, 8, 0x4000);
	forget_lost(0);
	open_chain(c);
	assert_true(lost.count == 1 && lost.depth == 1 && lost.code == QCOW2_ERROR_BROKEN);
	assert_int_equal(c->asked, 0);
	expect_failure(c, 0, 512, QCOW2_ERROR_NOT_FOUND);
	put_be(c->files[0].bytes + 72, 8, 1 << 20);
	forget_lost(0);
	expect_refusal(c, QCOW2_ERROR_UNSUPPORTED);
	assert_int_equal(lost.count, 0);
}

/* Without its whole name nobody knows what is below: zeros would be a lie. */
static void name_that_is_lost(void **state)
{
	(void)state;
	put_backing(c, 0, "base");
	put_be(c->files[0].bytes + 8, 8, 0x4000);
	expect_refusal(c, QCOW2_ERROR_BROKEN);
	qcow2_image_close(c->image);
	c->image = NULL;
	put_be(c->files[0].bytes + 8, 8, 0x180);
	put_be(c->files[0].bytes + 16, 4, 129);
	expect_refusal(c, QCOW2_ERROR_BROKEN);
	assert_int_equal(c->asked, 0);
}

/* The image is its own backing file: that ends. */
static void loops(void **state)
{
	(void)state;
	put_backing(c, 0, "self");
	for (unsigned i = 0; i < FILES; i++)
		c->turns[i] = (struct turn){QCOW2_DISK_GIVEN_QCOW2, &c->files[0]};
	expect_refusal(c, QCOW2_ERROR_LIMIT);
	assert_int_equal(c->asked, QCOW2_DISK_DEPTH_MAX);
}

static void memory_is_divided(void **state)
{
	(void)state;
	c->options.memory_limit_bytes = 1;
	open_chain(c);
	assert_int_equal(c->disk->readers.most, 1);
	assert_int_equal(c->disk->cache.count, 0);
	qcow2_disk_close(c->disk);
	c->disk = NULL;
	c->options.memory_limit_bytes = UINT64_MAX;
	open_chain(c);
	assert_true(c->disk->readers.most > 1 && c->disk->readers.most <= 64);
	assert_true(c->disk->cache.count <= 256);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(no_options),
		TEST(wrong_options),
		TEST(sizes),
		TEST(names),
		TEST(insane_image),
		TEST(unknown_feature),
		TEST(unknown_compression),
		TEST(snapshot_that_is_cut),
		TEST(no_gate),
		TEST(what_is_asked),
		TEST(refusals),
		TEST(data_file_is_raw),
		TEST(missing_means_missing),
		TEST(backing_that_is_no_image),
		TEST(backing_that_is_lost),
		TEST(name_that_is_lost),
		TEST(loops),
		TEST(memory_is_divided),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
