/* SPDX-License-Identifier: MIT */
/*
 * What is to be done about one entry of an L1 or L2 table ("Cluster mapping"), and what the guest
 * reads there before and after. Pure: what the entry alone does not show comes in as facts. What is
 * read is judged as QEMU reads: reserved bits do not matter, bytes past the end of the file are
 * zeros, and an entry that it refuses cannot be read.
 */
#ifndef Q2_REPAIR_L2_ENTRY_H
#define Q2_REPAIR_L2_ENTRY_H

#include <qcow2/entry.h>
#include <qcow2/geometry.h>
#include <qcow2/repair.h>

#define Q2_SUBCLUSTERS 32

/* What all entries of an image have in common. */
struct q2_entries {
	const struct qcow2_geometry *geometry;
	bool version_2;
	bool has_backing;
	bool raw; /* the data file reads like the guest's disk */
};

/* One L2 entry; subclusters is 0 without extended entries. */
struct q2_l2_pair {
	uint64_t entry, subclusters;
};

/* How sure it is that something belongs to an entry. */
enum q2_owned {
	Q2_OWNED_NOT,   /* something else uses it, or nobody asked */
	Q2_OWNED_MAYBE, /* nothing uses it, but it counts as free */
	Q2_OWNED_SURE,  /* its refcount says that a reference is missing */
};

/* What the image says besides the entry. Zeros: nothing. */
struct q2_l2_facts {
	uint64_t guest_byte; /* of the cluster; UINT64_MAX: no number of 64 bits can say it */
	enum q2_owned owned; /* the cluster at q2_l2_candidate() */
	bool inflates;       /* so does the data at q2_l2_compressed_at() ... */
	uint64_t used_bytes; /* ... from so many bytes */
	uint32_t zeros;      /* subclusters that hold zeros alone in the cluster */
};

/* What is done about one fault of an entry. */
struct q2_l2_mended {
	struct q2_l2_pair pair;
	bool costs;       /* something is given up that could be read, or found again by hand */
	bool wants_zeros; /* the entry gets a cluster of zeros: place and copied flag are added */
	const char *does; /* what is done, one line */
};

/*
 * The kinds of problems of L2 entries, in the order in which they are mended, ended by
 * QCOW2_PROBLEM_NONE.
 */
extern const enum qcow2_problem_id q2_l2_kinds[];

/* Mends a problem of that kind, which the pair has. False: nothing here does. */
bool q2_l2_mend(const struct q2_entries *entries, enum qcow2_problem_id id, struct q2_l2_pair pair,
		const struct q2_l2_facts *facts, struct q2_l2_mended *out);

/*
 * The host offset of the cluster that the entry would lead to if the bits were cleared that cannot
 * be right: those within a cluster, and the highest one of an offset past the end of the file. 0 if
 * there is none to ask for.
 */
uint64_t q2_l2_candidate(const struct q2_entries *entries, struct q2_l2_pair pair);

/*
 * Where the data of a compressed entry is, with the bits cleared that must be 0, and the highest one
 * if the file ends before.
 */
uint64_t q2_l2_compressed_at(const struct q2_entries *entries, uint64_t entry);

/* An offset without its highest bit if it lies past the end of the file. */
uint64_t q2_entry_inside(const struct q2_entries *entries, uint64_t offset);

/*
 * Whether the content of the cluster decides: fills in which subclusters are both allocated and
 * zeros, of an entry whose cluster is in the file.
 */
uint32_t q2_l2_both(const struct q2_entries *entries, struct q2_l2_pair pair);

/*
 * What the guest reads in a subcluster, or in the cluster without extended entries. inflates says
 * of compressed data in the file whether it can be read.
 */
enum qcow2_reads q2_l2_reads(const struct q2_entries *entries, struct q2_l2_pair pair,
			     const struct q2_l2_facts *facts, unsigned subcluster);

/* An entry for a cluster that reads as zeros; false if version 2 needs a cluster of zeros for it. */
bool q2_l2_zeros(const struct q2_entries *entries, struct q2_l2_pair *out);

/* What is done about one fault of an L1 entry. */
struct q2_l1_mended {
	uint64_t entry;
	bool costs;
	bool wants_zeros; /* the entry gets an L2 table all of zeros */
	const char *does;
	enum qcow2_reads before, after;
};

/* As q2_l2_kinds. */
extern const enum qcow2_problem_id q2_l1_kinds[];

/* As q2_l2_candidate(). */
uint64_t q2_l1_candidate(const struct q2_entries *entries, uint64_t entry);

/* As q2_l2_mend(). is_table: the candidate reads as an L2 table, and lacks a reference. */
bool q2_l1_mend(const struct q2_entries *entries, enum qcow2_problem_id id, uint64_t entry,
		bool is_table, struct q2_l1_mended *out);

#endif
