/* SPDX-License-Identifier: MIT */
/*
 * Check: proves an image sound, or says exactly what is wrong. Reads all metadata once, compares
 * every refcount with the references that there really are, and knows for each host cluster what it
 * is used for. Never writes, and never opens a file that the image names.
 */
#ifndef QCOW2_CHECK_H
#define QCOW2_CHECK_H

#include <qcow2/base.h>
#include <qcow2/error.h>
#include <qcow2/image.h>
#include <qcow2/problem.h>

QCOW2_BEGIN_DECLS

/* Memory limit of a check that names none. */
#define QCOW2_CHECK_MEMORY_BYTES (UINT64_C(1) << 30)

/* The most threads that a check uses. */
#define QCOW2_CHECK_THREADS_MAX 64

/* How to check; all zeros is a good choice. */
struct qcow2_check_options {
	/*
	 * At most so many threads, 1 to QCOW2_CHECK_THREADS_MAX; more count as that many. 0: one for
	 * each processor that the process may use, which its affinity mask and the CPU quota of its
	 * control group (cgroup v2) say. Fewer are used if the memory limit does not bear so many,
	 * and one if clusters are larger than 2 MiB.
	 */
	unsigned threads;
	uint64_t memory_limit_bytes; /* 0: QCOW2_CHECK_MEMORY_BYTES */
	uint64_t max_per_kind; /* so many problems of a kind are told, all are counted; 0: no end */
	const struct qcow2_problem_kind *only; /* tell problems of this kind alone; NULL: of all */
	bool deep;                             /* inflate every compressed cluster, too */
	bool digest;                           /* make a digest of all metadata */
	/* Whether problems of a host cluster are told and counted. Called by several threads at
	 * once, for clusters that may have one. NULL: all are. */
	bool (*wants_cluster)(const void *opaque, uint64_t cluster);
	/* Called for each problem, from the calling thread, in an order that depends on nothing but
	 * the image. May be NULL. */
	void (*problem)(void *opaque, const struct qcow2_problem *problem);
	/* Called from time to time from the calling thread; total_bytes may grow. Not 0 stops the
	 * check. May be NULL. */
	int (*progress)(void *opaque, uint64_t done_bytes, uint64_t total_bytes);
	void *opaque; /* for all three */
};

/* What a check found. */
struct qcow2_check_result {
	uint64_t corruptions; /* problems of each severity, told or not */
	uint64_t leaks;
	uint64_t warnings;
	uint64_t by_kind[QCOW2_PROBLEM_COUNT]; /* indexed by enum qcow2_problem_id */
	/* False if the header does not allow to look at the clusters at all; then the numbers below
	 * are 0. */
	bool clusters_checked;
	bool has_data_file;              /* the guest's data are in another file */
	uint64_t image_end_offset_bytes; /* end of the last host cluster in use */
	uint64_t total_clusters;         /* of the virtual disk */
	/* Of the active image: */
	uint64_t allocated_clusters;
	uint64_t fragmented_clusters; /* that do not follow the cluster before them in the file */
	uint64_t compressed_clusters;
	/*
	 * With options->digest: a digest of the header cluster, the header extensions, all tables,
	 * refcounts and directories, but for the flag that says that a bitmap is in use. Two
	 * states of one file with the same digest have the same metadata; guest data, data of
	 * bitmaps and VM states are not in it. Not against forgery. False, and zeros, if the
	 * header does not allow to look at the clusters, or if the metadata claim so much that
	 * a part of them was not read.
	 */
	bool has_digest;
	uint64_t metadata_digest[2];
};

/*
 * Checks the image ("Host cluster management", "Cluster mapping", and the rules of every
 * structure). options may be NULL. Problems are told as they are found; *result holds the totals.
 *
 * Memory: about 3 bits for each host cluster in use, 16 more where clusters are shared, and the
 * distinct L2 tables' offsets; holes cost nothing. Problems are not kept: where more clusters are
 * wrong than can be named at once, the metadata is read again for the next of them. Uses threads of
 * its own; the image's source must be safe to read from several threads unless options->threads
 * is 1.
 *
 * Returns 0, whatever problems there are, or -1 with *err filled:
 *   QCOW2_ERROR_IO       metadata cannot be read
 *   QCOW2_ERROR_LIMIT    the memory limit, or a file of over 2^48 clusters
 *   QCOW2_ERROR_MEMORY, QCOW2_ERROR_STOPPED (by progress)
 * May be called from several threads at once, for the same image, too.
 */
QCOW2_API int qcow2_check(const struct qcow2_image *image,
			  const struct qcow2_check_options *options,
			  struct qcow2_check_result *result, struct qcow2_error *err);

QCOW2_END_DECLS

#endif
