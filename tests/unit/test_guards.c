/* SPDX-License-Identifier: MIT */
/*
 * Guards for programs that make plans of writes of their own: what they lose is refused, unless
 * they say that they mean it.
 */
#include <qcow2/edit.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "unit/image_bytes.h"

#include <cmocka.h>

#define IMAGE_BYTES  0xc00
#define EXTENSION_AT 104
#define BITS_AT      72
#define LOST_TYPE    0x12345678

static struct qcow2_error err;
static uint8_t bytes[IMAGE_BYTES];

/* A disk of 4 KiB with nothing in it, and one extension that nobody knows. */
static void make_image(void)
{
	memset(bytes, 0, sizeof(bytes));
	put_header(bytes, 4096);
	put_be(bytes + 36, 4, 1);
	put_be(bytes + 40, 8, 0x200);
	put_be(bytes + 48, 8, 0x400);
	put_be(bytes + 56, 4, 1);
	put_mark(bytes + EXTENSION_AT, LOST_TYPE, 8);
	memset(bytes + EXTENSION_AT + 8, 'x', 8);
	put_be(bytes + 0x400, 8, 0x600);
	for (unsigned i = 0; i < 4; i++)
		put_be(bytes + 0x600 + 2 * (size_t)i, 2, 1);
}

/* Writes a number into a plan over the image. */
static void put(struct qcow2_plan *plan, uint64_t at, unsigned width, uint64_t value)
{
	uint8_t raw[8];

	put_be(raw, width, value);
	assert_int_equal(qcow2_plan_write(plan, QCOW2_PHASE_POINT, at,
					  (struct qcow2_bytes){raw, width}, "a test", &err),
			 0);
}

static struct qcow2_plan *open_plan(struct qcow2_source **source)
{
	struct qcow2_plan *plan;

	assert_int_equal(qcow2_source_from_memory(bytes, sizeof(bytes), source, &err), 0);
	assert_int_equal(qcow2_plan_open(*source, &plan, &err), 0);
	return plan;
}

/* Judges anew; the verdict of before is freed. */
static void judge(struct qcow2_plan *plan, struct qcow2_plan_verdict **verdict)
{
	qcow2_plan_verdict_free(*verdict);
	assert_int_equal(qcow2_plan_judge(plan, NULL, verdict, &err), 0);
	assert_non_null((*verdict)->before);
	assert_false((*verdict)->adds_problems);
	assert_int_equal(qcow2_plan_verdict_added(*verdict, QCOW2_PROBLEM_REFCOUNT_LOW), 0);
	assert_int_equal((*verdict)->refusals_total, (*verdict)->refusal_count);
}

static void extensions(void **state)
{
	const uint8_t type[] = {0x12, 0x34, 0x56, 0x78};
	struct qcow2_plan_verdict *verdict = NULL;
	struct qcow2_source *source;
	struct qcow2_plan *plan;

	(void)state;
	make_image();
	plan = open_plan(&source);
	judge(plan, &verdict);
	assert_int_equal(verdict->refusal_count, 0);
	put(plan, EXTENSION_AT, 4, 0);
	judge(plan, &verdict);
	assert_int_equal(verdict->refusal_count, 1);
	assert_ptr_equal(verdict->refusals[0]->guard, qcow2_guard_get(QCOW2_GUARD_LOST_EXTENSION));
	assert_string_equal(verdict->refusals[0]->where, "extensions/0");
	assert_non_null(strstr(verdict->refusals[0]->text, "0x12345678"));
	assert_int_equal(
		qcow2_plan_intend(plan, QCOW2_INTENT_BACKING, (struct qcow2_bytes){NULL, 0}, &err),
		0);
	judge(plan, &verdict);
	assert_int_equal(verdict->refusal_count, 1);
	assert_int_equal(qcow2_plan_intend(plan, QCOW2_INTENT_EXTENSION,
					   (struct qcow2_bytes){type, sizeof(type)}, &err),
			 0);
	judge(plan, &verdict);
	assert_int_equal(verdict->refusal_count, 0);
	qcow2_plan_close(plan);
	qcow2_source_close(source);
	qcow2_plan_verdict_free(verdict);
}

/* All of a kind may be meant. */
static void any_name(void **state)
{
	struct qcow2_plan_verdict *verdict = NULL;
	struct qcow2_source *source;
	struct qcow2_plan *plan;

	(void)state;
	make_image();
	plan = open_plan(&source);
	put(plan, EXTENSION_AT, 4, 0);
	assert_int_equal(qcow2_plan_intend(plan, QCOW2_INTENT_EXTENSION,
					   (struct qcow2_bytes){NULL, 0}, &err),
			 0);
	judge(plan, &verdict);
	assert_int_equal(verdict->refusal_count, 0);
	qcow2_plan_close(plan);
	qcow2_source_close(source);
	qcow2_plan_verdict_free(verdict);
}

