/* SPDX-License-Identifier: MIT */
/*
 * What a thread needs to read a disk: streams over the tables, an inflater, buffers. There are as many
 * readers as memory allows; a thread that finds none free waits for one.
 */
#ifndef Q2_GUEST_READERS_H
#define Q2_GUEST_READERS_H

#include <pthread.h>

#include <qcow2/guest.h>

struct q2_reader;

struct q2_readers {
	pthread_mutex_t lock;
	pthread_cond_t freed;
	struct q2_reader *free; /* a list */
	unsigned made, most;
	bool ready; /* the lock can be used */
};

/* Prepares readers, at most `most` of them, at least 1. */
void q2_readers_init(struct q2_readers *readers, unsigned most);

/* Closes all. Nobody has one. */
void q2_readers_release(struct q2_readers *readers);

/*
 * Lends a reader of the disk for a range that begins at a byte, if there is one free the reader that
 * ended there: its windows show the tables. NULL with *err filled.
 */
struct q2_reader *q2_reader_take(struct qcow2_disk *disk, uint64_t start, struct qcow2_error *err);
void q2_reader_give(struct qcow2_disk *disk, struct q2_reader *reader);

#endif
