/* SPDX-License-Identifier: MIT */
/* The stream of guest extents: opens it over an L1 table, and joins runs to extents. */
#include "base/alloc.h"
#include "base/error.h"
#include "image/mapping/mapping.h"

#define L1_WINDOW_BYTES ((size_t)64 * 1024)
#define L2_WINDOW_BYTES ((size_t)128 * 1024)

/* A file system that compresses stores less than it gives back, tables of numbers above all. */
#define LIMIT_FACTOR 16
#define LIMIT_SLACK  (UINT64_C(64) << 20)

/* Ranges of so few entries are look-ups, which read pieces of tables of so many bytes. */
#define LOOK_UP_ENTRIES 64
#define LOOK_UP_BYTES   4096

static void renew_limit(struct qcow2_mapping *m)
{
	uint64_t stored = qcow2_source_allocated_bytes(m->image->source);

	m->limit_bytes = stored > (UINT64_MAX - LIMIT_SLACK) / LIMIT_FACTOR
				 ? UINT64_MAX
				 : stored * LIMIT_FACTOR + LIMIT_SLACK;
}

/* Finds out how much of the L1 table there is. */
static void measure_l1(struct qcow2_mapping *m, enum qcow2_problem_id unaligned)
{
	const uint64_t offset = m->l1.offset_bytes;
	const uint64_t end = q2_image_readable_end(m->image);

	if (offset % m->image->geometry.cluster_size_bytes != 0) {
		m->l1.lost = unaligned;
	} else if (offset < m->image->geometry.file_size_bytes) {
		m->l1.stored = (end - offset) / 8;
		if (m->l1.stored > m->l1.claimed)
			m->l1.stored = m->l1.claimed;
	}
	q2_window_begin(&m->l1_window, offset, offset + m->l1.stored * 8);
}

/* A stream without its L1 table yet; NULL with *err filled. */
static struct qcow2_mapping *make(const struct qcow2_image *image, uint64_t size_bytes,
				  struct qcow2_error *err)
{
	struct qcow2_mapping *m = q2_alloc(sizeof(*m));

	if (!m) {
		q2_fail_memory(err);
		return NULL;
	}
	m->image = image;
	m->size_bytes = size_bytes;
	m->l2_window_table = QCOW2_NO_OFFSET;
	while (UINT64_C(1) << m->l2_bits < image->geometry.l2_entries)
		m->l2_bits++;
	if (!q2_window_init(&m->l1_window, image, L1_WINDOW_BYTES) ||
	    !q2_window_init(&m->l2_window, image, L2_WINDOW_BYTES)) {
		qcow2_mapping_close(m);
		q2_fail_memory(err);
		return NULL;
	}
	qcow2_mapping_seek(m, (struct qcow2_guest){0}, UINT64_MAX);
	return m;
}

int qcow2_mapping_open(const struct qcow2_image *image, struct qcow2_mapping **out,
		       struct qcow2_error *err)
{
	struct qcow2_mapping *m;

	if (q2_image_check_known(image, err))
		return -1;
	m = make(image, image->geometry.virtual_size_bytes, err);
	if (!m)
		return -1;
	m->l1 = (struct q2_mapping_l1){.offset_bytes = image->header.l1_table_offset,
				       .claimed = image->header.l1_size,
				       .lost = QCOW2_PROBLEM_L1_BEYOND_END};
	measure_l1(m, QCOW2_PROBLEM_L1_OFFSET_UNALIGNED);
	*out = m;
	return 0;
}

/* Moves the iterator to the snapshot of an index; *out is that of the iterator. */
static int find_snapshot(struct qcow2_snapshots *snapshots, uint64_t index,
			 const struct qcow2_snapshot **out, struct qcow2_error *err)
{
	int more;

	do {
		more = qcow2_snapshots_next(snapshots, out, err);
	} while (more > 0 && (*out)->index < index);
	if (more < 0)
		return -1;
	if (more == 0)
		return q2_fail(err, QCOW2_ERROR_NOT_FOUND, QCOW2_NO_OFFSET,
			       "there is no snapshot with index %llu", (unsigned long long)index);
	return 0;
}

int q2_mapping_open_of(const struct qcow2_image *image, const struct qcow2_snapshot *snapshot,
		       struct qcow2_mapping **out, struct qcow2_error *err)
{
	struct qcow2_mapping *m;

	if (q2_image_check_known(image, err))
		return -1;
	if (snapshot->cut)
		return q2_fail(err, QCOW2_ERROR_BROKEN, snapshot->offset_bytes,
			       "the snapshot's entry is cut off by the end of the file");
	m = make(image, snapshot->disk_size_bytes, err);
	if (!m)
		return -1;
	m->l1 = (struct q2_mapping_l1){.offset_bytes = snapshot->header.l1_table_offset,
				       .claimed = snapshot->header.l1_size,
				       .lost = QCOW2_PROBLEM_SNAPSHOT_L1_BEYOND_END};
	measure_l1(m, QCOW2_PROBLEM_SNAPSHOT_L1_OFFSET);
	*out = m;
	return 0;
}

int qcow2_mapping_open_snapshot(const struct qcow2_image *image, uint64_t index,
				struct qcow2_mapping **out, struct qcow2_error *err)
{
	struct qcow2_snapshots *snapshots;
	const struct qcow2_snapshot *snapshot;
	int result;

