/* SPDX-License-Identifier: MIT */
/*
 * See crew.h. The ring is a queue with three ends: pieces are pushed, taken by whoever is free, and
 * used in order by the calling thread, which makes pieces as well while it waits for room.
 */
#include "common/crew.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <qcow2/source.h>

#define SLOTS_MOST  (CREW_PIECES * CREW_THREADS_MOST)
#define STACK_BYTES (512U << 10)
/* Pieces begin with a page: the system copies fastest into whole pages. */
#define PAGE_BYTES ((size_t)4096)

struct slot {
	bool made, failed;
	void *piece;
	struct qcow2_error err;
};

struct worker {
	struct crew *crew;
	unsigned number;
	pthread_t thread;
};

struct crew {
	struct crew_work work;
	pthread_mutex_t lock;
	pthread_cond_t filled; /* a piece may be taken, or stop */
	pthread_cond_t made;   /* the piece that the calling thread waits for */
	uint64_t pushed, taken;
	bool stop;
	/* Of the calling thread alone. */
	uint64_t used;
	bool tried, failed;
	struct qcow2_error err;
	unsigned started;
	size_t slot_count;
	struct slot slots[SLOTS_MOST];
	struct worker workers[CREW_THREADS_MOST];
};

unsigned crew_threads(void)
{
	const unsigned processors = qcow2_processors();

	return processors > CREW_THREADS_MOST ? CREW_THREADS_MOST : processors;
}

static struct slot *slot_of(struct crew *crew, uint64_t number)
{
	return &crew->slots[number % crew->slot_count];
}

static void make(struct crew *crew, unsigned worker, struct slot *slot)
{
	slot->failed = crew->work.make(crew->work.opaque, worker, slot->piece, &slot->err) != 0;
}

/* Takes the oldest piece that nobody has taken, and makes it. The lock is held outside of that. */
static void make_next(struct crew *crew, unsigned worker)
{
	struct slot *slot = slot_of(crew, crew->taken++);

	pthread_mutex_unlock(&crew->lock);
	make(crew, worker, slot);
	pthread_mutex_lock(&crew->lock);
	slot->made = true;
	pthread_cond_signal(&crew->made);
}

static void *work(void *opaque)
{
	const struct worker *worker = opaque;
	struct crew *crew = worker->crew;

	pthread_mutex_lock(&crew->lock);
	for (;;) {
		while (!crew->stop && crew->taken == crew->pushed)
			pthread_cond_wait(&crew->filled, &crew->lock);
		if (crew->stop)
			break;
		make_next(crew, worker->number);
	}
	pthread_mutex_unlock(&crew->lock);
	return NULL;
}

/* Tells the failure of the crew. */
static int tell(const struct crew *crew, struct qcow2_error *err)
{
	*err = crew->err;
	return -1;
}

static int use(struct crew *crew, struct slot *slot)
{
	crew->used++;
	if (slot->failed)
		crew->err = slot->err;
	crew->failed =
		slot->failed ||
		(crew->work.use && crew->work.use(crew->work.opaque, slot->piece, &crew->err) != 0);
	return crew->failed ? -1 : 0;
}

/* Uses the oldest piece, and gives its slot back. */
static int use_oldest(struct crew *crew)
{
	struct slot *slot = slot_of(crew, crew->used);

	pthread_mutex_lock(&crew->lock);
	while (!slot->made) {
		if (crew->taken < crew->pushed)
			make_next(crew, 0);
		else
			pthread_cond_wait(&crew->made, &crew->lock);
	}
	slot->made = false;
	pthread_mutex_unlock(&crew->lock);
	return use(crew, slot);
}

/* Makes slots for all threads; false if there is no memory. */
static bool make_slots(struct crew *crew, size_t count)
{
	const size_t room = (crew->work.piece_bytes + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;

	for (size_t i = 0; i < count; i++) {
		struct slot *slot = &crew->slots[i];

		if (slot->piece)
			continue;
		slot->piece = aligned_alloc(PAGE_BYTES, room);
		if (!slot->piece)
			return false;
		memset(slot->piece, 0, room);
	}
	crew->slot_count = count;
	return true;
}

/* Starts threads, as many as can be had. All pieces of before have been used. */
static void start(struct crew *crew)
{
	const unsigned most = crew->work.threads;
	pthread_attr_t attributes;

	crew->tried = true;
	if (most < 2 || !make_slots(crew, (size_t)CREW_PIECES * most) ||
	    pthread_attr_init(&attributes))
		return;
	(void)pthread_attr_setstacksize(&attributes, STACK_BYTES);
	while (crew->started + 1 < most) {
		struct worker *worker = &crew->workers[crew->started];

		*worker = (struct worker){.crew = crew, .number = crew->started + 1};
		if (pthread_create(&worker->thread, &attributes, work, worker))
			break;
		crew->started++;
	}
	pthread_attr_destroy(&attributes);
}

struct crew *crew_open(const struct crew_work *work, struct qcow2_error *err)
{
	struct crew *crew = calloc(1, sizeof(*crew));

	if (crew)
		crew->work = *work;
	if (!crew || !make_slots(crew, 1)) {
		free(crew);
		*err = (struct qcow2_error){.code = QCOW2_ERROR_MEMORY,
					    .offset_bytes = QCOW2_NO_OFFSET,
					    .text = "out of memory"};
		return NULL;
	}
	pthread_mutex_init(&crew->lock, NULL);
	pthread_cond_init(&crew->filled, NULL);
	pthread_cond_init(&crew->made, NULL);
	return crew;
}

void *crew_piece(struct crew *crew, struct qcow2_error *err)
{
	/* The first piece may show that there is no other one. */
	if (crew->pushed == 1 && !crew->tried)
		start(crew);
	while (!crew->failed && crew->pushed - crew->used == crew->slot_count)
		(void)use_oldest(crew);
	if (crew->failed) {
		(void)tell(crew, err);
		return NULL;
	}
	return slot_of(crew, crew->pushed)->piece;
}

int crew_push(struct crew *crew, struct qcow2_error *err)
{
	struct slot *slot = slot_of(crew, crew->pushed);

	if (crew->started > 0) {
		pthread_mutex_lock(&crew->lock);
		crew->pushed++;
		pthread_cond_signal(&crew->filled);
		pthread_mutex_unlock(&crew->lock);
		return 0;
	}
	crew->pushed++;
	crew->taken++;
	make(crew, 0, slot);
	return use(crew, slot) ? tell(crew, err) : 0;
}

int crew_wait(struct crew *crew, struct qcow2_error *err)
{
	while (!crew->failed && crew->used < crew->pushed)
		(void)use_oldest(crew);
	return crew->failed ? tell(crew, err) : 0;
}

void crew_close(struct crew *crew)
{
	if (!crew)
		return;
	pthread_mutex_lock(&crew->lock);
	crew->stop = true;
	pthread_cond_broadcast(&crew->filled);
	pthread_mutex_unlock(&crew->lock);
	for (unsigned i = 0; i < crew->started; i++)
		pthread_join(crew->workers[i].thread, NULL);
	for (size_t i = 0; i < SLOTS_MOST; i++)
		free(crew->slots[i].piece);
	pthread_cond_destroy(&crew->filled);
	pthread_cond_destroy(&crew->made);
	pthread_mutex_destroy(&crew->lock);
	free(crew);
}
