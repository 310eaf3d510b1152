/* SPDX-License-Identifier: MIT */
/*
 * See inflate.h. libdeflate inflates a whole buffer in one call, and so does zstd a frame: its streams
 * would allocate a window as large as the frame asks for.
 */
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
	size_t in = 0, out = 0;

	/* A cluster may be several frames. One that gives nothing takes bytes, so this ends. */
	while (out < inflater->cluster_size) {
		const size_t frame = ZSTD_findFrameCompressedSize(data.data + in, data.size - in);
		size_t got;

		if (ZSTD_isError(frame) || frame == 0)
			return false; /* the data ends too early, or is none */
		got = ZSTD_decompressDCtx(inflater->zstd, cluster + out,
					  inflater->cluster_size - out, data.data + in, frame);
		if (ZSTD_isError(got))
			return false;
		in += frame;
		out += got;
	}
	*used = in;
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
