/* SPDX-License-Identifier: MIT */
/*
 * Check: proves an image sound, or says exactly what is wrong. A check reads all metadata once,
 * compares every refcount with the references that there really are, and knows for each host
 * cluster what it is used for. It never writes, and never opens a file that the image names.
 *
 * A check that only wants to know whether an image is sound:
 *
 *         struct qcow2_check_result *result;
 *
 *         if (qcow2_check(image, NULL, &result, &err) == 0) {
 *                 printf("%s\n", result->corruptions == 0 ? "sound" : "damaged");
 *                 qcow2_check_result_free(result);
 *         }
 *
 * examples/check_image.c shows the problems as well.
 */
#ifndef QCOW2_CHECK_H
#define QCOW2_CHECK_H

#include <qcow2/base.h>
#include <qcow2/error.h>
#include <qcow2/image.h>
#include <qcow2/problem.h>

QCOW2_BEGIN_DECLS

/* ---- check an image: prove it sound, or say what is wrong ---- */

/* Memory limit of a check that names none, in bytes. */
#define QCOW2_CHECK_MEMORY_BYTES (UINT64_C(1) << 30)

/* The most threads that a check uses. */
#define QCOW2_CHECK_THREADS_MAX 64

/*
 * A range of a virtual disk that problems have damaged. The library owns it, for the time of the
 * callback.
 */
struct qcow2_damage_range {
	size_t size;                 /* set by the library */
	enum qcow2_damage damage;    /* the worst that problems do to it; never NONE */
	uint64_t guest_byte;         /* offset of the range in the virtual disk */
	uint64_t guest_length_bytes; /* its length, at least 1; it ends within the disk */
	/* Whose disk: QCOW2_PART_OF_IMAGE is the active one, else that of a snapshot. */
	enum qcow2_part_of of;
	uint64_t of_index;                  /* of that snapshot in its table */
	char of_name[QCOW2_OWNER_NAME_MAX]; /* its name, escaped, and cut if it is long */
};

/* What all damaged ranges of one disk come to. It belongs to the result of the check. */
struct qcow2_damage_total {
	size_t size;                        /* set by the library */
	enum qcow2_part_of of;              /* as in struct qcow2_damage_range */
	uint64_t of_index;                  /* likewise */
	char of_name[QCOW2_OWNER_NAME_MAX]; /* likewise */
	uint64_t ranges;                    /* how many there are */
	/* Bytes of the virtual disk, each counted once, by the worst that was found of it. */
	uint64_t lost_bytes, unreadable_bytes, at_risk_bytes;
};

