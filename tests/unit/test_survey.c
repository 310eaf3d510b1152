/* SPDX-License-Identifier: MIT */
/*
 * The survey of a disk: reading it in pieces, with any number of threads, gives what reading all of
 * its extents one after another gives. The images are random, and their L2 tables are of many kinds.
 */
#include "image_fixture.h"

#include "usage/survey.h"

#include <qcow2/mapping.h>

#define COPIED     (UINT64_C(1) << 63)
#define PACKED     (UINT64_C(1) << 62)
#define TABLES     128
#define L1_ENTRIES 7000 /* four pieces of 2,048 tables */
#define L1_AT      (4 * CLUSTER)
#define TABLES_AT  (L1_AT + 110 * CLUSTER)
#define DATA_AT    (TABLES_AT + TABLES * CLUSTER)
#define FILE_BYTES sizeof(bytes)
#define ENTRIES    (CLUSTER / 8)

static uint64_t state_of_chance;

static uint64_t chance(uint64_t below)
{
	state_of_chance = state_of_chance * UINT64_C(6364136223846793005) + 1442695040888963407;
	return (state_of_chance >> 33) % below;
}

/* ---- images ---- */

static uint64_t random_data(void)
{
	return (DATA_AT / CLUSTER + chance((FILE_BYTES - DATA_AT) / CLUSTER)) * CLUSTER;
}

static uint64_t odd_entry(void)
{
	switch (chance(8)) {
	case 0:
		return 1; /* zero */
	case 1:
		return random_data() | COPIED | 1;
	case 2:
		return random_data() + 8; /* unaligned */
	case 3:
		return FILE_BYTES + CLUSTER * chance(3); /* beyond the end */
	case 4:
	case 5:
		return PACKED | (random_data() + chance(CLUSTER)) | chance(2) << 61;
	default:
		return 0;
	}
}

/* One L2 table: data in order, in disorder, compressed data side by side, or of any kind. */
static void put_table(unsigned number)
{
	const uint64_t kind = chance(5);
	uint64_t at = random_data();

	for (unsigned i = 0; i < ENTRIES; i++) {
		uint64_t entry = at | (chance(30) ? COPIED : 0);

		if (kind == 1 || (kind == 2 && chance(8) == 0))
			at = random_data();
		if (kind == 3)
			entry = PACKED | (at + chance(600));
		if (kind == 4 || (kind == 2 && chance(20) == 0))
			entry = odd_entry();
		at += CLUSTER;
		if (at >= FILE_BYTES)
			at = DATA_AT;
		put_be(bytes + TABLES_AT + (size_t)number * CLUSTER + (size_t)i * 8, 8, entry);
	}
}

static void make_image(uint64_t seed)
{
	const uint64_t none = chance(4) * 10, first = chance(TABLES);

	memset(bytes, 0, sizeof(bytes));
	state_of_chance = seed;
	put_header(bytes, L1_ENTRIES * ENTRIES * CLUSTER - chance(3 * CLUSTER));
	put_be(bytes + 36, 4, L1_ENTRIES - chance(2) * chance(L1_ENTRIES));
	put_be(bytes + 40, 8, L1_AT);
	for (unsigned i = 0; i < TABLES; i++)
		put_table(i);
	for (unsigned i = 0; i < L1_ENTRIES; i++)
		if (chance(100) >= none)
			put_be(bytes + L1_AT + (size_t)i * 8, 8,
			       TABLES_AT + CLUSTER * (chance(3) ? (first + i) % TABLES
								: chance(TABLES)));
	open_bytes((size_t)(FILE_BYTES - chance(2) * chance(CLUSTER)));
}

/* ---- the plain way ---- */

struct plain {
	struct qcow2_fragmentation sums;
	struct qcow2_measure_tally data, plain, said;
	uint64_t compressed_bytes;
	uint64_t guest, host, run_bytes;
	uint64_t packed_at, packed_bytes;
	bool after_compressed;
};

