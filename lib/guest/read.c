/* SPDX-License-Identifier: MIT */
/* Reads a range of the disk, extent by extent; what cannot be read ends the call or is told. */
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "guest/reader.h"

/* What is tried again by itself if a longer read fails: a sector of a disk that is failing. */
#define PIECE_BYTES ((size_t)4096)

/* A range that is being read. */
struct reading {
	struct q2_reader *reader;
	uint8_t *buffer;
	uint64_t start, end; /* of the disk; buffer is for the byte `start` */
	/* NULL: the first fault ends the reading. */
	qcow2_disk_fault_fn *fault;
	void *opaque;
	struct qcow2_error *err;
};

/* ---- faults ---- */

/*
 * Tells of a part of the disk that cannot be read, and puts zeros there. *reading->err says why.
 * Returns 0 to go on, or -1.
 */
static int give_up(struct reading *reading, uint64_t at, uint64_t length_bytes, uint32_t depth,
		   enum qcow2_problem_id problem)
{
	const struct qcow2_disk_fault fault = {
		.size = sizeof(fault),
		.start.byte = at,
		.length_bytes = length_bytes,
		.depth = depth,
		.problem = problem,
		.error = *reading->err,
	};

	if (!reading->fault || q2_disk_must_fail(reading->err))
		return -1;
	memset(reading->buffer + (at - reading->start), 0, (size_t)length_bytes);
	if (reading->fault(reading->opaque, &fault) == 0)
		return 0;
	return q2_fail(reading->err, QCOW2_ERROR_STOPPED, QCOW2_NO_OFFSET,
		       "stopped at byte 0x%llx of the disk", (unsigned long long)at);
}

/* Says in *err why an extent has nothing to read. */
static void explain(const struct qcow2_disk_extents *extents,
		    const struct qcow2_disk_extent *extent, struct qcow2_error *err)
{
	const struct qcow2_problem_kind *kind = qcow2_problem_kind_get(extent->problem);
	const struct q2_layer *layer = &extents->disk->layers[extent->depth];
	const struct qcow2_host entry_at = extents->streams[extent->depth].entry_at;
	const unsigned long long at = extent->start.byte;

	if (q2_layer_is_missing(layer))
		q2_fail(err, QCOW2_ERROR_NOT_FOUND, QCOW2_NO_OFFSET,
			"byte 0x%llx of the disk is in file %u of the chain, which is missing", at,
			extent->depth);
	else if (kind)
		q2_fail(err, QCOW2_ERROR_BROKEN, entry_at.byte,
			"byte 0x%llx of the disk cannot be read: %s", at, kind->text);
	else if (!layer->data)
		q2_fail(err, QCOW2_ERROR_NOT_FOUND, QCOW2_NO_OFFSET,
			"byte 0x%llx of the disk is in the external data file of file %u of the "
			"chain, which is missing",
			at, extent->depth);
	else
		q2_fail(err, QCOW2_ERROR_BROKEN, QCOW2_NO_OFFSET,
			"byte 0x%llx of the disk lies beyond the end of the external data file",
			at);
}

/* Adds to an error of a file which part of the disk was wanted. */
static int blame(struct reading *reading, uint64_t at, uint32_t depth)
{
	char text[80];

	if (depth == 0)
		snprintf(text, sizeof(text), "that is byte 0x%llx of the disk",
			 (unsigned long long)at);
	else
		snprintf(text, sizeof(text),
			 "that is byte 0x%llx of the disk, in file %u of the chain",
			 (unsigned long long)at, depth);
	q2_error_append(reading->err, text);
	return -1;
}

/* ---- reading ---- */

