/* SPDX-License-Identifier: MIT */
/* See mark.h; layout.h has the layout. */
#include "undo/mark.h"

#include "base/bytes.h"
#include "base/error.h"
#include "source/write.h"
#include "undo/layout.h"

#define COPIES      2
#define COPY_STRIDE 512
#define SUM_AT      32

/* Reads one copy of the state; its number becomes 0 if it is not whole. */
static int read_copy(struct qcow2_source *file, unsigned copy, struct q2_undo_marked *mark,
		     struct qcow2_error *err)
{
	uint8_t raw[Q2_UNDO_STATE_BYTES];
	uint32_t state;

	*mark = (struct q2_undo_marked){.number = 0};
	if (qcow2_source_read(file, Q2_UNDO_STATE_AT + copy * COPY_STRIDE, raw, sizeof(raw), err))
		return -1;
	state = q2_load_be32(raw + 8);
	if (q2_load_be64(raw + SUM_AT) !=
		    q2_undo_checksum(Q2_UNDO_SEED_STATE, (struct qcow2_bytes){raw, SUM_AT}) ||
	    state < QCOW2_UNDO_APPLYING || state > QCOW2_UNDO_UNDONE)
		return 0;
	*mark = (struct q2_undo_marked){
		.number = q2_load_be64(raw),
		.state = (enum qcow2_undo_state)state,
		.was_exact = (q2_load_be32(raw + 12) & Q2_UNDO_WAS_EXACT) != 0,
		.was_proved = (q2_load_be32(raw + 12) & Q2_UNDO_WAS_PROVED) != 0,
		.modified_seconds = q2_load_be64(raw + 16),
		.modified_nanoseconds = q2_load_be32(raw + 24),
	};
	return 0;
}

int q2_undo_read_mark(struct qcow2_source *file, struct q2_undo_marked *mark,
		      struct qcow2_error *err)
{
	struct q2_undo_marked other;

	if (read_copy(file, 0, mark, err) || read_copy(file, 1, &other, err))
		return -1;
	if (other.number > mark->number)
		*mark = other;
	if (mark->number == 0)
		return q2_fail(err, QCOW2_ERROR_BROKEN, Q2_UNDO_STATE_AT,
			       "the undo file is damaged: it has no state");
	return 0;
}

int q2_undo_mark(struct qcow2_source *file, enum qcow2_undo_state state,
		 const struct qcow2_source *image, uint32_t flags, struct qcow2_error *err)
{
	struct q2_source_identity identity;
	struct q2_undo_marked before = {.number = 0};
	uint8_t raw[Q2_UNDO_STATE_BYTES] = {0};
	uint64_t copy;

	if (state != QCOW2_UNDO_APPLYING && q2_undo_read_mark(file, &before, err))
		return -1;
	q2_source_identify(image, &identity);
	q2_store_be64(raw, before.number + 1);
	q2_store_be32(raw + 8, (uint32_t)state);
	q2_store_be32(raw + 12, flags);
	q2_store_be64(raw + 16, identity.modified_seconds);
	q2_store_be32(raw + 24, identity.modified_nanoseconds);
	q2_store_be64(raw + SUM_AT,
		      q2_undo_checksum(Q2_UNDO_SEED_STATE, (struct qcow2_bytes){raw, SUM_AT}));
	copy = before.number % COPIES;
	return q2_source_write(file, Q2_UNDO_STATE_AT + copy * COPY_STRIDE, raw, sizeof(raw),
			       err) ||
			       q2_source_sync(file, err)
		       ? -1
		       : 0;
}
