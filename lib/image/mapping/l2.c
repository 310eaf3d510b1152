/* SPDX-License-Identifier: MIT */
/*
 * Decodes runs of L2 entries. The first entry of a run is judged with all rules; those after it are
 * only compared with what a continuation has to look like, which is what makes a stream fast.
 */
#include "base/bytes.h"
#include "base/error.h"
#include "format/l2_table.h"
#include "image/mapping/mapping.h"

#include <qcow2/limits.h>

/* The part of an L2 table that is in memory, from the entry of m->at on. */
struct piece {
	const struct qcow2_mapping *m;
	const uint8_t *bytes;
	uint64_t entries;
	unsigned entry_bytes;
};

static uint64_t load_entry(const struct piece *p, uint64_t index)
{
	return q2_l2_entry_at(p->bytes, index, p->entry_bytes);
}

/* The second word of an extended entry, or 0. */
static uint64_t load_subclusters(const struct piece *p, uint64_t index)
{
	return q2_l2_subclusters_at(p->bytes, index, p->entry_bytes);
}

/* Whether all subclusters are of one kind. */
static bool is_even(uint64_t entry, uint64_t subclusters)
{
	const struct qcow2_l2_subclusters bits = qcow2_l2_subclusters_decode(subclusters);

	return qcow2_l2_is_compressed(entry) ||
	       ((bits.allocated == 0 || bits.allocated == UINT32_MAX) &&
		(bits.zeroes == 0 || bits.zeroes == UINT32_MAX));
}

/* Whether each of eight extended entries is the one before it plus step, the first one entry + step. */
static bool are_extended_alike(const uint8_t *bytes, uint64_t entry, uint64_t step,
			       uint64_t subclusters)
{
	uint64_t differ = 0;

	for (unsigned i = 0; i < 8; i++, bytes += 2 * sizeof(uint64_t))
		differ |= (q2_load_be64(bytes) ^ (entry += step)) |
			  (q2_load_be64(bytes + sizeof(uint64_t)) ^ subclusters);
	return differ == 0;
}

/*
 * How many entries continue the run of the first one, itself included: each has to be the one
 * before it plus step. With a step, `most` entries keep inside the file and within the bits of an
 * offset.
 */
static uint64_t count_alike(const struct piece *p, uint64_t step, uint64_t most)
{
	uint64_t entry = load_entry(p, 0), count = 1;
	const uint64_t subclusters = load_subclusters(p, 0);
	const uint64_t last = p->entries < most ? p->entries : most;

	if (p->entry_bytes == sizeof(uint64_t))
		return q2_mapping_count_rising(p->bytes, step, last);
	for (; last - count >= 8; count += 8, entry += 8 * step)
		if (!are_extended_alike(p->bytes + count * p->entry_bytes, entry, step,
					subclusters))
			break;
	for (; count < last; count++)
		if (load_entry(p, count) != (entry += step) ||
		    load_subclusters(p, count) != subclusters)
			break;
	return count;
}

/* How many entries of the piece are one run with the first one, which was judged. */
static uint64_t run_entries(const struct piece *p, const struct qcow2_mapping_extent *run)
{
	const struct qcow2_geometry *geometry = &p->m->image->geometry;
	uint64_t end = geometry->file_size_bytes;

	if (run->kind == QCOW2_L2_COMPRESSED || run->kind == QCOW2_L2_INVALID)
		return 1;
	if (!q2_mapping_is_placed(run))
		return count_alike(p, 0, UINT64_MAX);
	/* Clusters without data may lie past the end of the file. */
	if (geometry->data_file || run->host.byte >= end)
		end = UINT64_C(1) << QCOW2_LIMIT_HOST_OFFSET_BITS;
	return count_alike(p, geometry->cluster_size_bytes,
			   ((end - 1 - run->host.byte) >> geometry->cluster_bits) + 1);
}

/* Makes host and host_bytes, which are of the cluster's start, those of the run. */
static void place_run(const struct qcow2_mapping *m, struct qcow2_mapping_extent *run)
{
	if (!q2_mapping_is_placed(run))
		return;
	run->host.byte += m->at & (m->image->geometry.cluster_size_bytes - 1);
	run->host_bytes = run->length_bytes;
}

/*
 * A run of subclusters within the cluster of m->at; e is the first one, already judged. Returns how
 * many entries it passes: 1, or 0 if more subclusters follow.
 */
