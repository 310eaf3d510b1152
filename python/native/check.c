/* SPDX-License-Identifier: MIT */
/*
 * A check as a stream. The library hands problems to a callback, an iterator wants to be asked. So
 * the check runs in a thread that knows nothing of the interpreter, and waits when QUEUE problems
 * are not taken yet: memory is bounded however many there are. See streams.h.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "streams.h"

/* A copy of a problem takes up to 2 KiB. */
#define QUEUE 512
/* How long a taker waits, so that it hears a signal meanwhile. */
#define PATIENCE_NS 200000000L

struct binding_check {
	const struct qcow2_image *image;
	struct binding_check_how how;
	pid_t process; /* that the thread is in */
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct qcow2_problem *queue[QUEUE]; /* a ring: count of them from first on */
	size_t first, count;
	bool count_only, stop, ended;
	int failed;
	struct qcow2_check_result *result;
	struct qcow2_error err;
};

static struct qcow2_check_options options_of(const struct binding_check_how *how)
{
	return (struct qcow2_check_options){
		.size = sizeof(struct qcow2_check_options),
		.threads = how->threads,
		.memory_limit_bytes = how->memory_limit_bytes,
		.max_per_kind = how->max_per_kind,
		.only = how->only,
		.deep = how->deep,
		.damage = how->damage,
		.lost_mappings = how->lost_mappings,
	};
}

/* Whether this process is a copy of that in which the check runs; then its locks stay locked. */
static bool forked(const struct binding_check *check)
{
	return getpid() != check->process;
}

/* Puts a problem into the queue, when there is room. Not 0 ends the check. */
static int put(struct binding_check *check, struct qcow2_problem *copy)
{
	int stop;

	pthread_mutex_lock(&check->lock);
	while (check->count == QUEUE && !check->stop && !check->count_only)
		pthread_cond_wait(&check->changed, &check->lock);
	stop = check->stop;
	if (!stop && !check->count_only) {
		check->queue[(check->first + check->count++) % QUEUE] = copy;
		copy = NULL;
		pthread_cond_broadcast(&check->changed);
	}
	pthread_mutex_unlock(&check->lock);
	qcow2_problem_free(copy);
	return stop;
}

static int hear(void *opaque, const struct qcow2_problem *problem)
{
	struct binding_check *check = opaque;
	struct qcow2_problem *copy;
	bool count_only, stop;

	pthread_mutex_lock(&check->lock);
	count_only = check->count_only;
	stop = check->stop;
	pthread_mutex_unlock(&check->lock);
	if (count_only || stop)
		return stop;
	copy = qcow2_problem_copy(problem);
	if (!copy)
		check->err.code = QCOW2_ERROR_MEMORY; /* told by end() */
	return copy ? put(check, copy) : 1;
}

static int hear_progress(void *opaque, uint64_t done_bytes, uint64_t total_bytes)
{
	struct binding_check *check = opaque;
	bool stop;

	(void)done_bytes;
	(void)total_bytes;
	pthread_mutex_lock(&check->lock);
	stop = check->stop;
	pthread_mutex_unlock(&check->lock);
	return stop;
}

static void *run(void *opaque)
{
	struct binding_check *check = opaque;
	struct qcow2_check_options options = options_of(&check->how);
	struct qcow2_error err;
	int failed;

	options.problem = check->how.count_only ? NULL : hear;
	options.progress = hear_progress;
	options.opaque = check;
	failed = qcow2_check(check->image, &options, &check->result, &err);
	pthread_mutex_lock(&check->lock);
	if (failed && check->err.code == QCOW2_ERROR_MEMORY) {
		err = (struct qcow2_error){.code = QCOW2_ERROR_MEMORY,
					   .offset_bytes = QCOW2_NO_OFFSET};
		strcpy(err.text, "out of memory");
	}
	check->failed = failed;
	if (failed)
		check->err = err;
	check->ended = true;
	pthread_cond_broadcast(&check->changed);
	pthread_mutex_unlock(&check->lock);
	return NULL;
}

