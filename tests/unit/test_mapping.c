/* SPDX-License-Identifier: MIT */
/*
 * Guest extents against a model that looks at one subcluster at a time, with the offsets and masks of
 * the specification: random tables of each form, and ranges that start and end anywhere.
 */
#include "mapping_random.h"

#define STEPS 32 /* of a cluster: subclusters of 16 bytes */
#define STEP  (BYTES / STEPS)

/* ---- the model ---- */

static uint64_t get_be(const uint8_t *at)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < 8; i++)
		value = value << 8 | at[i];
	return value;
}

/* What is expected at a byte of the guest. host: QCOW2_NO_OFFSET if there is none. */
struct expected {
	enum qcow2_l2_kind kind;
	unsigned problem;
	uint64_t host, length;
};

static struct expected bad(unsigned problem)
{
	return (struct expected){QCOW2_L2_INVALID, problem, QCOW2_NO_OFFSET, 0};
}

static struct expected model_compressed(const struct form *form, uint64_t entry)
{
	/* x is 61 with clusters of 512 bytes */
	uint64_t offset = entry & ((UINT64_C(1) << 61) - 1), sectors = (entry >> 61 & 1) + 1;
	uint64_t length = sectors * 512 - offset % 512;

	if (form->data_file)
		return bad(QCOW2_PROBLEM_COMPRESSED_DATA_FILE);
	if (offset >> 56)
		return bad(QCOW2_PROBLEM_COMPRESSED_OFFSET);
	if (offset >= STORED || offset + length >= STORED + BYTES)
		return bad(QCOW2_PROBLEM_COMPRESSED_BEYOND_END);
	return (struct expected){QCOW2_L2_COMPRESSED, 0, offset, length};
}

/* What one step of a cluster is by its L2 entry and the word behind that. */
static struct expected model_entry(const struct form *form, uint64_t guest, const uint64_t *words)
{
	uint64_t offset = words[0] & UINT64_C(0x00fffffffffffe00);
	uint64_t allocated = words[1] & UINT32_MAX, zeroes = words[1] >> 32;
	unsigned step = (unsigned)(guest % BYTES / STEP);
	bool placed = offset != 0 || (form->data_file && (words[0] & COPIED));
	struct expected e = {QCOW2_L2_UNALLOCATED, 0, QCOW2_NO_OFFSET, 0};

	/* As QEMU has it, zeros at the start of a data file have no place. */
	if (!form->extended && (words[0] & 1) && offset == 0)
		placed = false;
	if (words[0] & PACKED)
		return model_compressed(form, words[0]);
	if (form->extended && (allocated & zeroes))
		return bad(QCOW2_PROBLEM_SUBCLUSTER_BOTH);
	if (form->extended && allocated && !placed)
		return bad(QCOW2_PROBLEM_SUBCLUSTER_WITHOUT_OFFSET);
	if (!form->extended && (words[0] & 1) && form->version == 2)
		return bad(QCOW2_PROBLEM_L2_ENTRY_ZERO_FLAG);
	if (placed && form->data_file && offset != guest - guest % BYTES)
		return bad(QCOW2_PROBLEM_DATA_FILE_OFFSET);
	/* Nothing is lost where there is no data. */
	if (placed && !form->data_file && offset >= STORED &&
	    (form->extended ? allocated != 0 : !(words[0] & 1)))
		return bad(QCOW2_PROBLEM_DATA_BEYOND_END);
	if (form->extended ? zeroes >> step & 1 : words[0] & 1)
		e.kind = placed ? QCOW2_L2_ZERO_ALLOCATED : QCOW2_L2_ZERO;
	else if (form->extended ? allocated >> step & 1 : placed)
		e.kind = QCOW2_L2_DATA;
	if (placed)
		e.host = offset + guest % BYTES;
	return e;
}

static struct expected model(const struct form *form, uint64_t guest)
{
	uint64_t entry_bytes = form->extended ? 16 : 8, per_table = BYTES / entry_bytes;
	uint64_t cluster = guest / BYTES, index = cluster / per_table, words[2] = {0, 0}, table;

	if (index < (get_be(bytes + 32) & UINT32_MAX)) {
		table = get_be(bytes + L1_AT + index * 8) & UINT64_C(0x00fffffffffffe00);
		if (table >= STORED)
			return bad(QCOW2_PROBLEM_L2_TABLE_BEYOND_END);
		table += cluster % per_table * entry_bytes;
		if (table >= BYTES) {
			words[0] = get_be(bytes + table);
			words[1] = form->extended ? get_be(bytes + table + 8) : 0;
		}
	}
	return model_entry(form, guest, words);
}

/* ---- images ---- */

