/* SPDX-License-Identifier: MIT */
/*
 * A disk over a chain when the system fails it: each allocation and each read once. All of them are
 * errors, and none becomes zeros. The leak checker watches.
 */
#include "faults.h"
#include "guest_fixture.h"

static unsigned long reads, fail_read;
static bool fail_all; /* those that follow, too */

/* Each read of any file counts. */
static int counted_read(void *opaque, uint64_t offset, void *buffer, size_t size)
{
	const struct file *file = opaque;

	reads++;
	if (reads == fail_read || (fail_all && fail_read > 0 && reads > fail_read))
		return EIO;
	memcpy(buffer, file->bytes + offset, size);
	return 0;
}

static const struct qcow2_source_ops ops = {.size = sizeof(ops), .read = counted_read};

/* An image with data, compressed data of two methods, a snapshot, and two files below. */
static void build(struct chain *c)
{
	uint8_t *bytes = c->files[0].bytes;

	make_image(c, 0, 8 * CLUSTER);
	put_backing(c, 0, "middle");
	put_entry(c, 0, 0, DATA_AT);
	put_entry(c, 0, 1, put_deflated(bytes, 0x4003, 512));
	put_entry(c, 0, 2, put_deflated(bytes, 0x4403, 512));
	make_image(c, 1, 8 * CLUSTER);
	put_backing(c, 1, "base");
	put_be(c->files[1].bytes + 72, 8, 8);
	put_be(c->files[1].bytes + 100, 4, 112);
	c->files[1].bytes[104] = 1;
	put_entry(c, 1, 3, put_zstd(c->files[1].bytes, 0x4003, 10));
	put_entry(c, 1, 4, DATA_AT);
	make_raw(c, 2, 8 * CLUSTER);
	put_be(bytes + 60, 4, 1);
	put_be(bytes + 64, 8, 0x800);
	put_snapshot(bytes + 0x800, 1, 1, 16);
	put_be(bytes + 0x800, 8, L1_AT);
	put_be(bytes + 0x808, 4, 1);
	put_be(bytes + 0x830, 8, 8 * CLUSTER);
}

static int gate(void *opaque, const struct qcow2_disk_wanted *wanted, struct qcow2_source **source,
		struct qcow2_error *err)
{
	struct chain *c = opaque;
	struct file *file = &c->files[wanted->depth + 1];

	if (!file->source && qcow2_source_from_ops(&ops, file, file->size, &file->source, err))
		return QCOW2_DISK_REFUSED;
	*source = file->source;
	return wanted->depth == 0 ? QCOW2_DISK_GIVEN_QCOW2 : QCOW2_DISK_GIVEN_RAW;
}

static int count_fault(void *opaque, const struct qcow2_disk_fault *fault)
{
	unsigned *faults = opaque;

	assert_int_equal(fault->error.code, QCOW2_ERROR_IO);
	assert_int_equal(fault->error.errnum, EIO);
	++*faults;
	return 0;
}

/* What is done with the disk. */
struct work {
	bool past;
	unsigned faults;
	uint8_t bytes[8 * CLUSTER];
};

/* Goes through all extents. */
static int list(struct qcow2_disk *disk, struct qcow2_error *err)
{
	struct qcow2_disk_extents *extents;
	const struct qcow2_disk_extent *e;
	int more;

	if (qcow2_disk_extents_open(disk, &extents, err))
		return -1;
	do {
		more = qcow2_disk_extents_next(extents, &e, err);
	} while (more > 0);
	qcow2_disk_extents_close(extents);
	return more;
}

static int use(struct qcow2_disk *disk, struct work *work, struct qcow2_error *err)
{
	const struct qcow2_guest start = {0}, within = {700};

	if (work->past)
		return qcow2_disk_read_past(disk, start, work->bytes, sizeof(work->bytes),
					    count_fault, &work->faults, err);
	if (list(disk, err) || qcow2_disk_read(disk, within, work->bytes, 200, err) ||
	    qcow2_disk_read(disk, within, work->bytes, 200, err))
		return -1;
	return qcow2_disk_read(disk, start, work->bytes, sizeof(work->bytes), err);
}

/* Opens and uses the disk. With `past`, only the reading may fail. */
static int run(struct work *work, struct qcow2_error *err)
{
	struct chain *c = new_chain();
	int result = -1;

	c->options.gate = gate;
	c->options.has_snapshot = true;
	build(c);
	if (qcow2_source_from_ops(&ops, &c->files[0], FILE_BYTES, &c->files[0].source, err) == 0 &&
	    qcow2_image_open(c->files[0].source, &c->image, err) == 0 &&
	    qcow2_disk_open(c->image, &c->options, &c->disk, err) == 0) {
		if (work->past)
			reads = 0;
		result = use(c->disk, work, err);
	}
	for (unsigned i = 0; i < 3 && result == 0 && work->faults == 0; i++)
		assert_int_equal(work->bytes[i * 512 + 1],
				 byte_at(0, i == 0 ? DATA_AT + 1 : 0x4009 + (i - 1) * 0x400));
	close_chain(c);
	return result;
}

static void allocations(void **state)
{
	struct work work = {.past = false};
	struct qcow2_error err;
	unsigned failed = 0;

	(void)state;
	for (unsigned past = 0; past < 2; past++) {
		for (unsigned long at = 2;; at++, failed++) {
			int result;

			work.past = past;
			faults_fail_allocation = at; /* the first one is the test's own */
			result = run(&work, &err);
			if (faults_fail_allocation > 0) {
				faults_fail_allocation = 0;
				assert_int_equal(result, 0);
				break;
			}
			assert_int_equal(result, -1);
			assert_int_equal(err.code, QCOW2_ERROR_MEMORY);
			assert_int_equal(work.faults, 0);
		}
	}
	assert_true(failed > 40);
}

static void failing_reads(void **state)
{
	struct work work = {.past = false};
	struct qcow2_error err;
	unsigned long count;

	(void)state;
	fail_read = reads = 0;
	assert_int_equal(run(&work, &err), 0);
	count = reads;
	assert_true(count > 10);
	/* A stream of extents tells what it found first, and meets a fault again. */
	fail_all = true;
	for (fail_read = 1; fail_read <= count; fail_read++) {
		reads = 0;
		assert_int_equal(run(&work, &err), -1);
		assert_int_equal(err.code, QCOW2_ERROR_IO);
		assert_int_equal(err.errnum, EIO);
	}
	fail_read = 0;
	fail_all = false;
}

/* A read that fails once is tried again in pieces; what fails for good is told. */
static void failing_reads_are_told(void **state)
{
	struct work work = {.past = true};
	struct qcow2_error err;
	unsigned long count;
	unsigned told = 0;

	(void)state;
	fail_read = reads = 0;
	assert_int_equal(run(&work, &err), 0);
	count = reads;
	for (fail_read = 1; fail_read <= count; fail_read++) {
		work.faults = 0;
		reads = count + 1; /* opening does not fail */
		assert_int_equal(run(&work, &err), 0);
		told += work.faults;
	}
	fail_read = 0;
	assert_true(told >= 3); /* those of compressed clusters */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(allocations),
		cmocka_unit_test(failing_reads),
		cmocka_unit_test(failing_reads_are_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