static int fail(struct qcow2_error *err, enum qcow2_error_code code, int errnum, const char *text)
{
	*err = (struct qcow2_error){
		.code = code, .errnum = errnum, .offset_bytes = QCOW2_NO_OFFSET};
	snprintf(err->text, sizeof(err->text), "%s", text);
	return -1;
}

/* The time until which a taker waits, on a clock that nobody sets. */
static int init_waiting(struct binding_check *check)
{
	pthread_condattr_t attributes;
	int failed;

	pthread_mutex_init(&check->lock, NULL);
	pthread_condattr_init(&attributes);
#ifndef __APPLE__
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
#endif
	failed = pthread_cond_init(&check->changed, &attributes);
	pthread_condattr_destroy(&attributes);
	return failed;
}

static struct timespec deadline(void)
{
	struct timespec until;

#ifndef __APPLE__
	clock_gettime(CLOCK_MONOTONIC, &until);
#else
	clock_gettime(CLOCK_REALTIME, &until);
#endif
	until.tv_nsec += PATIENCE_NS;
	until.tv_sec += until.tv_nsec / 1000000000L;
	until.tv_nsec %= 1000000000L;
	return until;
}

struct binding_check *binding_check_open(const struct qcow2_image *image,
					 const struct binding_check_how *how,
					 struct qcow2_error *err)
{
	struct binding_check *check = calloc(1, sizeof(*check));
	int errnum = 0;

	if (check) {
		check->image = image;
		check->how = *how;
		check->count_only = how->count_only;
		check->process = getpid();
		errnum = init_waiting(check);
		if (errnum == 0)
			errnum = pthread_create(&check->thread, NULL, run, check);
	}
	if (check && errnum == 0)
		return check;
	free(check);
	fail(err, QCOW2_ERROR_MEMORY, errnum,
	     errnum == 0 ? "out of memory" : "no thread can be started");
	return NULL;
}

int binding_check_take(struct binding_check *check, struct qcow2_problem **out, size_t most,
		       size_t *count, struct qcow2_error *err)
{
	struct timespec until = deadline();
	int result = 1;

	*count = 0;
	if (forked(check))
		return fail(err, QCOW2_ERROR_ARGUMENT, 0,
			    "the check runs in the process that this one was forked from");
	pthread_mutex_lock(&check->lock);
	/* All of a full queue at once costs fewer changes between threads than each by itself. */
	while (check->count < QUEUE && !check->ended)
		if (pthread_cond_timedwait(&check->changed, &check->lock, &until) != 0)
			break;
	for (; *count < most && check->count > 0; check->count--) {
		out[(*count)++] = check->queue[check->first];
		check->first = (check->first + 1) % QUEUE;
	}
	if (*count == 0 && check->ended)
		result = check->failed ? -1 : 0;
	if (result < 0)
		*err = check->err;
	pthread_cond_broadcast(&check->changed);
	pthread_mutex_unlock(&check->lock);
	return result;
}

void binding_check_count_only(struct binding_check *check)
{
	if (forked(check))
		return;
	pthread_mutex_lock(&check->lock);
	check->count_only = true;
	pthread_cond_broadcast(&check->changed);
	pthread_mutex_unlock(&check->lock);
}

const struct qcow2_check_result *binding_check_result(const struct binding_check *check)
{
	return check->result;
}

void binding_check_close(struct binding_check *check)
{
	if (!check || forked(check))
		return;
	pthread_mutex_lock(&check->lock);
	check->stop = true;
	pthread_cond_broadcast(&check->changed);
	pthread_mutex_unlock(&check->lock);
	pthread_join(check->thread, NULL);
	while (check->count > 0)
		qcow2_problem_free(check->queue[(check->first + --check->count) % QUEUE]);
	qcow2_check_result_free(check->result);
	pthread_cond_destroy(&check->changed);
	pthread_mutex_destroy(&check->lock);
	free(check);
}
