/* SPDX-License-Identifier: MIT */
/*
 * Selectors by themselves: how a text is compiled, and which steps down a tree it follows. The tree
 * is whatever a test steps through.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "walk/select.h"

#include <cmocka.h>

static struct qcow2_selection *selection;
static struct qcow2_error err;

static int teardown(void **state)
{
	(void)state;
	qcow2_selection_free(selection);
	selection = NULL;
	return 0;
}

static void select_these(const char *const *texts, size_t count)
{
	qcow2_selection_free(selection);
	selection = NULL;
	assert_int_equal(qcow2_selection_new(texts, count, &selection, &err), 0);
}

static void select_one(const char *text)
{
	select_these(&text, 1);
}

static bool enter(const char *key)
{
	return q2_selection_enter(selection,
				  &(struct q2_step){.key = key, .index = QCOW2_NO_INDEX});
}

static bool enter_bulk(const char *key)
{
	return q2_selection_enter(
		selection, &(struct q2_step){.key = key, .index = QCOW2_NO_INDEX, .bulk = true});
}

/* Goes to an element of a list and comes back: whether it is wanted. */
static bool wants(const char *name, uint64_t index)
{
	struct q2_step step = {.index = index};

	step.name = (struct qcow2_bytes){(const uint8_t *)name, strlen(name)};
	if (!q2_selection_enter(selection, &step))
		return false;
	q2_selection_leave(selection);
	return true;
}

static void nothing_given_is_all_but_bulk(void **state)
{
	(void)state;
	select_these(NULL, 0);
	assert_true(q2_selection_wants_field(selection, "anything"));
	assert_false(enter_bulk("l2"));
	assert_true(enter("header"));
	assert_true(q2_selection_wants_field(selection, "size"));
	assert_true(q2_selection_satisfied(selection));
}

static void all_is_all(void **state)
{
	static const char *const ways[] = {"all", "**", "/**"};

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		select_one(ways[i]);
		assert_true(enter_bulk("l2"));
		assert_true(wants("", 5));
		assert_true(enter("deeper"));
		assert_true(enter_bulk("still"));
		assert_true(q2_selection_satisfied(selection));
	}
}

static void one_path(void **state)
{
	(void)state;
	select_one("header/size");
	assert_false(enter("l1"));
	assert_false(q2_selection_satisfied(selection));
	assert_true(enter("header"));
	assert_false(q2_selection_wants_field(selection, "version"));
	assert_false(q2_selection_satisfied(selection));
	assert_true(q2_selection_wants_field(selection, "size"));
	assert_true(q2_selection_satisfied(selection));
	q2_selection_leave(selection);
	/* What matched is not forgotten at the root. */
	q2_selection_start(selection);
	assert_true(q2_selection_satisfied(selection));
}

static void what_is_selected_is_whole_but_for_bulk(void **state)
{
	(void)state;
	select_one("l1");
	assert_true(enter_bulk("l1"));
	assert_true(wants("", 0) && wants("", 1000000));
	assert_true(enter("below"));
	assert_false(enter_bulk("table"));
	assert_true(q2_selection_wants_field(selection, "any"));
	select_one("bitmaps_too/**");
	assert_true(enter("bitmaps_too"));
	assert_true(enter_bulk("table"));
}

static void indexes_and_ranges(void **state)
{
	static const struct {
		const char *text;
		uint64_t in[2], out[2]; /* wanted; not wanted */
	} cases[] = {
		{"x/7", {7, 7}, {6, 8}},      {"x/0x10", {16, 16}, {15, 17}},
		{"x/3..5", {3, 5}, {2, 6}},   {"x/3..", {3, UINT64_MAX - 1}, {2, 0}},
		{"x/..5", {0, 5}, {6, 1000}}, {"x/4..4", {4, 4}, {3, 5}},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		select_one(cases[i].text);
		assert_true(enter("x"));
		for (size_t j = 0; j < 2; j++) {
			assert_true(wants("", cases[i].in[j]));
			assert_false(wants("", cases[i].out[j]));
		}
	}
}

