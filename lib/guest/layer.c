/* SPDX-License-Identifier: MIT */
/* See layer.h. */
#include "guest/layer.h"

#include "base/error.h"
#include "image/mapping/mapping.h"

int q2_layer_stream_open(struct q2_layer_stream *stream, const struct q2_layer *layer,
			 struct qcow2_error *err)
{
	*stream = (struct q2_layer_stream){.layer = layer};
	if (!layer->image)
		return 0;
	if (!layer->snapshot)
		return qcow2_mapping_open(layer->image, &stream->mapping, err);
	if (q2_mapping_open_of(layer->image, layer->snapshot, &stream->mapping, err))
		return -1;
	if (layer->base_bytes > 0)
		q2_mapping_go_past_end(stream->mapping);
	return 0;
}

void q2_layer_stream_close(struct q2_layer_stream *stream)
{
	qcow2_mapping_close(stream->mapping);
	stream->mapping = NULL;
}

void q2_layer_stream_seek(struct q2_layer_stream *stream, uint64_t end_bytes)
{
	const uint64_t size = stream->layer->size_bytes;

	stream->end_bytes = end_bytes < size ? end_bytes : size;
	stream->now.length_bytes = 0;
}

static void begin(struct q2_layer_stream *stream, uint64_t at, uint64_t length_bytes,
		  enum qcow2_disk_kind kind)
{
	stream->now = (struct qcow2_disk_extent){
		.size = sizeof(stream->now),
		.start.byte = at,
		.length_bytes = length_bytes,
		.kind = kind,
		.encrypted = stream->layer->secret != NULL,
		.host.byte = QCOW2_NO_OFFSET,
	};
}

/* A raw file is data and holes. Behind its last byte, the rest of its last sector is zeros. */
static void find_raw(struct q2_layer_stream *stream, uint64_t at)
{
	struct qcow2_source *source = stream->layer->source;
	uint64_t end = qcow2_source_hole_end(source, at);

	if (end > at) {
		end = end < qcow2_source_size_bytes(source) ? end : stream->end_bytes;
		begin(stream, at, (end < stream->end_bytes ? end : stream->end_bytes) - at,
		      QCOW2_DISK_ZERO);
		return;
	}
	end = qcow2_source_data_end(source, at);
	if (end <= at || end >= qcow2_source_size_bytes(source))
		end = stream->end_bytes;
	begin(stream, at, (end < stream->end_bytes ? end : stream->end_bytes) - at,
	      QCOW2_DISK_DATA);
	stream->now.source = source;
	stream->now.host.byte = at;
}

static enum qcow2_disk_kind kind_of(enum qcow2_l2_kind kind)
{
	switch (kind) {
	case QCOW2_L2_UNALLOCATED:
		return QCOW2_DISK_UNALLOCATED;
	case QCOW2_L2_ZERO:
	case QCOW2_L2_ZERO_ALLOCATED:
		return QCOW2_DISK_ZERO;
	case QCOW2_L2_DATA:
	case QCOW2_L2_COMPRESSED:
		return QCOW2_DISK_DATA;
	case QCOW2_L2_INVALID:
		break;
	}
	return QCOW2_DISK_UNREADABLE;
}

/*
 * Data of which the file has nothing: the external data file is missing, or was cut. The image file
 * itself is compared by the mapping. The rest of a cluster behind the end of the file is zeros.
 */
static void cut_at_end(struct q2_layer_stream *stream)
{
	struct qcow2_disk_extent *now = &stream->now;
	const uint64_t cluster = q2_layer_cluster_bytes(stream->layer);
	uint64_t end = 0;

	if (stream->layer->data)
		end = (qcow2_source_size_bytes(stream->layer->data) + cluster - 1) & ~(cluster - 1);
	if (now->host.byte >= end) {
		now->kind = QCOW2_DISK_UNREADABLE;
		now->source = NULL;
		now->host.byte = QCOW2_NO_OFFSET;
	} else if (now->length_bytes > end - now->host.byte) {
		now->length_bytes = end - now->host.byte;
	}
}

static void take(struct q2_layer_stream *stream, const struct qcow2_mapping_extent *extent)
{
	const struct q2_layer *layer = stream->layer;
	struct qcow2_disk_extent *now = &stream->now;

	begin(stream, extent->start.byte - layer->base_bytes, extent->length_bytes,
	      kind_of(extent->kind));
	now->problem = extent->problem;
	if (now->kind != QCOW2_DISK_DATA) {
		now->encrypted = false;
		return;
	}
	now->host = extent->host;
	now->source = layer->data;
	if (extent->kind == QCOW2_L2_COMPRESSED) {
		/* They are never encrypted: QEMU writes none, and reads them as they are. */
		now->compressed = true;
		now->encrypted = false;
		stream->entry = extent->entry;
		stream->packed_bytes = extent->host_bytes;
	} else if (layer->data != layer->source) {
		cut_at_end(stream);
	}
}

/*
 * The mapping is sought anew unless the byte follows what it gave last, as what lies between may be
 * large and of no use to anybody. What it gives once is asked for only once: see the range.
 */
static int find_mapped(struct q2_layer_stream *stream, uint64_t at, struct qcow2_error *err)
{
	const struct qcow2_disk_extent *now = &stream->now;
	const uint64_t base = stream->layer->base_bytes;
	const struct qcow2_mapping_extent *extent;
	int more;

	if (now->length_bytes == 0 || now->start.byte + now->length_bytes != at ||
	    now->kind == QCOW2_DISK_UNREADABLE || stream->layer->data != stream->layer->source)
		qcow2_mapping_seek(stream->mapping, (struct qcow2_guest){base + at},
				   stream->end_bytes - at);
	stream->now.length_bytes = 0;
	more = qcow2_mapping_next(stream->mapping, &extent, err);
	if (more < 0)
		return -1;
	if (more == 0)
		/* The L1 table of a machine's state ends before what the snapshot claims of it. */
		begin(stream, at, stream->end_bytes - at, QCOW2_DISK_UNALLOCATED);
	else
		take(stream, extent);
	return 0;
}

int q2_layer_stream_find(struct q2_layer_stream *stream, uint64_t at, struct qcow2_error *err)
{
	const struct qcow2_disk_extent *now = &stream->now;

	if (at >= now->start.byte && at - now->start.byte < now->length_bytes)
		return 0;
	if (stream->mapping)
		return find_mapped(stream, at, err);
	if (q2_layer_is_missing(stream->layer))
		begin(stream, at, stream->end_bytes - at, QCOW2_DISK_UNREADABLE);
	else
		find_raw(stream, at);
	return 0;
}
