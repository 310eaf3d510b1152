/* SPDX-License-Identifier: MIT */
/* Small parts of plans, undos and bitmap editors, each by itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "edit/bitmap/given_up.h"
#include "plan/intents.h"
#include "plan/places.h"
#include "undo/file.h"
#include "undo/patches.h"

static struct qcow2_bytes text(const char *text)
{
	return (struct qcow2_bytes){(const uint8_t *)text, strlen(text)};
}

static void patches_by_place(void **state)
{
	struct q2_undo_patches patches = {.items = NULL};
	uint8_t bytes[4] = {0xff, 0x00, 0xff, 0x00};

	(void)state;
	assert_int_equal(q2_undo_patches_find(&patches, 0), 0);
	assert_true(q2_undo_patch_add(&patches, (struct q2_undo_patch){12, 0, 0x0f}));
	assert_true(q2_undo_patch_add(&patches, (struct q2_undo_patch){14, 1, 0}));
	assert_true(q2_undo_patch_add(&patches, (struct q2_undo_patch){9, 1, 0}));
	assert_true(q2_undo_patch_add(&patches, (struct q2_undo_patch){11, 0x80, 0}));
	q2_undo_patches_sort(&patches);
	assert_int_equal(q2_undo_patches_find(&patches, 0), 0);
	assert_int_equal(q2_undo_patches_find(&patches, 9), 0);
	assert_int_equal(q2_undo_patches_find(&patches, 10), 1);
	assert_int_equal(q2_undo_patches_find(&patches, 12), 2);
	assert_int_equal(q2_undo_patches_find(&patches, 15), 4);
	/* Only those in the range are laid: at 9 and at 14 there is nothing of it. */
	q2_undo_patches_lay(&patches, 10, bytes, sizeof(bytes));
	assert_int_equal(bytes[0], 0xff);
	assert_int_equal(bytes[1], 0x80);
	assert_int_equal(bytes[2], 0xf0);
	assert_int_equal(bytes[3], 0x00);
	q2_undo_patches_release(&patches);
	assert_int_equal(patches.count, 0);
}

static void overlaps_of_possible_bytes(void **state)
{
	/* As they are sorted: by where they begin, whatever they reach over. */
	struct q2_undo_record records[] = {
		{.offset_bytes = 100, .size = Q2_PLACE_MOST_BYTES},
		{.offset_bytes = 200, .size = 10},
		{.offset_bytes = 300, .size = 0},
		{.offset_bytes = 305, .size = 100},
		{.offset_bytes = 400, .size = 50},
	};
	const struct qcow2_undo undo = {
		.possible = {.items = records, .count = sizeof(records) / sizeof(records[0])},
		.longest_possible = Q2_PLACE_MOST_BYTES};
	struct q2_undo_overlap overlap = q2_undo_overlaps(&undo, 250, 400);

	(void)state;
	assert_true(q2_undo_next_overlap(&undo, &overlap));
	assert_ptr_equal(overlap.record, &records[0]);
	assert_int_equal(overlap.first, 250);
	assert_int_equal(overlap.last, 400);
	assert_true(q2_undo_next_overlap(&undo, &overlap));
	assert_ptr_equal(overlap.record, &records[3]);
	assert_int_equal(overlap.first, 305);
	assert_int_equal(overlap.last, 400);
	assert_false(q2_undo_next_overlap(&undo, &overlap));
	/* The first byte behind the longest one, and a range that only the last one has. */
	overlap = q2_undo_overlaps(&undo, 100 + Q2_PLACE_MOST_BYTES, UINT64_MAX);
	assert_false(q2_undo_next_overlap(&undo, &overlap));
	overlap = q2_undo_overlaps(&undo, 99 + Q2_PLACE_MOST_BYTES, 100 + Q2_PLACE_MOST_BYTES);
	assert_true(q2_undo_next_overlap(&undo, &overlap));
	assert_int_equal(overlap.last - overlap.first, 1);
	assert_false(q2_undo_next_overlap(&undo, &overlap));
}

