/* SPDX-License-Identifier: MIT */
/*
 * Geometry: what follows from the numbers of the header once they are sane. Code that has a pointer
 * to a geometry may shift by its _bits and divide by its sizes without a check of its own.
 */
#ifndef QCOW2_GEOMETRY_H
#define QCOW2_GEOMETRY_H

#include <qcow2/base.h>

QCOW2_BEGIN_DECLS

/* ---- sizes that follow from the header ---- */

struct qcow2_image;

/*
 * The numbers of one image. Sizes and offsets of the virtual disk and of the file are in bytes. No
 * number is checked against the file: the virtual size may be any 64-bit number, and the L1 table
 * that it needs may not exist.
 */
struct qcow2_geometry {
	size_t size; /* of this struct, set by the library */
	/* 1 << cluster_bits. */
	uint64_t cluster_size_bytes;
	/* Of the active disk: the header's size, not rounded to sectors or clusters. */
	uint64_t virtual_size_bytes;
	/* Of the image file, when it was opened. */
	uint64_t file_size_bytes;
	/* In one L2 table: a power of two. Each maps a cluster of the guest ("Cluster mapping"). */
	uint64_t l2_entries;
	/* L1 entries that map the virtual disk; the L1 table may have more, or fewer. */
	uint64_t l1_entries_needed;
	/* In one refcount block: a power of two ("Host cluster management"). */
	uint64_t refcount_block_entries;
	/* 9 to 30. */
	unsigned cluster_bits;
	/* 8, or 16 with extended L2 entries. */
	unsigned l2_entry_bytes;
	/* Width of a refcount: 1, 2, 4, 8, 16, 32 or 64 bits. */
	unsigned refcount_bits;
	/* x of "Compressed Clusters Descriptor": bits of a compressed cluster's offset, 40 to 61. */
	unsigned compressed_offset_bits;
	/* Incompatible feature bit 4. Clusters below 16 KiB are a fault then, but may occur. */
	bool extended_l2;
	/* Incompatible feature bit 2: host offsets of guest clusters lead into the data file. */
	bool data_file;
};

/*
 * Gives the geometry of an image. It is worked out when the image is opened; the call costs
 * nothing.
 *
 * image: not NULL.
 *
 * Returns a pointer that belongs to the image and lives as long as it does, or NULL if the header's
 * cluster_bits is not in 9..30 or its refcount_order not in 0..6. Such an image can be looked at
 * (header, extensions), but no table, directory or snapshot can be found. Thread safe.
 *
 *	const struct qcow2_geometry *geometry = qcow2_image_geometry(image);
 *
 *	if (geometry)
 *		printf("%" PRIu64 " clusters\n",
 *		       geometry->file_size_bytes >> geometry->cluster_bits);
 */
QCOW2_API const struct qcow2_geometry *qcow2_image_geometry(const struct qcow2_image *image);

QCOW2_END_DECLS

#endif
