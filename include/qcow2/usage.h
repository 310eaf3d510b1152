/* SPDX-License-Identifier: MIT */
/*
 * Usage: what occupies the image file, from its first byte to its last, and who could give space
 * back.
 *
 * One walk through the claims (claims.h) says of each host cluster what it is for and who refers to
 * it; refcounts say which of the others are leaked, and holes of the file which store nothing. From
 * this come totals by kind of use, a stream of runs, and for the active image, each snapshot and
 * each bitmap what it refers to and what only it refers to.
 *
 * Prints what fills the file, and what each snapshot would give back:
 *
 *	struct qcow2_usage_options options = {
 *		.size = sizeof(options), .users = true};
 *	struct qcow2_usage *usage;
 *
 *	if (qcow2_usage_open(image, &options, &usage, &err))
 *		return -1;
 *	for (int kind = 0; kind < QCOW2_USAGE_KINDS; kind++)
 *		printf("%s: %" PRIu64 " bytes\n", qcow2_usage_kind_name(kind),
 *		       qcow2_usage_total_of(usage, kind)->bytes);
 *	for (uint64_t i = 0; i < qcow2_usage_user_count(usage); i++) {
 *		const struct qcow2_usage_user *user;
 *
 *		user = qcow2_usage_user_at(usage, i);
 *		if (user->part_of == QCOW2_PART_OF_SNAPSHOT)
 *			printf("snapshot %" PRIu64 ": %" PRIu64 " bytes\n",
 *			       user->index, user->exclusive_bytes);
 *	}
 *	qcow2_usage_close(usage);
 *
 * Threads: a usage is used by one thread at a time; those of one image may be used at once.
 */
#ifndef QCOW2_USAGE_H
#define QCOW2_USAGE_H

#include <qcow2/base.h>
#include <qcow2/claims.h>
#include <qcow2/error.h>
#include <qcow2/image.h>

QCOW2_BEGIN_DECLS

/* ---- what occupies the file of an image ---- */

/*
 * What a cluster of the file is for. The values are stable; qcow2_usage_kind_name() names them.
 *
 * Guest data counts by who refers to it, as an L2 entry with a host offset does: also clusters that
 * are kept for zeros (QCOW2_L2_ZERO_ALLOCATED), and clusters behind the end of a disk. Data in an
 * external data file is not in this file. A cluster is QCOW2_USAGE_CONFLICT if two uses contradict
 * each other (enum qcow2_claim_use): the check reports these as "multiple owners".
 *
 * Nothing claims the bitmaps of an image whose autoclear bit says that they may not be trusted; their
 * clusters are leaked. A cluster whose refcount cannot be known, because its refcount block cannot be
 * where the refcount table says, counts as free, as it does for the check. So do clusters whose block
 * counts others as well, behind the first 2^20 of them: a small file could have any number of runs.
 */
enum qcow2_usage_kind {
	QCOW2_USAGE_HEADER = 0, /* the first cluster */
	QCOW2_USAGE_REFCOUNT_TABLE = 1,
	QCOW2_USAGE_REFCOUNT_BLOCK = 2,
	QCOW2_USAGE_L1_TABLE = 3,      /* of the active image or of a snapshot */
	QCOW2_USAGE_L2_TABLE = 4,      /* of any of them */
	QCOW2_USAGE_DATA = 5,          /* guest data of the active image alone */
	QCOW2_USAGE_COMPRESSED = 6,    /* compressed clusters of the active image alone touch it */
	QCOW2_USAGE_SNAPSHOT_ONLY = 7, /* guest data of snapshots alone, or state of a machine */
	QCOW2_USAGE_SHARED = 8,        /* guest data of the active image and of snapshots */
	QCOW2_USAGE_SNAPSHOT_TABLE = 9,
	QCOW2_USAGE_BITMAP_DIRECTORY = 10,
	QCOW2_USAGE_BITMAP_TABLE = 11,
	QCOW2_USAGE_BITMAP_DATA = 12,
	QCOW2_USAGE_CRYPTO = 13,   /* the area of the LUKS header */
	QCOW2_USAGE_CONFLICT = 14, /* two uses that contradict each other */
	QCOW2_USAGE_LEAKED = 15,   /* nothing claims it, but its refcount is not 0 */
	QCOW2_USAGE_FREE = 16,     /* nothing claims it, and its refcount is 0 */
	QCOW2_USAGE_HOLE = 17,     /* as FREE, and the file stores none of its bytes */
	QCOW2_USAGE_KINDS = 18,    /* how many there are in this version */
};

