/* SPDX-License-Identifier: MIT */
/*
 * See relay.h. The ring is a queue with three ends: batches are pushed, taken by whoever is free,
 * and written in order by the calling thread. That thread makes batches as well while it waits for
 * room, so that one thread more keeps two processors busy. A slot keeps what the caller put into the
 * spool before its batch, by taking the spool's buffer.
 */
#include "out/relay.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

/* Batches that are made or wait, for each thread. */
#define SLOTS       3
#define SLOTS_MOST  (SLOTS * RELAY_THREADS_MOST)
#define STACK_BYTES (256U << 10)

struct slot {
	bool made;
	void *batch;
	struct spool before, text; /* that are only kept */
};

struct maker {
	struct relay *relay;
	unsigned worker;
	pthread_t thread;
};

struct relay {
	struct spool *out;
	struct relay_work work;
	pthread_mutex_t lock;
	pthread_cond_t filled; /* a batch may be taken, or stop */
	pthread_cond_t made;   /* the batch that the calling thread waits for */
	uint64_t pushed, taken;
	uint64_t written; /* of the calling thread alone */
	bool tried, stop;
	unsigned started;
	size_t slot_count;
	struct slot slots[SLOTS_MOST];
	struct maker makers[RELAY_THREADS_MOST];
};

unsigned relay_threads(unsigned processors)
{
	return processors < 1                    ? 1
	       : processors > RELAY_THREADS_MOST ? RELAY_THREADS_MOST
						 : processors;
}

static struct slot *slot_of(struct relay *relay, uint64_t number)
{
	return &relay->slots[number % relay->slot_count];
}

/* Takes the oldest batch that nobody has taken, and makes it. The lock is held outside of that. */
static void make_next(struct relay *relay, unsigned worker)
{
	const uint64_t number = relay->taken++;
	struct slot *slot = slot_of(relay, number);

	pthread_mutex_unlock(&relay->lock);
	relay->work.make(relay->work.opaque, worker, slot->batch, &slot->text);
	pthread_mutex_lock(&relay->lock);
	slot->made = true;
	pthread_cond_signal(&relay->made);
}

static void *work(void *opaque)
{
	const struct maker *maker = opaque;
	struct relay *relay = maker->relay;

	pthread_mutex_lock(&relay->lock);
	for (;;) {
		while (!relay->stop && relay->taken == relay->pushed)
			pthread_cond_wait(&relay->filled, &relay->lock);
		if (relay->stop)
			break;
		make_next(relay, maker->worker);
	}
	pthread_mutex_unlock(&relay->lock);
	return NULL;
}

/* Writes the text of the oldest batch, and gives its slot back. */
static void write_oldest(struct relay *relay)
{
	struct slot *slot = slot_of(relay, relay->written);

	pthread_mutex_lock(&relay->lock);
	while (!slot->made) {
		if (relay->taken < relay->pushed)
			make_next(relay, 0);
		else
			pthread_cond_wait(&relay->made, &relay->lock);
	}
	slot->made = false;
	pthread_mutex_unlock(&relay->lock);
	if (slot->text.errnum && !relay->out->errnum)
		relay->out->errnum = slot->text.errnum;
	spool_write_now(relay->out, &slot->before);
	spool_write_now(relay->out, &slot->text);
	relay->written++;
}

/* What the spool calls before it writes by itself. */
static void settle(void *opaque)
{
	struct relay *relay = opaque;

	while (relay->written < relay->pushed)
		write_oldest(relay);
}

/* Makes room for the texts of all slots but the first; false if there is no memory. */
static bool make_slots(struct relay *relay, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct slot *slot = &relay->slots[i];

		spool_init(&slot->before, -1);
		spool_init(&slot->text, -1);
		if (!slot->batch)
			slot->batch = malloc(relay->work.batch_bytes);
		if (!slot->batch || !spool_reserve(&slot->before, SPOOL_PIECE - 1) ||
		    !spool_reserve(&slot->text, SPOOL_PIECE - 1))
			return false;
	}
	relay->slot_count = count;
	return true;
}

/* Starts threads, as many as can be had. Without any, batches are made at once. */
static void start(struct relay *relay)
{
	const unsigned most = relay->work.threads;
	pthread_attr_t attributes;

	relay->tried = true;
	if (most < 2 || !make_slots(relay, (size_t)SLOTS * most) || pthread_attr_init(&attributes))
		return;
	(void)pthread_attr_setstacksize(&attributes, STACK_BYTES);
	while (relay->started + 1 < most) {
		struct maker *maker = &relay->makers[relay->started];

		*maker = (struct maker){.relay = relay, .worker = relay->started + 1};
		if (pthread_create(&maker->thread, &attributes, work, maker))
			break;
		relay->started++;
	}
	pthread_attr_destroy(&attributes);
	if (relay->started == 0)
		return;
	relay->out->settle = settle;
	relay->out->settle_opaque = relay;
}

struct relay *relay_open(struct spool *out, const struct relay_work *work)
{
	struct relay *relay = calloc(1, sizeof(*relay));

	if (!relay)
		return NULL;
	relay->slot_count = 1;
	relay->slots[0].batch = malloc(work->batch_bytes);
	if (!relay->slots[0].batch) {
		free(relay);
		return NULL;
	}
	relay->out = out;
	relay->work = *work;
	pthread_mutex_init(&relay->lock, NULL);
	pthread_cond_init(&relay->filled, NULL);
	pthread_cond_init(&relay->made, NULL);
	return relay;
}

void *relay_batch(struct relay *relay)
{
	while (relay->started > 0 && relay->pushed - relay->written == relay->slot_count)
		write_oldest(relay);
	return slot_of(relay, relay->pushed)->batch;
}

void relay_push(struct relay *relay)
{
	struct slot *slot;

	if (relay->out->streaming && !relay->tried)
		start(relay);
	slot = slot_of(relay, relay->pushed);
	if (relay->started == 0) {
		relay->work.make(relay->work.opaque, 0, slot->batch, relay->out);
		return;
	}
	spool_swap(relay->out, &slot->before);
	pthread_mutex_lock(&relay->lock);
	relay->pushed++;
	pthread_cond_signal(&relay->filled);
	pthread_mutex_unlock(&relay->lock);
}

void relay_close(struct relay *relay)
{
	if (!relay)
		return;
	settle(relay);
	relay->out->settle = NULL;
	pthread_mutex_lock(&relay->lock);
	relay->stop = true;
	pthread_cond_broadcast(&relay->filled);
	pthread_mutex_unlock(&relay->lock);
	for (unsigned i = 0; i < relay->started; i++)
		pthread_join(relay->makers[i].thread, NULL);
	for (size_t i = 0; i < SLOTS_MOST; i++) {
		free(relay->slots[i].batch);
		spool_release(&relay->slots[i].before);
		spool_release(&relay->slots[i].text);
	}
	pthread_cond_destroy(&relay->filled);
	pthread_cond_destroy(&relay->made);
	pthread_mutex_destroy(&relay->lock);
	free(relay);
}
