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
	if (layer->vm_state)
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
	stream->sought = false;
	stream->by_sectors = false;
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
	stream->entry_at.byte = QCOW2_NO_OFFSET;
}

/* Finds the data or the hole around a byte of a raw file. The last one has no end. */
static void learn_run(struct q2_raw_run *run, const struct qcow2_source *source, uint64_t at)
{
	uint64_t end = qcow2_source_hole_end(source, at);

	run->start = at;
	run->is_hole = end > at;
	if (!run->is_hole)
		end = qcow2_source_data_end(source, at);
	run->end = end > at && end < qcow2_source_size_bytes(source) ? end : UINT64_MAX;
}

/* A raw file is data and holes. Behind its last byte, the rest of its last sector is zeros. */
static void find_raw(struct q2_layer_stream *stream, uint64_t at)
{
	struct q2_raw_run *run = &stream->raw;
	uint64_t end;

	if (at < run->start || at >= run->end)
		learn_run(run, stream->layer->source, at);
	end = run->end < stream->end_bytes ? run->end : stream->end_bytes;
	begin(stream, at, end - at, run->is_hole ? QCOW2_DISK_ZERO : QCOW2_DISK_DATA);
	if (run->is_hole)
		return;
	stream->now.source = stream->layer->source;
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
		now->encrypted = false;
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
	stream->entry_at = extent->entry_at;
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
 * Lets the mapping give what is at a byte. It goes on by itself where the byte follows what it gave
 * last, and otherwise skips what lies between, which may be large and of no use to anybody.
 */
static void aim(struct q2_layer_stream *stream, uint64_t at)
{
	const uint64_t start = stream->layer->base_bytes + at;

	if (!stream->sought)
		qcow2_mapping_seek(stream->mapping, (struct qcow2_guest){start},
				   stream->end_bytes - at);
	else if (stream->mapped_to != at)
		q2_mapping_go_on(stream->mapping, start);
	stream->sought = true;
	stream->mapped_to = at;
}

/* How many bytes of the layer its L1 table maps. A sound one maps all of them. */
static uint64_t reach(const struct q2_layer_stream *stream)
{
	const struct qcow2_mapping *mapping = stream->mapping;
	const unsigned bits =
		mapping->l2_bits + qcow2_image_geometry(stream->layer->image)->cluster_bits;
	const uint64_t base = stream->layer->base_bytes;
	const uint64_t claimed = mapping->l1.claimed;
	const uint64_t mapped = claimed > UINT64_MAX >> bits ? UINT64_MAX : claimed << bits;

	return mapped > base ? mapped - base : 0;
}

/*
 * Behind the entries of an L1 table that is too small, nobody knows what was there. That is more than
 * unallocated: zeros would be a guess.
 */
static void find_behind(struct q2_layer_stream *stream, uint64_t at)
{
	begin(stream, at, stream->end_bytes - at, QCOW2_DISK_UNREADABLE);
	stream->now.problem = stream->layer->snapshot ? QCOW2_PROBLEM_SNAPSHOT_L1_TOO_SMALL
						      : QCOW2_PROBLEM_L1_TOO_SMALL;
}

static int find_mapped(struct q2_layer_stream *stream, uint64_t at, struct qcow2_error *err)
{
	const struct qcow2_mapping_extent *extent;
	const uint64_t mapped = reach(stream);
	int more;

	if (at >= mapped) {
		find_behind(stream, at);
		return 0;
	}
	aim(stream, at);
	stream->now.length_bytes = 0;
	more = qcow2_mapping_next(stream->mapping, &extent, err);
	if (more < 0)
		return -1;
	if (more == 0) {
		find_behind(stream, at);
		stream->mapped_to = stream->end_bytes;
		return 0;
	}
	stream->mapped_to = at + extent->length_bytes;
	take(stream, extent);
	if (stream->now.length_bytes > mapped - at)
		stream->now.length_bytes = mapped - at;
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

void q2_layer_stream_read_sectors(struct q2_layer_stream *stream)
{
	q2_mapping_read_sectors(stream->mapping);
	stream->by_sectors = true;
}

uint64_t q2_layer_sector_reach(const struct q2_layer *layer, uint64_t at)
{
	const struct qcow2_geometry *geometry = qcow2_image_geometry(layer->image);
	const uint64_t entries = Q2_MAPPING_SECTOR_BYTES / geometry->l2_entry_bytes;
	const uint64_t reach = entries << geometry->cluster_bits;

	return reach - (layer->base_bytes + at) % reach;
}
