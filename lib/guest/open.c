/* SPDX-License-Identifier: MIT */
/* Opens a disk: asks the gate about each file that an image names, from the image down. */
#include <stddef.h>
#include <stdio.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/sized.h"
#include "guest/disk.h"
#include "image/internal.h"

#define DEFAULT_LIMIT_BYTES (UINT64_C(64) << 20)
/* What a stream of extents over one file takes, rounded up. */
#define STREAM_BYTES (UINT64_C(256) << 10)
/* What an inflater takes besides a cluster, rounded up. */
#define INFLATER_BYTES (UINT64_C(192) << 10)
#define READERS_MOST   64
/* Clusters of any image that QEMU opens may be decompressed, whatever the limit. */
#define CLUSTER_BYTES_MOST (UINT64_C(2) << 20)
#define SLOTS_MOST         256

/* A disk that is being opened. */
struct opening {
	struct qcow2_disk *disk;
	const struct qcow2_disk_options *options;
	struct qcow2_error *err;
	bool is_refused; /* the gate has said so */
};

/* ---- one file ---- */

/* Says of which file an error is, if it is not the image of the disk. */
static int blame(struct opening *o, uint32_t depth)
{
	char text[48];

	if (depth == 0)
		return -1;
	snprintf(text, sizeof(text), "this is file %u of the chain", depth);
	q2_error_append(o->err, text);
	return -1;
}

/* Adds a layer to the disk; NULL with *err filled. */
static struct q2_layer *add_layer(struct opening *o)
{
	struct qcow2_disk *disk = o->disk;
	struct q2_layer *layers;

	if (disk->depth == QCOW2_DISK_DEPTH_MAX) {
		q2_fail(o->err, QCOW2_ERROR_LIMIT, QCOW2_NO_OFFSET,
			"the chain has more than %d files", QCOW2_DISK_DEPTH_MAX);
		return NULL;
	}
	layers = q2_realloc_array(disk->layers, disk->depth + 1, sizeof(*layers));
	if (!layers) {
		q2_fail_memory(o->err);
		return NULL;
	}
	disk->layers = layers;
	layers[disk->depth] = (struct q2_layer){0};
	return &layers[disk->depth++];
}

/* Asks the gate. Returns its answer; -1 with *err filled. */
static int ask(struct opening *o, const struct qcow2_disk_wanted *wanted,
	       struct qcow2_source **source)
{
	const bool data = wanted->role == QCOW2_DISK_DATA_FILE;
	int answer;

	*source = NULL;
	if (!o->options->gate) {
		q2_fail(o->err, QCOW2_ERROR_UNSUPPORTED, QCOW2_NO_OFFSET,
			"the image has %s, and no file that an image names is opened here",
			data ? "an external data file" : "a backing file");
		return blame(o, wanted->depth);
	}
	/* What a gate that refuses without a reason leaves. */
	q2_fail(o->err, QCOW2_ERROR_UNSUPPORTED, QCOW2_NO_OFFSET,
		"the %s of file %u of the chain is refused",
		data ? "external data file" : "backing file", wanted->depth);
	answer = o->options->gate(o->options->opaque, wanted, source, o->err);
	o->is_refused = answer != QCOW2_DISK_MISSING;
	if (answer == QCOW2_DISK_MISSING) {
		*source = NULL;
		return answer;
	}
	if (*source &&
	    (answer == QCOW2_DISK_GIVEN_RAW || (answer == QCOW2_DISK_GIVEN_QCOW2 && !data))) {
		o->is_refused = false;
		return answer;
	}
	if (answer != QCOW2_DISK_REFUSED)
		q2_fail(o->err, QCOW2_ERROR_ARGUMENT, QCOW2_NO_OFFSET,
			"the gate gave no answer that makes sense");
	return -1;
}

