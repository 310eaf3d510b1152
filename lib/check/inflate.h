/* SPDX-License-Identifier: MIT */
/* Inflates compressed clusters ("Compressed Clusters Descriptor"), one after another. */
#ifndef QCOW2_CHECK_INFLATE_H
#define QCOW2_CHECK_INFLATE_H

#include <qcow2/base.h>

struct qcow2_inflater;

/* For clusters of that size; zstd instead of deflate. NULL if memory is short. */
struct qcow2_inflater *qcow2_inflater_new(size_t cluster_size, bool zstd);

/* NULL is fine. */
void qcow2_inflater_free(struct qcow2_inflater *inflater);

/*
 * Whether the data begins with what inflates to exactly one cluster; *used is then how many bytes
 * of it that took. What follows is not looked at: it may be the next cluster's.
 */
bool qcow2_inflate(struct qcow2_inflater *inflater, struct qcow2_bytes data, size_t *used);

#endif
