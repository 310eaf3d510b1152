/* SPDX-License-Identifier: MIT */
/* Ranges of virtual disks (lib/image/guest.h), at the end of disks and of 64-bit numbers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "image/guest.h"

#define MAX UINT64_MAX

static struct qcow2_geometry of(unsigned cluster_bits)
{
	return (struct qcow2_geometry){
		.cluster_bits = cluster_bits,
		.cluster_size_bytes = UINT64_C(1) << cluster_bits,
		.l2_entries = (UINT64_C(1) << cluster_bits) / 8,
		.file_size_bytes = 4096,
	};
}

static void assert_range(struct q2_guest_range range, uint64_t byte, uint64_t length_bytes)
{
	assert_true(range.length_bytes == length_bytes);
	assert_true(length_bytes == 0 || range.byte == byte);
}

static void ends_of_disks(void **state)
{
	const struct qcow2_geometry g = of(9);

	(void)state;
	assert_range(q2_guest_clusters(&g, 10000, 0, 2), 0, 1024);
	assert_range(q2_guest_clusters(&g, 10000, 19, 1), 9728, 272);
	assert_range(q2_guest_clusters(&g, 10000, 19, 5), 9728, 272);
	/* past the end altogether: saved state */
	assert_range(q2_guest_clusters(&g, 10000, 20, 1), 10240, 512);
	assert_range(q2_guest_clusters(&g, 0, 0, 1), 0, 512);
	assert_range(q2_guest_clusters(&g, 10000, 3, 0), 0, 0);
	assert_range(q2_guest_clusters(&g, 10000, 3, Q2_GUEST_REST), 1536, 8464);
	assert_range(q2_guest_l1(&g, 100000, 1, 1), 32768, 32768);
	assert_range(q2_guest_l1(&g, 100000, 3, 1), 98304, 1696);
	assert_range(q2_guest_l1(&g, 100000, 1, Q2_GUEST_REST), 32768, 67232);
}

static void ends_of_numbers(void **state)
{
	const struct qcow2_geometry small = of(9), large = of(30);

	(void)state;
	assert_range(q2_guest_clusters(&small, MAX, MAX >> 9, 1), MAX - 511, 511);
	assert_range(q2_guest_clusters(&small, 0, MAX >> 9, 9), MAX - 511, 511);
	assert_range(q2_guest_clusters(&small, MAX, (MAX >> 9) + 1, 1), 0, 0);
	assert_range(q2_guest_clusters(&small, MAX, MAX, MAX), 0, 0);
	/* An L1 entry maps 2^57 bytes: no number says where the 128th starts. */
	assert_range(q2_guest_l1(&large, MAX, 127, 1), UINT64_C(127) << 57,
		     (UINT64_C(1) << 57) - 1);
	assert_range(q2_guest_l1(&large, MAX, 128, 1), 0, 0);
	assert_range(q2_guest_l1(&large, MAX, UINT32_MAX, UINT32_MAX), 0, 0);
	assert_range(q2_guest_l1(&large, MAX, 0, UINT32_MAX), 0, MAX);
	assert_true(q2_guest_byte(&large, 127, 1) == (UINT64_C(127) << 57) + (1 << 30));
	assert_true(q2_guest_byte(&large, 128, 0) == MAX);
	assert_true(q2_guest_byte(&large, UINT32_MAX, (1 << 27) - 1) == MAX);
}

/* A table of which the file has a part: an entry that is cut counts as there. */
static void ends_of_files(void **state)
{
	const struct qcow2_geometry g = of(9); /* the file has 4096 bytes, an entry maps 32 KiB */

	(void)state;
	assert_range(q2_guest_l1_past_end(&g, MAX, 4096, 4), 0, 131072);
	assert_range(q2_guest_l1_past_end(&g, 100000, 4096, 4), 0, 100000);
	assert_range(q2_guest_l1_past_end(&g, MAX, 4080, 4), 65536, 65536);
	assert_range(q2_guest_l1_past_end(&g, MAX, 4081, 4), 65536, 65536);
	assert_range(q2_guest_l1_past_end(&g, MAX, 0, 4), 0, 0);
	assert_range(q2_guest_l1_past_end(&g, MAX, MAX, UINT32_MAX), 0,
		     UINT64_C(32768) * UINT32_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ends_of_disks),
		cmocka_unit_test(ends_of_numbers),
		cmocka_unit_test(ends_of_files),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