/* Finds what host offsets lead into: the file itself, or its external data file. */
static int open_data(struct opening *o, struct q2_layer *layer, uint32_t depth)
{
	struct qcow2_disk_wanted wanted = {
		.size = sizeof(wanted),
		.role = QCOW2_DISK_DATA_FILE,
		.depth = depth,
		.image = layer->image,
	};

	layer->data = layer->source;
	if (!qcow2_image_geometry(layer->image)->data_file)
		return 0;
	qcow2_image_find_extension(layer->image, QCOW2_EXTENSION_DATA_FILE, &wanted.name);
	return ask(o, &wanted, &layer->data) < 0 ? -1 : 0;
}

/* Finds out what a layer of an image means, and which keys it needs. */
static int open_image(struct opening *o, struct q2_layer *layer, uint32_t depth)
{
	const struct qcow2_image *image = layer->image;
	const struct qcow2_header *header = qcow2_image_header(image);

	if (q2_image_check_known(image, o->err))
		return blame(o, depth);
	if (header->compression_type > 1) {
		q2_fail(o->err, QCOW2_ERROR_UNSUPPORTED, QCOW2_NO_OFFSET,
			"compression type %u is not known", header->compression_type);
		return blame(o, depth);
	}
	layer->zstd = header->compression_type == 1;
	layer->size_bytes =
		qcow2_image_geometry(image)->virtual_size_bytes & ~(Q2_SECTOR_BYTES - 1);
	if (open_data(o, layer, depth))
		return -1;
	if (q2_secret_open(image, o->options, depth, &layer->secret, o->err))
		return blame(o, depth);
	return 0;
}

static uint64_t raw_size(const struct qcow2_source *source)
{
	/* At most INT64_MAX, so that it does not overflow. */
	return (qcow2_source_size_bytes(source) + Q2_SECTOR_BYTES - 1) & ~(Q2_SECTOR_BYTES - 1);
}

/* ---- snapshots ---- */

/* Copies the entry of the snapshot. What its views lead to is gone afterwards. */
static int find_snapshot(struct opening *o, const struct qcow2_image *image)
{
	struct qcow2_snapshot *copy = &o->disk->snapshot;
	const struct qcow2_snapshot *snapshot;
	struct qcow2_snapshots *snapshots;
	int more;

	if (qcow2_snapshots_open(image, &snapshots, o->err))
		return -1;
	do {
		more = qcow2_snapshots_next(snapshots, &snapshot, o->err);
	} while (more > 0 && snapshot->index < o->options->snapshot_index);
	if (more > 0) {
		*copy = *snapshot;
		copy->raw = copy->extra_data = copy->id = copy->name = (struct qcow2_bytes){0};
	}
	qcow2_snapshots_close(snapshots);
	if (more > 0 && copy->cut)
		return q2_fail(o->err, QCOW2_ERROR_BROKEN, copy->offset_bytes,
			       "the snapshot's entry is cut off by the end of the file");
	if (more == 0)
		return q2_fail(o->err, QCOW2_ERROR_NOT_FOUND, QCOW2_NO_OFFSET,
			       "there is no snapshot with index %llu",
			       (unsigned long long)o->options->snapshot_index);
	return more < 0 ? -1 : 0;
}

/* The state of a machine begins with the first L1 entry that maps nothing of the disk. */
static int show_vm_state(struct opening *o, struct q2_layer *layer)
{
	const struct qcow2_geometry *geometry = qcow2_image_geometry(layer->image);
	const uint64_t disk = layer->snapshot->disk_size_bytes;
	uint64_t per_entry = geometry->l2_entries << geometry->cluster_bits;
	uint64_t entries = disk / per_entry + (disk % per_entry != 0);

	if (entries > UINT64_MAX / 2 / per_entry)
		return q2_fail(o->err, QCOW2_ERROR_BROKEN, layer->snapshot->offset_bytes,
			       "the snapshot's disk is so large that no state can follow it");
	layer->vm_state = true;
	layer->base_bytes = entries * per_entry;
	layer->size_bytes = layer->snapshot->vm_state_size_bytes;
	if (layer->size_bytes > UINT64_MAX / 2)
		return q2_fail(o->err, QCOW2_ERROR_BROKEN, layer->snapshot->offset_bytes,
			       "the size of the machine's state makes no sense");
	return 0;
}

