/* SPDX-License-Identifier: MIT */
/* See readers.h. */
#include "guest/readers.h"

#include "base/alloc.h"
#include "base/error.h"
#include "guest/reader.h"

void q2_readers_init(struct q2_readers *readers, unsigned most)
{
	pthread_mutex_init(&readers->lock, NULL);
	pthread_cond_init(&readers->freed, NULL);
	readers->most = most;
	readers->ready = true;
}

static void close_reader(struct q2_reader *reader)
{
	q2_disk_extents_release(&reader->extents);
	q2_inflater_free(reader->inflater);
	q2_free(reader->packed);
	q2_free(reader);
}

void q2_readers_release(struct q2_readers *readers)
{
	if (!readers->ready)
		return;
	while (readers->free) {
		struct q2_reader *reader = readers->free;

		readers->free = reader->next;
		close_reader(reader);
	}
	pthread_cond_destroy(&readers->freed);
	pthread_mutex_destroy(&readers->lock);
}

static struct q2_reader *make_reader(struct qcow2_disk *disk, struct qcow2_error *err)
{
	struct q2_reader *reader = q2_alloc(sizeof(*reader));

	if (!reader) {
		q2_fail_memory(err);
		return NULL;
	}
	if (q2_disk_extents_init(&reader->extents, disk, err)) {
		q2_free(reader);
		return NULL;
	}
	return reader;
}

/* Takes a reader out of the list: the one that stands at `start`, or else the one used last. */
static struct q2_reader *pick(struct q2_readers *readers, uint64_t start)
{
	struct q2_reader **link = &readers->free, *reader;

	while (*link && (*link)->extents.at_bytes != start)
		link = &(*link)->next;
	if (!*link)
		link = &readers->free;
	reader = *link;
	if (reader)
		*link = reader->next;
	return reader;
}

struct q2_reader *q2_reader_take(struct qcow2_disk *disk, uint64_t start, struct qcow2_error *err)
{
	struct q2_readers *readers = &disk->readers;
	struct q2_reader *reader;

	pthread_mutex_lock(&readers->lock);
	while (!readers->free && readers->made == readers->most)
		pthread_cond_wait(&readers->freed, &readers->lock);
	reader = pick(readers, start);
	if (!reader)
		readers->made++;
	pthread_mutex_unlock(&readers->lock);
	if (reader)
		return reader;
	reader = make_reader(disk, err);
	if (!reader) {
		pthread_mutex_lock(&readers->lock);
		readers->made--;
		pthread_cond_signal(&readers->freed);
		pthread_mutex_unlock(&readers->lock);
	}
	return reader;
}

void q2_reader_give(struct qcow2_disk *disk, struct q2_reader *reader)
{
	struct q2_readers *readers = &disk->readers;

	pthread_mutex_lock(&readers->lock);
	reader->next = readers->free;
	readers->free = reader;
	pthread_cond_signal(&readers->freed);
	pthread_mutex_unlock(&readers->lock);
}
