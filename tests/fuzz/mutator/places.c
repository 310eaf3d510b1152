/* SPDX-License-Identifier: MIT */
/* Finds the structures of an image, as far as its pointers lead. */
#include "mutator.h"

#define EXTENSIONS_MOST 12
#define TABLES_MOST     12
#define ELEMENTS_MOST   6

static size_t min(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* Adds as many of count structures as lie in the file. Returns the place, or NULL. */
static const struct place *add(struct places *places, const struct mutant *mutant,
			       const struct qcow2_structure *structure, struct place at)
{
	struct place *place = &places->list[places->count];

	if (places->count == PLACES_MOST || at.offset_bytes >= mutant->size || at.stride_bytes == 0)
		return NULL;
	*place = at;
	place->structure = structure;
	place->count = min(at.count, (mutant->size - at.offset_bytes) / at.stride_bytes);
	if (place->count == 0)
		return NULL;
	places->count++;
	return place;
}

static const struct place *add_one(struct places *places, const struct mutant *mutant,
				   const struct qcow2_structure *structure, size_t offset)
{
	return add(places, mutant, structure,
		   (struct place){NULL, offset, 1, structure->size_bytes});
}

static uint64_t entry_at(const struct mutant *mutant, const struct place *place, size_t index)
{
	/* The offset of every table entry lies in the same bits. */
	const struct qcow2_field *field =
		qcow2_structure_field(&qcow2_l1_entry_structure, "offset");

	return qcow2_field_load(field,
				mutant->bytes + place->offset_bytes + index * place->stride_bytes,
				8, mutant->cluster_bits);
}

/* The first tables that a table leads to. */
static void add_tables(struct places *places, const struct mutant *mutant,
		       const struct place *parent, const struct qcow2_structure *structure,
		       size_t stride)
{
	const size_t cluster = (size_t)1 << mutant->cluster_bits;
	size_t added = 0;

	if (!parent)
		return;
	for (size_t i = 0; i < parent->count && added < TABLES_MOST; i++) {
		uint64_t offset = entry_at(mutant, parent, i);

		if (offset == 0 || offset >= mutant->size)
			continue;
		added++;
		if (!add(places, mutant, structure,
			 (struct place){NULL, (size_t)offset, cluster / stride, stride}))
			return;
	}
}

static void add_l1(struct places *places, const struct mutant *mutant, uint64_t offset,
		   uint64_t entries)
{
	const bool extended = mutant->header.incompatible_features & QCOW2_INCOMPATIBLE_EXTENDED_L2;
	const struct place *l1;

	if (offset >= mutant->size)
		return;
	l1 = add(places, mutant, &qcow2_l1_entry_structure,
		 (struct place){NULL, (size_t)offset, (size_t)entries, 8});
	add_tables(places, mutant, l1, &qcow2_l2_entry_structure, extended ? 16 : 8);
}

static void add_refcounts(struct places *places, const struct mutant *mutant)
{
	const struct place *table;
	const size_t cluster = (size_t)1 << mutant->cluster_bits;

	if (mutant->header.refcount_table_offset >= mutant->size)
		return;
	table = add(places, mutant, &qcow2_refcount_table_entry_structure,
		    (struct place){NULL, (size_t)mutant->header.refcount_table_offset,
				   min(mutant->header.refcount_table_clusters, mutant->size) *
					   (cluster / 8),
				   8});
	add_tables(places, mutant, table, NULL, 8);
}

static void add_snapshots(struct places *places, const struct mutant *mutant)
{
	uint64_t offset = mutant->header.snapshot_offset;

	for (size_t i = 0; i < min(mutant->header.nb_snapshots, ELEMENTS_MOST); i++) {
		struct qcow2_snapshot_header snapshot;
		const size_t fixed = qcow2_snapshot_structure.size_bytes;

		if (offset >= mutant->size ||
		    !add_one(places, mutant, &qcow2_snapshot_structure, (size_t)offset))
			return;
		qcow2_snapshot_header_decode(&snapshot, mutant->bytes + offset, fixed);
		add_one(places, mutant, &qcow2_snapshot_extra_structure, (size_t)offset + fixed);
		add_l1(places, mutant, snapshot.l1_table_offset, snapshot.l1_size);
		offset += fixed + snapshot.extra_data_size + snapshot.id_str_size +
			  snapshot.name_size;
		offset = (offset + 7) / 8 * 8;
	}
}

static void add_bitmaps(struct places *places, const struct mutant *mutant, size_t extension)
{
	struct qcow2_bitmaps_extension bitmaps;
	uint64_t offset;

	qcow2_bitmaps_extension_decode(&bitmaps, mutant->bytes + extension,
				       mutant->size - extension);
	offset = bitmaps.bitmap_directory_offset;
	for (size_t i = 0; i < min(bitmaps.nb_bitmaps, ELEMENTS_MOST); i++) {
		struct qcow2_bitmap_dir_entry entry;
		const size_t fixed = qcow2_bitmap_dir_entry_structure.size_bytes;
		const struct place *table = NULL;

		if (offset >= mutant->size ||
		    !add_one(places, mutant, &qcow2_bitmap_dir_entry_structure, (size_t)offset))
			return;
		qcow2_bitmap_dir_entry_decode(&entry, mutant->bytes + offset, fixed);
		if (entry.bitmap_table_offset < mutant->size)
			table = add(places, mutant, &qcow2_bitmap_table_entry_structure,
				    (struct place){NULL, (size_t)entry.bitmap_table_offset,
						   entry.bitmap_table_size, 8});
		add_tables(places, mutant, table, NULL, 8);
		offset += fixed + entry.extra_data_size + entry.name_size;
		offset = (offset + 7) / 8 * 8;
	}
}

static void add_luks(struct places *places, const struct mutant *mutant, size_t extension)
{
	struct qcow2_crypto_extension crypto;

	qcow2_crypto_extension_decode(&crypto, mutant->bytes + extension, mutant->size - extension);
	if (crypto.offset >= mutant->size)
		return;
	add_one(places, mutant, &qcow2_luks1_structure, (size_t)crypto.offset);
	add(places, mutant, &qcow2_luks1_key_slot_structure,
	    (struct place){NULL, (size_t)crypto.offset + qcow2_luks1_structure.size_bytes, 8,
			   qcow2_luks1_key_slot_structure.size_bytes});
	add_one(places, mutant, &qcow2_luks2_structure, (size_t)crypto.offset);
}

static void add_extension_data(struct places *places, const struct mutant *mutant, size_t data,
			       const struct qcow2_extension_header *extension)
{
	switch (extension->magic) {
	case QCOW2_EXTENSION_BITMAPS:
		add_one(places, mutant, &qcow2_bitmaps_extension_structure, data);
		if (data < mutant->size)
			add_bitmaps(places, mutant, data);
		break;
	case QCOW2_EXTENSION_CRYPTO:
		add_one(places, mutant, &qcow2_crypto_extension_structure, data);
		if (data < mutant->size)
			add_luks(places, mutant, data);
		break;
	case QCOW2_EXTENSION_FEATURE_NAMES:
		add(places, mutant, &qcow2_feature_name_structure,
		    (struct place){NULL, data,
				   extension->length / qcow2_feature_name_structure.size_bytes,
				   qcow2_feature_name_structure.size_bytes});
		break;
	default:
		add(places, mutant, NULL, (struct place){NULL, data, extension->length / 8, 8});
	}
}

static void add_extensions(struct places *places, const struct mutant *mutant)
{
	const size_t fixed = qcow2_extension_structure.size_bytes;
	uint64_t offset =
		mutant->header.version == 2 ? QCOW2_HEADER_V2_BYTES : mutant->header.header_length;

	for (size_t i = 0; i < EXTENSIONS_MOST; i++) {
		struct qcow2_extension_header extension;

		if (offset >= mutant->size ||
		    !add_one(places, mutant, &qcow2_extension_structure, (size_t)offset))
			return;
		qcow2_extension_header_decode(&extension, mutant->bytes + offset, fixed);
		if (extension.magic == 0)
			return;
		add_extension_data(places, mutant, (size_t)offset + fixed, &extension);
		offset += fixed + ((uint64_t)extension.length + 7) / 8 * 8;
	}
}

void places_find(struct places *places, const struct mutant *mutant)
{
	places->count = 0;
	add_one(places, mutant, &qcow2_header_structure, 0);
	add_extensions(places, mutant);
	add_l1(places, mutant, mutant->header.l1_table_offset, mutant->header.l1_size);
	add_refcounts(places, mutant);
	add_snapshots(places, mutant);
	if (mutant->header.backing_file_offset < mutant->size)
		add(places, mutant, NULL,
		    (struct place){NULL, (size_t)mutant->header.backing_file_offset, 8, 8});
}
