/* SPDX-License-Identifier: MIT */
/*
 * Makes text on several threads and keeps its order. The caller fills batches, which any thread
 * makes into text; the text of a batch comes behind all that the caller put into the spool before it
 * handed the batch over, and before all that it puts there afterwards. Memory is bounded by a ring
 * of batches. As long as the spool keeps its output back, there are no threads.
 */
#ifndef CMD_OUT_RELAY_H
#define CMD_OUT_RELAY_H

#include "out/spool.h"

/* The most threads that make text, and what the text of a batch may take. */
#define RELAY_THREADS_MOST 8
#define RELAY_TEXT_MOST    (SPOOL_KEPT / 2)

struct relay_work {
	/*
	 * Adds the text of a batch to out, at most RELAY_TEXT_MOST bytes. worker: below threads;
	 * no two calls for one worker run at once.
	 */
	void (*make)(void *opaque, unsigned worker, const void *batch, struct spool *out);
	void *opaque;
	size_t batch_bytes;
	unsigned threads; /* 1 to RELAY_THREADS_MOST; the calling thread is one of them */
};

struct relay;

/* Returns NULL if there is no memory. The spool has to outlive the relay. */
struct relay *relay_open(struct spool *out, const struct relay_work *work);

/* The batch to fill next: batch_bytes, with what an earlier one left there. */
void *relay_batch(struct relay *relay);

/* Hands the batch over that relay_batch() gave. */
void relay_push(struct relay *relay);

/* Waits until the text of all batches is in the spool, or was written, and frees the relay. */
void relay_close(struct relay *relay);

/* How many threads to ask for on so many processors. */
unsigned relay_threads(unsigned processors);

#endif