static void narrows_to_what_may_be_wanted(void **state)
{
	static const char *const two[] = {"x/3..5", "x/100"};
	static const char *const and_a_name[] = {"x/3..5", "x/name"};
	uint64_t first = 0, last = 1000;

	(void)state;
	select_these(two, 2);
	assert_true(enter("x"));
	q2_selection_narrow(selection, &first, &last);
	assert_true(first == 3 && last == 101);
	first = 50;
	last = 60;
	q2_selection_narrow(selection, &first, &last);
	assert_true(first == 50 && last == 60);
	/* A name may be that of any element. */
	select_these(and_a_name, 2);
	assert_true(enter("x"));
	q2_selection_narrow(selection, &first, &last);
	assert_true(first == 50 && last == 60);
	select_one("x/8..");
	assert_true(enter("x"));
	first = 0;
	q2_selection_narrow(selection, &first, &last);
	assert_true(first == 8 && last == 60);
	/* The whole list. */
	select_one("x");
	assert_true(enter("x"));
	first = 0;
	q2_selection_narrow(selection, &first, &last);
	assert_true(first == 0 && last == 60);
}

static void names(void **state)
{
	static const struct {
		const char *text, *in, *out;
	} cases[] = {
		{"x/b0", "b0", "b01"},       {"x/b*", "b", "ab"},   {"x/*b*c", "abbc", "abcb"},
		{"x/a*b*a", "abba", "aba0"}, {"x/\\*", "*", "x"},   {"x/a\\/b", "a/b", "a"},
		{"x/=7", "7", "70"},         {"x/=b*", "bc", "ab"}, {"x/7..b", "7..b", "7"},
		{"x/..", "..", "."},         {"x/a\\", "a\\", "a"}, {"x/**a", "ba", "b"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		select_one(cases[i].text);
		assert_true(enter("x"));
		assert_true(wants(cases[i].in, 900));
		assert_false(wants(cases[i].out, 901));
	}
}

/* A number is an index and a name; after = it is a name alone. */
static void numbers_as_names(void **state)
{
	(void)state;
	select_one("x/7");
	assert_true(enter("x"));
	assert_true(wants("other", 7) && wants("7", 3) && !wants("other", 3));
	select_one("x/=7");
	assert_true(enter("x"));
	assert_true(wants("7", 3) && !wants("other", 7));
}

/* Patterns with many stars against names without an end to them cost no more than their product. */
static void stars_cost_little(void **state)
{
	static char name[60001], pattern[2 * 1000 + 4];
	struct q2_step step = {.index = 0};

	(void)state;
	memset(name, 'a', sizeof(name) - 1);
	for (size_t i = 0; i < 1000; i++)
		memcpy(pattern + 2 * i, "*a", 3);
	memcpy(pattern + 2000, "*b", 3);
	select_one(pattern);
	step.name = (struct qcow2_bytes){(const uint8_t *)name, sizeof(name) - 1};
	assert_false(q2_selection_enter(selection, &step));
}

/* Short forms that people write stand for the paths of the tree. */
static void short_forms(void **state)
{
	static const struct {
		const char *text, *full;
	} cases[] = {
		{"bitmaps", "extensions/bitmaps/data/bitmap_directory"},
		{"bitmaps/b0", "extensions/bitmaps/data/bitmap_directory/b0"},
		{"bitmaps/b0/table/3",
		 "extensions/bitmaps/data/bitmap_directory/b0/bitmap_table/3"},
		{"l2/5/17", "l2/5/entries/17"},
		{"l2/5/entries/17", "l2/5/entries/17"},
		{"l2/5/**", "l2/5/**"},
		{"bitmaps/b0/bitmap-table/3",
		 "extensions/bitmaps/data/bitmap_directory/b0/bitmap-table/3"},
		{"extensions/1/data/bitmap-directory/b0/table",
		 "extensions/1/data/bitmap-directory/b0/bitmap_table"},
		{"l2/5/same-as", "l2/5/same-as"},
		{"l2/5/same_as", "l2/5/same_as"},
		{"refcounts/1/2", "refcounts/1/entries/2"},
		{"snapshots/0/l2/1/2", "snapshots/0/l2/1/entries/2"},
		{"snapshots/0/name/", "snapshots/0/name"},
		{"/header/size", "header/size"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char full[128] = "";

		select_one(cases[i].text);
		for (size_t j = 0; j < selection->selectors[0].count; j++) {
			if (j > 0)
				strcat(full, "/");
			strcat(full, selection->selectors[0].segments[j].pattern);
		}
		assert_string_equal(full, cases[i].full);
	}
}

static void refused(void **state)
{
	static const struct {
		const char *text, *why;
	} cases[] = {
		{"", "empty"},
		{"a//b", "empty"},
		{"a/=", "empty"},
		{"**/a", "nothing can follow"},
		{"x/5..3", "ends before it begins"},
		{"a/b/c/d/e/f/g/h/i/j/k/l/m", "too many segments"},
	};
	const char *many[Q2_SELECTORS_MAX + 1];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(qcow2_selection_new(&cases[i].text, 1, &selection, &err), -1);
		assert_int_equal(err.code, QCOW2_ERROR_ARGUMENT);
		assert_non_null(strstr(err.text, cases[i].why));
	}
	for (size_t i = 0; i <= Q2_SELECTORS_MAX; i++)
		many[i] = "header";
	assert_int_equal(qcow2_selection_new(many, Q2_SELECTORS_MAX + 1, &selection, &err), -1);
	assert_int_equal(err.code, QCOW2_ERROR_ARGUMENT);
}

/* All 64 are followed at once, the last one as well as the first. */
static void as_many_as_there_may_be(void **state)
{
	static char texts[Q2_SELECTORS_MAX][8];
	const char *many[Q2_SELECTORS_MAX];

	(void)state;
	for (size_t i = 0; i < Q2_SELECTORS_MAX; i++) {
		snprintf(texts[i], sizeof(texts[i]), "x/%zu", 2 * i);
		many[i] = texts[i];
	}
	select_these(many, Q2_SELECTORS_MAX);
	assert_true(enter("x"));
	for (uint64_t i = 0; i < 2 * Q2_SELECTORS_MAX + 2; i++) {
		assert_false(q2_selection_satisfied(selection));
		assert_int_equal(wants("", i), i % 2 == 0 && i < 2 * Q2_SELECTORS_MAX);
		if (i == 2 * Q2_SELECTORS_MAX - 2)
			break;
	}
	assert_true(q2_selection_satisfied(selection));
}

/* Where a selector that names nothing stops: below what it found, at what it misses. */
static void edges(void **state)
{
	(void)state;
	select_one("header/nothing/more");
	assert_true(q2_selection_at_edge(selection, 0));
	assert_true(enter("header"));
	assert_true(q2_selection_at_edge(selection, 0));
	q2_selection_start(selection);
	assert_false(q2_selection_at_edge(selection, 0));
}

#define TEST(name) cmocka_unit_test_teardown(name, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(nothing_given_is_all_but_bulk),
		TEST(all_is_all),
		TEST(one_path),
		TEST(what_is_selected_is_whole_but_for_bulk),
		TEST(indexes_and_ranges),
		TEST(narrows_to_what_may_be_wanted),
		TEST(names),
		TEST(numbers_as_names),
		TEST(stars_cost_little),
		TEST(short_forms),
		TEST(refused),
		TEST(as_many_as_there_may_be),
		TEST(edges),
	};

	return cmocka_run_group_tests_name("selectors", tests, NULL, NULL);
}
