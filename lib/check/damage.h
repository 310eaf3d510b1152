/* SPDX-License-Identifier: MIT */
/*
 * What the problems of an image do to the guest's data. All problems are heard while the check
 * finds them; at its end they are spread over the virtual disks. Whoever finds problems in the
 * entries of a table says in `at` which entry is judged.
 */
#ifndef Q2_CHECK_DAMAGE_H
#define Q2_CHECK_DAMAGE_H

#include "check/bits.h"
#include "check/ranges.h"

#include <qcow2/claims.h>

/* Distances from the end of the file are counted in classes: eight for each power of two. */
#define Q2_MISSING_CLASSES (64 * 8)

/* What refers to places past the end of the file: see q2_missing_note(). */
struct q2_missing {
	uint64_t counts[Q2_MISSING_CLASSES]; /* references, by the distance of their end */
	uint64_t ends[Q2_MISSING_CLASSES];   /* the largest end of each class */
	uint64_t l2_tables;                  /* that lie past the end */
	bool any;
};

/* The entry that is judged. */
enum q2_judged {
	Q2_JUDGED_OTHER = 0,
	Q2_JUDGED_SNAPSHOT, /* an entry of the snapshot table, by index */
	Q2_JUDGED_L1_ENTRY,
	Q2_JUDGED_L2_ENTRY, /* of L2 table `index` in the list of distinct tables */
};

struct q2_damage {
	bool wanted; /* else the rest is not used */
	struct {
		enum q2_judged judged;
		uint64_t index;
		uint32_t entry;
	} at;
	/* A share of what the check may use, so that a sum that is large makes no check fail. */
	struct q2_memory memory;
	struct q2_ranges tables;      /* entries of L2 tables */
	struct q2_disk_ranges disks;  /* parts of disks that problems name by themselves */
	enum qcow2_damage everywhere; /* to all of every disk */
	enum qcow2_damage snapshots;  /* to all of every snapshot */
	bool l1_entries;              /* L1 entries have problems: they are judged again */
	bool inexact;                 /* something did not fit */
	struct q2_bits bad;           /* clusters that have problems */
	enum qcow2_damage bad_damage; /* the worst of these */
	struct q2_missing missing;
	uint64_t beyond_count; /* refcounts of clusters past the end */
	uint64_t beyond_end; /* the highest cluster past the end that a refcount counts, plus one */
};

struct q2_check;
struct q2_worker;
struct q2_l2_ref;

/* Prepares check->damage if the caller wants to hear of damage. */
void q2_damage_start(struct q2_check *check);
void q2_damage_release(struct q2_check *check);

/*
 * A rule has found a problem of that kind, where check->damage.at says. Whether the problem itself
 * has to be heard as well.
 */
bool q2_damage_hear_kind(struct q2_check *check, enum qcow2_problem_id id);
void q2_damage_hear(struct q2_check *check, const struct qcow2_problem *problem);

/*
 * A worker has found that something is wrong with those of 64 clusters, from a multiple of 64 on,
 * whose bits are set.
 */
void q2_damage_hear_clusters(const struct q2_check *check, struct q2_worker *worker,
			     enum qcow2_problem_id id, uint64_t cluster, uint64_t bits);

/* Once all workers are through: joins what they have heard. */
void q2_damage_join_workers(struct q2_check *check);

/* Something refers to bytes of the file, maybe past its end. */
void q2_missing_note(struct q2_check *check, uint64_t offset_bytes, uint64_t length_bytes);
/* An L1 entry that leads past the end; an entry of an L2 table. */
void q2_missing_note_directory(struct q2_check *check); /* that of bitmaps, if it is not there */
void q2_missing_note_l1_entry(struct q2_check *check, uint64_t entry);
void q2_missing_note_l2_entry(struct q2_check *check, const struct q2_l2_ref *ref, uint64_t entry,
			      uint64_t subclusters);
/* Fills what the result says of a file that is cut. */
void q2_missing_sum_up(struct q2_check *check);

#endif
