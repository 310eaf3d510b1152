/* SPDX-License-Identifier: MIT */
/*
 * Who listens to a walk through the metadata. claim hears who uses which bytes; the other members,
 * each of which may be NULL, hear what was read on the way, so that rules and digests need no
 * second reading. Each returns 0 to go on, or -1 to stop; then it has filled the walk's error.
 */
#ifndef Q2_CLAIMS_LISTENER_H
#define Q2_CLAIMS_LISTENER_H

#include "rules/rules.h"

#include <qcow2/claims.h>

struct q2_listener {
	void *opaque; /* handed to every member */
	int (*claim)(void *opaque, const struct qcow2_claim *claim);
	/* Between two reads of an amount that takes time. */
	int (*go_on)(void *opaque);
	/*
	 * size bytes of an L1 or refcount table at host offset at. They start at a multiple of 512
	 * bytes from the start of their table; bytes past the end of the file are zeros.
	 */
	int (*table_bytes)(void *opaque, uint64_t at, const uint8_t *bytes, size_t size);
	/* The start of the LUKS header. */
	int (*luks)(void *opaque, uint64_t at, const uint8_t *bytes, size_t size);
	/* An entry of the snapshot table, or of the bitmap directory, before what belongs to it. */
	int (*snapshot)(void *opaque, const struct qcow2_snapshot *snapshot);
	int (*bitmap)(void *opaque, const struct qcow2_bitmap *bitmap);
	/* The bitmap directory as a whole, unless a bound kept some of it from being read. */
	int (*directory)(void *opaque, const struct q2_directory_read *read);
	/* Table entries: of L1 and refcount tables those that are not 0, of bitmap tables all. */
	int (*l1_entry)(void *opaque, const struct q2_entry_place *place, uint64_t entry);
	int (*refcount_table_entry)(void *opaque, const struct q2_entry_place *place,
				    uint64_t entry);
	int (*bitmap_table_entry)(void *opaque, const struct qcow2_bitmap *bitmap,
				  const struct q2_entry_place *place, uint64_t entry);
	/* A bound on what is read has left out some metadata. */
	void (*cut)(void *opaque);
};

#endif
