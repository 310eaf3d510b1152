/* SPDX-License-Identifier: MIT */
/* How many processors may be used: affinity, and the quotas of forged control groups. */
#include <limits.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "source/processors.h"

#include <qcow2/source.h>

static char root[] = "/tmp/qcow2-processors-XXXXXX";

static const char *path(const char *name)
{
	static char text[256];

	snprintf(text, sizeof(text), "%s/%s", root, name);
	return text;
}

static void put(const char *name, const char *content)
{
	FILE *file = fopen(path(name), "w");

	assert_non_null(file);
	assert_true(fputs(content, file) >= 0);
	assert_int_equal(fclose(file), 0);
}

static int make(void **state)
{
	(void)state;
	if (!mkdtemp(root))
		return -1;
	return mkdir(path("outer"), 0700) || mkdir(path("outer/inner"), 0700);
}

static int clean(void **state)
{
	static const char *const files[] = {"membership", "cpu.max", "outer/cpu.max",
					    "outer/inner/cpu.max"};

	(void)state;
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		unlink(path(files[i]));
	return rmdir(path("outer/inner")) || rmdir(path("outer")) || rmdir(root);
}

static unsigned ask(void)
{
	char membership[256];

	snprintf(membership, sizeof(membership), "%s", path("membership"));
	return q2_cgroup_processors(membership, root);
}

static void no_quota(void **state)
{
	(void)state;
	assert_int_equal(ask(), UINT_MAX); /* no membership */
	put("membership", "12:cpu:/old\n");
	put("cpu.max", "100000 100000\n");
	assert_int_equal(ask(), UINT_MAX); /* version 1 alone */
	put("membership", "0::\n");
	assert_int_equal(ask(), UINT_MAX); /* no path */
	put("membership", "0::/outer/inner\n");
	put("cpu.max", "max 100000\n");
	assert_int_equal(ask(), UINT_MAX);
}

static void quotas(void **state)
{
	static const struct {
		const char *text;
		unsigned processors;
	} cases[] = {
		{"200000 100000\n", 2}, {"150000 100000\n", 2},
		{"100001 100000\n", 2}, {"100000 100000\n", 1},
		{"1000 100000\n", 1},   {"0 100000\n", 1},
		{"max 100000\n", 8},    {"100000 0\n", 8},
		{"100000\n", 8},        {"", 8},
		{"-5 100000\n", 8},     {"99999999999999999999 1\n", 8},
	};

	(void)state;
	put("membership", "1:name=systemd:/x\n0::/outer/inner\n");
	put("cpu.max", "800000 100000\n");
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		put("outer/inner/cpu.max", cases[i].text);
		assert_int_equal(ask(), cases[i].processors);
	}
}

/* The quota of a group above counts for all below it. */
static void groups_above(void **state)
{
	(void)state;
	put("membership", "0::/outer/inner\n");
	put("cpu.max", "max 100000\n");
	put("outer/inner/cpu.max", "600000 100000\n");
	put("outer/cpu.max", "300000 100000\n");
	assert_int_equal(ask(), 3);
	put("cpu.max", "200000 100000\n");
	assert_int_equal(ask(), 2);
	put("membership", "0::/\n");
	assert_int_equal(ask(), 2);
	put("membership", "0::/gone/with/its/folders\n");
	assert_int_equal(ask(), 2);
	put("membership", "0::/../outer\n"); /* from outside of the namespace */
	put("outer/cpu.max", "100000 100000\n");
	assert_int_equal(ask(), 2);
}

static void follows_affinity(void **state)
{
	cpu_set_t before, one;
	unsigned all;

	(void)state;
	assert_int_equal(sched_getaffinity(0, sizeof(before), &before), 0);
	all = qcow2_processors();
	assert_in_range(all, 1, (unsigned)CPU_COUNT(&before));
	CPU_ZERO(&one);
	for (size_t i = 0; i < CPU_SETSIZE && CPU_COUNT(&one) == 0; i++)
		if (CPU_ISSET(i, &before))
			CPU_SET(i, &one);
	assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
	assert_int_equal(qcow2_processors(), 1);
	assert_int_equal(sched_setaffinity(0, sizeof(before), &before), 0);
	assert_int_equal(qcow2_processors(), all);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_quota),
		cmocka_unit_test(quotas),
		cmocka_unit_test(groups_above),
		cmocka_unit_test(follows_affinity),
	};

	return cmocka_run_group_tests(tests, make, clean);
}
