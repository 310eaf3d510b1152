/* SPDX-License-Identifier: MIT */
/* The progress line: when it appears, what it says, and that it is wiped. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "out/progress.h"

/* What was printed to standard error by work. */
static const char *hear(void (*work)(struct progress *), struct progress *progress)
{
	static char text[512];
	int ends[2], saved = dup(STDERR_FILENO);
	ssize_t size;

	fflush(stderr);
	assert_int_equal(pipe(ends), 0);
	assert_true(dup2(ends[1], STDERR_FILENO) >= 0);
	work(progress);
	fflush(stderr);
	assert_true(dup2(saved, STDERR_FILENO) >= 0);
	close(saved);
	close(ends[1]);
	size = read(ends[0], text, sizeof(text) - 1);
	close(ends[0]);
	assert_true(size >= 0);
	text[size] = '\0';
	return text;
}

static void many_steps(struct progress *progress)
{
	for (int i = 0; i < 8192; i++)
		progress_step(progress, 3 * 1024 * 1024);
}

static void few_steps(struct progress *progress)
{
	for (int i = 0; i < 4095; i++)
		progress_step(progress, 1);
}

/* A line that is due is printed once: the next one is due a second later at the earliest. */
static void line_that_is_due(void **state)
{
	struct progress progress = {.wanted = true};

	(void)state;
	assert_string_equal(hear(many_steps, &progress),
			    "\r4096 entries shown, 3 MiB written\033[K");
	assert_true(progress.shown);
	assert_string_equal(hear(progress_end, &progress), "\r\033[K");
	assert_string_equal(hear(progress_end, &progress), "");
}

static void nothing_for_little_work(void **state)
{
	struct progress progress = {.wanted = true};

	(void)state;
	assert_string_equal(hear(few_steps, &progress), "");
	assert_string_equal(hear(progress_end, &progress), "");
}

/* A line in the far future is not due. */
static void nothing_before_its_time(void **state)
{
	struct progress progress = {.wanted = true};

	(void)state;
	clock_gettime(CLOCK_MONOTONIC, &progress.next);
	progress.next.tv_sec += 3600;
	assert_string_equal(hear(many_steps, &progress), "");
}

/* Neither a pipe nor a file is a person who waits. */
static void nothing_without_a_terminal(void **state)
{
	struct progress progress;

	(void)state;
	assert_string_equal(hear(progress_init, &progress), "");
	assert_false(progress.wanted);
	progress.next = (struct timespec){0};
	assert_string_equal(hear(many_steps, &progress), "");
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(line_that_is_due),
		cmocka_unit_test(nothing_for_little_work),
		cmocka_unit_test(nothing_before_its_time),
		cmocka_unit_test(nothing_without_a_terminal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