static void read_data(struct plain *p, const struct qcow2_mapping_extent *extent)
{
	const uint64_t to = extent->host.byte;
	const bool packed = extent->kind == QCOW2_L2_COMPRESSED, is_first = p->sums.runs == 0;
	const bool follows =
		p->after_compressed && packed ? to <= p->host && p->host - to < 512 : to == p->host;

	if (is_first || extent->start.byte != p->guest || !follows) {
		p->run_bytes = 0;
		p->sums.runs++;
	}
	if (!is_first && !follows) {
		p->sums.seeks++;
		p->sums.seek_bytes += to > p->host ? to - p->host : p->host - to;
	}
	p->sums.compressed_clusters += packed;
	p->sums.data_bytes += extent->length_bytes;
	p->run_bytes += extent->length_bytes;
	if (p->run_bytes > p->sums.longest_bytes)
		p->sums.longest_bytes = p->run_bytes;
	p->guest = extent->start.byte + extent->length_bytes;
	p->host = to + extent->host_bytes;
	p->after_compressed = packed;
}

static void read_packed(struct plain *p, const struct qcow2_mapping_extent *extent)
{
	const uint64_t to = extent->host.byte;

	if (to > p->packed_at && to - p->packed_at < p->packed_bytes)
		p->compressed_bytes -= p->packed_bytes - (to - p->packed_at);
	p->packed_at = to;
	p->packed_bytes = extent->host_bytes;
	p->compressed_bytes += extent->host_bytes;
}

static void read_plainly(struct plain *p)
{
	const struct qcow2_measure_tally tally = {
		.size = sizeof(tally), .cluster_bits = 9, .l2_bits = 6};
	const struct qcow2_mapping_extent *extent;
	struct qcow2_mapping *mapping;
	int more;

	*p = (struct plain){.data = tally, .plain = tally, .said = tally};
	assert_int_equal(qcow2_mapping_open(image, &mapping, &err), 0);
	while ((more = qcow2_mapping_next(mapping, &extent, &err)) > 0) {
		const uint64_t start = extent->start.byte, length = extent->length_bytes;
		const bool packed = extent->kind == QCOW2_L2_COMPRESSED;

		if (extent->kind == QCOW2_L2_UNALLOCATED)
			continue;
		qcow2_measure_tally_add(&p->said, start, length);
		if (extent->kind == QCOW2_L2_ZERO || extent->kind == QCOW2_L2_ZERO_ALLOCATED)
			continue;
		qcow2_measure_tally_add(&p->data, start, length);
		if (packed)
			read_packed(p, extent);
		else
			qcow2_measure_tally_add(&p->plain, start, length);
		if (extent->kind == QCOW2_L2_DATA || packed)
			read_data(p, extent);
	}
	assert_int_equal(more, 0);
	qcow2_mapping_close(mapping);
}

/* ---- tests ---- */

static void assert_tally(const struct qcow2_measure_tally *found,
			 const struct qcow2_measure_tally *expected)
{
	assert_int_equal(found->data_clusters, expected->data_clusters);
	assert_int_equal(found->l2_tables, expected->l2_tables);
	assert_int_equal(found->next_cluster, expected->next_cluster);
	assert_int_equal(found->cluster_bits, expected->cluster_bits);
	assert_int_equal(found->l2_bits, expected->l2_bits);
}

static void assert_survey(unsigned threads, const struct plain *p)
{
	struct q2_survey s;

	assert_int_equal(q2_survey_disk(image, threads, &s, &err), 0);
	assert_int_equal(s.sums.data_bytes, p->sums.data_bytes);
	assert_int_equal(s.sums.runs, p->sums.runs);
	assert_int_equal(s.sums.longest_bytes, p->sums.longest_bytes);
	assert_int_equal(s.sums.seeks, p->sums.seeks);
	assert_int_equal(s.sums.seek_bytes, p->sums.seek_bytes);
	assert_int_equal(s.sums.compressed_clusters, p->sums.compressed_clusters);
	assert_int_equal(s.compressed_bytes, p->compressed_bytes);
	assert_tally(&s.data, &p->data);
	assert_tally(&s.plain, &p->plain);
	assert_tally(&s.said, &p->said);
}

