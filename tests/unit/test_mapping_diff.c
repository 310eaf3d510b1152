/* SPDX-License-Identifier: MIT */
/*
 * Differences of two mappings, against a model that asks both mappings for one step of a cluster at a
 * time: random tables of each form, some shared and some nearly the same.
 */
#include "mapping_diff_fixture.h"

/* ---- images ---- */

static uint64_t get_be(const uint8_t *at)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < 8; i++)
		value = value << 8 | at[i];
	return value;
}

/* A copy of the active table `index` as the first writes after a snapshot leave it. */
static void write_table(const struct form *form, unsigned index)
{
	uint8_t *copy = bytes + OWN_AT + index * BYTES;
	unsigned width = form->extended ? 16 : 8;

	memcpy(copy, bytes + TABLES_AT + index * BYTES, BYTES);
	for (unsigned i = 0; i < BYTES; i += width) {
		uint64_t entry = get_be(copy + i);

		if (one_of(2))
			put_be(copy + i, 8, entry ^ COPIED);
		if (one_of(20) == 0)
			put_be(copy + i, 8, random_entry(form, index * per_table(form), entry));
		if (form->extended && one_of(20) == 0)
			put_be(copy + i + 8, 8, random_subclusters());
	}
}

/* Where the L2 table of an L1 entry of the snapshot is. */
static uint64_t random_table(const struct form *form, unsigned index, uint64_t active)
{
	switch (one_of(6)) {
	case 0:
		return one_of(2) ? 0 : STORED + BYTES * one_of(2) + one_of(2) * 512;
	case 1:
		fill_table(form, OWN_AT + index * BYTES, index * per_table(form));
		return OWN_AT + index * BYTES;
	case 2:
	case 3:
		write_table(form, index);
		return OWN_AT + index * BYTES;
	default:
		return active;
	}
}

static uint64_t random_size(const struct form *form, uint32_t l1_size)
{
	uint64_t size = per_table(form) * (l1_size + one_of(3));

	return size - one_of(2) * one_of((unsigned)per_table(form));
}

static void make_random(const struct form *form)
{
	uint32_t l1_size = (uint32_t)one_of(L1_MOST) + 1, other = (uint32_t)one_of(L1_MOST) + 1;

	if (one_of(2))
		other = l1_size;
	memset(bytes + L1_AT, 0, sizeof(bytes) - L1_AT);
	put_form(form, random_size(form, l1_size), l1_size);
	put_snapshot_of(random_size(form, other), other);
	for (unsigned i = 0; i < L1_MOST; i++) {
		uint64_t table = one_of(5) ? TABLES_AT + i * BYTES : 0;

		fill_table(form, TABLES_AT + i * BYTES, i * per_table(form));
		if (i < l1_size)
			put_be(bytes + L1_AT + i * 8, 8, table | (one_of(2) ? COPIED : 0));
		if (i < other)
			put_be(bytes + SNAPSHOT_L1_AT + i * 8, 8, random_table(form, i, table));
	}
}

/* ---- the model ---- */

/* What a disk has at a byte. False: it has ended. */
static bool ask(unsigned side, uint64_t at, struct qcow2_mapping_extent *out)
{
	const struct qcow2_mapping_extent *extent;

	if (at >= qcow2_mapping_size_bytes(models[side]))
		return false;
	qcow2_mapping_seek(models[side], (struct qcow2_guest){at}, 1);
	assert_int_equal(qcow2_mapping_next(models[side], &extent, &err), 1);
	*out = *extent;
	return true;
}

static bool model_alike(uint64_t at, bool ignore_places)
{
	struct qcow2_mapping_extent a, b;
	const bool first = ask(0, at, &a), second = ask(1, at, &b);

	if (!first || !second || a.kind != b.kind)
		return false;
	if (a.kind == QCOW2_L2_INVALID)
		return a.problem == b.problem && (a.entry & ~COPIED) == (b.entry & ~COPIED) &&
		       a.subclusters == b.subclusters;
	return ignore_places || (a.host.byte == b.host.byte && a.host_bytes == b.host_bytes);
}

static uint64_t step_end(const struct form *form, uint64_t at)
{
	const uint64_t step = form->extended ? BYTES / 32 : BYTES;

	return at + step - at % step;
}

static void compare_side(const struct qcow2_mapping_difference *d, unsigned i, uint64_t at)
{
	const struct qcow2_mapping_side *side = d->sides[i];
	struct qcow2_mapping_extent extent;

	assert_int_equal(side != NULL, ask(i, at, &extent));
	if (!side)
		return;
	assert_true(side->size == sizeof(*side));
	assert_int_equal(side->kind, extent.kind);
	assert_int_equal(side->problem, extent.problem);
	if (side->host.byte == QCOW2_NO_OFFSET || side->kind == QCOW2_L2_COMPRESSED) {
		assert_true(side->host.byte == extent.host.byte);
		assert_true(side->host_bytes == extent.host_bytes);
	} else {
		assert_true(side->host.byte + (at - d->start.byte) == extent.host.byte);
		assert_true(side->host_bytes == d->length_bytes);
	}
}