/* The sums over all clusters of one kind. The library owns it, as long as the usage is open. */
struct qcow2_usage_total {
	size_t size; /* set by the library */
	/*
	 * Bytes of the file. The last cluster of the file may be cut, and counts as far as the file
	 * has it: the bytes of all kinds are the size of the file, exactly.
	 */
	uint64_t bytes;
	/* Of these, bytes that the file does not store, which read as zeros. */
	uint64_t hole_bytes;
	uint64_t runs; /* see struct qcow2_usage_run */
};

/* Clusters in a row that are of one kind. The library owns it, until the next call on the usage. */
struct qcow2_usage_run {
	size_t size; /* set by the library */
	struct qcow2_host start;
	uint64_t length_bytes; /* at least 1; the last run ends with the file */
	uint64_t hole_bytes;   /* of these, bytes that the file does not store */
	enum qcow2_usage_kind kind;
	/*
	 * The first claim, in the order of qcow2_claims_walk(), of the first cluster of the run:
	 * qcow2_claim_where() names it. A claim that passes the end of the file by a cluster or more
	 * is first only where there is no other. NULL if nothing claims the cluster, or if
	 * options->owners is not set.
	 */
	const struct qcow2_claim *owner;
};

/* Someone who uses space. The library owns it, as long as the usage is open. */
struct qcow2_usage_user {
	size_t size; /* set by the library */
	/* The active image (QCOW2_PART_OF_IMAGE), a snapshot or a bitmap, */
	enum qcow2_part_of part_of;
	uint64_t index; /* and which one in the snapshot table or bitmap directory; else 0 */
	/*
	 * The host clusters of the file that it refers to, in bytes: of the active image and of
	 * snapshots the L1 table, L2 tables, guest data and saved state of the machine; of bitmaps
	 * their table and data. Each host cluster counts once, and as a whole, also the last one of
	 * the file; compressed data counts as the host clusters that it touches.
	 */
	uint64_t referenced_bytes;
	/*
	 * Of these, those that nobody else refers to: what deleting the snapshot or bitmap frees. The
	 * snapshot table or bitmap directory belongs to no user; it goes with the last of them.
	 */
	uint64_t exclusive_bytes;
	/*
	 * Of a snapshot: host clusters with the saved state of the machine, which the L1 entries
	 * behind the snapshot's disk lead to, in bytes; without their L2 tables. Else 0.
	 */
	uint64_t vm_state_bytes;
};

/* How to count. The caller owns it and sets size; zeros in the other members are a good choice. */
struct qcow2_usage_options {
	size_t size;                 /* sizeof(struct qcow2_usage_options) */
	uint64_t memory_limit_bytes; /* 0: QCOW2_CLAIMS_MEMORY_BYTES */
	unsigned threads;            /* 0: as many as may run at once; at most 64 are used */
	bool owners;                 /* runs name their owners: a further walk for each 2^20 runs */
	/*
	 * Tells users apart. Without it there are no users, and an image whose snapshots share space
	 * in very many ways needs less memory.
	 */
	bool users;
	/*
	 * Called now and then with how much of the metadata has been read, in bytes; total_bytes may
	 * grow. Returns 0 to go on, or anything else to stop. May be NULL. Always called in the
	 * thread that called the function which takes so long.
	 */
	int (*progress)(void *opaque, uint64_t done_bytes, uint64_t total_bytes);
	void *opaque; /* for progress */
	/*
	 * Reads the mapping of the active disk as well, in the same threads: for
	 * qcow2_usage_fragmentation(), and for qcow2_measure_file(), which need not read it again.
	 */
	bool fragmentation;
};

