/* SPDX-License-Identifier: MIT */
/*
 * Clusters that are used for two things, and clusters that are used more often than their refcounts
 * can say. One of the users keeps the place; the others get copies of the bytes in free space, so
 * that each reads afterwards what it read before, whoever is right.
 *
 * Work goes in passes. A pass opens the image as planned, counts references (find.c), keeps
 * a bounded list of those who use a cluster in conflict, decides who moves (judge.c), and
 * moves the lowest level of them (tables.c, data.c): what leads to other things comes
 * first, so that no pass writes into a table that is about to move.
 */
#ifndef Q2_REPAIR_OWNERS_H
#define Q2_REPAIR_OWNERS_H

#include "check/clusters.h"
#include "claims/metadata.h"
#include "repair/repair.h"

/* Users of clusters that a pass looks at; those of higher clusters wait for the next pass. */
#define Q2_PARTIES_MOST ((size_t)1 << 18)

/* Copies that one repair makes at most. */
#define Q2_PARTING_COPIES_BYTES (UINT64_C(1) << 30)

/* What is moved in one pass, in this order. */
enum q2_party_level {
	Q2_PARTY_STAYS = 0,
	Q2_PARTY_STRUCTURE, /* the active L1 table, the snapshot table: the header leads to them */
	Q2_PARTY_SNAPSHOT_L1, /* the snapshot table leads to them */
	Q2_PARTY_L2,
	Q2_PARTY_DATA, /* with compressed clusters */
};

/* A user of one cluster. One that uses several clusters in conflict is in the list for each. */
struct q2_party {
	uint64_t cluster;
	uint64_t offset_bytes, length_bytes; /* of all that it uses */
	/* Where the file says where that is: an L2 entry, a field. Of an L2 table: its offset. */
	uint64_t at;
	uint64_t word; /* the L2 entry of data */
	uint64_t weight, index, entry, part_of_index;
	struct q2_guest_range guest;
	enum qcow2_claim_part part;
	enum qcow2_part_of part_of;
	enum qcow2_claim_use use;
	bool unread;   /* data whose place nobody reads: it is given up rather than copied */
	bool faulty;   /* no program reads it, as the offset is unaligned */
	bool overlaps; /* a compressed cluster that starts inside the data of another one */
	/* Decided by q2_parting_judge(): */
	enum q2_party_level level;
	enum qcow2_problem_id id;
	size_t keeper; /* who keeps the place, in the list; SIZE_MAX if it is many */
};

/* An L2 entry that changes. */
struct q2_party_entry {
	uint64_t at, word;
	const struct q2_party *owner;
};

/* One pass. */
struct q2_parting {
	struct q2_repair *repair;
	unsigned pass; /* of this round, from 0 */
	struct q2_memory memory;
	struct qcow2_source *view;
	struct qcow2_image *image; /* as planned when the pass began */
	const struct qcow2_geometry *geometry;
	struct q2_metadata metadata;
	struct q2_clusters clusters;
	uint64_t file_clusters;
	uint64_t claims_left;     /* bytes of claims of structures that are still counted */
	const uint64_t *overlaps; /* host offsets, sorted */
	size_t overlap_count;
	bool owners_wanted, overflows_wanted; /* which kinds are to be mended */
	uint64_t snapshot_at;                 /* host offset of the snapshot that is visited */
	struct q2_party *list;                /* sorted by cluster once it is complete */
	size_t count, capacity;
	uint64_t cut_cluster;     /* the list has nothing of clusters from here on */
	struct q2_party **movers; /* of one level, each once, sorted by place */
	size_t mover_count;
	bool moved;
};

/* The most users that a refcount can say. */
static inline uint64_t q2_parting_refcount_most(const struct q2_parting *owners)
{
	return UINT64_MAX >> (64 - owners->geometry->refcount_bits);
}

/*
 * Whether data has to stay where it is: LUKS ciphers use the host offset, so that a copy elsewhere
 * would decrypt to something else.
 */
static inline bool q2_parting_data_is_fixed(const struct q2_parting *owners)
{
	return owners->metadata.header->crypt_method == 2;
}

/* Fills the list. All return 0, or -1 with repair->err filled. */
int q2_parting_find(struct q2_parting *owners);

/* Decides for everyone in the list, and fills movers with those of the lowest level. */
int q2_parting_judge(struct q2_parting *owners);

/*
 * Whether the word that leads to `mover` is a part of two structures, such as an entry of an L1
 * table that runs over the snapshot table: changing it for one would change it for the other. Notes
 * the reason then.
 */
bool q2_parting_is_word_shared(const struct q2_parting *owners, uint64_t at,
			       const struct q2_party *mover);

/* Move the movers of their levels. */
int q2_parting_move_structures(struct q2_parting *owners);
int q2_parting_move_l2_tables(struct q2_parting *owners);
int q2_parting_move_data(struct q2_parting *owners);

/*
 * Takes clusters, unless the copies of this repair would become too many; then *offset_bytes is 0,
 * and the reason is noted.
 */
int q2_parting_take(struct q2_parting *owners, enum qcow2_problem_id id, uint64_t count,
		    uint64_t *offset_bytes);

/* Tells what is done for entries, which are sorted by owner: neighbours are one step. */
int q2_parting_tell(struct q2_parting *owners, const struct q2_party_entry *entries, size_t count);

/* Tells that one structure moves. */
int q2_parting_tell_one(struct q2_parting *owners, const struct q2_party *party);

#endif