/* Counts for clusters of 4 KiB what a stream that stands somewhere has left. */
static void assert_stored(void)
{
	const struct qcow2_measure_target target = {.size = sizeof(target), .cluster_bits = 12};
	struct qcow2_measure_tally found = {.size = sizeof(found)}, expected = found;
	struct qcow2_mapping *streams[2];
	const struct qcow2_mapping_extent *extent;
	const struct qcow2_guest start = {chance(1000) * 777};
	uint64_t invalid = 0, found_invalid;

	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(qcow2_mapping_open(image, &streams[i], &err), 0);
		qcow2_mapping_seek(streams[i], start, UINT64_MAX);
		assert_int_equal(qcow2_mapping_next(streams[i], &extent, &err), 1);
	}
	assert_int_equal(qcow2_measure_tally_begin(&found, &target, &err), 0);
	expected = found;
	while (qcow2_mapping_next(streams[0], &extent, &err) > 0) {
		if (extent->kind == QCOW2_L2_INVALID)
			invalid += extent->length_bytes;
		if (extent->kind == QCOW2_L2_INVALID || extent->kind == QCOW2_L2_DATA ||
		    extent->kind == QCOW2_L2_COMPRESSED)
			qcow2_measure_tally_add(&expected, extent->start.byte,
						extent->length_bytes);
	}
	assert_int_equal(
		qcow2_measure_tally_stored(&found, streams[1], source, &found_invalid, &err), 0);
	assert_tally(&found, &expected);
	assert_int_equal(found_invalid, invalid);
	assert_int_equal(qcow2_mapping_next(streams[1], &extent, &err), 0);
	qcow2_mapping_close(streams[0]);
	qcow2_mapping_close(streams[1]);
}

static void test_random_disks(void **state)
{
	struct plain plain;

	(void)state;
	for (uint64_t seed = 1; seed <= 5; seed++) {
		make_image(seed);
		read_plainly(&plain);
		assert_survey(1, &plain);
		assert_survey(2, &plain);
		assert_survey(16, &plain);
		assert_stored();
	}
}

/* Runs and compressed clusters that go on in the next piece, and a disk that is one run. */
static void test_one_run(void **state)
{
	struct plain plain;

	(void)state;
	for (unsigned packed = 0; packed < 2; packed++) {
		make_image(1);
		for (unsigned i = 0; i < ENTRIES; i++)
			put_be(bytes + TABLES_AT + (size_t)i * 8, 8,
			       packed ? PACKED | DATA_AT : DATA_AT + (uint64_t)i * CLUSTER);
		for (unsigned i = 0; i < L1_ENTRIES; i++)
			put_be(bytes + L1_AT + (size_t)i * 8, 8, TABLES_AT);
		read_plainly(&plain);
		assert_survey(2, &plain);
	}
}

/* Surveys a disk whose L1 entries all lead to one L2 table of 64 KiB. */
static int survey_often(unsigned entries, unsigned threads)
{
	const uint64_t cluster = 1 << 16;
	struct q2_survey survey;

	memset(bytes, 0, sizeof(bytes));
	put_header(bytes, entries * cluster * (cluster / 8));
	put_be(bytes + 20, 4, 16);
	put_be(bytes + 36, 4, entries);
	put_be(bytes + 40, 8, cluster);
	for (unsigned i = 0; i < entries; i++)
		put_be(bytes + cluster + (size_t)i * 8, 8, 2 * cluster);
	for (unsigned i = 0; i < cluster / 8; i++)
		put_be(bytes + 2 * cluster + (size_t)i * 8, 8, 3 * cluster + i % 2 * cluster);
	open_bytes(FILE_BYTES);
	return q2_survey_disk(image, threads, &survey, &err);
}

/* The limit on what is decoded, 64 MiB and 16 times the file, is one for all threads. */
static void test_limit(void **state)
{
	static const unsigned threads[] = {1, 2, 16};

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(survey_often(16 * 72, threads[i]), 0);
		assert_int_equal(survey_often(16 * 72 + 1, threads[i]), -1);
		assert_int_equal(err.code, QCOW2_ERROR_LIMIT);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_random_disks, setup, teardown),
		cmocka_unit_test_setup_teardown(test_one_run, setup, teardown),
		cmocka_unit_test_setup_teardown(test_limit, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