struct qcow2_usage;

/*
 * Finds out what every cluster of the file is for. Reads all metadata, and no guest data.
 *
 * image: stays open until the usage is closed, and is not changed meanwhile. options: may be NULL.
 * *out: set on success; the caller closes it with qcow2_usage_close().
 *
 * Broken images are no error. What claims bytes beyond the end of the file is cut there; a claim
 * that passes the end by a cluster or more is no reference for the check, and counts only where
 * nothing else claims the cluster.
 *
 * Memory, within options->memory_limit_bytes: what qcow2_claims_walk() takes; for each thread, of
 * each chunk of 4,096 clusters that are not all of one use, a bit for each cluster, or a byte where a
 * chunk has several uses (two or four bytes with more than 255 sets of users); a bit for each refcount
 * that the file stores; and 8 bytes for each stretch of snapshots in each set of users that share a
 * cluster. Holes of the file take nothing.
 *
 * Returns 0, or -1 with *err filled (err may be NULL):
 *   QCOW2_ERROR_STOPPED      progress has stopped it
 *   QCOW2_ERROR_ARGUMENT     size of the options is not set, or they ask for what is not known here
 *   QCOW2_ERROR_BROKEN       the header's cluster size or refcount width is insane
 *   QCOW2_ERROR_UNSUPPORTED  an unknown incompatible feature: nobody here knows what it changes
 *   QCOW2_ERROR_IO           metadata cannot be read
 *   QCOW2_ERROR_LIMIT        the memory limit, or the source's budget; the file has more than 2^48
 *                            clusters; or, with options->users, L1 tables of snapshots overlap so
 *                            often that reading them takes 16 times what the file stores and 64 MiB
 *   QCOW2_ERROR_MEMORY
 */
QCOW2_API int qcow2_usage_open(const struct qcow2_image *image,
			       const struct qcow2_usage_options *options, struct qcow2_usage **out,
			       struct qcow2_error *err);

/* The sums of a kind; NULL for a number that is no kind. usage: not NULL. Never fails. */
QCOW2_API const struct qcow2_usage_total *qcow2_usage_total_of(const struct qcow2_usage *usage,
							       enum qcow2_usage_kind kind);

/* The size of the file in bytes, when the image was opened. usage: not NULL. Never fails. */
QCOW2_API uint64_t qcow2_usage_file_size_bytes(const struct qcow2_usage *usage);

/*
 * Where the image ends: the host offset behind the last cluster of the file that is claimed or has a
 * refcount, at least 1 cluster. It may pass the end of the file, within the last cluster. What
 * follows is free. usage: not NULL. Never fails.
 */
QCOW2_API uint64_t qcow2_usage_end_bytes(const struct qcow2_usage *usage);

/*
 * Finds the next run. Runs go from byte 0 to the end of the file, rise, leave no gap, and neighbours
 * are of different kinds. They are not kept: each passage looks at the clusters anew, and with
 * options->owners hears the claims anew, once for each 2^20 runs.
 *
 * usage: not NULL. *out: points to the run, which lives until the next call on the usage.
 *
 * Returns 1 with *out set; 0 at the end of the file, and then starts again; or -1 with *err filled
 * (err may be NULL), only with options->owners:
 *   QCOW2_ERROR_STOPPED  progress has stopped it
 *   QCOW2_ERROR_IO, QCOW2_ERROR_LIMIT, QCOW2_ERROR_MEMORY
 * After an error the passage cannot go on.
 */
QCOW2_API int qcow2_usage_next(struct qcow2_usage *usage, const struct qcow2_usage_run **out,
			       struct qcow2_error *err);

/*
 * A user: 0 is the active image, then come the snapshots, then the bitmaps, each in the order of
 * their table. NULL past the last one. usage: not NULL. Never fails.
 */
QCOW2_API const struct qcow2_usage_user *qcow2_usage_user_at(const struct qcow2_usage *usage,
							     uint64_t number);