static uint64_t find_subclusters(const struct qcow2_mapping *m, const struct q2_mapping_entry *e,
				 struct qcow2_mapping_extent *run)
{
	const unsigned bits = m->image->geometry.cluster_bits - 5;
	uint64_t left = m->end - e->guest_byte;
	unsigned end = e->subcluster + 1;

	while (end < 32 && qcow2_subcluster_classify(e->entry, e->subclusters, end,
						     m->image->geometry.data_file) == run->kind)
		end++;
	if (left > (uint64_t)end << bits)
		left = (uint64_t)end << bits;
	run->length_bytes = e->guest_byte + left - m->at;
	return end == 32;
}

/* Judges the first entry of a piece and finds its run. Returns how many entries were passed. */
static uint64_t find_run(const struct piece *p, struct qcow2_mapping_extent *run)
{
	const struct qcow2_mapping *m = p->m;
	const struct qcow2_geometry *geometry = &m->image->geometry;
	const uint64_t into = m->at & (geometry->cluster_size_bytes - 1);
	struct q2_mapping_entry e = {
		.entry = load_entry(p, 0),
		.subclusters = load_subclusters(p, 0),
		.guest_byte = m->at - into,
	};
	uint64_t count;

	if (geometry->extended_l2)
		e.subcluster = (unsigned)(into >> (geometry->cluster_bits - 5));
	run->entry = e.entry;
	run->subclusters = e.subclusters;
	q2_mapping_judge(m->image, &e, run);
	if (geometry->extended_l2 && run->kind != QCOW2_L2_INVALID &&
	    !is_even(e.entry, e.subclusters)) {
		count = find_subclusters(m, &e, run);
	} else {
		count = run_entries(p, run);
		q2_mapping_run_to(m, q2_mapping_cluster(m) + count, run);
	}
	place_run(m, run);
	return count;
}

static struct q2_mapping_uniform *remembered(struct qcow2_mapping *m, uint64_t table)
{
	return &m->uniform[(table >> m->image->geometry.cluster_bits) % Q2_MAPPING_UNIFORM];
}

/*
 * Follows whether all entries of a table are the same and say the same of any guest cluster, as
 * long as the table is gone through from its first entry on. The run starts at entry `first` and
 * passes `count` entries. An invalid entry may be valid elsewhere, where a data file is concerned.
 */
static void follow(struct qcow2_mapping *m, uint64_t table, const struct qcow2_mapping_extent *run,
		   uint64_t first, uint64_t count)
{
	struct q2_mapping_uniform *same = &m->same;
	const uint64_t entries = UINT64_C(1) << m->l2_bits;

	if (run->host.byte != QCOW2_NO_OFFSET || run->kind == QCOW2_L2_INVALID)
		same->table = 0;
	else if (first == 0)
		*same = (struct q2_mapping_uniform){table, run->entry, run->subclusters, run->kind};
	else if (same->table != table || same->entry != run->entry ||
		 same->subclusters != run->subclusters)
		same->table = 0;
	/* The cluster is not passed as a whole: its subclusters differ. */
	if (count == 0)
		same->table = 0;
	else if (same->table == table && first + count >= entries)
		*remembered(m, table) = *same;
}

/*
 * What a part of a cluster is charged for. The 31 that do not end a cluster come to 124 bytes. With
 * the 16 of the entry that is less than LIMIT_FACTOR times what the file stores of it, so that no
 * well-formed image meets the limit.
 */
#define PART_BYTES 4

/*
 * Charges a run to the limit on what is decoded, see mapping.h. A run of no entries is a part of a
 * cluster. If it cost nothing, an entry would give 32 extents for the price of one.
 */
static int charge(struct qcow2_mapping *m, uint64_t table, uint64_t entries,
		  struct qcow2_error *err)
{
	const uint64_t bytes =
		entries > 0 ? entries * m->image->geometry.l2_entry_bytes : PART_BYTES;

	if (bytes > m->limit_bytes)
		return q2_fail(err, QCOW2_ERROR_LIMIT, table,
			       "the L1 table leads to the same L2 tables too often");
	m->limit_bytes -= bytes;
	return 0;
}

static void begin_table(struct qcow2_mapping *m, uint64_t table)
{
	if (m->l2_window_table == table)
		return;
	m->l2_window_table = table;
	q2_window_begin(&m->l2_window, table, table + m->image->geometry.cluster_size_bytes);
}

