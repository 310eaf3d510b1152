/* SPDX-License-Identifier: MIT */
/*
 * The rules of the format that one structure can break by itself, one function per structure. Each
 * looks at decoded values and the geometry, reads nothing, and reports through the reporter. None
 * of them stops at the first fault.
 */
#ifndef Q2_RULES_RULES_H
#define Q2_RULES_RULES_H

#include "base/hash.h"
#include "rules/report.h"

#include <qcow2/image.h>

/* "Header", "Additional fields", "Header padding", backing file name, table placement. */
void q2_rules_header(const struct qcow2_image *image, const struct q2_reporter *reporter);

/* "Header extensions": every extension and the area as a whole, and what must or must not be there.
 */
void q2_rules_extensions(const struct qcow2_image *image, const struct q2_reporter *reporter);

/* What the rules of a whole bitmap directory or snapshot table have to remember between entries. */
struct q2_names_seen {
	struct q2_hash_key key;
	struct q2_name_set set;
	struct q2_name_set tables; /* bitmaps: where their tables are */
	bool short_of_memory;      /* duplicates may have been missed: the caller has to fail */
};

/*
 * The index that came with the hash before, in one of the two sets, or Q2_NAME_SET_NEW; then the
 * hash is remembered with this index.
 */
uint64_t q2_seen_before(struct q2_names_seen *seen, struct q2_name_set *set, uint64_t hash,
			uint64_t index);

/* "Bitmap directory": one entry. seen finds duplicate names and shared tables. */
void q2_rules_bitmap(const struct qcow2_image *image, const struct qcow2_bitmap *bitmap,
		     struct q2_names_seen *seen, const struct q2_reporter *reporter);

/* What the entries of a bitmap directory came to. */
struct q2_directory_read {
	const struct qcow2_bitmaps_extension *extension;
	uint64_t entries;
	uint64_t used_bytes; /* that they claim together */
	bool cut;            /* the last one was cut, which has been said */
};

/* "Bitmap directory": the whole, once its last entry was seen. */
void q2_rules_bitmap_directory(const struct qcow2_image *image,
			       const struct q2_directory_read *read,
			       const struct q2_reporter *reporter);

/* A place in a table of entries: whose it is, which entry, where that is in the file. */
struct q2_entry_place {
	const char *owner; /* path of the table, "l1" or "bitmaps/3/table" */
	uint64_t index;
	uint64_t offset_bytes;
	uint64_t guest_byte; /* of the guest cluster that an L2 entry maps */
	/* The virtual disk that L1 and L2 entries map; NULL for other entries, or if nobody asks. */
	const struct q2_disk *disk;
	uint64_t shared_by; /* L1 entries that lead to the L2 table; 0 if it is one */
};

/* "Bitmap table": one entry. */
void q2_rules_bitmap_table_entry(const struct qcow2_geometry *geometry,
				 const struct q2_entry_place *place, uint64_t entry,
				 const struct q2_reporter *reporter);

/* "Snapshots": one entry. seen finds duplicate IDs. */
void q2_rules_snapshot(const struct qcow2_image *image, const struct qcow2_snapshot *snapshot,
		       struct q2_names_seen *seen, const struct q2_reporter *reporter);

/* "Cluster mapping": one L1 entry. */
void q2_rules_l1_entry(const struct qcow2_geometry *geometry, const struct q2_entry_place *place,
		       uint64_t entry, const struct q2_reporter *reporter);

/* "Cluster mapping", "Extended L2 Entries": one L2 entry; subclusters is 0 for 64-bit entries. */
void q2_rules_l2_entry(const struct qcow2_image *image, const struct q2_entry_place *place,
		       uint64_t entry, uint64_t subclusters, const struct q2_reporter *reporter);

/* "Host cluster management": one refcount table entry. */
void q2_rules_refcount_table_entry(const struct qcow2_geometry *geometry,
				   const struct q2_entry_place *place, uint64_t entry,
				   const struct q2_reporter *reporter);

/* "Full disk encryption header pointer": the start of a LUKS header at offset_bytes. */
void q2_rules_luks(const struct qcow2_image *image, const uint8_t *raw, size_t size_bytes,
		   uint64_t offset_bytes, const struct q2_reporter *reporter);

/* Whether a structure of length bytes at offset passes the end of the file (last cluster filled
 * up). */
bool q2_passes_end(const struct qcow2_geometry *geometry, uint64_t offset, uint64_t length);

/*
 * Says in a finding, about the offset of a structure that passes the end, which offsets would not:
 * none, and nothing is expected, if the structure is as long as the file.
 */
void q2_expect_inside(struct q2_finding *finding, const struct qcow2_geometry *geometry,
		      uint64_t length);

#endif
