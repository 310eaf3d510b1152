/* SPDX-License-Identifier: MIT */
/*
 * The codec of table entries: encode(decode(x)) == x for each kind, whatever the 64 bits are;
 * masks, kinds and the bytes of compressed clusters as the specification says, against numbers that
 * are written down here; refcounts of all widths.
 */
#include <qcow2/entry.h>

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define RANDOM_WORDS 20000

/* xorshift64*: the same words in each run. */
static uint64_t next_random(uint64_t *seed)
{
	*seed ^= *seed >> 12;
	*seed ^= *seed << 25;
	*seed ^= *seed >> 27;
	return *seed * UINT64_C(0x2545f4914f6cdd1d);
}

static void round_trip(uint64_t word)
{
	const struct qcow2_l1_entry l1 = qcow2_l1_entry_decode(word);
	const struct qcow2_l2_entry l2 = qcow2_l2_entry_decode(word);
	const struct qcow2_l2_subclusters subclusters = qcow2_l2_subclusters_decode(word);
	const struct qcow2_refcount_table_entry block = qcow2_refcount_table_entry_decode(word);
	const struct qcow2_bitmap_table_entry bitmap = qcow2_bitmap_table_entry_decode(word);

	assert_true(qcow2_l1_entry_encode(&l1) == word);
	assert_true(qcow2_l2_entry_encode(&l2) == word);
	assert_true(qcow2_l2_subclusters_encode(&subclusters) == word);
	assert_true(qcow2_refcount_table_entry_encode(&block) == word);
	assert_true(qcow2_bitmap_table_entry_encode(&bitmap) == word);
	for (unsigned bits = 9; bits <= 30; bits++) {
		const struct qcow2_l2_compressed fields = qcow2_l2_compressed_decode(word, bits);

		assert_true(qcow2_l2_compressed_encode(&fields, bits) == word);
	}
}

/* Each run of bits and its complement, which has the edges of any field, and random words. */
static void entries_survive_decode_and_encode(void **state)
{
	uint64_t seed = 14;

	(void)state;
	round_trip(0);
	for (unsigned first = 0; first < 64; first++) {
		for (unsigned count = 1; count <= 64 - first; count++) {
			round_trip(QCOW2_BIT_RANGE(first, count));
			round_trip(~QCOW2_BIT_RANGE(first, count));
		}
	}
	for (unsigned i = 0; i < RANDOM_WORDS; i++)
		round_trip(next_random(&seed));
}

