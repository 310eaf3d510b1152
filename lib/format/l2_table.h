/* SPDX-License-Identifier: MIT */
/*
 * Words of an L2 table that is in memory as the file has it ("Cluster mapping", "Extended L2
 * Entries"). An entry is one big-endian word of 64 bits, or two with extended L2 entries; the
 * second one holds the bits of the subclusters. <qcow2/entry.h> says what the words mean.
 */
#ifndef Q2_FORMAT_L2_TABLE_H
#define Q2_FORMAT_L2_TABLE_H

#include <qcow2/base.h>

#include "base/bytes.h"

/* The first word of entry index; entry_bytes is 8 or 16, as in struct qcow2_geometry. */
static inline uint64_t q2_l2_entry_at(const uint8_t *table, uint64_t index, unsigned entry_bytes)
{
	return q2_load_be64(table + index * entry_bytes);
}

/* The second word of entry index; 0 if entries have one word. */
static inline uint64_t q2_l2_subclusters_at(const uint8_t *table, uint64_t index,
					    unsigned entry_bytes)
{
	return entry_bytes == 16 ? q2_load_be64(table + index * 16 + 8) : 0;
}

/* Stores an entry, the inverse of the two above. */
static inline void q2_l2_put(uint8_t *table, uint64_t index, unsigned entry_bytes,
			     const uint64_t words[2])
{
	q2_store_be64(table + index * entry_bytes, words[0]);
	if (entry_bytes == 16)
		q2_store_be64(table + index * 16 + 8, words[1]);
}

#endif