	if (q2_image_check_known(image, err) || qcow2_snapshots_open(image, &snapshots, err))
		return -1;
	result = find_snapshot(snapshots, index, &snapshot, err);
	if (result == 0)
		result = q2_mapping_open_of(image, snapshot, out, err);
	qcow2_snapshots_close(snapshots);
	return result;
}

uint64_t qcow2_mapping_size_bytes(const struct qcow2_mapping *mapping)
{
	return mapping->size_bytes;
}

void q2_mapping_go_past_end(struct qcow2_mapping *m)
{
	/* At most 2^32 entries of 2^27 clusters each. */
	const uint64_t clusters = m->l1.claimed << m->l2_bits;
	const unsigned bits = m->image->geometry.cluster_bits;
	const uint64_t mapped = clusters > UINT64_MAX >> bits ? UINT64_MAX : clusters << bits;

	if (mapped > m->size_bytes)
		m->size_bytes = mapped;
}

static void set_pieces(struct qcow2_mapping *m, size_t bytes)
{
	m->l1_window.piece = bytes;
	m->l2_window.piece = bytes;
}

/*
 * A short range needs few entries of a table: who looks up many of them reads a page for each, and
 * not a window.
 */
static void choose_pieces(struct qcow2_mapping *m)
{
	const unsigned bits = m->image->geometry.cluster_bits;
	uint64_t entries = 0;

	if (m->at < m->end)
		entries = ((m->end - 1) >> bits) - (m->at >> bits) + 1;
	set_pieces(m, entries <= LOOK_UP_ENTRIES ? LOOK_UP_BYTES : 0);
}

void q2_mapping_read_sectors(struct qcow2_mapping *m)
{
	set_pieces(m, Q2_MAPPING_SECTOR_BYTES);
}

void q2_mapping_go_on(struct qcow2_mapping *m, uint64_t at)
{
	m->at = at < m->end ? at : m->end;
	m->extents[m->pending].length_bytes = 0;
	m->same.table = 0;
	m->ahead.entries = 0;
}

void qcow2_mapping_seek(struct qcow2_mapping *mapping, struct qcow2_guest start,
			uint64_t length_bytes)
{
	const uint64_t size = mapping->size_bytes;

	mapping->at = start.byte < size ? start.byte : size;
	mapping->end = length_bytes < size - mapping->at ? mapping->at + length_bytes : size;
	q2_mapping_go_on(mapping, mapping->at);
	choose_pieces(mapping);
	renew_limit(mapping);
}

/* Whether a run goes on where an extent ends, without a difference. */
static bool joins(const struct qcow2_mapping_extent *extent, const struct qcow2_mapping_extent *run)
{
	if (extent->kind != run->kind || extent->kind == QCOW2_L2_COMPRESSED)
		return false;
	if (extent->kind == QCOW2_L2_INVALID)
		return extent->problem == run->problem;
	if (!q2_mapping_is_placed(extent))
		return run->host.byte == QCOW2_NO_OFFSET;
	return extent->host.byte + extent->host_bytes == run->host.byte;
}

/* Gives out the pending extent, if there is one. Returns whether there was. */
static int tell_last(struct qcow2_mapping *m, const struct qcow2_mapping_extent **out)
{
	*out = &m->extents[m->pending];
	m->pending ^= 1;
	m->extents[m->pending].length_bytes = 0;
	return (*out)->length_bytes > 0;
}

int qcow2_mapping_next(struct qcow2_mapping *mapping, const struct qcow2_mapping_extent **out,
		       struct qcow2_error *err)
{
	while (mapping->at < mapping->end) {
		struct qcow2_mapping_extent *pending = &mapping->extents[mapping->pending];
		struct qcow2_mapping_extent *run = &mapping->extents[mapping->pending ^ 1];

		/* What was found before the fault is told first; the next call meets it again. */
		if (!q2_mapping_find_ahead(mapping, run) && q2_mapping_find(mapping, run, err))
			return tell_last(mapping, out) ? 1 : -1;
		mapping->at += run->length_bytes;
		if (pending->length_bytes > 0 && joins(pending, run)) {
			pending->length_bytes += run->length_bytes;
			pending->host_bytes += run->host_bytes;
			continue;
		}
		mapping->pending ^= 1;
		if (pending->length_bytes > 0) {
			*out = pending;
			return 1;
		}
	}
	return tell_last(mapping, out);
}

void qcow2_mapping_close(struct qcow2_mapping *mapping)
{
	if (!mapping)
		return;
	q2_window_release(&mapping->l1_window);
	q2_window_release(&mapping->l2_window);
	q2_free(mapping);
}

const char *const q2_l2_kind_names[Q2_L2_KINDS] = {
	[QCOW2_L2_UNALLOCATED] = "unallocated",       [QCOW2_L2_ZERO] = "zero",
	[QCOW2_L2_ZERO_ALLOCATED] = "zero-allocated", [QCOW2_L2_DATA] = "data",
	[QCOW2_L2_COMPRESSED] = "compressed",         [QCOW2_L2_INVALID] = "invalid",
};

const char *qcow2_l2_kind_name(enum qcow2_l2_kind kind)
{
	return (unsigned)kind < Q2_L2_KINDS ? q2_l2_kind_names[kind] : NULL;
}
