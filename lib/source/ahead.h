/* SPDX-License-Identifier: MIT */
/* Advice to the system about what will be read. It changes no result, only how long that takes. */
#ifndef Q2_SOURCE_AHEAD_H
#define Q2_SOURCE_AHEAD_H

#include <qcow2/source.h>

/* How many reads ahead of the one at hand are worth to be told: a disk's queue is no longer. */
#define Q2_AHEAD 64

/* Tells that a range will be read soon, so that the disk can begin. It may pass the end. */
void q2_source_will_need(const struct qcow2_source *source, uint64_t offset_bytes,
			 uint64_t size_bytes);

/* Whether a byte has to come from a disk. False if that is not known. */
bool q2_source_is_cold(const struct qcow2_source *source, uint64_t offset_bytes);

#endif
