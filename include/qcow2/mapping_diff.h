/* SPDX-License-Identifier: MIT */
/*
 * Differences of two mappings: where two virtual disks do not say the same, or keep it at different
 * places ("Cluster mapping", "Snapshots").
 *
 * The disks are two snapshots of one image, a snapshot and the active image, or disks of two images.
 * Each is given as a mapping (mapping.h), and no guest data is read.
 *
 * What is the same. Two bytes of guests are mapped alike if they are of the same kind and, where
 * that kind has a place in the file, at the same place. Compressed clusters are alike if they have
 * the same descriptor; invalid entries are alike if they have the same bits, apart from the copied
 * flag, and break the same rule. Where one disk has ended, nothing is alike.
 *
 * What that says of the data. Clusters that two disks of one image share are not written in place:
 * the first write to one of them gives the writer a cluster of its own. So within one image whose
 * refcounts are right, bytes that are mapped alike read alike. It does not hold with an external
 * data file, nor between two images, which are written in place. Bytes that are mapped differently
 * may still read alike; the member reads_same says where this is known.
 *
 * Costs. Within one image, L2 tables that both L1 tables lead to are passed without being read, so
 * that the cost follows what the disks do not share. Entries of other L2 tables are decoded once for
 * each disk, within the limits of mapping.h. A stream of differences takes less than 1 KiB besides
 * its mappings.
 *
 * Prints where the active disk differs from the first snapshot:
 *
 *	struct qcow2_mapping *then = NULL, *now = NULL;
 *	struct qcow2_mapping_diff *diff = NULL;
 *	const struct qcow2_mapping_difference *difference;
 *	int more = -1;
 *
 *	if (qcow2_mapping_open_snapshot(image, 0, &then, &err) == 0 &&
 *	    qcow2_mapping_open(image, &now, &err) == 0 &&
 *	    qcow2_mapping_diff_open(then, now, NULL, &diff, &err) == 0)
 *		while ((more = qcow2_mapping_diff_next(diff, &difference,
 *						       &err)) > 0)
 *			printf("%" PRIu64 " bytes at %" PRIu64 "\n",
 *			       difference->length_bytes,
 *			       difference->start.byte);
 *	if (more < 0)
 *		fprintf(stderr, "%s\n", err.text);
 *	qcow2_mapping_diff_close(diff);
 *	qcow2_mapping_close(now);
 *	qcow2_mapping_close(then);
 *
 * Threads: a stream and its mappings are used by one thread at a time.
 */
#ifndef QCOW2_MAPPING_DIFF_H
#define QCOW2_MAPPING_DIFF_H

#include <qcow2/base.h>
#include <qcow2/entry.h>
#include <qcow2/error.h>
#include <qcow2/mapping.h>
#include <qcow2/problem.h>

QCOW2_BEGIN_DECLS

/* ---- where two virtual disks differ ---- */

/* What one of the disks has where they differ. */
struct qcow2_mapping_side {
	size_t size; /* set by the library */
	/* As in struct qcow2_mapping_extent. */
	enum qcow2_l2_kind kind;
	enum qcow2_problem_id problem;
	/*
	 * Where the first byte of the difference lies. Of kind COMPRESSED: where the compressed data
	 * of the whole guest cluster starts, also if the difference starts within that cluster.
	 * QCOW2_NO_OFFSET if there is no place.
	 */
	struct qcow2_host host;
	/* How many bytes of the file are the difference's; of compressed data all. 0 without host. */
	uint64_t host_bytes;
};

/* One difference. The stream owns it, until the next call on the stream: copy what you keep. */
struct qcow2_mapping_difference {
	size_t size; /* set by the library */
	/* Its first byte, and how many bytes follow it. length_bytes is never 0. */
	struct qcow2_guest start;
	uint64_t length_bytes;
	/* What the first and the second disk have there. NULL: that disk has ended before. */
	const struct qcow2_mapping_side *sides[2];
	/*
	 * The guest is known to read the same of both: zeros, or within one image what the backing
	 * file has. False: it may read the same, which the mapping does not tell.
	 */
	bool reads_same;
};

/* How to compare. All zeros is a good choice. */
struct qcow2_mapping_diff_options {
	size_t size; /* sizeof(struct qcow2_mapping_diff_options) */
	/*
	 * Compare kinds alone, not places. For two images that were written apart, where all places
	 * differ. Invalid entries are compared as ever.
	 */
	bool ignore_places;
	/*
	 * Called now and then while differences are looked for, or NULL. done_bytes of total_bytes
	 * of the range have been compared. Anything but 0 stops with QCOW2_ERROR_STOPPED.
	 */
	int (*progress)(void *opaque, uint64_t done_bytes, uint64_t total_bytes);
	void *opaque;
};

struct qcow2_mapping_diff;

/*
 * Opens a stream of differences over the whole of two disks.
 *
 * first, second: two streams, also of one disk. They stay open, and are used by nobody else, until
 * the stream of differences is closed; where they stand then is not said. options: NULL is all
 * zeros; need not live on. *out: set on success; the caller closes it with
 * qcow2_mapping_diff_close().
 *
 * Returns 0, or -1 with *err filled (err may be NULL):
 *   QCOW2_ERROR_ARGUMENT  size of the options is not set, or they ask for what is not known here
 *   QCOW2_ERROR_MEMORY
 */
QCOW2_API int qcow2_mapping_diff_open(struct qcow2_mapping *first, struct qcow2_mapping *second,
				      const struct qcow2_mapping_diff_options *options,
				      struct qcow2_mapping_diff **out, struct qcow2_error *err);

/*
 * Makes the stream tell of the range [start, start + length_bytes) from now on. Differences are cut
 * at its ends. Never fails and reads nothing. Limits start anew, as with qcow2_mapping_seek().
 *
 * diff: not NULL. start: any byte. length_bytes: any number; the range is cut where the longer disk
 * ends, and may be empty. UINT64_MAX means the rest of both disks.
 */
QCOW2_API void qcow2_mapping_diff_seek(struct qcow2_mapping_diff *diff, struct qcow2_guest start,
				       uint64_t length_bytes);

/*
 * Finds the next difference of the range.
 *
 * Differences rise and do not overlap. Where two of them touch, one of the disks changes its kind or
 * its problem between them, or goes on at another place. Each compressed cluster is a difference of
 * its own.
 *
 * *out: points to the difference, which lives until the next call on the stream.
 *
 * Returns 1 with *out set; 0 at the end of the range; or -1 with *err filled. What was found before
 * a fault is told before the fault is. A further call tries again at the same place, and
 * qcow2_mapping_diff_seek() may go on behind it.
 *   QCOW2_ERROR_IO, QCOW2_ERROR_LIMIT  as qcow2_mapping_next(); qcow2_mapping_diff_blamed() says
 *                                      which disk it is about
 *   QCOW2_ERROR_STOPPED                options->progress asked to stop
 */
QCOW2_API int qcow2_mapping_diff_next(struct qcow2_mapping_diff *diff,
				      const struct qcow2_mapping_difference **out,
				      struct qcow2_error *err);

/*
 * Says which disk could not be read when qcow2_mapping_diff_next() failed last.
 *
 * Returns 0 for the first disk or if it never failed, 1 for the second. Never fails.
 */
QCOW2_API unsigned qcow2_mapping_diff_blamed(const struct qcow2_mapping_diff *diff);

/* Closes and frees the stream. diff: NULL is fine. The mappings stay open. */
QCOW2_API void qcow2_mapping_diff_close(struct qcow2_mapping_diff *diff);

QCOW2_END_DECLS

#endif