/* A disk whose tables say all sorts of things, some of them twice, and its size. */
static uint64_t make_random(const struct form *form)
{
	uint64_t per_table = BYTES / (form->extended ? 16 : 8) * BYTES;
	uint32_t l1_size = (uint32_t)one_of(20) + 1;
	uint64_t size = per_table * (l1_size + one_of(3)) - one_of(2) * one_of((unsigned)per_table);

	put_form(form, size, l1_size);
	for (unsigned i = 0; i < l1_size; i++) {
		uint64_t table = TABLES_AT + i * BYTES;

		if (one_of(5) == 0)
			table = one_of(4) ? 0 : STORED + BYTES * one_of(2);
		else if (one_of(5) == 0)
			table = TABLES_AT + one_of(i + 1) * BYTES;
		if (table < STORED && one_of(4))
			fill_table(form, TABLES_AT + i * BYTES, i * per_table);
		put_be(bytes + L1_AT + i * 8, 8, table | (one_of(2) ? COPIED : 0));
	}
	return size;
}

/* ---- comparing ---- */

/* Each byte of an extent is what the model says; steps have no other boundaries than extents. */
static void compare_extent(const struct form *form, const struct qcow2_mapping_extent *extent)
{
	uint64_t guest = extent->start.byte, end = guest + extent->length_bytes;

	assert_true(extent->size == sizeof(*extent));
	while (guest < end) {
		struct expected e = model(form, guest);
		uint64_t into = guest - extent->start.byte;

		assert_int_equal(extent->kind, e.kind);
		if (e.kind == QCOW2_L2_INVALID)
			assert_int_equal(extent->problem, e.problem);
		if (e.host == QCOW2_NO_OFFSET)
			assert_true(extent->host.byte == QCOW2_NO_OFFSET &&
				    extent->host_bytes == 0);
		else if (e.kind == QCOW2_L2_COMPRESSED)
			assert_true(extent->host.byte == e.host && extent->host_bytes == e.length);
		else
			assert_true(extent->host.byte + into == e.host);
		guest += STEP - guest % STEP;
	}
	if (extent->kind == QCOW2_L2_COMPRESSED)
		assert_true(extent->start.byte / BYTES == (end - 1) / BYTES);
	else if (extent->host.byte != QCOW2_NO_OFFSET)
		assert_true(extent->host_bytes == extent->length_bytes);
}

/* Whether two neighbours should have been one extent. */
static bool alike(const struct qcow2_mapping_extent *a, const struct qcow2_mapping_extent *b)
{
	if (a->kind != b->kind || a->kind == QCOW2_L2_COMPRESSED)
		return false;
	if (a->kind == QCOW2_L2_INVALID)
		return a->problem == b->problem;
	if (a->host.byte == QCOW2_NO_OFFSET)
		return b->host.byte == QCOW2_NO_OFFSET;
	return a->host.byte + a->length_bytes == b->host.byte;
}

/* The raw entry is that of the first cluster, and lies where it is said to lie. */
static void compare_entry(const struct form *form, const struct qcow2_mapping_extent *extent)
{
	uint64_t at = extent->entry_at.byte;

	if (at == QCOW2_NO_OFFSET) {
		assert_true(extent->entry == 0 && extent->subclusters == 0);
		return;
	}
	assert_true(at < STORED && get_be(bytes + at) == extent->entry);
	if (form->extended && at >= TABLES_AT)
		assert_true(get_be(bytes + at + 8) == extent->subclusters);
	else
		assert_true(extent->subclusters == 0);
}

/* All extents of [start, start + length), which is cut by the disk's end. */
static void compare_range(const struct form *form, struct qcow2_mapping *mapping, uint64_t start,
			  uint64_t length)
{
	const struct qcow2_mapping_extent *extent;
	uint64_t size = qcow2_mapping_size_bytes(mapping);
	uint64_t at = start < size ? start : size;
	uint64_t end = length < size - at ? at + length : size;
	struct qcow2_mapping_extent last = {0};
	int more;

	qcow2_mapping_seek(mapping, (struct qcow2_guest){start}, length);
	while ((more = qcow2_mapping_next(mapping, &extent, &err)) > 0) {
		assert_true(extent->start.byte == at && extent->length_bytes > 0);
		assert_true(extent->length_bytes <= end - at);
		assert_true(last.length_bytes == 0 || !alike(&last, extent));
		compare_extent(form, extent);
		compare_entry(form, extent);
		at += extent->length_bytes;
		last = *extent;
	}
	assert_int_equal(more, 0);
	assert_true(at == end);
	assert_int_equal(qcow2_mapping_next(mapping, &extent, &err), 0);
}

static void random_tables(void **state)
{
	(void)state;
	for (unsigned seed = 0; seed < 200; seed++) {
		const struct form *form = &forms[seed % (sizeof(forms) / sizeof(forms[0]))];
		struct qcow2_mapping *mapping;
		uint64_t size;

		srand(seed);
		memset(bytes + L1_AT, 0, sizeof(bytes) - L1_AT);
		size = make_random(form);
		mapping = open_mapping();
		assert_true(qcow2_mapping_size_bytes(mapping) == size);
		compare_range(form, mapping, 0, UINT64_MAX);
		for (unsigned i = 0; i < 20; i++)
			compare_range(form, mapping, one_of((unsigned)size + 100),
				      one_of((unsigned)size / 2));
		compare_range(form, mapping, size - 1, 5);
		compare_range(form, mapping, 0, 0);
		compare_range(form, mapping, UINT64_MAX, UINT64_MAX);
		qcow2_mapping_close(mapping);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(random_tables, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
