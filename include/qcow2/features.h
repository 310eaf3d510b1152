/* SPDX-License-Identifier: MIT */
/*
 * Feature bits of the header ("Header": incompatible_features, compatible_features and
 * autoclear_features of struct qcow2_header). Each constant is a mask of one bit, and the _KNOWN
 * ones are all bits that the specification defines. Version 2 images have none of them set.
 *
 * A program that finds an incompatible bit that it does not know must not open the image. It may
 * ignore unknown compatible bits. It must clear unknown autoclear bits before its first write,
 * since it cannot keep up what they promise. The names of the bits are in
 * qcow2_incompatible_features and its two neighbours (format.h), and an image may bring names of
 * its own (feature_name.def).
 *
 *	if (qcow2_image_header(image)->incompatible_features &
 *	    ~QCOW2_INCOMPATIBLE_KNOWN)
 *		return refuse("the image uses a feature that is not known here");
 */
#ifndef QCOW2_FEATURES_H
#define QCOW2_FEATURES_H

#include <stdint.h>

/* ---- feature bits of the header ---- */

/* Refcounts may be behind what refers to clusters. They have to be counted anew before a write. */
#define QCOW2_INCOMPATIBLE_DIRTY (UINT64_C(1) << 0)
/* Some program found the image broken. Nobody may write to it until it was repaired. */
#define QCOW2_INCOMPATIBLE_CORRUPT (UINT64_C(1) << 1)
/* Guest clusters are in an external data file. */
#define QCOW2_INCOMPATIBLE_DATA_FILE (UINT64_C(1) << 2)
/* compression_type of the header is not 0 (zlib). */
#define QCOW2_INCOMPATIBLE_COMPRESSION (UINT64_C(1) << 3)
/* L2 entries are 16 bytes wide and say of 32 subclusters each what they are. */
#define QCOW2_INCOMPATIBLE_EXTENDED_L2 (UINT64_C(1) << 4)
/* All incompatible bits that the specification defines. */
#define QCOW2_INCOMPATIBLE_KNOWN UINT64_C(0x1f)

/* Programs may put off refcount updates, and set the dirty bit meanwhile. */
#define QCOW2_COMPATIBLE_LAZY_REFCOUNTS (UINT64_C(1) << 0)
/* All compatible bits that the specification defines. */
#define QCOW2_COMPATIBLE_KNOWN UINT64_C(0x1)

/* The bitmaps extension is consistent with the image. If clear, its bitmaps must not be used. */
#define QCOW2_AUTOCLEAR_BITMAPS (UINT64_C(1) << 0)
/* The external data file alone reads as the guest's disk: it is a raw image. */
#define QCOW2_AUTOCLEAR_DATA_FILE_RAW (UINT64_C(1) << 1)
/* All autoclear bits that the specification defines. */
#define QCOW2_AUTOCLEAR_KNOWN UINT64_C(0x3)

#endif