static int show_snapshot(struct opening *o, struct q2_layer *layer)
{
	if (find_snapshot(o, layer->image))
		return -1;
	layer->snapshot = &o->disk->snapshot;
	layer->size_bytes = layer->snapshot->disk_size_bytes & ~(Q2_SECTOR_BYTES - 1);
	return o->options->vm_state ? show_vm_state(o, layer) : 0;
}

/* ---- the chain ---- */

/*
 * Whether the backing file has a name that can be read whole. Without it, nobody knows what is below:
 * the image would read as if it stood alone.
 */
static int check_backing_name(struct opening *o, const struct qcow2_image *image)
{
	const struct qcow2_header *header = qcow2_image_header(image);

	if (header->backing_file_offset == 0 || header->backing_file_size == 0 ||
	    qcow2_image_backing_name(image).size == header->backing_file_size)
		return 0;
	q2_fail(o->err, QCOW2_ERROR_BROKEN, offsetof(struct qcow2_header, backing_file_offset),
		"the name of the backing file does not lie in the first cluster, or is too long");
	return blame(o, o->disk->depth - 1);
}

/* Takes the last layer as missing, if the caller can do without it. Returns 0, or -1. */
static int lose(struct opening *o)
{
	const uint32_t depth = o->disk->depth - 1;
	struct q2_layer *layer = &o->disk->layers[depth];

	if (!o->options->lost || o->is_refused || q2_disk_must_fail(o->err) ||
	    o->options->lost(o->options->opaque, depth, o->err))
		return -1;
	q2_secret_close(layer->secret);
	qcow2_image_close(layer->opened);
	*layer = (struct q2_layer){.size_bytes = UINT64_MAX};
	return 0;
}

/* Opens the backing file of the last layer. Returns 1 if there may be another one below it. */
static int descend(struct opening *o)
{
	const uint32_t depth = o->disk->depth - 1;
	const struct qcow2_image *above = o->disk->layers[depth].image;
	struct qcow2_disk_wanted wanted = {
		.size = sizeof(wanted),
		.role = QCOW2_DISK_BACKING,
		.depth = depth,
		.image = above,
		.name = qcow2_image_backing_name(above),
	};
	struct q2_layer *layer;
	struct qcow2_source *source;
	int answer;

	if (check_backing_name(o, above))
		return add_layer(o) ? lose(o) : -1;
	if (wanted.name.size == 0)
		return 0;
	qcow2_image_find_extension(above, QCOW2_EXTENSION_BACKING_FORMAT, &wanted.format);
	answer = ask(o, &wanted, &source);
	if (answer < 0)
		return -1;
	layer = add_layer(o);
	if (!layer)
		return -1;
	layer->size_bytes = UINT64_MAX;
	if (answer == QCOW2_DISK_MISSING)
		return 0;
	layer->source = source;
	layer->data = source;
	if (answer == QCOW2_DISK_GIVEN_RAW) {
		layer->size_bytes = raw_size(source);
		return 0;
	}
	if (qcow2_image_open(source, &layer->opened, o->err)) {
		blame(o, depth + 1);
		return lose(o);
	}
	layer->image = layer->opened;
	return open_image(o, layer, depth + 1) ? lose(o) : 1;
}

/*
 * Divides the memory: half for readers, a quarter for decompressed clusters; the rest is for streams of
 * extents that the caller opens.
 */
