/* SPDX-License-Identifier: MIT */
/*
 * Structures that grow: their first member is `size_t size`, set by whoever owns the storage. A
 * caller may have been compiled with a header that is older or newer than this library. So it may
 * have been with flags, which grow by a bit.
 */
#ifndef Q2_BASE_SIZED_H
#define Q2_BASE_SIZED_H

#include <stddef.h>

#include <qcow2/error.h>

/*
 * Copies a structure that a caller hands in, as far as the caller knows it; the rest of *mine, a
 * structure of mine_size bytes, becomes zeros. theirs may be NULL: then all of *mine does. The
 * member `size` of *mine becomes mine_size.
 *
 * Errors: QCOW2_ERROR_ARGUMENT (the size is not set; or a member is set that is not known here).
 */
int q2_sized_take(void *mine, size_t mine_size, const void *theirs, struct qcow2_error *err);

/*
 * Fails as q2_sized_take() does if the storage of a caller has no size that makes sense; for
 * results, before the work begins. Does not look at the other members.
 */
int q2_sized_check(const void *theirs, struct qcow2_error *err);

/*
 * Copies a result into the storage of a caller, as far as the caller knows it; what the caller
 * knows beyond that becomes zeros. Their `size` stays.
 */
void q2_sized_give(void *theirs, const void *mine, size_t mine_size);

/*
 * Fails if flags of a caller have a bit that is not among the known ones. A later version may give
 * the bit a meaning, and the caller asks for that.
 *
 * Errors: QCOW2_ERROR_ARGUMENT.
 */
int q2_flags_check(unsigned flags, unsigned known, struct qcow2_error *err);

#endif
