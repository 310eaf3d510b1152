/* SPDX-License-Identifier: MIT */
/* The differences of a run, one after another, and what they come to. See diff.h. */
#include "snapshot/diff.h"

static void note_invalid(struct diff *diff, const struct qcow2_mapping_difference *difference,
			 unsigned side)
{
	if (diff->invalid.ranges++ == 0) {
		diff->invalid_side = side;
		diff->invalid_at = difference->start.byte;
		diff->invalid_problem = difference->sides[side]->problem;
	}
	diff->invalid.bytes += difference->length_bytes;
}

int diff_next(struct diff *diff, const struct qcow2_mapping_difference **out,
	      struct qcow2_error *err)
{
	const struct qcow2_mapping_difference *difference;
	int more = diff->run->out.errnum == 0 ? qcow2_mapping_diff_next(diff->stream, out, err) : 0;

	if (more <= 0)
		return more;
	difference = *out;
	diff->total.ranges++;
	diff->total.bytes += difference->length_bytes;
	if (difference->reads_same) {
		diff->alike.ranges++;
		diff->alike.bytes += difference->length_bytes;
	}
	for (unsigned i = 0; i < 2; i++) {
		const struct qcow2_mapping_side *side = difference->sides[i];

		if (side && side->kind == QCOW2_L2_INVALID) {
			note_invalid(diff, difference, i);
			break;
		}
	}
	return 1;
}