/* Notes what stands behind the run of `count` entries at the start of a piece. */
static void look_ahead(struct qcow2_mapping *m, const struct piece *p, uint64_t count,
		       uint64_t entry_at)
{
	if (p->entry_bytes != sizeof(uint64_t) || m->image->geometry.data_file)
		return;
	m->ahead = (struct q2_mapping_ahead){
		.bytes = p->bytes + count * sizeof(uint64_t),
		.entries = p->entries - count,
		.entry_at = entry_at + count * sizeof(uint64_t),
	};
}

/*
 * How many of the entries ahead are plain data in consecutive clusters: an offset with the copied
 * flag or without it, and no more. 0: the first one is something else.
 */
static uint64_t count_plain(const struct qcow2_mapping *m, const struct q2_mapping_ahead *ahead)
{
	const struct qcow2_geometry *geometry = &m->image->geometry;
	const uint64_t step = geometry->cluster_size_bytes;
	const uint64_t entry = q2_load_be64(ahead->bytes);
	uint64_t most;
	const uint64_t offset = entry & ~QCOW2_ENTRY_MASK(l2_entry, copied);

	if (offset == 0 || offset & (step - 1) || offset >= geometry->file_size_bytes ||
	    offset & ~QCOW2_ENTRY_MASK(l2_entry, offset))
		return 0;
	/* The next one is hardly ever its neighbour where this way is the faster one. */
	if (ahead->entries == 1 || q2_load_be64(ahead->bytes + sizeof(uint64_t)) != entry + step)
		return 1;
	most = ((geometry->file_size_bytes - 1 - offset) >> geometry->cluster_bits) + 1;
	if (most > ahead->entries)
		most = ahead->entries;
	return q2_mapping_count_rising(ahead->bytes, step, most);
}

bool q2_mapping_find_ahead(struct qcow2_mapping *m, struct qcow2_mapping_extent *run)
{
	struct q2_mapping_ahead *ahead = &m->ahead;
	const uint64_t count = ahead->entries > 0 ? count_plain(m, ahead) : 0;
	const uint64_t bytes = count * sizeof(uint64_t);
	uint64_t length = count << m->image->geometry.cluster_bits;

	if (count == 0 || bytes > m->limit_bytes)
		return false;
	if (length > m->end - m->at)
		length = m->end - m->at;
	run->size = sizeof(*run);
	run->start.byte = m->at;
	run->length_bytes = length;
	run->kind = QCOW2_L2_DATA;
	run->problem = QCOW2_PROBLEM_NONE;
	run->entry = q2_load_be64(ahead->bytes);
	run->host.byte = run->entry & QCOW2_ENTRY_MASK(l2_entry, offset);
	run->host_bytes = length;
	run->subclusters = 0;
	run->entry_at.byte = ahead->entry_at;
	ahead->bytes += bytes;
	ahead->entries -= count;
	ahead->entry_at += bytes;
	m->limit_bytes -= bytes;
	m->same.table = 0;
	return true;
}

int q2_mapping_find_l2(struct qcow2_mapping *m, uint64_t table, struct qcow2_mapping_extent *run,
		       struct qcow2_error *err)
{
	const struct q2_mapping_uniform *known = remembered(m, table);
	const unsigned entry_bytes = m->image->geometry.l2_entry_bytes;
	const uint64_t entries = UINT64_C(1) << m->l2_bits;
	const uint64_t cluster = q2_mapping_cluster(m), first = cluster & (entries - 1);
	struct q2_mapping_glance glance;
	uint64_t count;

	run->entry_at.byte = table + first * entry_bytes;
	run->entry = 0;
	if (known->table == table) {
		run->entry = known->entry;
		run->subclusters = known->subclusters;
		run->kind = known->kind;
		q2_mapping_run_to(m, cluster - first + entries, run);
		return 0;
	}
	begin_table(m, table);
	if (q2_mapping_look(&m->l2_window, run->entry_at.byte, entry_bytes, &glance, err))
		return -1;
	if (glance.hole_bytes > 0) {
		count = glance.hole_bytes / entry_bytes;
		q2_mapping_run_to(m, cluster + count, run);
	} else {
		const struct piece piece = {m, glance.bytes.data, glance.bytes.size / entry_bytes,
					    entry_bytes};

		count = find_run(&piece, run);
		if (charge(m, table, count, err))
			return -1;
		look_ahead(m, &piece, count, run->entry_at.byte);
	}
	follow(m, table, run, first, count);
	return 0;
}