/* The engine, which dumps and edits use, finds the same number in each field. */
#define QCOW2_BITS(name, first, count, style, legal, meaning)                                      \
	assert_true(qcow2_field_of_entry(qcow2_structure_field(s, #name), word, bits) ==           \
		    fields.name);
#define QCOW2_BITS_IN_PLACE(name, first, count, style, legal, meaning)                             \
	QCOW2_BITS(name, first, count, style, legal, meaning)
#define QCOW2_BITS_RESERVED(name, first, count) QCOW2_BITS(name, first, count, HEX, "", "")

static void compare_with_engine(uint64_t word, unsigned bits)
{
	{
		const struct qcow2_structure *s = &qcow2_l1_entry_structure;
		const struct qcow2_l1_entry fields = qcow2_l1_entry_decode(word);
#include <qcow2/def/l1_entry.def>
	}
	{
		const struct qcow2_structure *s = &qcow2_l2_entry_structure;
		const struct qcow2_l2_entry fields = qcow2_l2_entry_decode(word);
#include <qcow2/def/l2_entry.def>
	}
	{
		const struct qcow2_structure *s = &qcow2_l2_compressed_structure;
		const struct qcow2_l2_compressed fields = qcow2_l2_compressed_decode(word, bits);
#include <qcow2/def/l2_compressed.def>
	}
	{
		const struct qcow2_structure *s = &qcow2_l2_subclusters_structure;
		const struct qcow2_l2_subclusters fields = qcow2_l2_subclusters_decode(word);
#include <qcow2/def/l2_subclusters.def>
	}
	{
		const struct qcow2_structure *s = &qcow2_refcount_table_entry_structure;
		const struct qcow2_refcount_table_entry fields =
			qcow2_refcount_table_entry_decode(word);
#include <qcow2/def/refcount_table_entry.def>
	}
	{
		const struct qcow2_structure *s = &qcow2_bitmap_table_entry_structure;
		const struct qcow2_bitmap_table_entry fields =
			qcow2_bitmap_table_entry_decode(word);
#include <qcow2/def/bitmap_table_entry.def>
	}
}

static void codec_agrees_with_engine(void **state)
{
	uint64_t seed = 41;

	(void)state;
	for (unsigned bits = 9; bits <= 30; bits++)
		for (unsigned i = 0; i < 200; i++)
			compare_with_engine(next_random(&seed), bits);
}

/* "Cluster mapping", "Host cluster management", "Bitmap table". */
static void masks_are_those_of_the_specification(void **state)
{
	(void)state;
	assert_true(QCOW2_ENTRY_MASK(l1_entry, offset) == UINT64_C(0x00fffffffffffe00));
	assert_true(QCOW2_ENTRY_MASK(l1_entry, copied) == UINT64_C(1) << 63);
	assert_true(qcow2_l1_entry_reserved == UINT64_C(0x7f000000000001ff));
	assert_true(QCOW2_ENTRY_MASK(l2_entry, offset) == UINT64_C(0x00fffffffffffe00));
	assert_true(QCOW2_ENTRY_MASK(l2_entry, zero) == 1);
	assert_true(QCOW2_ENTRY_MASK(l2_entry, compressed) == UINT64_C(1) << 62);
	assert_true(QCOW2_ENTRY_MASK(l2_entry, copied) == UINT64_C(1) << 63);
	assert_int_equal(QCOW2_ENTRY_SHIFT(l2_entry, copied), 63);
	assert_true(qcow2_l2_entry_reserved == UINT64_C(0x3f000000000001fe));
	assert_true(QCOW2_ENTRY_MASK(l2_subclusters, allocated) == UINT32_MAX);
	assert_true(QCOW2_ENTRY_MASK(l2_subclusters, zeroes) == UINT64_C(0xffffffff00000000));
	assert_true(QCOW2_ENTRY_MASK(refcount_table_entry, offset) == ~UINT64_C(0x1ff));
	assert_true(qcow2_refcount_table_entry_reserved == 0x1ff);
	assert_true(QCOW2_ENTRY_MASK(bitmap_table_entry, offset) == UINT64_C(0x00fffffffffffe00));
	assert_true(QCOW2_ENTRY_MASK(bitmap_table_entry, all_ones) == 1);
	assert_true(qcow2_bitmap_table_entry_reserved == UINT64_C(0xff000000000001fe));
}

static void members_too_large_do_not_spill(void **state)
{
	struct qcow2_l2_entry fields = {.zero = 2, .offset = 0x1ff, .compressed = 2};
	struct qcow2_l2_compressed compressed = {.additional_sectors = 2, .copied = 2};

	(void)state;
	assert_true(qcow2_l2_entry_encode(&fields) == 0);
	fields = (struct qcow2_l2_entry){.zero = 3, .offset = UINT64_MAX};
	assert_true(qcow2_l2_entry_encode(&fields) == UINT64_C(0x00fffffffffffe01));
	assert_true(qcow2_l2_compressed_encode(&compressed, 9) == 0);
}

static void l2_entries_have_their_kind(void **state)
{
	const uint64_t copied = UINT64_C(1) << 63, compressed = UINT64_C(1) << 62, at = 0x50000;
	static const struct {
		bool extended_l2, data_file;
		enum qcow2_l2_kind kinds[6]; /* of 0, 1, copied, at, at | 1, copied | 1 */
	} cases[] = {
		{false,
		 false,
		 {QCOW2_L2_UNALLOCATED, QCOW2_L2_ZERO, QCOW2_L2_UNALLOCATED, QCOW2_L2_DATA,
		  QCOW2_L2_ZERO_ALLOCATED, QCOW2_L2_ZERO}},
		{true,
		 false,
		 {QCOW2_L2_UNALLOCATED, QCOW2_L2_UNALLOCATED, QCOW2_L2_UNALLOCATED, QCOW2_L2_DATA,
		  QCOW2_L2_DATA, QCOW2_L2_UNALLOCATED}},
		{false,
		 true,
		 {QCOW2_L2_UNALLOCATED, QCOW2_L2_ZERO, QCOW2_L2_DATA, QCOW2_L2_DATA,
		  QCOW2_L2_ZERO_ALLOCATED, QCOW2_L2_ZERO_ALLOCATED}},
		{true,
		 true,
		 {QCOW2_L2_UNALLOCATED, QCOW2_L2_UNALLOCATED, QCOW2_L2_DATA, QCOW2_L2_DATA,
		  QCOW2_L2_DATA, QCOW2_L2_DATA}},
	};
	const uint64_t entries[6] = {0, 1, copied, at, at | 1, copied | 1};

	(void)state;
	for (size_t c = 0; c < 4; c++) {
		for (size_t e = 0; e < 6; e++) {
			assert_int_equal(qcow2_l2_classify(entries[e], cases[c].extended_l2,
							   cases[c].data_file),
					 cases[c].kinds[e]);
			assert_int_equal(qcow2_l2_classify(entries[e] | compressed,
							   cases[c].extended_l2,
							   cases[c].data_file),
					 QCOW2_L2_COMPRESSED);
			/* Reserved bits change nothing. */
			assert_int_equal(
				qcow2_l2_classify(entries[e] | UINT64_C(0x3f000000000001fe),
						  cases[c].extended_l2, cases[c].data_file),
				cases[c].kinds[e]);
		}
	}
}

/* "Extended L2 Entries": bits x of the allocation and the zero bitmap, subcluster 0 lowest. */
static void subclusters_have_their_kind(void **state)
{
	const uint64_t both = UINT64_C(0x0000000400000003) | UINT64_C(0x0000000100000000);
	const uint64_t at = 0x50000, compressed = UINT64_C(1) << 62, copied = UINT64_C(1) << 63;

	(void)state;
	/* 0: both; 1: allocated; 2: zero; 3: neither. */
	assert_int_equal(qcow2_subcluster_classify(at, both, 0, false), QCOW2_L2_INVALID);
	assert_int_equal(qcow2_subcluster_classify(at, both, 1, false), QCOW2_L2_DATA);
	assert_int_equal(qcow2_subcluster_classify(at, both, 2, false), QCOW2_L2_ZERO_ALLOCATED);
	assert_int_equal(qcow2_subcluster_classify(at, both, 3, false), QCOW2_L2_UNALLOCATED);
	assert_int_equal(qcow2_subcluster_classify(0, both, 1, false), QCOW2_L2_INVALID);
	assert_int_equal(qcow2_subcluster_classify(0, both, 2, false), QCOW2_L2_ZERO);
	assert_int_equal(qcow2_subcluster_classify(0, both, 3, false), QCOW2_L2_UNALLOCATED);
	assert_int_equal(qcow2_subcluster_classify(copied, both, 1, true), QCOW2_L2_DATA);
	assert_int_equal(qcow2_subcluster_classify(copied, both, 1, false), QCOW2_L2_INVALID);
	for (unsigned i = 0; i < 32; i++) {
		assert_int_equal(qcow2_subcluster_classify(compressed, both, i, false),
				 QCOW2_L2_COMPRESSED);
		assert_int_equal(qcow2_subcluster_classify(at, UINT64_C(1) << i, i, false),
				 QCOW2_L2_DATA);
		assert_int_equal(qcow2_subcluster_classify(at, UINT64_C(1) << (32 + i), i, false),
				 QCOW2_L2_ZERO_ALLOCATED);
	}
}

/* "Compressed Clusters Descriptor": x = 62 - (cluster_bits - 8). */
static void compressed_clusters_claim_their_bytes(void **state)
{
	const uint64_t flag = UINT64_C(1) << 62;

	(void)state;
	for (unsigned bits = 9; bits <= 30; bits++) {
		const unsigned x = 62 - (bits - 8);
		struct qcow2_compressed_extent extent =
			qcow2_compressed_split(flag | UINT64_C(1) << x | 0x50003, bits);

		assert_int_equal(qcow2_compressed_bit_x(bits), x);
		assert_int_equal(extent.offset_bytes, 0x50003);
		assert_int_equal(extent.sectors, 2);
		assert_int_equal(extent.length_bytes, 1024 - 3);
		extent = qcow2_compressed_split(flag | 0x50200, bits);
		assert_int_equal(extent.length_bytes, 512);
		/* All ones: the most that a descriptor can claim. */
		extent = qcow2_compressed_split(UINT64_MAX, bits);
		assert_true(extent.offset_bytes == (UINT64_C(1) << x) - 1);
		assert_int_equal(extent.sectors, UINT64_C(1) << (bits - 8));
		assert_int_equal(extent.length_bytes, (UINT64_C(512) << (bits - 8)) - 511);
		assert_true(extent.offset_bytes + extent.length_bytes > extent.offset_bytes);
	}
	/* No cluster size at all: nothing is shifted too far. */
	assert_int_equal(qcow2_compressed_bit_x(0), 61);
	assert_int_equal(qcow2_compressed_bit_x(31), 61);
	assert_int_equal(qcow2_compressed_bit_x(UINT32_MAX), 61);
}

static void bitmap_entries_have_their_kind(void **state)
{
	(void)state;
	assert_int_equal(qcow2_bitmap_entry_classify(0), QCOW2_BITMAP_ENTRY_ALL_ZEROES);
	assert_int_equal(qcow2_bitmap_entry_classify(1), QCOW2_BITMAP_ENTRY_ALL_ONES);
	assert_int_equal(qcow2_bitmap_entry_classify(0x200), QCOW2_BITMAP_ENTRY_SERIALIZED);
	assert_int_equal(qcow2_bitmap_entry_classify(0x201), QCOW2_BITMAP_ENTRY_INVALID);
	assert_int_equal(qcow2_bitmap_entry_classify(UINT64_C(0xff000000000001fe)),
			 QCOW2_BITMAP_ENTRY_ALL_ZEROES);
}

/* The bit by bit definition: below a byte the lowest bits first, else big-endian. */
static uint64_t refcount_of(const uint8_t *block, uint64_t index, unsigned bits)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < bits; i++) {
		uint64_t at = index * bits + i;

		if (bits < 8)
			value |= (uint64_t)(block[at / 8] >> (at % 8) & 1) << i;
		else
			value = value << 1 | (block[at / 8] >> (7 - at % 8) & 1);
	}
	return value;
}

