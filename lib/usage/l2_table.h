/* SPDX-License-Identifier: MIT */
/*
 * The entries of one L2 table that is in memory, taken in runs: entries that lead to clusters in a
 * row are one step, whatever is done with them.
 */
#ifndef Q2_USAGE_L2_TABLE_H
#define Q2_USAGE_L2_TABLE_H

#include "format/l2_table.h"
#include "usage/usage.h"

/* With any of these bits, an entry is not a place alone. */
#define Q2_L2_ODD (QCOW2_ENTRY_MASK(l2_entry, compressed) | QCOW2_ENTRY_MASK(l2_entry, reserved_56))

struct q2_l2_bytes {
	const struct qcow2_geometry *geometry;
	const uint8_t *bytes;
	uint64_t entries;
};

/* The table of that number, of which the bytes that the file has are in memory, padded with zeros. */
static inline struct q2_l2_bytes q2_l2_bytes_of(const struct qcow2_usage *usage, size_t number,
						const uint8_t *bytes)
{
	const struct qcow2_geometry *geometry = usage->geometry;
	const uint64_t size =
		q2_metadata_l2_stored(geometry, usage->metadata.tables[number].offset_bytes);

	return (struct q2_l2_bytes){
		.geometry = geometry,
		.bytes = bytes,
		.entries = size / geometry->l2_entry_bytes + (size % geometry->l2_entry_bytes != 0),
	};
}

static inline uint64_t q2_l2_load(const struct q2_l2_bytes *table, uint64_t index)
{
	return q2_l2_entry_at(table->bytes, index, table->geometry->l2_entry_bytes);
}

/* The cluster that an entry leads to, if q2_l2_run() says that it is a place. */
static inline uint64_t q2_l2_cluster(const struct q2_l2_bytes *table, uint64_t entry)
{
	return (entry & QCOW2_ENTRY_MASK(l2_entry, offset)) >> table->geometry->cluster_bits;
}

/*
 * How many entries from index on lead to clusters of the file in a row, with the same flags: each is
 * the one before plus a cluster, which no entry with another bit is. 0 if the first one, which is
 * `entry`, does not lead to an aligned place in the file; then q2_l2_claim() knows what it means.
 */
static inline uint64_t q2_l2_run(const struct q2_l2_bytes *table, uint64_t index, uint64_t entry)
{
	const struct qcow2_geometry *geometry = table->geometry;
	const uint64_t cluster = geometry->cluster_size_bytes;
	const uint64_t offset = entry & QCOW2_ENTRY_MASK(l2_entry, offset);
	const uint64_t last = geometry->file_size_bytes - 1;
	uint64_t most, run = 1;

	/* offset - 1 is huge for no offset at all */
	if ((entry & Q2_L2_ODD) || (offset & (cluster - 1)) || offset - 1 >= last)
		return 0;
	if (index + 1 >= table->entries || q2_l2_load(table, index + 1) != entry + cluster)
		return 1;
	most = ((last - offset) >> geometry->cluster_bits) + 1;
	if (most > table->entries - index)
		most = table->entries - index;
	while (run < most && q2_l2_load(table, index + run) == (entry += cluster))
		run++;
	return run;
}

#endif
