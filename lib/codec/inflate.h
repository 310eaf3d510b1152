/* SPDX-License-Identifier: MIT */
/* Inflates compressed clusters ("Compressed Clusters Descriptor"), one after another. */
#ifndef Q2_CODEC_INFLATE_H
#define Q2_CODEC_INFLATE_H

#include <qcow2/base.h>

struct q2_inflater;

/* For clusters of that size; zstd instead of deflate. NULL if memory is short. */
struct q2_inflater *q2_inflater_new(size_t cluster_size, bool zstd);

/* NULL is fine. */
void q2_inflater_free(struct q2_inflater *inflater);

/*
 * Whether the data begins with what inflates to exactly one cluster; *used is then how many bytes
 * of it that took. What follows is not looked at: it may be the next cluster's.
 */
bool q2_inflate(struct q2_inflater *inflater, struct qcow2_bytes data, size_t *used);

#endif
