/* SPDX-License-Identifier: MIT */
/* The list of limits against the numbers of the specification and of QEMU, written down here. */
#include <qcow2/limits.h>

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static const struct qcow2_limit *find(const char *id)
{
	size_t count;
	const struct qcow2_limit *limits = qcow2_limits(&count), *found = NULL;

	for (size_t i = 0; i < count; i++) {
		if (strcmp(limits[i].id, id) != 0)
			continue;
		assert_null(found);
		found = &limits[i];
	}
	assert_non_null(found);
	return found;
}

static void limits_are_those_of_the_specification_and_of_qemu(void **state)
{
	static const struct {
		const char *id;
		uint64_t value, constant;
	} cases[] = {
		{"cluster-bits-min", 9, QCOW2_LIMIT_CLUSTER_BITS_MIN},
		{"extended-l2-cluster-bits-min", 14, QCOW2_LIMIT_EXTENDED_L2_CLUSTER_BITS_MIN},
		{"refcount-order-max", 6, QCOW2_LIMIT_REFCOUNT_ORDER_MAX},
		{"host-offset-bits", 56, QCOW2_LIMIT_HOST_OFFSET_BITS},
		{"backing-name-bytes", 1023, QCOW2_LIMIT_BACKING_NAME_BYTES},
		{"snapshot-extra-bytes-min", 16, QCOW2_LIMIT_SNAPSHOT_EXTRA_BYTES_MIN},
		{"date-nsec-max", 999999999, QCOW2_LIMIT_DATE_NSEC_MAX},
		{"bitmap-granularity-bits-max", 63, QCOW2_LIMIT_BITMAP_GRANULARITY_BITS_MAX},
		{"luks-rounds", 1 << 29, QCOW2_LIMIT_LUKS_ROUNDS},
		{"luks-argon2-fills", 1 << 26, QCOW2_LIMIT_LUKS_ARGON2_FILLS},
		{"luks-argon2-bytes", 1 << 30, QCOW2_LIMIT_LUKS_ARGON2_BYTES},
		{"qemu-cluster-bits", 21, QCOW2_LIMIT_QEMU_CLUSTER_BITS},
		{"qemu-l1-entries", (32 << 20) / 8, QCOW2_LIMIT_QEMU_L1_ENTRIES},
		{"qemu-refcount-table-bytes", 8 << 20, QCOW2_LIMIT_QEMU_REFCOUNT_TABLE_BYTES},
		{"qemu-backing-format-bytes", 15, QCOW2_LIMIT_QEMU_BACKING_FORMAT_BYTES},
		{"qemu-snapshots", 65536, QCOW2_LIMIT_QEMU_SNAPSHOTS},
		{"qemu-snapshot-table-bytes", 64 << 20, QCOW2_LIMIT_QEMU_SNAPSHOT_TABLE_BYTES},
		{"qemu-snapshot-extra-bytes", 1024, QCOW2_LIMIT_QEMU_SNAPSHOT_EXTRA_BYTES},
		{"qemu-bitmaps", 65535, QCOW2_LIMIT_QEMU_BITMAPS},
		{"qemu-bitmap-directory-bytes", 65535 * 1024,
		 QCOW2_LIMIT_QEMU_BITMAP_DIRECTORY_BYTES},
		{"qemu-bitmap-name-bytes", 1023, QCOW2_LIMIT_QEMU_BITMAP_NAME_BYTES},
		{"qemu-bitmap-granularity-bits-min", 9,
		 QCOW2_LIMIT_QEMU_BITMAP_GRANULARITY_BITS_MIN},
		{"qemu-bitmap-granularity-bits-max", 31,
		 QCOW2_LIMIT_QEMU_BITMAP_GRANULARITY_BITS_MAX},
		{"qemu-bitmap-table-entries", 0x8000000, QCOW2_LIMIT_QEMU_BITMAP_TABLE_ENTRIES},
		{"qemu-bitmap-data-bytes", 512 << 20, QCOW2_LIMIT_QEMU_BITMAP_DATA_BYTES},
		{"qemu-luks-stripes", 4000, QCOW2_LIMIT_QEMU_LUKS_STRIPES},
		{"qemu-luks-header-sectors-min", 8, QCOW2_LIMIT_QEMU_LUKS_HEADER_SECTORS_MIN},
		{"qemu-luks-key-bytes", 64, QCOW2_LIMIT_QEMU_LUKS_KEY_BYTES},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(find(cases[i].id)->value, cases[i].value);
		assert_int_equal(cases[i].constant, cases[i].value);
	}
}

static void every_limit_says_what_it_is(void **state)
{
	size_t count;
	const struct qcow2_limit *limits = qcow2_limits(&count);

	(void)state;
	assert_in_range(count, 22, 100);
	for (size_t i = 0; i < count; i++) {
		assert_ptr_equal(find(limits[i].id), &limits[i]);
		assert_true(limits[i].value > 0);
		assert_true(strlen(limits[i].unit) > 0 && strlen(limits[i].section) > 0);
		assert_true(strlen(limits[i].refused_by) > 0);
		assert_int_equal(limits[i].meaning[strlen(limits[i].meaning) - 1], '.');
		/* Ids say whose limit it is. */
		assert_int_equal(strncmp(limits[i].id, "qemu-", 5) == 0,
				 strcmp(limits[i].section, "QEMU") == 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(limits_are_those_of_the_specification_and_of_qemu),
		cmocka_unit_test(every_limit_says_what_it_is),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
