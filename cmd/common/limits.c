/* SPDX-License-Identifier: MIT */
/* See limits.h. */
#include "common/limits.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "common/sanitized.h"
#include "out/human.h"

#define MEMORY_DEFAULT_BYTES (UINT64_C(4) << 30)
#define TIME_DEFAULT_SECONDS (UINT64_C(24) * 3600)

/* How long after the time limit a command is ended that has not ended by itself. */
#define GRACE_SECONDS 1

#define NS_PER_SECOND UINT64_C(1000000000)

static struct limits *limits_of(const struct command *command)
{
	return command->common ? &command->common->limits : NULL;
}

/* ---- time ---- */

#if SYSTEM_HAS_TIMERS

/* Ends the process at a time when anything may be half done: only calls that signals may make. */
static void end_process(int signal_number, siginfo_t *info, void *context)
{
	const struct limits *limits = info->si_value.sival_ptr;
	const char *made = limits->making;

	(void)signal_number;
	(void)context;
	if (made)
		(void)unlink(made);
	(void)!write(STDERR_FILENO, limits->last_words, strlen(limits->last_words));
	_exit(limits->over_code);
}

/* Without a timer, only reads are late. */
static void start_timer(struct limits *limits)
{
	struct sigaction action = {.sa_sigaction = end_process, .sa_flags = SA_SIGINFO};
	struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM};
	struct itimerspec when = {.it_value.tv_sec = (time_t)limits->time_seconds + GRACE_SECONDS};
	sigset_t alarm;

	event.sigev_value.sival_ptr = limits;
	sigemptyset(&action.sa_mask);
	sigemptyset(&alarm);
	sigaddset(&alarm, SIGALRM);
	if (sigprocmask(SIG_UNBLOCK, &alarm, NULL) || sigaction(SIGALRM, &action, NULL) ||
	    timer_create(CLOCK_MONOTONIC, &event, &limits->timer))
		return;
	limits->has_timer = timer_settime(limits->timer, 0, &when, NULL) == 0;
}

static void stop_timer(struct limits *limits)
{
	if (limits->has_timer)
		(void)timer_delete(limits->timer);
	limits->has_timer = false;
}

#else

static void start_timer(struct limits *limits)
{
	limits->has_timer = false;
}

static void stop_timer(struct limits *limits)
{
	limits->has_timer = false;
}

#endif

static uint64_t now_ns(void)
{
	struct timespec now = {0};

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * NS_PER_SECOND + (uint64_t)now.tv_nsec;
}

static bool is_over(const struct limits *limits)
{
	return limits->deadline_ns != 0 && now_ns() >= limits->deadline_ns;
}

static void begin_time(const struct command *command, struct limits *limits)
{
	if (!limits->time_given)
		limits->time_seconds = TIME_DEFAULT_SECONDS;
	if (limits->time_seconds == 0)
		return;
	limits->deadline_ns = now_ns() + limits->time_seconds * NS_PER_SECOND;
	snprintf(limits->last_words, sizeof(limits->last_words),
		 "qcow2 %s: the time limit of %" PRIu64 " s is over\n", command->name,
		 limits->time_seconds);
	limits->over_code = command->could_not ? command->could_not : EXIT_COULD_NOT;
	start_timer(limits);
}

bool limits_are_over(const struct command *command)
{
	const struct limits *limits = limits_of(command);

	if (!limits || !is_over(limits))
		return false;
	fputs(limits->last_words, stderr);
	return true;
}

void limits_end_time(const struct command *command, struct qcow2_source *source)
{
	struct limits *limits = limits_of(command);

	if (source)
		qcow2_source_set_deadline(source, 0);
	if (!limits)
		return;
	stop_timer(limits);
	limits->deadline_ns = 0;
}

void limits_renew_time(const struct command *command)
{
	struct limits *limits = limits_of(command);

	if (!limits || limits->time_given)
		return;
	limits_end_time(command, NULL);
	begin_time(command, limits);
}

void limits_making(const struct command *command, const char *path)
{
	struct limits *limits = limits_of(command);

	if (limits)
		limits->making = path;
}

/* ---- memory ---- */

static void begin_memory(struct limits *limits)
{
	struct rlimit limit;

	if (!limits->memory_given)
		limits->memory_bytes = MEMORY_DEFAULT_BYTES;
	if (limits->memory_bytes == 0 || SANITIZED || getrlimit(RLIMIT_DATA, &limit))
		return;
	if (limit.rlim_max != RLIM_INFINITY && limit.rlim_max < limits->memory_bytes)
		return;
	limit.rlim_cur = limit.rlim_max = (rlim_t)limits->memory_bytes;
	(void)setrlimit(RLIMIT_DATA, &limit);
}

uint64_t limits_memory(const struct command *command)
{
	const struct limits *limits = limits_of(command);

	if (!limits || !limits->memory_given || limits->memory_bytes == 0)
		return 0;
	/* The rest is for what is not accounted, such as the stacks of threads and the output. */
	return limits->memory_bytes / 4 * 3 + 1;
}

void limits_explain(const struct command *command, struct qcow2_error *err)
{
	const struct limits *limits = limits_of(command);
	char human[HUMAN_MAX];

	if (limits && is_over(limits)) {
		snprintf(err->text, sizeof(err->text), "the time limit of %" PRIu64 " s is over",
			 limits->time_seconds);
		err->offset_bytes = QCOW2_NO_OFFSET;
		return;
	}
	if (!limits || !limits->memory_given || limits->memory_bytes == 0 ||
	    (strcmp(err->text, "out of memory") != 0 && strcmp(err->text, strerror(ENOMEM)) != 0))
		return;
	snprintf(err->text, sizeof(err->text), "out of memory: the limit is %s (--memory-limit)",
		 human_size(limits->memory_bytes, human));
}

void limits_start(const struct command *command)
{
	struct limits *limits = limits_of(command);

	if (!limits)
		return;
	begin_memory(limits);
	begin_time(command, limits);
}
