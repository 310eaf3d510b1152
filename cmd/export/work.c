/* SPDX-License-Identifier: MIT */
/* What a thread does with a piece. See piece.h. */
#include <stdlib.h>
#include <string.h>

#include "export/piece.h"
#include "export/run.h"
#include "export/zeros.h"

/* Zeros are looked for in units of this, as qemu-img convert does. */
#define UNIT_BYTES ((size_t)4096)
/* In a file that is written in place, fewer zeros are written as other bytes are. */
#define HOLE_LEAST ((size_t)64 << 10)

/* ---- reading ---- */

static int hear_fault(void *opaque, const struct qcow2_disk_fault *fault)
{
	return export_faults_add(opaque, fault);
}

/* Short memory inside the callback stops the call. */
static void read_past(const struct export_run *run, struct export_piece *piece, size_t at,
		      size_t size)
{
	piece->failed =
		qcow2_disk_read_past(run->guest, (struct qcow2_guest){piece->start_bytes + at},
				     piece->bytes + at, size, hear_fault, &piece->faults,
				     &piece->err) != 0;
	if (piece->failed && piece->err.code == QCOW2_ERROR_STOPPED)
		piece->err = (struct qcow2_error){.code = QCOW2_ERROR_MEMORY,
						  .offset_bytes = QCOW2_NO_OFFSET,
						  .text = "out of memory"};
}

/* The bytes of the piece from `at` on. */
static void read_some(const struct export_run *run, struct export_piece *piece, size_t at,
		      size_t size)
{
	if (run->salvage)
		read_past(run, piece, at, size);
	else
		piece->failed =
			qcow2_disk_read(run->guest, (struct qcow2_guest){piece->start_bytes + at},
					piece->bytes + at, size, &piece->err) != 0;
}

/*
 * A piece of which the tables say that it cannot be read, of any length: a little of it is read to
 * learn why.
 */
static void try_unreadable(const struct export_run *run, struct export_piece *piece)
{
	piece->is_zero = true;
	read_some(run, piece, 0,
		  piece->length_bytes < UNIT_BYTES ? (size_t)piece->length_bytes : UNIT_BYTES);
	if (piece->failed)
		return;
	if (piece->faults.count == 0) {
		piece->failed = true;
		piece->err = (struct qcow2_error){.code = QCOW2_ERROR_BROKEN,
						  .offset_bytes = QCOW2_NO_OFFSET,
						  .text = "the image has changed meanwhile"};
		return;
	}
	piece->faults.list[0].length_bytes = piece->length_bytes;
	piece->faults.bytes = piece->length_bytes;
}

/* ---- writing ---- */

/* The end of the bytes from `at` on that are all zeros, or all units with data; `size` at the most. */
static size_t run_end(const struct export_piece *piece, size_t at, size_t size, bool *zero)
{
	bool first = true;

	while (at < size) {
		const size_t into = (size_t)((piece->start_bytes + at) % UNIT_BYTES);
		const size_t unit = UNIT_BYTES - into < size - at ? UNIT_BYTES - into : size - at;
		const bool is_zero = zeros_only(piece->bytes + at, unit);

		if (!first && is_zero != *zero)
			break;
		*zero = is_zero;
		first = false;
		at += unit;
	}
	return at;
}

static int write_run(const struct export_target *target, const struct export_piece *piece,
		     size_t at, size_t size, bool zero)
{
	const uint64_t start_bytes = piece->start_bytes + at;

	if (zero && (target->kind == EXPORT_TO_NEW || size >= HOLE_LEAST ||
		     export_target_grows(target, start_bytes)))
		return export_target_zero(target, start_bytes, size);
	return export_target_write(target, start_bytes, piece->bytes + at, size);
}

/* The bytes of the piece from `at` on. */
static void write_some(const struct export_target *target, struct export_piece *piece, size_t at,
		       size_t size)
{
	const size_t stop = at + size;

	while (at < stop && piece->errnum == 0) {
		bool zero = false;
		const size_t end = run_end(piece, at, stop, &zero);

		piece->errnum = write_run(target, piece, at, end - at, zero);
		piece->is_zero &= zero;
		at = end;
	}
}

int export_piece_append(const struct export_target *target, struct export_piece *piece)
{
	if (piece->is_zero)
		return export_target_zero(target, piece->start_bytes, piece->length_bytes);
	write_some(target, piece, 0, (size_t)piece->length_bytes);
	return piece->errnum;
}

/* ---- both ---- */

/* Whether the piece is written later, in its turn. */
static bool waits(const struct export_run *run, const struct export_piece *piece)
{
	return run->target.kind == EXPORT_TO_OUTPUT ||
	       export_target_grows(&run->target, piece->start_bytes);
}

static void copy_in_steps(const struct export_run *run, struct export_piece *piece, bool later)
{
	const size_t whole = (size_t)piece->length_bytes;

	piece->is_zero = true;
	for (size_t at = 0; at < whole && !piece->failed && piece->errnum == 0;
	     at += piece->step_bytes) {
		const size_t size = whole - at < piece->step_bytes ? whole - at : piece->step_bytes;

		read_some(run, piece, at, size);
		if (!piece->failed && !later)
			write_some(&run->target, piece, at, size);
	}
	if (later && !piece->failed)
		piece->is_zero = zeros_only(piece->bytes, whole);
}

static void work_on_data(const struct export_run *run, struct export_piece *piece)
{
	const bool later = waits(run, piece);

	piece->is_shared = piece->source && !later && !run->records &&
			   export_target_share(&run->target, piece->source, piece->host_bytes,
					       piece->start_bytes, piece->length_bytes);
	if (piece->is_shared)
		return;
	copy_in_steps(run, piece, later);
	if (run->records && !piece->failed && !piece->is_zero)
		hash_bytes(piece->bytes, (size_t)piece->length_bytes, piece->digest);
}

void export_piece_work(const struct export_run *run, struct export_piece *piece)
{
	piece->failed = piece->is_zero = piece->is_shared = false;
	piece->errnum = 0;
	if (piece->kind == EXPORT_PIECE_DATA) {
		work_on_data(run, piece);
		return;
	}
	piece->is_zero = true;
	if (piece->kind == EXPORT_PIECE_UNREADABLE)
		try_unreadable(run, piece);
	if (!piece->failed && !waits(run, piece))
		piece->errnum =
			export_target_zero(&run->target, piece->start_bytes, piece->length_bytes);
}