/* How to check. The caller owns it and sets size; zeros in the other members are a good choice. */
struct qcow2_check_options {
	size_t size; /* sizeof(struct qcow2_check_options) */
	/*
	 * The most threads that work at once, 1 to QCOW2_CHECK_THREADS_MAX; more count as that many.
	 * 0: one for each processor that the process may use, as its affinity mask and the CPU
	 * quota of its control group (cgroup v2) say. Fewer are used if the memory limit is too
	 * low for their buffers, and one if clusters are larger than 2 MiB.
	 */
	unsigned threads;
	uint64_t memory_limit_bytes; /* 0: QCOW2_CHECK_MEMORY_BYTES */
	/* The most problems of a kind that are handed to problem(); all are counted. 0: no end. */
	uint64_t max_per_kind;
	/* Problems of this kind alone are handed to problem(); all are counted. NULL: of all kinds. */
	const struct qcow2_problem_kind *only;
	bool deep;   /* inflate every compressed cluster, too: reads all compressed data */
	bool digest; /* make a digest of all metadata, see struct qcow2_check_result */
	/*
	 * Says whether problems of a host cluster are counted and handed out. cluster: its offset
	 * in the file divided by the cluster size. Called by several threads at once, for those
	 * clusters alone that may have a problem. NULL: problems of all clusters are.
	 */
	bool (*wants_cluster)(const void *opaque, uint64_t cluster);
	/*
	 * Called for each problem, from the calling thread, in an order that depends on nothing but
	 * the image. NULL: problems are counted alone.
	 */
	qcow2_problem_callback problem;
	/*
	 * Called from time to time, from the calling thread, with the bytes of metadata that were
	 * read and those that are to be read; total_bytes may grow meanwhile. Returns 0 to go on,
	 * anything else to stop the check. NULL: nobody wants to know.
	 */
	int (*progress)(void *opaque, uint64_t done_bytes, uint64_t total_bytes);
	void *opaque; /* handed to all of them */
	/*
	 * Sums up what the problems do to the guest's data: the totals of struct qcow2_check_result
	 * and qcow2_check_result_damage(). All problems count, however few are handed to problem().
	 * An image without problems costs no more; one with wrong clusters is read once more.
	 */
	bool damage;
	/*
	 * With damage: called for each damaged range of the virtual disk, after all problems, from
	 * the calling thread. First come those of the active disk, then those of each snapshot, in
	 * the order of the snapshot table; those of one disk in the order of their offsets. Ranges
	 * of one disk do not overlap: a byte is in the range of the worst that was found of it.
	 * Returns 0 to go on, anything else to stop the check. NULL: totals are enough.
	 */
	int (*damage_range)(void *opaque, const struct qcow2_damage_range *range);
	/*
	 * If clusters leak, looks whether they may be guest data whose mapping is lost: sets
	 * leaks_may_be_data and what follows it in struct qcow2_check_result, and finds problems of
	 * the kinds l2-table-orphaned, l2-table-freed, l2-table-empty, l2-entries-empty and
	 * l1-table-empty. Reads leaked clusters and L2 tables, up to a bound; with deep all of
	 * them, and clusters that count as free, too.
	 */
	bool lost_mappings;
	/*
	 * Problems of host clusters (their refcounts, copied flags and owners) are counted and not
	 * handed to problem(), which spares the search for their owners.
	 */
	bool clusters_untold;
};

/*
 * What a check found. The library owns it; qcow2_check_result_free() frees it. Problems by kind are
 * read with qcow2_check_result_count().
 */
struct qcow2_check_result {
	size_t size; /* set by the library */
	/* Problems of each severity, whether or not they were handed to problem(). */
	uint64_t corruptions;
	uint64_t leaks;
	uint64_t warnings;
	/* False if the header does not allow to look at the clusters at all: its geometry is
	 * impossible, or it has unknown incompatible features. Then the numbers below are 0. */
	bool clusters_checked;
	bool has_data_file;              /* the guest's data are in another file */
	uint64_t image_end_offset_bytes; /* end of the last host cluster in use */
	uint64_t total_clusters;         /* clusters of the virtual disk */
	/* Guest clusters of the active image: */
	uint64_t allocated_clusters;  /* that the image stores itself */
	uint64_t fragmented_clusters; /* of those: not behind the cluster before them in the file */
	uint64_t compressed_clusters; /* of those: compressed */
	/*
	 * With options->digest: a digest of the header cluster, the header extensions, all tables,
	 * refcounts and directories, without the flag that says that a bitmap is in use. Two
	 * states of one file with the same digest have the same metadata; guest data, data of
	 * bitmaps and VM states are not in it. It is no protection against forgery. has_digest is
	 * false, and the digest zeros, if clusters_checked is false, or if the metadata claim so
	 * much that a part of them was not read.
	 */
	bool has_digest;
	uint64_t metadata_digest[2];
	/*
	 * With options->damage: bytes of the active virtual disk that are lost, cannot be read, or
	 * are at risk. Each byte counts once, for the worst that was found of it. Problems that
	 * name no part of the disk, but damage it, concern all of it. damage_exact is false if the
	 * ranges were too many for the memory limit, or the image leads to the same tables too often:
	 * then ranges are joined over what lies between them, and all numbers are upper bounds.
	 */
	bool has_damage; /* they were asked for */
	bool damage_exact;
	uint64_t lost_bytes, unreadable_bytes, at_risk_bytes;
	uint64_t damage_ranges; /* of all disks */
	/*
	 * With options->damage: the file is shorter than what its metadata refers to, as a copy that
	 * broke off. file_whole_bytes is the size at which nothing would be missing,
	 * file_missing_bytes how much that is more than what is there. A place past the end counts
	 * only if it is plausible: a refcount says that its cluster is in use, or at least one of
	 * eight clusters between the end of the file and that place is referred to as well. One
	 * entry that a flipped bit leads far away makes no file look cut. Whole clusters count, but
	 * compressed data and tables as long as they are.
	 */
	bool file_cut;
	uint64_t file_missing_bytes, file_whole_bytes;
	/* L1 or L2 tables are missing, so that the file may have been longer than that. */
	bool file_maybe_longer;
	/*
	 * With options->lost_mappings: leaks may be the guest's data, and should be looked at before
	 * they are freed. It is true if leaked clusters read as L2 tables of this image, or if
	 * leaked clusters hold anything but zeros while a table that should map guest data is empty,
	 * broken, or leads to one cluster twice. Severities and counts do not depend on it.
	 */
	bool leaks_may_be_data;
	bool leaks_all_read;      /* no leaked cluster was left out for reasons of time */
	uint64_t leaked_clusters; /* with a refcount, and without any reference */
	/* Of those: not all zeros, as far as they were read, or mapped by a table that was found. */
	uint64_t leaks_with_content;
	uint64_t
		orphan_tables; /* leaked clusters that read as L2 tables; problem l2-table-orphaned */
	uint64_t empty_tables; /* L2 tables in use without an entry, where refcounts are too high */
};

