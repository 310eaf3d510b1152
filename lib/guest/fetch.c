/* SPDX-License-Identifier: MIT */
/* The guest's bytes of one extent: read, inflated or decrypted. See reader.h. */
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "guest/reader.h"

/* Reads what the file has, and zeros behind its end. */
static int read_padded(struct qcow2_source *source, uint64_t offset, uint8_t *buffer, size_t size,
		       struct qcow2_error *err)
{
	const uint64_t end = qcow2_source_size_bytes(source);
	size_t there = 0;

	if (offset < end)
		there = size < end - offset ? size : (size_t)(end - offset);
	memset(buffer + there, 0, size - there);
	return there > 0 ? qcow2_source_read(source, offset, buffer, there, err) : 0;
}

/* ---- compressed clusters ---- */

/* Makes the inflater fit the layer. Chains of one cluster size and method keep theirs. */
static int prepare_inflater(struct q2_reader *reader, const struct q2_layer *layer,
			    struct qcow2_error *err)
{
	const size_t cluster = (size_t)q2_layer_cluster_bytes(layer);

	if (reader->inflater && reader->inflater_bytes == cluster &&
	    reader->inflater_zstd == layer->zstd)
		return 0;
	q2_inflater_free(reader->inflater);
	reader->inflater = q2_inflater_new(cluster, layer->zstd);
	reader->inflater_bytes = cluster;
	reader->inflater_zstd = layer->zstd;
	return reader->inflater ? 0 : q2_fail_memory(err);
}

/* Reads the compressed data of a cluster into reader->packed, as much of it as the file has. */
static int read_packed(struct q2_reader *reader, const struct q2_layer_stream *stream,
		       struct qcow2_bytes *out, struct qcow2_error *err)
{
	struct qcow2_source *source = stream->layer->data;
	const uint64_t offset = stream->now.host.byte;
	const uint64_t there = qcow2_source_size_bytes(source) - offset;
	const size_t size = (size_t)(stream->packed_bytes < there ? stream->packed_bytes : there);

	if (reader->packed_bytes < size) {
		q2_free(reader->packed);
		reader->packed = q2_alloc_buffer(size);
		reader->packed_bytes = reader->packed ? size : 0;
		if (!reader->packed)
			return q2_fail_memory(err);
	}
	*out = (struct qcow2_bytes){reader->packed, size};
	return qcow2_source_read(source, offset, reader->packed, size, err);
}

static int inflate(struct q2_reader *reader, const struct q2_layer_stream *stream, uint8_t *cluster,
		   struct qcow2_error *err)
{
	struct qcow2_bytes packed;

	if (prepare_inflater(reader, stream->layer, err) ||
	    read_packed(reader, stream, &packed, err))
		return -1;
	if (!q2_inflate_to(reader->inflater, packed, cluster))
		return q2_fail(err, QCOW2_ERROR_BROKEN, stream->now.host.byte,
			       "compressed data do not decompress to a cluster");
	return 0;
}

/*
 * Inflates a cluster of which only a part is wanted, into a slot of the cache; the next one who asks
 * finds it there. *out is NULL if no slot is free: then the cluster is in the inflater's buffer.
 */
static int inflate_and_keep(struct q2_reader *reader, const struct q2_layer_stream *stream,
			    uint32_t depth, struct q2_cache_slot **out, struct qcow2_error *err)
{
	struct q2_cache *cache = &reader->extents.disk->cache;

	if (prepare_inflater(reader, stream->layer, err))
		return -1;
	if (!q2_cache_make(cache, (size_t)q2_layer_cluster_bytes(stream->layer), out))
		return q2_fail_memory(err);
	if (!*out)
		return inflate(reader, stream, q2_inflater_buffer(reader->inflater), err);
	if (inflate(reader, stream, (*out)->bytes, err)) {
		q2_cache_let_go(cache, *out);
		return -1;
	}
	q2_cache_fill(cache, *out, depth, stream->entry);
	return 0;
}

