/* SPDX-License-Identifier: MIT */
/* What the image leaves open, the file below it says. See guest.h and extents.h. */
#include "guest/extents.h"

#include "base/alloc.h"
#include "base/error.h"

static const char *const kind_names[] = {
	[QCOW2_DISK_UNALLOCATED] = "unallocated",
	[QCOW2_DISK_ZERO] = "zero",
	[QCOW2_DISK_DATA] = "data",
	[QCOW2_DISK_UNREADABLE] = "unreadable",
};

const char *qcow2_disk_kind_name(enum qcow2_disk_kind kind)
{
	return (unsigned)kind <= QCOW2_DISK_UNREADABLE ? kind_names[kind] : NULL;
}

int q2_disk_extents_init(struct qcow2_disk_extents *extents, struct qcow2_disk *disk,
			 struct qcow2_error *err)
{
	*extents = (struct qcow2_disk_extents){
		.disk = disk,
		.streams = q2_alloc_array(disk->depth, sizeof(*extents->streams)),
	};
	if (!extents->streams)
		return q2_fail_memory(err);
	for (uint32_t i = 0; i < disk->depth; i++) {
		if (q2_layer_stream_open(&extents->streams[i], &disk->layers[i], err)) {
			q2_disk_extents_release(extents);
			return -1;
		}
	}
	qcow2_disk_extents_seek(extents, (struct qcow2_guest){0}, UINT64_MAX);
	return 0;
}

void q2_disk_extents_release(struct qcow2_disk_extents *extents)
{
	for (uint32_t i = 0; extents->streams && i < extents->disk->depth; i++)
		q2_layer_stream_close(&extents->streams[i]);
	q2_free(extents->streams);
	extents->streams = NULL;
}

int qcow2_disk_extents_open(struct qcow2_disk *disk, struct qcow2_disk_extents **out,
			    struct qcow2_error *err)
{
	struct qcow2_disk_extents *extents = q2_alloc(sizeof(*extents));

	if (!extents)
		return q2_fail_memory(err);
	if (q2_disk_extents_init(extents, disk, err)) {
		q2_free(extents);
		return -1;
	}
	*out = extents;
	return 0;
}

void qcow2_disk_extents_close(struct qcow2_disk_extents *extents)
{
	if (!extents)
		return;
	q2_disk_extents_release(extents);
	q2_free(extents);
}

void qcow2_disk_extents_seek(struct qcow2_disk_extents *extents, struct qcow2_guest start,
			     uint64_t length_bytes)
{
	const uint64_t size = extents->disk->layers[0].size_bytes;

	extents->at_bytes = start.byte < size ? start.byte : size;
	extents->end_bytes =
		length_bytes < size - extents->at_bytes ? extents->at_bytes + length_bytes : size;
	extents->extents[extents->pending].length_bytes = 0;
	for (uint32_t i = 0; i < extents->disk->depth; i++)
		q2_layer_stream_seek(&extents->streams[i], extents->end_bytes);
}

/* Cuts an extent to [at, end), a part of it. */
static void cut(struct qcow2_disk_extent *extent, uint64_t at, uint64_t end)
{
	/* Of compressed data, host is where all of it begins. */
	if (extent->host.byte != QCOW2_NO_OFFSET && !extent->compressed)
		extent->host.byte += at - extent->start.byte;
	if (end - at > extent->start.byte + extent->length_bytes - at)
		end = extent->start.byte + extent->length_bytes;
	extent->start.byte = at;
	extent->length_bytes = end - at;
}

/* Files of the chain are asked from the top, each within what those above leave open. */
static int find(struct qcow2_disk_extents *extents, struct qcow2_disk_extent *out,
		struct qcow2_error *err)
{
	const uint64_t at = extents->at_bytes;
	const uint32_t depth = extents->disk->depth;
	uint64_t end = extents->end_bytes;

	for (uint32_t i = 0;; i++) {
		struct q2_layer_stream *stream = &extents->streams[i];

		extents->at_depth = i;
		if (q2_layer_stream_find(stream, at, err))
			return -1;
		*out = stream->now;
		out->depth = i;
		cut(out, at, end);
		if (out->kind != QCOW2_DISK_UNALLOCATED || i + 1 == depth)
			return 0;
		end = at + out->length_bytes;
		/* A file that is shorter than those above it leaves zeros behind its end. */
		if (at >= extents->disk->layers[i + 1].size_bytes) {
			out->depth = i + 1;
			return 0;
		}
	}
}

int q2_disk_extents_find(struct qcow2_disk_extents *extents, struct qcow2_disk_extent *out,
			 struct qcow2_error *err)
{
	if (find(extents, out, err))
		return -1;
	extents->at_bytes += out->length_bytes;
	return 0;
}

/* Whether b goes on where a ends, and says the same. */
static bool joins(const struct qcow2_disk_extent *a, const struct qcow2_disk_extent *b)
{
	if (a->kind != b->kind || a->depth != b->depth || a->problem != b->problem ||
	    a->compressed || b->compressed || a->source != b->source)
		return false;
	return a->host.byte == QCOW2_NO_OFFSET ? b->host.byte == QCOW2_NO_OFFSET
					       : a->host.byte + a->length_bytes == b->host.byte;
}

/* Gives out the pending extent, if there is one. Returns whether there was. */
static int tell_last(struct qcow2_disk_extents *extents, const struct qcow2_disk_extent **out)
{
	*out = &extents->extents[extents->pending];
	extents->pending ^= 1;
	extents->extents[extents->pending].length_bytes = 0;
	return (*out)->length_bytes > 0;
}

int qcow2_disk_extents_next(struct qcow2_disk_extents *extents,
			    const struct qcow2_disk_extent **out, struct qcow2_error *err)
{
	while (extents->at_bytes < extents->end_bytes) {
		struct qcow2_disk_extent *pending = &extents->extents[extents->pending];
		struct qcow2_disk_extent *run = &extents->extents[extents->pending ^ 1];

		/* What was found before the fault is told first; the next call meets it again. */
		if (q2_disk_extents_find(extents, run, err))
			return tell_last(extents, out) ? 1 : -1;
		if (pending->length_bytes > 0 && joins(pending, run)) {
			pending->length_bytes += run->length_bytes;
			continue;
		}
		extents->pending ^= 1;
		if (pending->length_bytes > 0) {
			*out = pending;
			return 1;
		}
	}
	return tell_last(extents, out);
}
