/* SPDX-License-Identifier: MIT */
/*
 * What is known of the use of an image file, and the parts that find it out: gather.c hears the
 * claims, markers.c keeps what threads mark, tables.c finds who leads to each L2 table, l2.c goes through these tables, scan.c joins
 * labels, refcounts and holes to runs, users.c sums up, owners.c names owners of runs.
 */
#ifndef Q2_USAGE_USAGE_H
#define Q2_USAGE_USAGE_H

#include "claims/metadata.h"
#include "usage/counted.h"
#include "usage/labels.h"
#include "usage/survey.h"

#include <qcow2/usage.h>

/*
 * Users inside of sets. What nobody can delete is PERMANENT's; behind the active image come the
 * snapshots, then the bitmaps, as in the list of users. Of snapshots that are not told apart, all
 * are the first one; likewise bitmaps. The saved state of a machine is a user besides its snapshot.
 */
#define Q2_USER_PERMANENT    0U
#define Q2_USER_ACTIVE       1U
#define Q2_USER_SNAPSHOT     2U
#define Q2_USER_ANY_BITMAP   3U /* if users are not told apart */
#define Q2_USER_MACHINE      (UINT32_C(1) << 31)
#define Q2_USER_OF_NUMBER(n) ((uint32_t)(n) + Q2_USER_ACTIVE)
#define Q2_NUMBER_OF_USER(u) ((uint64_t)(u)-Q2_USER_ACTIVE)

/* Clusters [first, first + count) of a claim that passes the end of the file. */
struct q2_weak_claim {
	uint64_t first, count;
	uint64_t order; /* of the claims */
	uint32_t state;
};

/* What one thread has marked. The first marker is the calling thread's, and gets all in the end. */
struct q2_marker {
	const struct qcow2_geometry *geometry;
	struct q2_memory *memory;
	struct q2_joiner joiner;
	struct q2_labels labels;
	struct q2_weak_claim *weak;
	size_t weak_count, weak_capacity;
	uint64_t order;  /* of the claim that is marked */
	uint8_t *buffer; /* Q2_PIECE_BYTES and a cluster */
	struct qcow2_error err;
	bool failed; /* err is filled */
};

/* Where a scan through the file is; see q2_scan_next(). */
struct q2_scan {
	const struct qcow2_usage *usage;
	uint64_t cluster;
	uint64_t extent_end; /* in bytes, of the hole or data that was looked at last */
	bool is_hole;
};

/* Clusters in a row that are alike. */
struct q2_segment {
	uint64_t first, count;
	uint64_t hole_bytes;
	uint32_t label;
	enum qcow2_usage_kind kind;
};

struct q2_owners_window;

struct qcow2_usage {
	const struct qcow2_image *image;
	const struct qcow2_geometry *geometry;
	struct qcow2_usage_options options;
	struct q2_memory memory;
	struct q2_metadata metadata;
	uint64_t file_clusters; /* the last may be cut */
	struct q2_states states;
	unsigned threads;
	struct q2_marker
		*markers; /* one for each thread; the metadata uses the buffer of the first */
	struct q2_counted counted;
	uint32_t *table_sets; /* of metadata.tables: who leads to each */
	struct qcow2_usage_user *users;
	size_t user_count, user_capacity;
	/*
	 * In clusters: what the snapshots and bitmaps refer to and nobody else does, and by number
	 * of user, how much of that this one refers to.
	 */
	uint64_t others_clusters, *held_clusters;
	uint64_t snapshot_count;
	uint8_t *kinds;     /* by label, enum qcow2_usage_kind */
	uint64_t *clusters; /* by label: how many */
	size_t label_count;
	struct qcow2_usage_total totals[QCOW2_USAGE_KINDS];
	uint64_t end_bytes;
	/* With options.fragmentation: of the active disk, or why it could not be read. */
	struct q2_survey survey;
	bool survey_failed;
	struct qcow2_error survey_error;
	bool stopped; /* progress wants no more */
	_Atomic uint64_t done_bytes;
	uint64_t total_bytes;
	struct q2_scan scan;
	struct q2_segment ahead; /* the first one of the next run, if has_ahead */
	bool has_ahead;
	struct q2_owners_window *window;
	uint64_t window_runs_most; /* that are told for one walk through the claims */
	struct qcow2_usage_run told;
};

