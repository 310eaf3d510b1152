/* SPDX-License-Identifier: MIT */
/* Makes a guess, one step after the other: see guess.h. */
#include "rescue/guess.h"

#include "base/alloc.h"
#include "base/error.h"

static int open_parts(struct q2_guess *guess, struct qcow2_error *err)
{
	size_t size = (size_t)1 << guess->shape.cluster_bits;

	guess->claimed.memory = guess->memory;
	guess->active = SIZE_MAX;
	q2_vector_init(&guess->l1_tables, sizeof(struct q2_guess_l1), 0);
	return q2_pieces_open(&guess->pieces, guess->scan, size, err) ||
			       q2_pieces_open(&guess->refcounts.reader, guess->scan, size, err) ||
			       q2_scan_tables(guess->scan, &guess->shape, &guess->tables, err)
		       ? -1
		       : 0;
}

int q2_guess_open(struct q2_guess *guess, struct qcow2_error *err)
{
	guess->shape.file_size_bytes = guess->scan->file_size_bytes;
	return open_parts(guess, err) || q2_guess_refcounts(guess, err) ? -1 : 0;
}

int q2_guess_finish(struct q2_guess *guess, struct qcow2_error *err)
{
	if (q2_guess_l1(guess, err))
		return -1;
	return guess->claimed.failed ? q2_memory_fail(guess->memory, err) : 0;
}

void q2_guess_release(struct q2_guess *guess)
{
	q2_vector_release(&guess->tables);
	q2_vector_release(&guess->l1_tables);
	q2_pieces_close(&guess->pieces);
	q2_pieces_close(&guess->refcounts.reader);
	q2_free(guess->refcounts.blocks);
	if (guess->claimed.memory)
		q2_bits_release(&guess->claimed);
}