/*
 * Checks an image: "Host cluster management", "Cluster mapping", and the rules of every structure.
 * The work goes on whatever is wrong; an image that breaks every rule costs time and memory in
 * proportion to the bytes that its file stores, not to what it claims.
 *
 * image: stays the caller's. Its source has to be safe to read from several threads, unless
 *   options->threads is 1; files, devices and memory are.
 * options: NULL for all defaults.
 * *out: set to what was found; the caller frees it with qcow2_check_result_free(). out may be NULL
 *   if the problems that are handed to options->problem are enough.
 *
 * Memory: about 3 bits for each host cluster in use, 16 more where clusters are shared, and 40
 * bytes for each distinct L2 table; holes of the file cost nothing. Problems are not kept: where
 * more clusters are wrong than can be named at once, the metadata is read again for the next ones.
 *
 * Returns 0 however many problems there are, or -1 with *err filled and no result:
 *   QCOW2_ERROR_IO        metadata cannot be read
 *   QCOW2_ERROR_LIMIT     the memory limit, the read budget of the source, or a file of over 2^48
 *                         clusters
 *   QCOW2_ERROR_ARGUMENT  the size of the options is not set, or they hold an unknown member
 *   QCOW2_ERROR_STOPPED   problem(), progress() or damage_range() asked to stop
 *   QCOW2_ERROR_MEMORY
 *
 * May be called from several threads at once, for the same image, too.
 */
QCOW2_API int qcow2_check(const struct qcow2_image *image,
			  const struct qcow2_check_options *options,
			  struct qcow2_check_result **out, struct qcow2_error *err);

/*
 * Tells how many problems of one kind a check found, whether or not they were handed to a callback.
 *
 * result: of qcow2_check() or of a verdict on a plan (edit.h).
 * number: a value of enum qcow2_problem_id, or kind->number of a kind.
 *
 * Returns that count; 0 for a number that this version of the library does not know. Thread safe.
 */
QCOW2_API uint64_t qcow2_check_result_count(const struct qcow2_check_result *result,
					    unsigned number);

/*
 * Tells what problems did to one disk of the image. Example, all snapshots that are damaged:
 *
 *         const struct qcow2_damage_total *total;
 *
 *         for (size_t i = 1; (total = qcow2_check_result_damage(result, i)); i++)
 *                 printf("%s: %" PRIu64 " bytes lost\n", total->of_name,
 *                        total->lost_bytes);
 *
 * result: of qcow2_check() with options->damage.
 * index: 0 for the active disk, from 1 on the snapshots that are damaged, in the order of their table.
 *
 * Returns the totals, which live as long as the result, or NULL past the last ones, or if the check
 * did not sum up damage. Thread safe.
 */
QCOW2_API const struct qcow2_damage_total *
qcow2_check_result_damage(const struct qcow2_check_result *result, size_t index);

/* Frees what qcow2_check() returned. result: may be NULL, then nothing happens. */
QCOW2_API void qcow2_check_result_free(struct qcow2_check_result *result);

QCOW2_END_DECLS

#endif