static int divide_memory(struct opening *o)
{
	struct qcow2_disk *disk = o->disk;
	const uint64_t limit = o->options->memory_limit_bytes ? o->options->memory_limit_bytes
							      : DEFAULT_LIMIT_BYTES;
	uint64_t cluster = Q2_SECTOR_BYTES, readers, slots;

	for (uint32_t i = 0; i < disk->depth; i++)
		if (disk->layers[i].image && q2_layer_cluster_bytes(&disk->layers[i]) > cluster)
			cluster = q2_layer_cluster_bytes(&disk->layers[i]);
	disk->cluster_bytes_most = limit / 8 > CLUSTER_BYTES_MOST ? limit / 8 : CLUSTER_BYTES_MOST;
	if (cluster > disk->cluster_bytes_most)
		cluster = disk->cluster_bytes_most;
	/* A reader has an inflater with a cluster, and compressed bytes, besides its streams. */
	readers = limit / 2 / (STREAM_BYTES * disk->depth + INFLATER_BYTES + 3 * cluster);
	slots = limit / 4 / cluster;
	if (!q2_cache_init(&disk->cache, slots > SLOTS_MOST ? SLOTS_MOST : (size_t)slots))
		return q2_fail_memory(o->err);
	q2_readers_init(&disk->readers, readers > READERS_MOST ? READERS_MOST
					: readers > 0          ? (unsigned)readers
							       : 1);
	return 0;
}

static int open_layers(struct opening *o, const struct qcow2_image *image)
{
	struct q2_layer *layer = add_layer(o);
	int more = 1;

	if (!layer)
		return -1;
	layer->image = image;
	layer->source = qcow2_image_source(image);
	if (open_image(o, layer, 0) || (o->options->has_snapshot && show_snapshot(o, layer)))
		return -1;
	while (more > 0 && !o->options->vm_state)
		more = descend(o);
	return more < 0 ? -1 : divide_memory(o);
}

/* Takes a disk that is being made, or what there is of it. */
static int finish(struct opening *o, int failed, struct qcow2_disk **out)
{
	if (failed) {
		qcow2_disk_close(o->disk);
		return -1;
	}
	*out = o->disk;
	return 0;
}

int qcow2_disk_open(const struct qcow2_image *image, const struct qcow2_disk_options *options,
		    struct qcow2_disk **out, struct qcow2_error *err)
{
	struct qcow2_disk_options mine;
	struct qcow2_error ignored;
	struct opening o = {.options = &mine, .err = err ? err : &ignored};

	if (q2_sized_take(&mine, sizeof(mine), options, o.err))
		return -1;
	if (mine.vm_state && !mine.has_snapshot)
		return q2_fail(err, QCOW2_ERROR_ARGUMENT, QCOW2_NO_OFFSET,
			       "the state of a machine is that of a snapshot");
	o.disk = q2_alloc(sizeof(*o.disk));
	if (!o.disk)
		return q2_fail_memory(err);
	return finish(&o, open_layers(&o, image), out);
}

int qcow2_disk_open_raw(struct qcow2_source *source, struct qcow2_disk **out,
			struct qcow2_error *err)
{
	const struct qcow2_disk_options none = {.size = sizeof(none)};
	struct qcow2_error ignored;
	struct opening o = {.options = &none, .err = err ? err : &ignored};
	struct q2_layer *layer;

	o.disk = q2_alloc(sizeof(*o.disk));
	if (!o.disk)
		return q2_fail_memory(err);
	layer = add_layer(&o);
	if (!layer)
		return finish(&o, -1, out);
	layer->source = source;
	layer->data = source;
	layer->size_bytes = raw_size(source);
	return finish(&o, divide_memory(&o), out);
}

void qcow2_disk_close(struct qcow2_disk *disk)
{
	if (!disk)
		return;
	q2_readers_release(&disk->readers);
	q2_cache_release(&disk->cache);
	for (uint32_t i = 0; i < disk->depth; i++) {
		q2_secret_close(disk->layers[i].secret);
		qcow2_image_close(disk->layers[i].opened);
	}
	q2_free(disk->layers);
	q2_free(disk);
}

uint64_t qcow2_disk_size_bytes(const struct qcow2_disk *disk)
{
	return disk->layers[0].size_bytes;
}

uint32_t qcow2_disk_depth(const struct qcow2_disk *disk)
{
	return disk->depth;
}
