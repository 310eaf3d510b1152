/* SPDX-License-Identifier: MIT */
/*
 * Ranges of a virtual disk that entries of L1 and L2 tables map. Numbers come from the image: a
 * range ends with the 64-bit numbers at the latest, and nothing wraps around.
 */
#ifndef Q2_IMAGE_GUEST_H
#define Q2_IMAGE_GUEST_H

#include <qcow2/geometry.h>
#include <qcow2/problem.h>

/* A virtual disk: the active one, or that of a snapshot. */
struct q2_disk {
	uint64_t size_bytes;
	bool of_snapshot;
	uint64_t snapshot_index;
	struct qcow2_bytes snapshot_name; /* empty if it is not known here */
};

/* length_bytes is 0 if there is no range; the sum of both never passes 2^64 - 1. */
struct q2_guest_range {
	uint64_t byte;
	uint64_t length_bytes;
};

/* The end of lists of guest clusters: as many as there can be. */
#define Q2_GUEST_REST UINT64_MAX

/*
 * The guest clusters [first, first + count), as far as the disk goes. Clusters that lie past its
 * end altogether keep their range: in a snapshot, they are the saved state of the machine.
 */
struct q2_guest_range q2_guest_clusters(const struct qcow2_geometry *geometry, uint64_t disk_bytes,
					uint64_t first, uint64_t count);

/* What the entries [first, first + count) of an L1 table map, as q2_guest_clusters(). */
struct q2_guest_range q2_guest_l1(const struct qcow2_geometry *geometry, uint64_t disk_bytes,
				  uint64_t first, uint64_t count);

/* What those of the l1_size entries of an L1 table map that lie past the end of the file. */
struct q2_guest_range q2_guest_l1_past_end(const struct qcow2_geometry *geometry,
					   uint64_t disk_bytes, uint64_t l1_offset,
					   uint64_t l1_size);

/*
 * The guest offset of entry `entry` of the L2 table that L1 entry l1_index leads to; UINT64_MAX if
 * no number of 64 bits can say it.
 */
static inline uint64_t q2_guest_byte(const struct qcow2_geometry *geometry, uint64_t l1_index,
				     uint64_t entry)
{
	uint64_t cluster = l1_index * geometry->l2_entries + entry;

	return cluster >> (64 - geometry->cluster_bits) ? UINT64_MAX
							: cluster << geometry->cluster_bits;
}

#endif
