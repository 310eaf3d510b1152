/* SPDX-License-Identifier: MIT */
/*
 * The structures as constant tables, expanded from def/NAME.def. To add a structure, add its .def,
 * its struct in format.h, a row in each of the three places here, a decoder and an encoder.
 */
#include <string.h>

#include <qcow2/format.h>

/* Plain fields: big-endian numbers (QCOW2_F, QCOW2_FA with an alias) and bytes (QCOW2_FB). */
#define QCOW2_F(type, field, offset, shown, value_names, legal_text, qemu_text, meaning_text)      \
	QCOW2_FA(type, field, NULL, offset, shown, value_names, legal_text, qemu_text, meaning_text)
#define QCOW2_FA(type, field, other, offset, shown, value_names, legal_text, qemu_text, doc)       \
	{.name = #field,                                                                           \
	 .alias = (other),                                                                         \
	 .legal = (legal_text),                                                                    \
	 .qemu = (qemu_text),                                                                      \
	 .meaning = (doc),                                                                         \
	 .names = (value_names),                                                                   \
	 .offset_bytes = (offset),                                                                 \
	 .width_bytes = sizeof(QCOW2_TYPE_##type),                                                 \
	 .style = QCOW2_STYLE_##shown},
#define QCOW2_FB(size, field, offset, shown, legal_text, doc)                                      \
	{.name = #field,                                                                           \
	 .legal = (legal_text),                                                                    \
	 .meaning = (doc),                                                                         \
	 .offset_bytes = (offset),                                                                 \
	 .width_bytes = (size),                                                                    \
	 .style = QCOW2_STYLE_##shown},

/* Bit ranges of one 64-bit entry. */
#define BIT_RANGE(field, first, bits, keeps_place, shown, legal_text, doc)                         \
	{.name = #field,                                                                           \
	 .legal = (legal_text),                                                                    \
	 .meaning = (doc),                                                                         \
	 .width_bytes = 8,                                                                         \
	 .first_bit = (first),                                                                     \
	 .bit_count = (bits),                                                                      \
	 .in_place = (keeps_place),                                                                \
	 .style = QCOW2_STYLE_##shown},
#define QCOW2_BITS(field, first, bits, shown, legal_text, doc)                                     \
	BIT_RANGE(field, first, bits, false, shown, legal_text, doc)
#define QCOW2_BITS_IN_PLACE(field, first, bits, shown, legal_text, doc)                            \
	BIT_RANGE(field, first, bits, true, shown, legal_text, doc)
#define QCOW2_BITS_RESERVED(field, first, bits)                                                    \
	BIT_RANGE(field, first, bits, false, HEX, "0", "Reserved.")

static const struct qcow2_field header_fields[] = {
#include <qcow2/def/header.def>
};
static const struct qcow2_field extension_fields[] = {
#include <qcow2/def/extension.def>
};
#define QCOW2_FIELDS_BEGIN(id) static const struct qcow2_field id##_fields[] = {
#define QCOW2_FIELDS_END(id, title_text, section_text, doc)                                        \
	}                                                                                          \
	;
#include <qcow2/def/extensions.def>
static const struct qcow2_field feature_name_fields[] = {
#include <qcow2/def/feature_name.def>
};
static const struct qcow2_field bitmap_dir_entry_fields[] = {
#include <qcow2/def/bitmap_dir_entry.def>
};
static const struct qcow2_field bitmap_table_entry_fields[] = {
#include <qcow2/def/bitmap_table_entry.def>
};
static const struct qcow2_field snapshot_fields[] = {
#include <qcow2/def/snapshot.def>
};
static const struct qcow2_field snapshot_extra_fields[] = {
#include <qcow2/def/snapshot_extra.def>
};
static const struct qcow2_field l1_entry_fields[] = {
#include <qcow2/def/l1_entry.def>
};
static const struct qcow2_field l2_entry_fields[] = {
#include <qcow2/def/l2_entry.def>
};
static const struct qcow2_field l2_compressed_fields[] = {
#include <qcow2/def/l2_compressed.def>
};
static const struct qcow2_field l2_subclusters_fields[] = {
#include <qcow2/def/l2_subclusters.def>
};
static const struct qcow2_field refcount_table_entry_fields[] = {
#include <qcow2/def/refcount_table_entry.def>
};
static const struct qcow2_field luks1_fields[] = {
#include <qcow2/def/luks1.def>
};
static const struct qcow2_field luks1_key_slot_fields[] = {
#include <qcow2/def/luks1_key_slot.def>
};
static const struct qcow2_field luks2_fields[] = {
#include <qcow2/def/luks2.def>
};

#define STRUCTURE(id, size, title_text, section_text, doc)                                         \
	const struct qcow2_structure qcow2_##id##_structure = {                                    \
		.name = #id,                                                                       \
		.title = (title_text),                                                             \
		.section = (section_text),                                                         \
		.meaning = (doc),                                                                  \
		.fields = id##_fields,                                                             \
		.field_count = sizeof(id##_fields) / sizeof(id##_fields[0]),                       \
		.size_bytes = (size)};

STRUCTURE(header, sizeof(struct qcow2_header), "Header", "Header",
	  "Starts the file. Version 2 headers have 72 bytes; version 3 headers say their length.")
STRUCTURE(extension, sizeof(struct qcow2_extension_header), "Header extension", "Header extensions",
	  "Optional parts of the header; each starts with these fields.")
STRUCTURE(feature_name, sizeof(struct qcow2_feature_name), "Feature name", "Feature name table",
	  "Gives a feature bit a name that other programs can show.")
STRUCTURE(bitmap_dir_entry, sizeof(struct qcow2_bitmap_dir_entry), "Bitmap directory entry",
	  "Bitmap directory", "Describes one bitmap; its extra data and name follow.")
STRUCTURE(bitmap_table_entry, 8, "Bitmap table entry", "Bitmap table",
	  "Says where one cluster of a bitmap's bits is.")
STRUCTURE(snapshot, sizeof(struct qcow2_snapshot_header), "Snapshot table entry", "Snapshots",
	  "Describes one internal snapshot; its extra data, ID and name follow.")
STRUCTURE(snapshot_extra, sizeof(struct qcow2_snapshot_extra), "Snapshot extra data", "Snapshots",
	  "Later fields of a snapshot; as many are there as its extra data size says.")
STRUCTURE(l1_entry, 8, "L1 table entry", "Cluster mapping", "Says where an L2 table is.")
STRUCTURE(l2_entry, 8, "L2 table entry, standard cluster", "Cluster mapping",
	  "Says where the data of a guest cluster is.")
STRUCTURE(l2_compressed, 8, "L2 table entry, compressed cluster", "Cluster mapping",
	  "Says where the compressed data of a guest cluster is.")
STRUCTURE(l2_subclusters, 8, "Subcluster allocation bitmap", "Extended L2 Entries",
	  "The second half of an extended L2 entry: the state of 32 subclusters.")
STRUCTURE(refcount_table_entry, 8, "Refcount table entry", "Host cluster management",
	  "Says where a refcount block is.")
STRUCTURE(luks1, sizeof(struct qcow2_luks1), "LUKS1 header", "Full disk encryption header pointer",
	  "Parameters of the encryption; eight key slots follow.")
STRUCTURE(luks1_key_slot, sizeof(struct qcow2_luks1_key_slot), "LUKS1 key slot",
	  "Full disk encryption header pointer", "One of eight ways to unlock the master key.")
STRUCTURE(luks2, 512, "LUKS2 header", "Full disk encryption header pointer",
	  "The binary header of LUKS2; the rest is in the JSON area after it.")

/*
 * From here on, fields count only by their bytes. The struct of an extension may be longer than the
 * fields that it has: the compiler pads it at its end.
 */
#undef QCOW2_F
#undef QCOW2_FA
#undef QCOW2_FB
#define QCOW2_F(type, field, offset, shown, value_names, legal_text, qemu_text, meaning_text)      \
	+sizeof(QCOW2_TYPE_##type)
#define QCOW2_FA(type, field, other, offset, shown, value_names, legal_text, qemu_text, doc)       \
	+sizeof(QCOW2_TYPE_##type)
#define QCOW2_FB(size, field, offset, shown, legal_text, doc) +(size)

#define QCOW2_FIELDS_BEGIN(id) enum { id##_bytes = 0
#define QCOW2_FIELDS_END(id, title_text, section_text, doc)                                        \
	}                                                                                          \
	;                                                                                          \
	STRUCTURE(id, id##_bytes, title_text, section_text, doc)
#include <qcow2/def/extensions.def>

#undef QCOW2_F
#undef QCOW2_FA
#undef QCOW2_FB
#define QCOW2_F(type, field, offset, shown, value_names, legal_text, qemu_text, meaning_text)
#define QCOW2_FA(type, field, other, offset, shown, value_names, legal_text, qemu_text, doc)
#define QCOW2_FB(size, field, offset, shown, legal_text, doc)

static const struct qcow2_structure *const all[] = {
	&qcow2_header_structure,
	&qcow2_extension_structure,
#define QCOW2_FIELDS_BEGIN(id)
#define QCOW2_FIELDS_END(id, title_text, section_text, doc) &qcow2_##id##_structure,
#include <qcow2/def/extensions.def>
	&qcow2_feature_name_structure,
	&qcow2_bitmap_dir_entry_structure,
	&qcow2_bitmap_table_entry_structure,
	&qcow2_snapshot_structure,
	&qcow2_snapshot_extra_structure,
	&qcow2_l1_entry_structure,
	&qcow2_l2_entry_structure,
	&qcow2_l2_compressed_structure,
	&qcow2_l2_subclusters_structure,
	&qcow2_refcount_table_entry_structure,
	&qcow2_luks1_structure,
	&qcow2_luks1_key_slot_structure,
	&qcow2_luks2_structure,
};

const struct qcow2_structure *const *qcow2_structures(size_t *count)
{
	*count = sizeof(all) / sizeof(all[0]);
	return all;
}

const struct qcow2_structure *qcow2_structure_find(const char *name)
{
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		if (strcmp(all[i]->name, name) == 0)
			return all[i];
	return NULL;
}

const struct qcow2_field *qcow2_structure_field(const struct qcow2_structure *structure,
						const char *name)
{
	for (size_t i = 0; i < structure->field_count; i++) {
		const struct qcow2_field *field = &structure->fields[i];

		if (strcmp(field->name, name) == 0 ||
		    (field->alias && strcmp(field->alias, name) == 0))
			return field;
	}
	return NULL;
}