static bool side_goes_on(const struct qcow2_mapping_side *a, const struct qcow2_mapping_side *b)
{
	if (!a || !b)
		return a == b;
	return a->kind == b->kind && a->kind != QCOW2_L2_COMPRESSED && a->problem == b->problem &&
	       (a->host.byte == QCOW2_NO_OFFSET ? b->host.byte == QCOW2_NO_OFFSET
						: a->host.byte + a->host_bytes == b->host.byte);
}

static void expect_alike(const struct form *form, uint64_t at, uint64_t end, bool ignore_places)
{
	for (; at < end; at = step_end(form, at))
		assert_true(model_alike(at, ignore_places));
}

static uint64_t longer_size(void)
{
	const uint64_t a = qcow2_mapping_size_bytes(models[0]);
	const uint64_t b = qcow2_mapping_size_bytes(models[1]);

	return a < b ? b : a;
}

static void compare_range(const struct form *form, uint64_t start, uint64_t length,
			  bool ignore_places)
{
	const struct qcow2_mapping_difference *d;
	struct qcow2_mapping_side last[2];
	uint64_t size = longer_size(), at = start < size ? start : size;
	const uint64_t end = length < size - at ? at + length : size;
	uint64_t touched = UINT64_MAX; /* where the last difference ended */
	bool ended[2] = {false, false};
	int more;

	qcow2_mapping_diff_seek(diff, (struct qcow2_guest){start}, length);
	while ((more = qcow2_mapping_diff_next(diff, &d, &err)) > 0) {
		assert_true(d->size == sizeof(*d) && d->length_bytes > 0 && d->start.byte >= at);
		expect_alike(form, at, d->start.byte, ignore_places);
		if (touched == d->start.byte)
			assert_false(side_goes_on(ended[0] ? NULL : &last[0], d->sides[0]) &&
				     side_goes_on(ended[1] ? NULL : &last[1], d->sides[1]));
		for (at = d->start.byte; at < d->start.byte + d->length_bytes;
		     at = step_end(form, at)) {
			assert_false(model_alike(at, ignore_places));
			compare_side(d, 0, at);
			compare_side(d, 1, at);
		}
		at = touched = d->start.byte + d->length_bytes;
		for (unsigned i = 0; i < 2; i++) {
			ended[i] = !d->sides[i];
			if (d->sides[i])
				last[i] = *d->sides[i];
		}
	}
	assert_int_equal(more, 0);
	expect_alike(form, at, end, ignore_places);
}

static void random_tables(void **state)
{
	(void)state;
	for (unsigned seed = 0; seed < 100; seed++) {
		const struct form *form = &forms[seed % (sizeof(forms) / sizeof(forms[0]))];
		const bool ignore_places = seed % 7 == 0;
		struct qcow2_mapping_diff_options options = {.size = sizeof(options),
							     .ignore_places = ignore_places};

		srand(seed);
		make_random(form);
		open_diff(&options);
		compare_range(form, 0, UINT64_MAX, ignore_places);
		for (unsigned i = 0; i < 10; i++)
			compare_range(form, one_of((unsigned)longer_size()),
				      one_of((unsigned)longer_size() / 8), ignore_places);
		compare_range(form, 0, 0, ignore_places);
		compare_range(form, UINT64_MAX, UINT64_MAX, ignore_places);
		close_diff();
	}
}

/* Equal entries go on behind the end of the shorter disk, which lies in the midst of a cluster. */
static void end_among_equal_entries(void **state)
{
	const struct form *form = &forms[1];
	const uint64_t end = 20 * BYTES + 7;

	(void)state;
	put_form(form, per_table(form), 1);
	put_snapshot_of(end, 1);
	put_be(bytes + L1_AT, 8, TABLES_AT);
	put_be(bytes + SNAPSHOT_L1_AT, 8, OWN_AT);
	for (unsigned i = 0; i < BYTES; i += 8) {
		put_be(bytes + TABLES_AT + i, 8, (0x20000 - i * BYTES) | COPIED);
		put_be(bytes + OWN_AT + i, 8, 0x20000 - i * BYTES);
	}
	put_be(bytes + OWN_AT + 30 * 8, 8, 0);
	open_diff(NULL);
	compare_range(form, 0, UINT64_MAX, false);
	qcow2_mapping_diff_seek(diff, (struct qcow2_guest){0}, UINT64_MAX);
	assert_true(expect(end, BYTES - 7)->sides[1]->host.byte == 0x20000 - 160 * BYTES + 7);
	close_diff();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(random_tables, setup, teardown),
		cmocka_unit_test_setup_teardown(end_among_equal_entries, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
