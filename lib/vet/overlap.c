/* SPDX-License-Identifier: MIT */
/* Tables that the header and its extensions name, and what shares bytes with one of them. */
#include <stddef.h>

#include "base/checked.h"
#include "image/extensions.h"
#include "vet/tables.h"

#define AT(field) offsetof(struct qcow2_header, field)

/* A fixed entry of the snapshot table: names and extra data come on top. */
#define SNAPSHOT_LEAST_BYTES ((uint64_t)sizeof(struct qcow2_snapshot_header))

static void add(struct q2_vet_tables *tables, struct q2_vet_table table)
{
	if (table.length > 0 && tables->count < Q2_VET_TABLES_MAX)
		tables->table[tables->count++] = table;
}

static void list_header(const struct q2_vet *vet, struct q2_vet_tables *tables)
{
	const struct qcow2_header *h = vet->header;
	uint64_t cluster = vet->geometry->cluster_size_bytes;

	add(tables, (struct q2_vet_table){"the header", 0, cluster, "header", 0});
	add(tables,
	    (struct q2_vet_table){"the refcount table", h->refcount_table_offset,
				  h->refcount_table_clusters * cluster,
				  "header/refcount_table_offset", AT(refcount_table_offset)});
	add(tables,
	    (struct q2_vet_table){"the L1 table", h->l1_table_offset, h->l1_size * UINT64_C(8),
				  "header/l1_table_offset", AT(l1_table_offset)});
	add(tables, (struct q2_vet_table){"the snapshot table", h->snapshot_offset,
					  h->nb_snapshots * SNAPSHOT_LEAST_BYTES,
					  "header/snapshot_offset", AT(snapshot_offset)});
}

static void list_extensions(const struct q2_vet *vet, struct q2_vet_tables *tables)
{
	struct qcow2_bitmaps_extension bitmaps;
	struct qcow2_crypto_extension crypto;
	struct qcow2_extension extension;
	struct q2_vet_table table;

	if (q2_find_extension(vet->image, QCOW2_EXTENSION_BITMAPS, &extension)) {
		qcow2_bitmaps_extension_decode(&bitmaps, extension.data.data, extension.data.size);
		table = (struct q2_vet_table){"the bitmap directory",
					      bitmaps.bitmap_directory_offset,
					      bitmaps.bitmap_directory_size,
					      "extensions/bitmaps/data/bitmap_directory_offset",
					      extension.offset_bytes + 24};
		if (vet->header->autoclear_features & QCOW2_AUTOCLEAR_BITMAPS)
			add(tables, table);
	}
	if (q2_find_extension(vet->image, QCOW2_EXTENSION_CRYPTO, &extension)) {
		qcow2_crypto_extension_decode(&crypto, extension.data.data, extension.data.size);
		add(tables, (struct q2_vet_table){"the LUKS header", crypto.offset, crypto.length,
						  "extensions/crypto/data/offset",
						  extension.offset_bytes + 8});
	}
}

void q2_vet_list_tables(const struct q2_vet *vet, struct q2_vet_tables *tables)
{
	tables->count = 0;
	list_header(vet, tables);
	list_extensions(vet, tables);
}

/* The first of some tables that shares any of these bytes, or NULL. */
static const struct q2_vet_table *find(const struct q2_vet_tables *tables, size_t count,
				       uint64_t at, uint64_t length)
{
	for (size_t i = 0; i < count; i++)
		if (q2_ranges_overlap(tables->table[i].at, tables->table[i].length, at, length))
			return &tables->table[i];
	return NULL;
}

const struct q2_vet_table *q2_vet_find_table(const struct q2_vet_tables *tables, uint64_t at,
					     uint64_t length)
{
	return find(tables, tables->count, at, length);
}

void q2_vet_overlaps(struct q2_vet *vet)
{
	const struct q2_vet_table *a, *b;
	struct q2_vet_tables tables;

	if (!vet->geometry)
		return;
	q2_vet_list_tables(vet, &tables);
	for (size_t i = 1; i < tables.count; i++) {
		a = &tables.table[i];
		b = find(&tables, i, a->at, a->length);
		if (b)
			q2_vet_tell(vet,
				    &(struct q2_vet_finding){.rule = QCOW2_VET_RULE_TABLE_OVERLAP,
							     .offset_bytes = a->field_at,
							     .has_value = true,
							     .value = a->at,
							     .detail = b->name},
				    "%s", a->field);
	}
}