static int fetch_part(struct q2_reader *reader, const struct q2_layer_stream *stream,
		      const struct qcow2_disk_extent *extent, uint64_t within, uint8_t *buffer,
		      size_t size, struct qcow2_error *err)
{
	struct q2_cache *cache = &reader->extents.disk->cache;
	struct q2_cache_slot *slot = q2_cache_find(cache, extent->depth, stream->entry);

	if (!slot && inflate_and_keep(reader, stream, extent->depth, &slot, err))
		return -1;
	memcpy(buffer, (slot ? slot->bytes : q2_inflater_buffer(reader->inflater)) + within, size);
	if (slot)
		q2_cache_let_go(cache, slot);
	return 0;
}

static int fetch_compressed(struct q2_reader *reader, const struct qcow2_disk_extent *extent,
			    uint64_t at, uint8_t *buffer, size_t size, struct qcow2_error *err)
{
	const struct q2_layer_stream *stream = &reader->extents.streams[extent->depth];
	const uint64_t cluster = q2_layer_cluster_bytes(stream->layer);
	const uint64_t within = (at + stream->layer->base_bytes) & (cluster - 1);

	if (cluster > reader->extents.disk->cluster_bytes_most)
		return q2_fail(
			err, QCOW2_ERROR_LIMIT, stream->now.host.byte,
			"a compressed cluster of %llu bytes needs more memory than is allowed",
			(unsigned long long)cluster);
	if (size == cluster)
		return inflate(reader, stream, buffer, err);
	return fetch_part(reader, stream, extent, within, buffer, size, err);
}

/* ---- encrypted clusters ---- */

/* Decrypts whole sectors in place. */
static int fetch_sectors(const struct q2_layer *layer, const struct qcow2_disk_extent *extent,
			 uint64_t at, uint8_t *buffer, size_t size, struct qcow2_error *err)
{
	const uint64_t host = extent->host.byte + (at - extent->start.byte);

	if (read_padded(extent->source, host, buffer, size, err))
		return -1;
	return q2_secret_decrypt(layer->secret, at + layer->base_bytes, host, buffer, size, err);
}

/* A part of one sector. */
static int fetch_within_sector(const struct q2_layer *layer, const struct qcow2_disk_extent *extent,
			       uint64_t at, uint8_t *buffer, size_t size, struct qcow2_error *err)
{
	const size_t sector_bytes = q2_secret_sector_bytes(layer->secret);
	uint8_t sector[Q2_SECRET_SECTOR_BYTES_MAX];
	const size_t within = (size_t)(at % sector_bytes);
	struct qcow2_disk_extent whole = *extent;

	/* The extent may begin with the byte that is wanted; the rest lies before it in its cluster. */
	whole.host.byte -= within;
	whole.start.byte -= within;
	if (fetch_sectors(layer, &whole, at - within, sector, sector_bytes, err))
		return -1;
	memcpy(buffer, sector + within, size);
	return 0;
}

static int fetch_encrypted(const struct q2_layer *layer, const struct qcow2_disk_extent *extent,
			   uint64_t at, uint8_t *buffer, size_t size, struct qcow2_error *err)
{
	const size_t sector_bytes = q2_secret_sector_bytes(layer->secret);

	while (size > 0) {
		const size_t within = (size_t)(at % sector_bytes);
		size_t part = size & ~(sector_bytes - 1);
		int failed;

		if (within != 0 || part == 0) {
			part = sector_bytes - within < size ? sector_bytes - within : size;
			failed = fetch_within_sector(layer, extent, at, buffer, part, err);
		} else {
			failed = fetch_sectors(layer, extent, at, buffer, part, err);
		}
		if (failed)
			return -1;
		at += part;
		buffer += part;
		size -= part;
	}
	return 0;
}

int q2_fetch(struct q2_reader *reader, const struct qcow2_disk_extent *extent, uint64_t at,
	     uint8_t *buffer, size_t size, struct qcow2_error *err)
{
	const struct q2_layer *layer = &reader->extents.disk->layers[extent->depth];

	if (extent->compressed)
		return fetch_compressed(reader, extent, at, buffer, size, err);
	if (extent->encrypted)
		return fetch_encrypted(layer, extent, at, buffer, size, err);
	return read_padded(extent->source, extent->host.byte + (at - extent->start.byte), buffer,
			   size, err);
}
