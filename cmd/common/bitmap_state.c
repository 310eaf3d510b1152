/* SPDX-License-Identifier: MIT */
/* See bitmap_state.h. */
#include "common/bitmap_state.h"

/* A file system may report fewer allocated bytes than the file stores. */
#define DIRECTORY_SLACK_BYTES (UINT64_C(1) << 20)

/* One bitmap under way. */
struct look {
	const struct bitmap_judge *judge;
	struct bitmap_state *state;
};

/* Keeps the first problem for which the bitmap cannot be used. */
static int hear(void *opaque, const struct qcow2_problem *problem)
{
	struct look *look = opaque;
	struct bitmap_state *state = look->state;
	unsigned number = problem->kind->number;

	/* Bits past the end do no harm to the others. */
	if (!state->why && number != QCOW2_PROBLEM_BITMAP_DATA_TAIL &&
	    (problem->kind->severity == QCOW2_CORRUPTION ||
	     number == QCOW2_PROBLEM_BITMAP_EXTRA_DATA_UNKNOWN))
		state->why = problem->kind;
	state->damaged |= problem->kind->severity == QCOW2_CORRUPTION;
	if (look->judge->also)
		(void)look->judge->also(look->judge->opaque, problem);
	return 0;
}

int bitmap_state_find(const struct bitmap_judge *judge, const struct qcow2_bitmap *bitmap,
		      struct bitmap_state *out, struct qcow2_error *err)
{
	struct look look = {judge, out};
	uint32_t flags = bitmap->entry.flags;

	*out = (struct bitmap_state){0};
	if (qcow2_bitmap_health_examine(judge->health, bitmap, hear, &look, err))
		return -1;
	if (out->why)
		out->word = "unusable";
	else if (!(qcow2_image_header(judge->image)->autoclear_features & QCOW2_AUTOCLEAR_BITMAPS))
		out->word = "inconsistent";
	else if (flags & QCOW2_BITMAP_IN_USE)
		out->word = "in use";
	else
		out->word = flags & QCOW2_BITMAP_AUTO ? "enabled" : "disabled";
	return 0;
}

bool bitmap_past_stored(const struct qcow2_bitmaps *bitmaps, const struct qcow2_source *source)
{
	return qcow2_bitmaps_used_bytes(bitmaps) >
	       qcow2_source_allocated_bytes(source) + DIRECTORY_SLACK_BYTES;
}
