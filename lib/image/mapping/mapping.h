/* SPDX-License-Identifier: MIT */
/*
 * A stream of guest extents as the files of this folder see it. stream.c drives and joins. l1.c
 * finds the L2 table of a place. l2.c decodes runs of its entries. judge.c says what one means.
 * look.c shows parts of tables.
 *
 * Units: m->at and m->end are bytes of the guest. In between, everything counts in clusters of the
 * guest (at most 2^55) or in entries of a table (at most 2^32), so that no product overflows.
 */
#ifndef Q2_IMAGE_MAPPING_MAPPING_H
#define Q2_IMAGE_MAPPING_MAPPING_H

#include "base/bytes.h"
#include "image/internal.h"

#include <qcow2/mapping.h>

/* How many L2 tables of one kind throughout are remembered; a power of two. */
#define Q2_MAPPING_UNIFORM 1024

/* The names of the kinds of L2 entries, by number. */
#define Q2_L2_KINDS (QCOW2_L2_INVALID + 1)
extern const char *const q2_l2_kind_names[Q2_L2_KINDS];

/* An L2 table all of whose entries are the same, and are unallocated or zero without a place. */
struct q2_mapping_uniform {
	uint64_t table; /* its host offset; 0: none, since the header is there */
	uint64_t entry, subclusters;
	enum qcow2_l2_kind kind;
};

/* The L1 table that a stream follows. */
struct q2_mapping_l1 {
	uint64_t offset_bytes;
	uint64_t claimed; /* entries that the header or the snapshot claims */
	uint64_t stored;  /* entries that can be read, at most claimed */
	/* The problem of the entries that cannot be read. */
	enum qcow2_problem_id lost;
};

/*
 * The L2 entries that stand in memory behind the run that was found last, of standard entries that
 * lead into the image file. Empty where that is not so; whatever moves the window empties it.
 */
struct q2_mapping_ahead {
	const uint8_t *bytes;
	uint64_t entries;
	uint64_t entry_at; /* the host offset of the first one */
};

struct qcow2_mapping {
	const struct qcow2_image *image;
	struct q2_mapping_l1 l1;
	struct q2_window l1_window, l2_window;
	uint64_t l2_window_table; /* the table that l2_window shows, or QCOW2_NO_OFFSET */
	unsigned l2_bits;         /* the binary logarithm of the entries of an L2 table */
	uint64_t size_bytes;
	uint64_t at, end;     /* [at, end) of the disk has not been looked at */
	uint64_t limit_bytes; /* of L2 entries that may still be decoded */
	/*
	 * One of the two may still grow (length_bytes 0: there is none). The other one is what
	 * qcow2_mapping_next() has given out, or the run that is being found. They take turns, as
	 * copying them would take half of the time.
	 */
	struct qcow2_mapping_extent extents[2];
	unsigned pending; /* which one may still grow */
	struct q2_mapping_ahead ahead;
	/* Whether the table that is gone through has been of one kind from its first entry on. */
	struct q2_mapping_uniform same;
	struct q2_mapping_uniform uniform[Q2_MAPPING_UNIFORM];
};

/*
 * Finds what is at m->at: fills *run, whose length_bytes is at least 1 and does not pass m->end.
 * The extent may go on behind the run. Returns 0, or -1 with *err filled.
 */
int q2_mapping_find(struct qcow2_mapping *m, struct qcow2_mapping_extent *run,
		    struct qcow2_error *err);

/* The same within the L2 table at host offset `table`, which is aligned and inside the file. */
int q2_mapping_find_l2(struct qcow2_mapping *m, uint64_t table, struct qcow2_mapping_extent *run,
		       struct qcow2_error *err);

/*
 * The short way for the entries ahead: fills *run if the next one is plain data, aligned and inside
 * the file. Returns whether it is; if not, q2_mapping_find() has the answer.
 */
bool q2_mapping_find_ahead(struct qcow2_mapping *m, struct qcow2_mapping_extent *run);

/* qcow2_mapping_open_snapshot() for an entry of the snapshot table, which is not kept. */
int q2_mapping_open_of(const struct qcow2_image *image, const struct qcow2_snapshot *snapshot,
		       struct qcow2_mapping **out, struct qcow2_error *err);

/*
 * Lets ranges that are sought from now on go past the end of the disk, up to the end of what the L1
 * table maps: a snapshot keeps the state of its machine there. Call it before anything is sought.
 */
void q2_mapping_go_past_end(struct qcow2_mapping *m);