/* Reads a part of an extent, and where that fails piece by piece, so that little is given up. */
static int read_data(struct reading *reading, const struct qcow2_disk_extent *extent)
{
	uint64_t at = extent->start.byte;
	const uint64_t end = at + extent->length_bytes;
	uint8_t *buffer = reading->buffer + (at - reading->start);

	if (q2_fetch(reading->reader, extent, at, buffer, (size_t)(end - at), reading->err) == 0)
		return 0;
	if (!reading->fault || extent->compressed || q2_disk_must_fail(reading->err)) {
		blame(reading, at, extent->depth);
		return give_up(reading, at, end - at, extent->depth, QCOW2_PROBLEM_NONE);
	}
	while (at < end) {
		size_t piece = PIECE_BYTES - at % PIECE_BYTES;

		if (piece > end - at)
			piece = (size_t)(end - at);
		if (q2_fetch(reading->reader, extent, at, reading->buffer + (at - reading->start),
			     piece, reading->err)) {
			blame(reading, at, extent->depth);
			if (give_up(reading, at, piece, extent->depth, QCOW2_PROBLEM_NONE))
				return -1;
		}
		at += piece;
	}
	return 0;
}

static int read_extent(struct reading *reading, const struct qcow2_disk_extent *extent)
{
	const uint64_t at = extent->start.byte;

	switch (extent->kind) {
	case QCOW2_DISK_DATA:
		return read_data(reading, extent);
	case QCOW2_DISK_UNREADABLE:
		explain(&reading->reader->extents, extent, reading->err);
		return give_up(reading, at, extent->length_bytes, extent->depth, extent->problem);
	case QCOW2_DISK_UNALLOCATED:
	case QCOW2_DISK_ZERO:
		break;
	}
	memset(reading->buffer + (at - reading->start), 0, (size_t)extent->length_bytes);
	return 0;
}

/*
 * A table of a file could not be read. Many entries are read at once, and only a sector of them may be
 * bad: the first time nothing is given up, but read anew by sectors. Then what the sector maps is given
 * up, and the reading goes on behind that.
 */
static int pass_table(struct reading *reading)
{
	struct qcow2_disk_extents *extents = &reading->reader->extents;
	const uint32_t depth = extents->at_depth;
	struct q2_layer_stream *stream = &extents->streams[depth];
	const uint64_t at = extents->at_bytes;
	uint64_t length;

	if (reading->fault && !q2_disk_must_fail(reading->err) && !stream->by_sectors) {
		q2_layer_stream_read_sectors(stream);
		return 0;
	}
	length = q2_layer_sector_reach(stream->layer, at);
	blame(reading, at, depth);
	if (length > reading->end - at)
		length = reading->end - at;
	if (give_up(reading, at, length, depth, QCOW2_PROBLEM_NONE))
		return -1;
	qcow2_disk_extents_seek(extents, (struct qcow2_guest){at + length},
				reading->end - (at + length));
	return 0;
}

static int read_all(struct reading *reading)
{
	struct qcow2_disk_extents *extents = &reading->reader->extents;

	qcow2_disk_extents_seek(extents, (struct qcow2_guest){reading->start},
				reading->end - reading->start);
	while (extents->at_bytes < reading->end) {
		struct qcow2_disk_extent extent;

		if (q2_disk_extents_find(extents, &extent, reading->err)) {
			if (pass_table(reading))
				return -1;
		} else if (read_extent(reading, &extent)) {
			return -1;
		}
	}
	return 0;
}

int qcow2_disk_read_past(struct qcow2_disk *disk, struct qcow2_guest start, void *buffer,
			 size_t size, qcow2_disk_fault_fn *fault, void *opaque,
			 struct qcow2_error *err)
{
	const uint64_t end = qcow2_disk_size_bytes(disk);
	struct qcow2_error ignored;
	struct reading reading = {
		.buffer = buffer,
		.start = start.byte,
		.end = start.byte + size,
		.fault = fault,
		.opaque = opaque,
		.err = err ? err : &ignored,
	};
	int failed;

	if (start.byte > end || size > end - start.byte)
		return q2_fail(err, QCOW2_ERROR_ARGUMENT, QCOW2_NO_OFFSET,
			       "the range passes the end of the disk, which has %llu bytes",
			       (unsigned long long)end);
	if (size == 0)
		return 0;
	reading.reader = q2_reader_take(disk, start.byte, reading.err);
	if (!reading.reader)
		return -1;
	failed = read_all(&reading);
	q2_reader_give(disk, reading.reader);
	return failed;
}

int qcow2_disk_read(struct qcow2_disk *disk, struct qcow2_guest start, void *buffer, size_t size,
		    struct qcow2_error *err)
{
	return qcow2_disk_read_past(disk, start, buffer, size, NULL, NULL, err);
}
