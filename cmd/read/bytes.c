/* SPDX-License-Identifier: MIT */
/*
 * The bytes as they are. Threads read pieces, the main thread writes them in order. A piece that
 * cannot be read to its end is read once more by the main thread, past what is at fault, so that
 * faults are told in order.
 */
#include <string.h>

#include "common/crew.h"
#include "read/run.h"

struct piece {
	uint8_t bytes[READ_PIECE_BYTES]; /* in front, where a page begins */
	struct qcow2_guest start;
	size_t size;
	bool has_failed;
};

static int make(void *opaque, unsigned worker, void *made, struct qcow2_error *err)
{
	struct read_run *run = opaque;
	struct piece *piece = made;

	(void)worker;
	piece->has_failed =
		qcow2_disk_read(run->disk.disk, piece->start, piece->bytes, piece->size, err) != 0;
	return piece->has_failed && !run->request.salvage ? -1 : 0;
}

static int hear(void *opaque, const struct qcow2_disk_fault *fault)
{
	read_faults_hear(opaque, fault);
	return 0;
}

static int use(void *opaque, void *made, struct qcow2_error *err)
{
	struct read_run *run = opaque;
	struct piece *piece = made;

	if (piece->has_failed && qcow2_disk_read_past(run->disk.disk, piece->start, piece->bytes,
						      piece->size, hear, run, err))
		return -1;
	spool_write(&run->out, piece->bytes, piece->size);
	read_did(run, piece->size);
	return 0;
}

/* Hands a range over to the crew, piece by piece. Returns 0, or -1 with *err filled. */
static int push_range(struct read_run *run, struct crew *crew, const struct range *range,
		      struct qcow2_error *err)
{
	uint64_t at = range->start, left = range->length;

	/* Nobody reads any more if nothing can be written. */
	while (left > 0 && run->out.errnum == 0) {
		/* Pieces end at multiples of their size, and so with clusters. */
		const size_t room = READ_PIECE_BYTES - (size_t)(at % READ_PIECE_BYTES);
		struct piece *piece = crew_piece(crew, err);

		if (!piece)
			return -1;
		piece->start.byte = at;
		piece->size = left < room ? (size_t)left : room;
		at += piece->size;
		left -= piece->size;
		if (crew_push(crew, err))
			return -1;
	}
	return 0;
}

int read_bytes(struct read_run *run, struct qcow2_error *err)
{
	const struct crew_work work = {
		.make = make,
		.use = use,
		.opaque = run,
		.piece_bytes = sizeof(struct piece),
		.threads = run->threads,
	};
	struct crew *crew = crew_open(&work, err);
	int failed = crew ? 0 : -1;

	for (size_t i = 0; i < run->range_count && !failed; i++)
		failed = push_range(run, crew, &run->ranges[i], err);
	if (!failed)
		failed = crew_wait(crew, err);
	crew_close(crew);
	return failed;
}
