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

/* Memory limit of a check that names none, in bytes. */
#define QCOW2_CHECK_MEMORY_BYTES (UINT64_C(1) << 30)

/* The most threads that a check uses. */
#define QCOW2_CHECK_THREADS_MAX 64

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
	void *opaque; /* handed to all three */
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
 *   QCOW2_ERROR_STOPPED   problem() or progress() asked to stop
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

/* Frees what qcow2_check() returned. result: may be NULL, then nothing happens. */
QCOW2_API void qcow2_check_result_free(struct qcow2_check_result *result);

QCOW2_END_DECLS

#endif