/* All functions that return int: 0, or -1 with usage->metadata.err filled. */

/* Hears the structures and follows the L1 tables. */
int q2_usage_gather(struct qcow2_usage *usage);

/* Fills usage->table_sets. */
int q2_usage_find_sharers(struct qcow2_usage *usage);

/* Marks L2 tables and what they lead to. */
int q2_usage_mark_l2(struct qcow2_usage *usage);

/* False if memory is short. Release it in any case, once it was zeroed. */
bool q2_marker_init(struct q2_marker *marker, struct qcow2_usage *usage);
void q2_marker_release(struct q2_marker *marker);

/*
 * Marks the clusters that a claim touches; one that passes the end of the file is kept for later.
 * False with marker->failed set if memory is short.
 */
bool q2_marker_claim(struct q2_marker *marker, const struct qcow2_claim *claim, uint32_t state);

/* Whether memory was short; marker->failed is set then. */
bool q2_marker_is_short(struct q2_marker *marker);

/* Gives the first marker what the others know, and what claims past the end of the file say. */
int q2_markers_join(struct qcow2_usage *usage);

/* Who goes through all L2 tables. */
struct q2_l2_visitor {
	/*
	 * Sees the L2 table of that number in usage->metadata.tables, as much of it as the file has,
	 * padded with zeros. False ends the reading; if that is for a fault, marker->failed is set.
	 */
	bool (*visit)(void *opaque, struct q2_marker *marker, size_t number, const uint8_t *bytes);
	void *opaque;
	unsigned threads; /* at most usage->threads, each with the marker of its number */
};

/* Reads each L2 table once; those in holes are left out, and all of images with a data file. */
int q2_usage_read_l2(struct qcow2_usage *usage, const struct q2_l2_visitor *visitor);

/* After a reading that has ended: -1 if a thread has failed, or progress wants to stop; else 0. */
int q2_usage_tell_failure(const struct qcow2_usage *usage);

/* Where a claim is in clusters of the file. False if it touches none. */
bool q2_usage_clusters(const struct qcow2_geometry *geometry, const struct qcow2_claim *claim,
		       struct q2_weak_claim *range, bool *is_weak);

/* Tells the caller how far it is; -1 if it wants to stop. */
int q2_usage_progress(struct qcow2_usage *usage);

/* Fills the kinds of labels, and counts totals and the clusters of each label. */
int q2_usage_sum_up(struct qcow2_usage *usage);

/* How many sums users need: one for each, one in front, and one behind. */
static inline uint64_t q2_usage_changes(const struct qcow2_usage *usage)
{
	return (uint64_t)usage->user_count + 2;
}

/* Fills the numbers of the users from the clusters of each label. */
int q2_usage_count_users(struct qcow2_usage *usage);

void q2_scan_begin(struct q2_scan *scan, const struct qcow2_usage *usage);

/*
 * The next clusters that have one label and are of one kind; neighbours may be of the same. False
 * behind the last cluster.
 */
bool q2_scan_next(struct q2_scan *scan, struct q2_segment *segment);

/* The host byte where a cluster starts, or where the file ends. */
static inline uint64_t q2_usage_byte(const struct qcow2_usage *usage, uint64_t cluster)
{
	return cluster >= usage->file_clusters ? usage->geometry->file_size_bytes
					       : cluster << usage->geometry->cluster_bits;
}

/* The next run, without its owner. False behind the last one; then it starts again. */
bool q2_usage_next_run(struct qcow2_usage *usage, struct qcow2_usage_run *run);

/* Tells the next run with its owner in usage->told: 1, 0 behind the last one, or -1. */
int q2_usage_next_owned(struct qcow2_usage *usage);
void q2_usage_release_window(struct qcow2_usage *usage);

#endif