static void records_by_place(void **state)
{
	struct q2_undo_record records[] = {{.offset_bytes = 10, .size = 5},
					   {.offset_bytes = 20, .size = 1}};
	const struct q2_undo_records two = {records, 2}, none = {NULL, 0};

	(void)state;
	assert_int_equal(q2_undo_find(&none, 7), 0);
	assert_int_equal(q2_undo_find(&two, 0), 0);
	assert_int_equal(q2_undo_find(&two, 14), 0);
	assert_int_equal(q2_undo_find(&two, 15), 1);
	assert_int_equal(q2_undo_find(&two, 20), 1);
	assert_int_equal(q2_undo_find(&two, 21), 2);
}

static void clusters_that_are_given_up(void **state)
{
	static const uint64_t numbers[] = {7, 3, UINT64_MAX, 3, 0};
	struct q2_vector clusters;

	(void)state;
	q2_given_up_init(&clusters);
	q2_clusters_sort(&clusters);
	assert_false(q2_clusters_have(&clusters, 0));
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		assert_int_equal(q2_vector_push(&clusters, &numbers[i]), QCOW2_ERROR_NONE);
	q2_clusters_sort(&clusters);
	assert_true(q2_clusters_have(&clusters, 0));
	assert_true(q2_clusters_have(&clusters, 3));
	assert_true(q2_clusters_have(&clusters, 7));
	assert_true(q2_clusters_have(&clusters, UINT64_MAX));
	assert_false(q2_clusters_have(&clusters, 1));
	assert_false(q2_clusters_have(&clusters, 8));
	q2_vector_release(&clusters);
}

static void intents_by_name(void **state)
{
	struct q2_intents intents;

	(void)state;
	q2_intents_init(&intents);
	assert_false(q2_is_intended(&intents, QCOW2_INTENT_BITMAP_GONE, text("a")));
	assert_true(q2_intents_add(&intents, QCOW2_INTENT_BITMAP_GONE, text("a")));
	assert_true(q2_is_intended(&intents, QCOW2_INTENT_BITMAP_GONE, text("a")));
	assert_false(q2_is_intended(&intents, QCOW2_INTENT_BITMAP_GONE, text("b")));
	assert_false(q2_is_intended(&intents, QCOW2_INTENT_BITMAP_MADE, text("a")));
	/* For all names; an empty name is a name. */
	assert_true(q2_intents_add(&intents, QCOW2_INTENT_BACKING, text("")));
	assert_false(q2_is_intended(&intents, QCOW2_INTENT_BACKING, text("b")));
	assert_true(q2_intents_add(&intents, QCOW2_INTENT_BACKING, (struct qcow2_bytes){NULL, 0}));
	assert_true(q2_is_intended(&intents, QCOW2_INTENT_BACKING, text("b")));
	q2_intents_release(&intents);
}

static void intents_of_renamed_bitmaps(void **state)
{
	struct q2_intents intents;
	uint64_t a;

	(void)state;
	q2_intents_init(&intents);
	a = q2_hash_bitmap(&intents.key, text("a"));
	assert_int_equal(q2_name_before(&intents, text("a")), a);
	assert_true(q2_intents_add(&intents, QCOW2_INTENT_BITMAP_WRITTEN, text("a")));
	assert_true(q2_intents_rename(&intents, text("a"), text("b")));
	assert_true(q2_intents_rename(&intents, text("b"), text("c")));
	/* Through both names to the first one; what was written is so under any name. */
	assert_int_equal(q2_name_before(&intents, text("c")), a);
	assert_true(q2_is_intended(&intents, QCOW2_INTENT_BITMAP_WRITTEN, text("c")));
	assert_false(q2_is_intended(&intents, QCOW2_INTENT_BITMAP_MADE, text("c")));
	assert_true(q2_name_before(&intents, text("d")) != a);
	q2_intents_release(&intents);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(patches_by_place), cmocka_unit_test(overlaps_of_possible_bytes),
		cmocka_unit_test(records_by_place), cmocka_unit_test(clusters_that_are_given_up),
		cmocka_unit_test(intents_by_name),  cmocka_unit_test(intents_of_renamed_bitmaps),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
