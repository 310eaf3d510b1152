/* SPDX-License-Identifier: MIT */
/* See extents.h. */
#include "nbdkit/extents.h"

/*
 * An answer ends after so many extents, of the list or of the disk, so that no request takes long
 * whatever the image holds. A client asks on from where it ended.
 */
#define LISTED_MOST 16384
#define FOUND_MOST  (1 << 20)

/* An answer that is being made. Neighbours that say the same are one extent. */
struct answer {
	struct served *served;
	struct nbdkit_extents *list;
	bool one_is_enough;
	uint64_t start, end; /* of the extent that is not in the list yet; equal if there is none */
	uint32_t type;
	unsigned listed, found;
};

/* Puts the last extent into the list. 0, or -1 with errno set. */
static int list_last(struct answer *answer)
{
	if (answer->start == answer->end)
		return 0;
	if (nbdkit_add_extent(answer->list, answer->start, answer->end - answer->start,
			      answer->type))
		return -1;
	answer->start = answer->end;
	answer->listed++;
	return 0;
}

/* Adds an extent from where the last one ends. 1 to go on, 0 if that is enough, or -1. */
static int add(struct answer *answer, uint64_t length, uint32_t type)
{
	if (type != answer->type && list_last(answer))
		return -1;
	if (answer->listed == LISTED_MOST || (answer->one_is_enough && answer->listed > 0))
		return 0;
	answer->type = type;
	answer->end += length;
	return ++answer->found < FOUND_MOST;
}

/* Where zeros end that begin at a place of a file: holes, and all that follows its end. */
static uint64_t zeros_end(const struct qcow2_source *source, uint64_t at)
{
	return at < qcow2_source_size_bytes(source) ? qcow2_source_hole_end(source, at)
						    : UINT64_MAX;
}

/* Adds data. Where the file has a hole, as in an image that was allocated in advance, these are zeros. */
static int add_data(struct answer *answer, const struct qcow2_disk_extent *extent)
{
	uint64_t at = extent->host.byte, left = extent->length_bytes;
	int more = 1;

	if (!extent->source || extent->compressed || extent->encrypted)
		return add(answer, left, 0);
	while (more > 0 && left > 0) {
		uint64_t end = zeros_end(extent->source, at);
		bool zeros = end > at;

		if (!zeros)
			end = qcow2_source_data_end(extent->source, at);
		if (end <= at || end - at > left)
			end = at + left;
		more = add(answer, end - at, zeros ? NBDKIT_EXTENT_ZERO : 0);
		left -= end - at;
		at = end;
	}
	return more;
}

/*
 * Adds what the files say of the disk up to `end`. zero: the type of what reads as zeros. What
 * cannot be found out is data: who reads it gets the error.
 */
static int add_found(struct answer *answer, uint64_t end, uint32_t zero)
{
	struct qcow2_disk_extents *stream = answer->served->extents;
	const struct qcow2_disk_extent *extent;
	struct qcow2_error err;
	int more = 1;

	qcow2_disk_extents_seek(stream, (struct qcow2_guest){answer->end}, end - answer->end);
	while (more > 0 && answer->end < end) {
		if (qcow2_disk_extents_next(stream, &extent, &err) <= 0) {
			nbdkit_debug("extents: %s", err.text);
			return add(answer, end - answer->end, 0);
		}
		more = extent->kind == QCOW2_DISK_ZERO || extent->kind == QCOW2_DISK_UNALLOCATED
			       ? add(answer, extent->length_bytes, zero)
			       : add_data(answer, extent);
	}
	return more;
}

static int add_all(struct answer *answer, uint64_t end)
{
	int more = 1;

	if (!answer->served->has_dirty)
		return add_found(answer, end, NBDKIT_EXTENT_HOLE | NBDKIT_EXTENT_ZERO);
	while (more > 0 && answer->end < end) {
		uint64_t change;
		bool dirty = dirty_at(&answer->served->dirty, answer->end, &change);

		if (change > end)
			change = end;
		more = dirty ? add_found(answer, change, NBDKIT_EXTENT_ZERO)
			     : add(answer, change - answer->end, NBDKIT_EXTENT_HOLE);
	}
	return more;
}

int extents_tell(struct served *served, uint64_t start, uint64_t length, bool one_is_enough,
		 struct nbdkit_extents *list)
{
	struct answer answer = {
		.served = served,
		.list = list,
		.one_is_enough = one_is_enough,
		.start = start,
		.end = start,
	};
	int more;

	pthread_mutex_lock(&served->extents_lock);
	more = add_all(&answer, start + length);
	pthread_mutex_unlock(&served->extents_lock);
	return more < 0 || list_last(&answer) ? -1 : 0;
}
