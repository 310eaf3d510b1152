/* SPDX-License-Identifier: MIT */
/* Questions of the guards about the L1 and L2 tables of the active image. */
#ifndef Q2_GUARDS_MAPPING_H
#define Q2_GUARDS_MAPPING_H

#include <qcow2/edit.h>

/*
 * Sets *is_raw if every guest cluster is stored, as data, at its own guest offset in the external
 * data file, so that this file alone reads like the image. A table that is broken makes it false.
 * Errors: QCOW2_ERROR_IO, QCOW2_ERROR_MEMORY.
 */
int q2_is_raw_alone(const struct qcow2_image *image, bool *is_raw, struct qcow2_error *err);

/*
 * Sets *changes if the plan changes an L2 entry, of the active image or of a snapshot, that is a
 * compressed cluster afterwards. Then only inflating tells whether the guest can read it. Both
 * images have a geometry, and the same form of L2 tables. Errors: QCOW2_ERROR_IO,
 * QCOW2_ERROR_MEMORY.
 */
int q2_changes_compressed(const struct qcow2_image *before, const struct qcow2_image *after,
			  const struct qcow2_plan *plan, bool *changes, struct qcow2_error *err);

/*
 * Sets *nothing if all L1 entries are zero and there is no snapshot. An L1 table that cannot be
 * read may map something. Errors: QCOW2_ERROR_MEMORY.
 */
int q2_maps_nothing(const struct qcow2_image *image, bool *nothing, struct qcow2_error *err);

#endif