static void refcounts_of_all_widths(void **state)
{
	uint8_t block[512], before[512];
	uint64_t seed = 7;

	(void)state;
	for (size_t i = 0; i < sizeof(block); i++)
		block[i] = (uint8_t)next_random(&seed);
	for (unsigned bits = 1; bits <= 64; bits *= 2) {
		const uint64_t count = sizeof(block) * 8 / bits, most = QCOW2_BIT_RANGE(0, bits);

		for (unsigned i = 0; i < 300; i++) {
			uint64_t index = next_random(&seed) % count, value = next_random(&seed);

			assert_true(qcow2_refcount_get(block, index, bits) ==
				    refcount_of(block, index, bits));
			memcpy(before, block, sizeof(block));
			qcow2_refcount_put(block, index, bits, value);
			assert_true(qcow2_refcount_get(block, index, bits) == (value & most));
			qcow2_refcount_put(block, index, bits, refcount_of(before, index, bits));
			assert_memory_equal(block, before, sizeof(block));
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(entries_survive_decode_and_encode),
		cmocka_unit_test(codec_agrees_with_engine),
		cmocka_unit_test(masks_are_those_of_the_specification),
		cmocka_unit_test(members_too_large_do_not_spill),
		cmocka_unit_test(l2_entries_have_their_kind),
		cmocka_unit_test(subclusters_have_their_kind),
		cmocka_unit_test(compressed_clusters_claim_their_bytes),
		cmocka_unit_test(bitmap_entries_have_their_kind),
		cmocka_unit_test(refcounts_of_all_widths),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
