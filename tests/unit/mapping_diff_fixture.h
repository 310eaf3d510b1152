/* SPDX-License-Identifier: MIT */
/* An image with a snapshot, and the stream of what differs between that and the active disk. */
#ifndef TESTS_UNIT_MAPPING_DIFF_FIXTURE_H
#define TESTS_UNIT_MAPPING_DIFF_FIXTURE_H

#include "mapping_random.h"

#include <qcow2/mapping_diff.h>

#define SNAPSHOTS_AT   0x4000
#define SNAPSHOT_L1_AT (L1_AT + BYTES)
#define L1_MOST        20
/* The tables of the snapshot alone. */
#define OWN_AT (TABLES_AT + L1_MOST * BYTES)

static struct qcow2_mapping *sides[2];  /* what is compared */
static struct qcow2_mapping *models[2]; /* what the model asks */
static struct qcow2_mapping_diff *diff;

static inline uint64_t per_table(const struct form *form)
{
	return BYTES / (form->extended ? 16 : 8) * BYTES;
}

static inline void put_snapshot_of(uint64_t size, uint32_t l1_size)
{
	put_be(bytes + 60, 4, 1);
	put_be(bytes + 64, 8, SNAPSHOTS_AT);
	put_snapshot(bytes + SNAPSHOTS_AT, 1, 1, 16);
	put_be(bytes + SNAPSHOTS_AT, 8, SNAPSHOT_L1_AT);
	put_be(bytes + SNAPSHOTS_AT + 8, 4, l1_size);
	put_be(bytes + SNAPSHOTS_AT + 48, 8, size);
}

static inline void open_side(struct qcow2_mapping **out, bool of_snapshot)
{
	if (of_snapshot)
		assert_int_equal(qcow2_mapping_open_snapshot(image, 0, out, &err), 0);
	else
		assert_int_equal(qcow2_mapping_open(image, out, &err), 0);
}

static inline void open_diff(const struct qcow2_mapping_diff_options *options)
{
	open_bytes(sizeof(bytes));
	for (unsigned i = 0; i < 2; i++) {
		open_side(&sides[i], i == 0);
		open_side(&models[i], i == 0);
	}
	assert_int_equal(qcow2_mapping_diff_open(sides[0], sides[1], options, &diff, &err), 0);
}

static inline void close_diff(void)
{
	qcow2_mapping_diff_close(diff);
	for (unsigned i = 0; i < 2; i++) {
		qcow2_mapping_close(sides[i]);
		qcow2_mapping_close(models[i]);
	}
}

static inline const struct qcow2_mapping_difference *expect(uint64_t start, uint64_t length)
{
	const struct qcow2_mapping_difference *d;

	assert_int_equal(qcow2_mapping_diff_next(diff, &d, &err), 1);
	assert_true(d->start.byte == start && d->length_bytes == length);
	return d;
}

static inline void expect_end(void)
{
	const struct qcow2_mapping_difference *d;

	assert_int_equal(qcow2_mapping_diff_next(diff, &d, &err), 0);
	close_diff();
}

#endif
