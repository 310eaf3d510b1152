/* SPDX-License-Identifier: MIT */
/*
 * The arithmetic of measuring: how many clusters of metadata a disk needs. Nothing here overflows,
 * whatever numbers an image claims.
 */
#ifndef Q2_MEASURE_TARGET_H
#define Q2_MEASURE_TARGET_H

#include <qcow2/limits.h>
#include <qcow2/measure.h>

/* A disk, and the shape of the image that holds it. */
struct q2_measure_disk {
	unsigned cluster_bits, l2_bits, refcount_bits; /* set by the caller; 9 to 30 bits */
	uint64_t clusters;                             /* of the guest */
	uint64_t l2_tables;                            /* that map all of them */
	uint64_t l1_clusters;                          /* of the L1 table */
};

/* Copies the target of a caller, with defaults put in, and judges it. 0, or -1 with *err filled. */
int q2_measure_take(struct qcow2_measure_target *mine, const struct qcow2_measure_target *theirs,
		    struct qcow2_error *err);

/* The active disk of an image that has a geometry, in the shape of that image. */
void q2_measure_disk_of(const struct qcow2_image *image, struct q2_measure_disk *disk);

/* Works out what the members of a disk of size_bytes are, any number. */
void q2_measure_disk(struct q2_measure_disk *disk, uint64_t size_bytes);

/*
 * Gives the clusters of a refcount structure that counts `clusters` others, at most 2^55, and itself.
 * generous: the table is made half as large again, as QEMU does when it has to make a new one.
 */
uint64_t q2_measure_refcounts(const struct q2_measure_disk *disk, uint64_t clusters, bool generous);

/* Header, L1 table and all L2 tables: the clusters of metadata of a full disk, without refcounts. */
static inline uint64_t q2_measure_full_tables(const struct q2_measure_disk *disk)
{
	return 1 + disk->l1_clusters + disk->l2_tables;
}

/*
 * Gives the bytes of a file of so many clusters, and of refcounts for as many as counted says, or
 * QCOW2_MEASURE_TOO_LARGE.
 */
uint64_t q2_measure_counted(const struct q2_measure_disk *disk, uint64_t clusters,
			    uint64_t counted);

/* The same where all clusters are counted, and no other one. */
uint64_t q2_measure_file(const struct q2_measure_disk *disk, uint64_t clusters);

/*
 * As qcow2_measure_bitmaps(), for a disk of disk_bytes. 0, or -1 with *err filled.
 */
int q2_measure_bitmaps(const struct qcow2_image *image, uint64_t disk_bytes, unsigned cluster_bits,
		       uint64_t *out_bytes, struct qcow2_error *err);

#endif