/* The dirty bit goes if the counts are right, and stays if one is not. */
static void dirty(void **state)
{
	struct qcow2_plan_verdict *verdict = NULL;
	struct qcow2_source *source;
	struct qcow2_plan *plan;

	(void)state;
	for (uint64_t refcount = 0; refcount <= 1; refcount++) {
		make_image();
		put_be(bytes + BITS_AT, 8, QCOW2_INCOMPATIBLE_DIRTY);
		put_be(bytes + 0x602, 2, refcount);
		plan = open_plan(&source);
		put(plan, BITS_AT, 8, 0);
		judge(plan, &verdict);
		assert_int_equal(verdict->refusal_count, refcount == 0);
		put(plan, 0x602, 2, 1);
		judge(plan, &verdict);
		assert_int_equal(verdict->refusal_count, 0);
		qcow2_plan_close(plan);
		qcow2_source_close(source);
	}
	qcow2_plan_verdict_free(verdict);
}

/* What changes nothing is not refused, whatever the image is. */
static void nothing(void **state)
{
	struct qcow2_plan_verdict *verdict = NULL;
	struct qcow2_source *source;
	struct qcow2_plan *plan;

	(void)state;
	make_image();
	put_be(bytes + BITS_AT, 8, QCOW2_INCOMPATIBLE_CORRUPT);
	plan = open_plan(&source);
	judge(plan, &verdict);
	assert_int_equal(verdict->refusal_count, 0);
	put(plan, 80, 8, 1);
	judge(plan, &verdict);
	assert_int_equal(verdict->refusal_count, 1);
	qcow2_plan_close(plan);
	qcow2_source_close(source);
	qcow2_plan_verdict_free(verdict);
}

#define WIDE       ((size_t)1 << 16)
#define WIDE_L1    ((uint64_t)1 << 17)
#define WIDE_TABLE (19 * WIDE)

/*
 * A small image may have very many L1 entries that lead to one table. A plan that writes to the
 * table costs what it writes, not a look at the whole table for each of them.
 */
static void many_lead_to_one(void **state)
{
	static uint8_t wide[21 * WIDE];
	struct qcow2_plan_verdict *verdict = NULL;
	struct qcow2_source *source;
	struct qcow2_plan *plan;
	clock_t began = clock();

	(void)state;
	put_header(wide, WIDE_L1 * (WIDE / 8) * WIDE);
	put_be(wide + 20, 4, 16);
	put_be(wide + 36, 4, WIDE_L1);
	put_be(wide + 40, 8, WIDE);
	put_be(wide + 48, 8, 17 * WIDE);
	put_be(wide + 56, 4, 1);
	put_be(wide + 17 * WIDE, 8, 18 * WIDE);
	for (size_t i = 0; i < WIDE_L1; i++)
		put_be(wide + WIDE + 8 * i, 8, WIDE_TABLE);
	assert_int_equal(qcow2_source_from_memory(wide, sizeof(wide), &source, &err), 0);
	assert_int_equal(qcow2_plan_open(source, &plan, &err), 0);
	put(plan, WIDE_TABLE + WIDE - 8, 8, 20 * WIDE);
	assert_int_equal(qcow2_plan_judge(plan, NULL, &verdict, &err), 0);
	/* The other one is about the refcount of the cluster, which is 0. */
	assert_int_equal(verdict->refusal_count, 2);
	assert_ptr_equal(verdict->refusals[1]->guard, qcow2_guard_get(QCOW2_GUARD_SHARED_TABLE));
	assert_true((clock() - began) / CLOCKS_PER_SEC < 3);
	qcow2_plan_verdict_free(verdict);
	qcow2_plan_close(plan);
	qcow2_source_close(source);
}

/* The list of guards is whole, and each is found by its number and by its id. */
static void list_of_guards(void **state)
{
	static const char *const ids[] = {
#define QCOW2_GUARD(number, ID, id, section, what, says, unless, refusal, way_out) id,
#include <qcow2/def/guards.def>
#undef QCOW2_GUARD
	};
	const struct qcow2_guard *guard = NULL;

	(void)state;
	for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
		guard = qcow2_guard_next(guard);
		assert_non_null(guard);
		assert_string_equal(guard->id, ids[i]);
		assert_ptr_equal(qcow2_guard_find(ids[i]), guard);
		assert_ptr_equal(qcow2_guard_get(guard->number), guard);
	}
	assert_null(qcow2_guard_next(guard));
	assert_null(qcow2_guard_find("Dirty"));
	assert_null(qcow2_guard_get(QCOW2_GUARD_NONE));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(extensions),     cmocka_unit_test(any_name),
		cmocka_unit_test(dirty),          cmocka_unit_test(nothing),
		cmocka_unit_test(list_of_guards), cmocka_unit_test(many_lead_to_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
