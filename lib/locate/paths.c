/* SPDX-License-Identifier: MIT */
/*
 * From the guest to the file: one mapping gives extents, another one looks up the first byte of each
 * part of an extent, since an extent keeps the entry of its first cluster only.
 */
#include "base/alloc.h"
#include "base/bytes.h"
#include "base/error.h"
#include "image/mapping/mapping.h"
#include "locate/refcount_reader.h"

struct qcow2_paths {
	struct qcow2_mapping *extents, *places;
	struct q2_refcount_reader refcounts;
	uint64_t disk_bytes;
	struct qcow2_mapping_extent extent; /* of which [at, end) has not been told */
	uint64_t at, end;
	struct qcow2_mapping_extent part; /* the rest is what qcow2_paths_next() has given out */
	struct qcow2_refcount_path refcount;
	struct qcow2_path told;
};

static int open_mapping(const struct qcow2_image *image, const struct qcow2_snapshot *snapshot,
			struct qcow2_mapping **out, struct qcow2_error *err)
{
	return snapshot ? q2_mapping_open_of(image, snapshot, out, err)
			: qcow2_mapping_open(image, out, err);
}

int qcow2_paths_open(const struct qcow2_image *image, const struct qcow2_snapshot *snapshot,
		     struct qcow2_paths **out, struct qcow2_error *err)
{
	struct qcow2_paths *paths = q2_alloc(sizeof(*paths));

	if (!paths)
		return q2_fail_memory(err);
	if (open_mapping(image, snapshot, &paths->extents, err) ||
	    open_mapping(image, snapshot, &paths->places, err) ||
	    q2_refcount_reader_init(&paths->refcounts, image, err)) {
		qcow2_paths_close(paths);
		return -1;
	}
	paths->disk_bytes = qcow2_mapping_size_bytes(paths->extents);
	q2_mapping_go_past_end(paths->extents);
	q2_mapping_go_past_end(paths->places);
	qcow2_paths_seek(paths, (struct qcow2_guest){0}, 0);
	*out = paths;
	return 0;
}

uint64_t qcow2_paths_size_bytes(const struct qcow2_paths *paths)
{
	return paths->disk_bytes;
}

void qcow2_paths_seek(struct qcow2_paths *paths, struct qcow2_guest start, uint64_t length_bytes)
{
	if (start.byte < paths->disk_bytes && length_bytes > paths->disk_bytes - start.byte)
		length_bytes = paths->disk_bytes - start.byte;
	qcow2_mapping_seek(paths->extents, start, length_bytes);
	paths->at = paths->end = start.byte;
}

/* Whether the clusters of an extent are in the image file, where refcounts are counted. */
static bool is_counted(const struct qcow2_paths *paths)
{
	return paths->extent.host.byte != QCOW2_NO_OFFSET &&
	       !paths->extents->image->geometry.data_file;
}

/* Finds out how far the rest of the extent goes with the refcount of its first cluster. */
static int measure(struct qcow2_paths *paths, uint64_t *length, struct qcow2_error *err)
{
	const uint64_t cluster = paths->extents->image->geometry.cluster_size_bytes;
	const uint64_t start = paths->extent.host.byte + (paths->at - paths->extent.start.byte);
	const uint64_t rest = paths->end - paths->at;

	*length = rest;
	if (!is_counted(paths))
		return 0;
	if (!q2_mapping_is_placed(&paths->extent))
		return q2_refcount_reader_find(&paths->refcounts, paths->extent.host,
					       &paths->refcount, err);
	if (q2_refcount_reader_find(&paths->refcounts, (struct qcow2_host){start}, &paths->refcount,
				    err))
		return -1;
	for (uint64_t into = cluster - start % cluster; into < rest; into += cluster) {
		struct qcow2_refcount_path next;

		if (q2_refcount_reader_find(&paths->refcounts, (struct qcow2_host){start + into},
					    &next, err))
			return -1;
		if (next.known != paths->refcount.known ||
		    next.refcount != paths->refcount.refcount) {
			*length = into;
			break;
		}
	}
	return 0;
}

/* Fills the entries on the way to the part's first byte. */
static int find_entries(struct qcow2_paths *paths, struct qcow2_error *err)
{
	const struct qcow2_mapping *m = paths->places;
	const struct qcow2_geometry *geometry = &m->image->geometry;
	const uint64_t guest = paths->part.start.byte, cluster = guest >> geometry->cluster_bits;
	struct qcow2_path *told = &paths->told;
	uint8_t bytes[sizeof(uint64_t)];
	uint64_t table;

	told->l1_index = cluster >> m->l2_bits;
	told->l1_entry_at.byte = told->l2_table.byte = QCOW2_NO_OFFSET;
	told->l2_index = cluster & (geometry->l2_entries - 1);
	if (geometry->extended_l2)
		told->subcluster = (unsigned)(guest % geometry->cluster_size_bytes /
					      (geometry->cluster_size_bytes / 32));
	if (told->l1_index >= m->l1.stored)
		return 0;
	told->l1_entry_at.byte = m->l1.offset_bytes + told->l1_index * sizeof(bytes);
	if (q2_image_read_padded(m->image, told->l1_entry_at.byte, bytes, sizeof(bytes), err))
		return -1;
	told->l1_entry = q2_load_be64(bytes);
	table = told->l1_entry & QCOW2_ENTRY_MASK(l1_entry, offset);
	/* A table that is elsewhere is never read; the mapping says which rule is broken. */
	if (table != 0 && table % geometry->cluster_size_bytes == 0 &&
	    table < geometry->file_size_bytes)
		told->l2_table.byte = table;
	return 0;
}

/* Looks up the first byte of the part [at, at + length), and describes the part by it. */
static int tell(struct qcow2_paths *paths, uint64_t length, struct qcow2_error *err)
{
	const struct qcow2_mapping_extent *place;
	int more;

	qcow2_mapping_seek(paths->places, (struct qcow2_guest){paths->at}, 1);
	more = qcow2_mapping_next(paths->places, &place, err);
	if (more < 0)
		return -1;
	paths->part = more > 0 ? *place : paths->extent;
	paths->part.start.byte = paths->at;
	paths->part.length_bytes = length;
	if (q2_mapping_is_placed(&paths->part))
		paths->part.host_bytes = length;
	paths->told = (struct qcow2_path){.size = sizeof(paths->told),
					  .extent = &paths->part,
					  .past_end = paths->at >= paths->disk_bytes};
	if (is_counted(paths))
		paths->told.refcount = &paths->refcount;
	return find_entries(paths, err);
}

int qcow2_paths_next(struct qcow2_paths *paths, const struct qcow2_path **out,
		     struct qcow2_error *err)
{
	uint64_t length;

	if (paths->at == paths->end) {
		const struct qcow2_mapping_extent *extent;
		int more = qcow2_mapping_next(paths->extents, &extent, err);

		if (more <= 0)
			return more;
		paths->extent = *extent;
		paths->at = extent->start.byte;
		paths->end = extent->start.byte + extent->length_bytes;
	}
	if (measure(paths, &length, err) || tell(paths, length, err))
		return -1;
	paths->at += length;
	*out = &paths->told;
	return 1;
}

void qcow2_paths_close(struct qcow2_paths *paths)
{
	if (!paths)
		return;
	qcow2_mapping_close(paths->extents);
	qcow2_mapping_close(paths->places);
	q2_refcount_reader_release(&paths->refcounts);
	q2_free(paths);
}
