/* SPDX-License-Identifier: MIT */
/* Writes the undo file of a plan, before anything of the plan is written. */
#ifndef Q2_UNDO_SAVE_H
#define Q2_UNDO_SAVE_H

#include "plan/places.h"

/* What an undo file is made of. */
struct q2_undo_saving {
	const struct qcow2_plan *plan;
	const struct q2_places *changed, *freed;
	const struct qcow2_apply_options *options;
};

/*
 * Makes the file options->undo_path, in state applying: the places that the plan changes, with the
 * bytes as they are and as they will be, and the content of what it frees. When it returns 0, all
 * is on the medium, the name included, and *out is open for q2_undo_mark(). After an error nothing
 * is left behind. Errors: QCOW2_ERROR_LIMIT (more records than q2_undo_prove() would read),
 * QCOW2_ERROR_ARGUMENT, QCOW2_ERROR_MEMORY, QCOW2_ERROR_IO.
 */
int q2_undo_save(const struct q2_undo_saving *saving, struct qcow2_source **out,
		 struct qcow2_error *err);

#endif
