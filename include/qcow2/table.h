/* SPDX-License-Identifier: MIT */
/*
 * Readers of tables: arrays of 64-bit big-endian words, which is what L1 tables, L2 tables, the
 * refcount table and bitmap tables are; and of refcount blocks. entry.h says what the words mean.
 *
 * A reader shows one table at a time, and may be pointed at any number of them, one after the
 * other. It reads ahead in pieces of up to 128 KiB, and reads each byte once as long as indexes
 * rise. It takes about 130 KiB of memory, whatever a table claims to be.
 *
 * A table that the end of the file cuts off ends there, but the file's short last cluster counts as
 * if it was filled up with zeros, as it does for QEMU.
 *
 *	struct qcow2_table *table;
 *	uint64_t entry, count;
 *
 *	if (qcow2_table_open(image, &table, &err))
 *		return -1;
 *	count = qcow2_table_begin(table, header->l1_table_offset,
 *				  header->l1_size);
 *	for (uint64_t i = 0; i < count; i++) {
 *		if (qcow2_table_entry(table, i, &entry, &err))
 *			break;
 *		printf("0x%" PRIx64 "\n", entry);
 *	}
 *	qcow2_table_close(table);
 */
#ifndef QCOW2_TABLE_H
#define QCOW2_TABLE_H

#include <qcow2/base.h>
#include <qcow2/error.h>

QCOW2_BEGIN_DECLS

/* ---- read L1, L2, refcount and bitmap tables ---- */

struct qcow2_image;
struct qcow2_table;

/*
 * Opens a reader. It shows no table yet: begin with qcow2_table_begin().
 *
 * image: not NULL; stays open until the reader is closed. *out: set on success; the caller closes
 * it with qcow2_table_close().
 *
 * Returns 0, or -1 with *err filled: QCOW2_ERROR_MEMORY. Several readers of one image may be used
 * at once, each by one thread at a time.
 */
QCOW2_API int qcow2_table_open(const struct qcow2_image *image, struct qcow2_table **out,
			       struct qcow2_error *err);

/*
 * Points the reader at a table. Nothing is read yet.
 *
 * offset_bytes: host offset of the table; it need not be aligned, and may be any number that an
 * image claims. entries: how many 64-bit words the table has, likewise. An extended L2 entry is two
 * words; a refcount block is a cluster of words.
 *
 * Returns how many of the entries the file has: 0 if the table starts past the end of the file, or
 * if the image has no geometry. Fewer than entries means that the table is cut off. Never fails.
 */
QCOW2_API uint64_t qcow2_table_begin(struct qcow2_table *table, uint64_t offset_bytes,
				     uint64_t entries);

/*
 * Reads an entry of the table that the reader was pointed at.
 *
 * index: of the 64-bit word, from 0; any order is allowed, rising is fast. *entry: set to the word
 * in host byte order.
 *
 * Returns 0, or -1 with *err filled, and then *entry is undefined:
 *   QCOW2_ERROR_BROKEN  index is not below what qcow2_table_begin() returned
 *   QCOW2_ERROR_IO, QCOW2_ERROR_LIMIT  as qcow2_source_read()
 */
QCOW2_API int qcow2_table_entry(struct qcow2_table *table, uint64_t index, uint64_t *entry,
				struct qcow2_error *err);

/*
 * Reads a refcount of the refcount block that the reader was pointed at ("Host cluster
 * management"). The block has to be begun with its size in 64-bit words: cluster_size_bytes / 8.
 *
 * index: of the refcount within the block, below refcount_block_entries of the geometry. *refcount:
 * set to the number of references, in host byte order, whatever the width (1 to 64 bits).
 *
 * Returns 0, or -1 with *err filled and *refcount undefined: the errors of qcow2_table_entry().
 */
QCOW2_API int qcow2_table_refcount(struct qcow2_table *table, uint64_t index, uint64_t *refcount,
				   struct qcow2_error *err);

/* Closes and frees the reader. table: NULL is fine. The image stays open. */
QCOW2_API void qcow2_table_close(struct qcow2_table *table);

QCOW2_END_DECLS

#endif
