/* SPDX-License-Identifier: MIT */
/*
 * The state of an undo file, the only part of it that ever changes. It is kept twice, and the older
 * copy is written over: a power cut while a state is written leaves the one before.
 */
#ifndef Q2_UNDO_MARK_H
#define Q2_UNDO_MARK_H

#include <qcow2/undo.h>

/* The state that counts: of the copies that are whole, the one with the higher number. */
struct q2_undo_marked {
	uint64_t number;
	enum qcow2_undo_state state;
	uint64_t modified_seconds; /* of the image, when the state was noted */
	uint32_t modified_nanoseconds;
	bool was_exact, was_proved; /* flags of a state, see layout.h */
};

/*
 * Notes a state, with flags of layout.h and the modification time that `image` has now. Returns
 * when it is on the medium. Errors: QCOW2_ERROR_BROKEN, QCOW2_ERROR_IO.
 */
int q2_undo_mark(struct qcow2_source *file, enum qcow2_undo_state state,
		 const struct qcow2_source *image, uint32_t flags, struct qcow2_error *err);

/* Reads the state that counts. Errors: QCOW2_ERROR_BROKEN (no copy is whole), QCOW2_ERROR_IO. */
int q2_undo_read_mark(struct qcow2_source *file, struct q2_undo_marked *mark,
		      struct qcow2_error *err);

#endif
