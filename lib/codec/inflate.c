/* SPDX-License-Identifier: MIT */
/* See inflate.h. libdeflate inflates a whole buffer in one call; zstd may need several frames. */
#include "codec/inflate.h"

#include <libdeflate.h>
#include <zstd.h>

#include "base/alloc.h"

struct q2_inflater {
	struct libdeflate_decompressor *deflate;
	ZSTD_DCtx *zstd;
	uint8_t *cluster;
	size_t cluster_size;
};

struct q2_inflater *q2_inflater_new(size_t cluster_size, bool zstd)
{
	struct q2_inflater *inflater = q2_alloc(sizeof(*inflater));

	if (!inflater)
		return NULL;
	inflater->cluster_size = cluster_size;
	inflater->cluster = q2_alloc_buffer(cluster_size + 1);
	if (zstd)
		inflater->zstd = ZSTD_createDCtx();
	else
		inflater->deflate = libdeflate_alloc_decompressor();
	if (inflater->cluster && (inflater->zstd || inflater->deflate))
		return inflater;
	q2_inflater_free(inflater);
	return NULL;
}

void q2_inflater_free(struct q2_inflater *inflater)
{
	if (!inflater)
		return;
	ZSTD_freeDCtx(inflater->zstd);
	if (inflater->deflate)
		libdeflate_free_decompressor(inflater->deflate);
	q2_free(inflater->cluster);
	q2_free(inflater);
}

static bool inflate_zstd(struct q2_inflater *inflater, struct qcow2_bytes data, uint8_t *cluster,
			 size_t *used)
{
	ZSTD_inBuffer in = {data.data, data.size, 0};
	ZSTD_outBuffer out = {cluster, inflater->cluster_size, 0};
	size_t left = 1;

	ZSTD_DCtx_reset(inflater->zstd, ZSTD_reset_session_only);
	while (out.pos < out.size || left != 0) {
		size_t in_before = in.pos, out_before = out.pos;

		left = ZSTD_decompressStream(inflater->zstd, &out, &in);
		if (ZSTD_isError(left))
			return false;
		if (in.pos == in_before && out.pos == out_before)
			return false; /* the data ends too early, or gives more than a cluster */
	}
	*used = in.pos;
	return true;
}

static bool inflate(struct q2_inflater *inflater, struct qcow2_bytes data, uint8_t *cluster,
		    size_t *used)
{
	size_t size = 0;

	if (inflater->zstd)
		return inflate_zstd(inflater, data, cluster, used);
	return libdeflate_deflate_decompress_ex(inflater->deflate, data.data, data.size, cluster,
						inflater->cluster_size, used,
						&size) == LIBDEFLATE_SUCCESS &&
	       size == inflater->cluster_size;
}

bool q2_inflate(struct q2_inflater *inflater, struct qcow2_bytes data, size_t *used)
{
	return inflate(inflater, data, inflater->cluster, used);
}

bool q2_inflate_to(struct q2_inflater *inflater, struct qcow2_bytes data, uint8_t *cluster)
{
	size_t used;

	return inflate(inflater, data, cluster, &used);
}

uint8_t *q2_inflater_buffer(struct q2_inflater *inflater)
{
	return inflater->cluster;
}
