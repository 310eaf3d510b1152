/* SPDX-License-Identifier: MIT */
/*
 * Work shared by threads, whose results are used in order. The caller fills pieces with what is to be
 * done, any thread does it, and the calling thread uses what came of it, in the order of the pieces.
 * Memory is bounded by a ring of pieces. Threads are started with the second piece, so that little
 * work costs none; without any, all is done by the calling thread.
 *
 *	struct crew *crew = crew_open(&work);
 *	struct range *piece;
 *
 *	while (more && (piece = crew_piece(crew, &err)) != NULL)
 *		more = fill(piece) && crew_push(crew, &err) == 0;
 *	failed = crew_wait(crew, &err);
 *	crew_close(crew);
 */
#ifndef CMD_COMMON_CREW_H
#define CMD_COMMON_CREW_H

#include <stddef.h>

#include <qcow2/error.h>

/* The most threads of a crew, and how many pieces are made or wait for each. */
#define CREW_THREADS_MOST 16
#define CREW_PIECES       3

struct crew_work {
	/*
	 * Does the work of a piece. worker: below threads; no two calls for one worker run at once.
	 * Returns 0, or -1 with *err filled: then use() is not called for this piece and those behind
	 * it, and the error is that of the crew.
	 */
	int (*make)(void *opaque, unsigned worker, void *piece, struct qcow2_error *err);
	/* Uses what came of a piece. Returns 0, or -1 with *err filled. NULL: nothing has to be done. */
	int (*use)(void *opaque, void *piece, struct qcow2_error *err);
	void *opaque;
	size_t piece_bytes;
	unsigned threads; /* 1 to CREW_THREADS_MOST; the calling thread is one of them */
};

struct crew;

/* How many threads to ask for: call it before the sandbox is sealed. */
unsigned crew_threads(void);

/* Returns NULL with *err filled if there is no memory. work is copied. */
struct crew *crew_open(const struct crew_work *work, struct qcow2_error *err);

/*
 * The piece to fill next, with what an earlier one left there, all zeros at first. NULL with *err
 * filled, if a piece of before has failed.
 */
void *crew_piece(struct crew *crew, struct qcow2_error *err);

/* Hands the piece over. Returns 0, or -1 with *err filled. */
int crew_push(struct crew *crew, struct qcow2_error *err);

/*
 * Waits until all pieces are used. Returns 0, or -1 with *err filled: the first failure, in the order
 * of the pieces; also if it was told before.
 */
int crew_wait(struct crew *crew, struct qcow2_error *err);

/* Stops all threads, drops what they have not done, and frees. crew: may be NULL. */
void crew_close(struct crew *crew);

#endif