/* How many users there are; 0 without options->users. usage: not NULL. Never fails. */
QCOW2_API uint64_t qcow2_usage_user_count(const struct qcow2_usage *usage);

/*
 * What deleting several users at once would free, in bytes of whole clusters: more than the sum of
 * their exclusive_bytes if they share clusters with each other.
 *
 * usage: not NULL. users: count numbers for qcow2_usage_user_at(), which rise.
 *
 * Returns 0 with *bytes set, or -1 with *err filled (err may be NULL):
 *   QCOW2_ERROR_ARGUMENT  the numbers do not rise, or are not those of users
 */
QCOW2_API int qcow2_usage_freed_bytes(const struct qcow2_usage *usage, const uint64_t *users,
				      size_t count, uint64_t *bytes, struct qcow2_error *err);

/* Closes and frees it. usage: NULL is fine. The image stays open. */
QCOW2_API void qcow2_usage_close(struct qcow2_usage *usage);

/*
 * Names a kind: "header", "refcount-table", "refcount-block", "l1-table", "l2-table", "data",
 * "compressed", "snapshot-only", "shared", "snapshot-table", "bitmap-directory", "bitmap-table",
 * "bitmap-data", "crypto", "conflict", "leaked", "free" or "hole".
 *
 * Returns a constant string, or NULL for a number that is no kind. Pure, thread safe.
 */
QCOW2_API const char *qcow2_usage_kind_name(enum qcow2_usage_kind kind);

/* ---- how scattered the data of an image is ---- */

/*
 * How a guest that reads its disk from start to end moves through the file. The caller owns it and
 * sets size; the library fills the rest. Only guest data counts (QCOW2_L2_DATA and
 * QCOW2_L2_COMPRESSED); with an external data file, its places are in that.
 */
struct qcow2_fragmentation {
	size_t size;         /* sizeof(struct qcow2_fragmentation) */
	uint64_t data_bytes; /* guest bytes with data */
	/*
	 * Stretches of guest bytes with data, without a gap, whose host bytes follow each other. A
	 * compressed cluster follows another one that ends in the sector of 512 bytes where it
	 * begins, because an L2 entry knows the end of compressed data only as a sector.
	 */
	uint64_t runs;
	uint64_t longest_bytes; /* guest bytes of the longest of them */
	/*
	 * Runs that do not start where the run before has ended, without the first one. A run that
	 * goes on in the file behind guest bytes that have no data is no seek.
	 */
	uint64_t seeks;
	uint64_t seek_bytes; /* the sum of the distances in the file; UINT64_MAX if it is larger */
	uint64_t compressed_clusters; /* guest clusters */
};

/*
 * Measures the fragmentation of the active image. Up to 16 threads read its L1 and L2 tables; each
 * takes 220 KiB.
 *
 * image: open. out: not NULL, with size set.
 *
 * Returns 0, or -1 with *err filled (err may be NULL) and *out as it was:
 *   QCOW2_ERROR_ARGUMENT     size of *out is not set
 *   QCOW2_ERROR_BROKEN, QCOW2_ERROR_UNSUPPORTED, QCOW2_ERROR_IO, QCOW2_ERROR_LIMIT,
 *   QCOW2_ERROR_MEMORY       as qcow2_mapping_open() and qcow2_mapping_next()
 */
QCOW2_API int qcow2_fragmentation_measure(const struct qcow2_image *image,
					  struct qcow2_fragmentation *out, struct qcow2_error *err);

/*
 * Gives the same of a usage that was opened with options->fragmentation, which has read it already.
 *
 * usage: open. out: not NULL, with size set. Thread safe.
 *
 * Returns 0, or -1 with *err filled (err may be NULL) and *out as it was:
 *   QCOW2_ERROR_ARGUMENT  size of *out is not set, or options->fragmentation was not
 *   others                as qcow2_fragmentation_measure(): why the mapping could not be read
 */
QCOW2_API int qcow2_usage_fragmentation(const struct qcow2_usage *usage,
					struct qcow2_fragmentation *out, struct qcow2_error *err);

QCOW2_END_DECLS

#endif