/*
 * Lets a stream go on at a byte of the range that was sought last. The limit on L2 entries does not
 * start anew: who leaves out parts of a range still pays for no more than the range.
 */
void q2_mapping_go_on(struct qcow2_mapping *m, uint64_t at);

/*
 * Reads tables sector by sector until the next range is sought, so that an error is about one
 * sector: Q2_MAPPING_SECTOR_BYTES of entries from a multiple of that on.
 */
void q2_mapping_read_sectors(struct qcow2_mapping *m);
#define Q2_MAPPING_SECTOR_BYTES 512

/* An L2 entry and what it is about. */
struct q2_mapping_entry {
	uint64_t entry, subclusters;
	uint64_t guest_byte; /* the first byte of its cluster */
	unsigned subcluster; /* the subcluster that is asked for; 0 without extended entries */
};

/*
 * Says what an entry means for the subcluster: fills kind, problem, host and host_bytes of *out.
 * host is that of the cluster's first byte, and host_bytes the cluster size or that of compressed
 * data.
 */
void q2_mapping_judge(const struct qcow2_image *image, const struct q2_mapping_entry *entry,
		      struct qcow2_mapping_extent *out);

/* Whether each byte of an extent has its own place in the file. */
static inline bool q2_mapping_is_placed(const struct qcow2_mapping_extent *extent)
{
	return extent->host.byte != QCOW2_NO_OFFSET && extent->kind != QCOW2_L2_COMPRESSED;
}

/* The number of the guest cluster that holds m->at. */
static inline uint64_t q2_mapping_cluster(const struct qcow2_mapping *m)
{
	return m->at >> m->image->geometry.cluster_bits;
}

/* Lets a run that starts at m->at go on to the start of a cluster, or to m->end before that. */
static inline void q2_mapping_run_to(const struct qcow2_mapping *m, uint64_t cluster,
				     struct qcow2_mapping_extent *run)
{
	unsigned bits = m->image->geometry.cluster_bits;
	uint64_t last = (m->end - 1) >> bits;

	run->length_bytes = (cluster > last ? m->end : cluster << bits) - m->at;
}

/*
 * How many standard entries, of `last`, continue the first one, itself included: each is the one
 * before it plus step. Eight are compared at a time.
 */
static inline uint64_t q2_mapping_count_rising(const uint8_t *bytes, uint64_t step, uint64_t last)
{
	uint64_t entry = q2_load_be64(bytes), count = 1, differ = 0;

	while (last - count >= 8) {
		const uint8_t *next = bytes + count * sizeof(uint64_t);

		for (unsigned i = 0; i < 8; i++, next += sizeof(uint64_t))
			differ |= q2_load_be64(next) ^ (entry += step);
		if (differ) {
			entry -= 8 * step;
			break;
		}
		count += 8;
	}
	for (; count < last; count++)
		if (q2_load_be64(bytes + count * sizeof(uint64_t)) != (entry += step))
			break;
	return count;
}

/* How many of the entries ahead may be passed: whole clusters of the range, within the limit. */
static inline uint64_t q2_mapping_most_ahead(const struct qcow2_mapping *m)
{
	uint64_t most = m->ahead.entries;

	if (most > m->limit_bytes / sizeof(uint64_t))
		most = m->limit_bytes / sizeof(uint64_t);
	if (most > (m->end - m->at) >> m->image->geometry.cluster_bits)
		most = (m->end - m->at) >> m->image->geometry.cluster_bits;
	return most;
}

/* Moves behind `count` of the entries ahead, to the byte `at`; they count for the limit. */
static inline void q2_mapping_pass(struct qcow2_mapping *m, uint64_t count, uint64_t at)
{
	const uint64_t bytes = count * sizeof(uint64_t);

	m->ahead.bytes += bytes;
	m->ahead.entries -= count;
	m->ahead.entry_at += bytes;
	m->limit_bytes -= bytes;
	m->same.table = 0;
	m->at = at;
}

/* What a table holds at a place: bytes, or a hole. */
struct q2_mapping_glance {
	struct qcow2_bytes bytes; /* of the table, whole entries, as many as can be seen at once */
	uint64_t hole_bytes;      /* or the length of a hole of the file, which reads as zeros */
};

/*
 * Looks at the table that a window shows, from host offset `offset` on, at which the table is not
 * over. Fills either bytes or hole_bytes, with one entry of entry_bytes or more. Returns 0, or -1
 * with *err filled.
 */
int q2_mapping_look(struct q2_window *window, uint64_t offset, size_t entry_bytes,
		    struct q2_mapping_glance *out, struct qcow2_error *err);

#endif
