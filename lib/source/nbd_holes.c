/* SPDX-License-Identifier: MIT */
/*
 * Where the holes of an image over NBD are, as far as the server tells: its context base:allocation.
 * The last answer is kept. What it says is only believed to save reads of zeros, which it could as
 * well make up; a server that fails here is asked no more, and everything counts as data.
 */
#include "source/source.h"

#ifdef QCOW2_NBD
#include "source/nbd.h"

#include "base/alloc.h"

#include <string.h>

/* What one question is about: its length is a number of 32 bits. */
#define QUESTION_BYTES (UINT64_C(1) << 30)

/* How many answers a call looks at. A server that cuts everything to pieces keeps nobody busy. */
#define ANSWERS_MOST 64

/* An answer on its way. */
struct answer {
	struct q2_nbd_holes *holes;
	uint64_t end_bytes; /* how far it goes */
	uint64_t most_bytes;
};

static void add_extent(struct answer *a, uint32_t length, bool hole)
{
	struct q2_nbd_holes *holes = a->holes;
	struct q2_nbd_extent *last = holes->count > 0 ? &holes->extents[holes->count - 1] : NULL;

	a->end_bytes +=
		length < a->most_bytes - a->end_bytes ? length : a->most_bytes - a->end_bytes;
	if (last && last->hole == hole)
		last->end_bytes = a->end_bytes;
	else
		holes->extents[holes->count++] = (struct q2_nbd_extent){a->end_bytes, hole};
}

/* Called by libnbd with pairs of a length and flags, from the offset that was asked for on. */
static int hear(void *opaque, const char *context, uint64_t offset, uint32_t *entries, size_t count,
		int *error)
{
	struct answer *a = opaque;

	(void)error;
	if (strcmp(context, LIBNBD_CONTEXT_BASE_ALLOCATION) != 0 || offset != a->end_bytes)
		return 0;
	for (size_t i = 0; i + 1 < count && a->end_bytes < a->most_bytes; i += 2) {
		if (entries[i] == 0 || a->holes->count == Q2_NBD_EXTENTS_MAX)
			break;
		add_extent(a, entries[i], (entries[i + 1] & LIBNBD_STATE_ZERO) != 0);
	}
	return 0;
}

/* Asks about what follows an offset. False if there was no answer. */
static bool ask(const struct qcow2_source *source, struct q2_nbd_connection *c, uint64_t offset)
{
	const struct q2_nbd *nbd = source->nbd;
	struct answer a = {.holes = &source->nbd->holes, .most_bytes = source->size_bytes};
	nbd_extent_callback callback = {.callback = hear, .user_data = &a};
	uint64_t length;
	int64_t cookie;
	size_t count = 1;
	int failed = 0;

	a.end_bytes = offset & ~(nbd->least_bytes - 1);
	length = source->size_bytes - a.end_bytes;
	if (length > QUESTION_BYTES)
		length = QUESTION_BYTES;
	a.holes->begin_bytes = a.end_bytes;
	a.holes->count = 0;
	cookie = nbd->calls.aio_block_status(c->handle, length, a.end_bytes, callback,
					     NBD_NULL_COMPLETION, 0);
	if (cookie < 0 || q2_nbd_await(source, c, &cookie, &count, &failed) != 0 || failed != 0)
		return false;
	return a.end_bytes > offset;
}

/* The extent that covers an offset, of what is known. NULL if none does. */
static const struct q2_nbd_extent *find(const struct q2_nbd_holes *holes, uint64_t offset)
{
	size_t low = 0, high = holes->count;

	if (offset < holes->begin_bytes)
		return NULL;
	while (low < high) {
		const size_t middle = low + (high - low) / 2;

		if (holes->extents[middle].end_bytes > offset)
			high = middle;
		else
			low = middle + 1;
	}
	return low < holes->count ? &holes->extents[low] : NULL;
}

static void forget(struct q2_nbd_holes *holes)
{
	q2_free(holes->extents);
	holes->extents = NULL;
	holes->count = 0;
}

static const struct q2_nbd_extent *find_or_ask(const struct qcow2_source *source, uint64_t offset)
{
	struct q2_nbd_holes *holes = &source->nbd->holes;
	const struct q2_nbd_extent *found = find(holes, offset);
	struct q2_nbd_connection *c;
	bool answered;
	int errnum;

	if (found || !holes->extents)
		return found;
	c = q2_nbd_take(source, &errnum);
	if (!c)
		return NULL;
	answered = ask(source, c, offset);
	q2_nbd_give_back(source, c, 0);
	if (!answered)
		forget(holes);
	return find(holes, offset);
}

/* Goes on from an offset while the state is `hole`. Returns where it ends; *known: if it is known. */
static uint64_t end_of(const struct qcow2_source *source, uint64_t offset, bool hole, bool *known)
{
	struct q2_nbd_holes *holes = &source->nbd->holes;
	const struct q2_nbd_extent *extent;
	unsigned answers = 0;

	*known = true;
	(void)pthread_mutex_lock(&holes->lock);
	while (offset < source->size_bytes && answers++ < ANSWERS_MOST) {
		extent = find_or_ask(source, offset);
		*known = extent != NULL;
		if (!extent || extent->hole != hole)
			break;
		offset = extent->end_bytes;
	}
	(void)pthread_mutex_unlock(&holes->lock);
	return offset;
}

uint64_t q2_nbd_hole_end(const struct qcow2_source *source, uint64_t offset_bytes)
{
	bool known;

	return end_of(source, offset_bytes, true, &known);
}

uint64_t q2_nbd_data_end(const struct qcow2_source *source, uint64_t offset_bytes)
{
	bool known;
	uint64_t end = end_of(source, offset_bytes, false, &known);

	return known && end > offset_bytes ? end : source->size_bytes;
}
#endif
