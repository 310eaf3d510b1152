/* SPDX-License-Identifier: MIT */
/* Inflates compressed clusters ("Compressed Clusters Descriptor"), one after another. */
#ifndef Q2_CODEC_INFLATE_H
#define Q2_CODEC_INFLATE_H

#include <qcow2/base.h>

struct q2_inflater;

/*
 * Makes an inflater for clusters of cluster_size bytes, of zstd or else of deflate. NULL if memory
 * is short.
 */
struct q2_inflater *q2_inflater_new(size_t cluster_size, bool zstd);

/* Frees an inflater. NULL is fine. */
void q2_inflater_free(struct q2_inflater *inflater);

/*
 * Whether the start of data inflates to exactly one cluster. *used is then how many bytes of data
 * that took. The bytes after these are not looked at, as they may belong to the next cluster.
 */
bool q2_inflate(struct q2_inflater *inflater, struct qcow2_bytes data, size_t *used);

/*
 * The same into `cluster`, room for one cluster. It may be q2_inflater_buffer(), which is the
 * inflater's own and holds until the next call on it.
 */
bool q2_inflate_to(struct q2_inflater *inflater, struct qcow2_bytes data, uint8_t *cluster);
uint8_t *q2_inflater_buffer(struct q2_inflater *inflater);

#endif
