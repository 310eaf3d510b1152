/* SPDX-License-Identifier: MIT */
/*
 * What the bytes mean. Each on-disk structure is written down once, in def/NAME.def; from that list
 * come the C struct below, its decoder and a constant table of fields, which text, JSON, the
 * documentation and edits by name all walk.
 *
 * Everything here is pure: no I/O, no allocation, no state. All functions may be called from any
 * thread.
 */
#ifndef QCOW2_FORMAT_H
#define QCOW2_FORMAT_H

#include <qcow2/base.h>

QCOW2_BEGIN_DECLS

/* How a field's value is best shown. It never changes the value. */
enum qcow2_style {
	QCOW2_STYLE_DECIMAL,     /* a number */
	QCOW2_STYLE_HEX,         /* an offset or a mask */
	QCOW2_STYLE_SIZE,        /* bytes, decimal, human units beside */
	QCOW2_STYLE_HEX_SIZE,    /* bytes, hexadecimal, human units beside */
	QCOW2_STYLE_FLAGS,       /* bits with names */
	QCOW2_STYLE_ENUM,        /* decimal, name beside */
	QCOW2_STYLE_ENUM_HEX,    /* hexadecimal, name beside */
	QCOW2_STYLE_MAGIC,       /* hexadecimal */
	QCOW2_STYLE_GRANULARITY, /* a power of two's exponent, bytes beside */
	QCOW2_STYLE_WIDTH,       /* a power of two's exponent, bits beside */
	QCOW2_STYLE_SECTORS,     /* sectors of 512 bytes, bytes beside */
	QCOW2_STYLE_TIME,        /* seconds since the Epoch, date beside */
	QCOW2_STYLE_NANOSECONDS, /* nanoseconds, duration beside */
	QCOW2_STYLE_TEXT,        /* bytes that should be text, up to the first NUL */
	QCOW2_STYLE_BYTES,       /* any bytes */
	QCOW2_STYLE_BOOL,        /* 0 or 1, a claim */
};

/* A value, or a bit's number, that has a name. */
struct qcow2_name {
	uint64_t value;
	const char *name;
	const char *meaning;
};

/* The names of a field's values (bits false) or of its bits (bits true), in rising order. */
struct qcow2_names {
	const char *id;
	bool bits;
	const struct qcow2_name *list;
	size_t count;
};

/*
 * A field of a structure. A plain field is width_bytes bytes at offset_bytes, big-endian (bytes in
 * order for the styles TEXT and BYTES). In an entry, bit_count > 0: bits first_bit and up of one
 * 64-bit word; in_place means that the value keeps its place in the word (an offset) instead of
 * being shifted down. QCOW2_BIT_X stands for a bit number that depends on the cluster size.
 */
struct qcow2_field {
	const char *name;  /* as the specification spells it, or a name of ours where it has none */
	const char *alias; /* another accepted name, or NULL */
	const char *legal; /* legal values, in words */
	const char *qemu;  /* limits that QEMU adds, or NULL */
	const char *meaning;             /* one line or two of documentation */
	const struct qcow2_names *names; /* NULL if values have no names */
	uint16_t offset_bytes;
	uint16_t width_bytes;
	uint8_t first_bit;
	uint8_t bit_count;
	bool in_place;
	enum qcow2_style style;
};

#define QCOW2_BIT_X 0xff

/* A structure of the format. */
struct qcow2_structure {
	const char *name;    /* "header", "bitmap_dir_entry", … */
	const char *title;   /* "Header", "Bitmap directory entry", … */
	const char *section; /* section of the specification */
	const char *meaning; /* a line or two of documentation */
	const struct qcow2_field *fields;
	size_t field_count;
	uint32_t size_bytes; /* of the fixed part */
};

/* Names of values and bits. */
extern QCOW2_API const struct qcow2_names qcow2_incompatible_features;
extern QCOW2_API const struct qcow2_names qcow2_compatible_features;
extern QCOW2_API const struct qcow2_names qcow2_autoclear_features;
extern QCOW2_API const struct qcow2_names qcow2_crypt_methods;
extern QCOW2_API const struct qcow2_names qcow2_compression_types;
extern QCOW2_API const struct qcow2_names qcow2_extension_types;
extern QCOW2_API const struct qcow2_names qcow2_feature_types;
extern QCOW2_API const struct qcow2_names qcow2_bitmap_flags;
extern QCOW2_API const struct qcow2_names qcow2_bitmap_types;
extern QCOW2_API const struct qcow2_names qcow2_luks_slot_states;

/* The structures, each as a table of its fields. */
extern QCOW2_API const struct qcow2_structure qcow2_header_structure;
extern QCOW2_API const struct qcow2_structure qcow2_extension_structure;
extern QCOW2_API const struct qcow2_structure qcow2_feature_name_structure;
extern QCOW2_API const struct qcow2_structure qcow2_bitmap_dir_entry_structure;
extern QCOW2_API const struct qcow2_structure qcow2_bitmap_table_entry_structure;
extern QCOW2_API const struct qcow2_structure qcow2_snapshot_structure;
extern QCOW2_API const struct qcow2_structure qcow2_snapshot_extra_structure;
extern QCOW2_API const struct qcow2_structure qcow2_l1_entry_structure;
extern QCOW2_API const struct qcow2_structure qcow2_l2_entry_structure;
extern QCOW2_API const struct qcow2_structure qcow2_l2_compressed_structure;
extern QCOW2_API const struct qcow2_structure qcow2_l2_subclusters_structure;
extern QCOW2_API const struct qcow2_structure qcow2_refcount_table_entry_structure;
extern QCOW2_API const struct qcow2_structure qcow2_luks1_structure;
extern QCOW2_API const struct qcow2_structure qcow2_luks1_key_slot_structure;
extern QCOW2_API const struct qcow2_structure qcow2_luks2_structure;

/* The first four bytes of an image, and the lengths of the two versions' fixed headers. */
#define QCOW2_MAGIC           0x514649fbU
#define QCOW2_HEADER_V2_BYTES 72
#define QCOW2_HEADER_V3_BYTES 104

/* The structures decoded. Integers are in host order. */
#define QCOW2_TYPE_u8                                                   uint8_t
#define QCOW2_TYPE_u16                                                  uint16_t
#define QCOW2_TYPE_u32                                                  uint32_t
#define QCOW2_TYPE_u64                                                  uint64_t
#define QCOW2_F(type, name, offset, style, names, legal, qemu, meaning) QCOW2_TYPE_##type name;
#define QCOW2_FA(type, name, alias, offset, style, names, legal, qemu, meaning)                    \
	QCOW2_TYPE_##type name;
#define QCOW2_FB(size, name, offset, style, legal, meaning) uint8_t name[size];

/* "Header". Version 2 images have the values that the specification fixes for them. */
struct qcow2_header {
#include <qcow2/def/header.def>
};
/* "Header extensions" */
struct qcow2_extension_header {
#include <qcow2/def/extension.def>
};
/* "Feature name table" */
struct qcow2_feature_name {
#include <qcow2/def/feature_name.def>
};
/* "Bitmap directory" */
struct qcow2_bitmap_dir_entry {
#include <qcow2/def/bitmap_dir_entry.def>
};
/* "Snapshots", fixed part */
struct qcow2_snapshot_header {
#include <qcow2/def/snapshot.def>
};
/* "Snapshots", known extra data; fields that the extra data does not reach are 0 */
struct qcow2_snapshot_extra {
#include <qcow2/def/snapshot_extra.def>
};
/* LUKS1 header */
struct qcow2_luks1 {
#include <qcow2/def/luks1.def>
};
/* LUKS1 key slot */
struct qcow2_luks1_key_slot {
#include <qcow2/def/luks1_key_slot.def>
};
/* LUKS2 binary header */
struct qcow2_luks2 {
#include <qcow2/def/luks2.def>
};

/*
 * The data of header extensions that have fields. For each structure NAME in def/extensions.def
 * (bitmaps_extension, crypto_extension) there are struct qcow2_NAME, its table of fields
 * qcow2_NAME_structure, qcow2_NAME_decode() and qcow2_NAME_encode(), which work as the decoders and
 * encoders below.
 */
#define QCOW2_FIELDS_BEGIN(name) struct qcow2_##name {
#define QCOW2_FIELDS_END(name, title, section, meaning)                                            \
	}                                                                                          \
	;                                                                                          \
	extern QCOW2_API const struct qcow2_structure qcow2_##name##_structure;                    \
	QCOW2_API void qcow2_##name##_decode(struct qcow2_##name *out, const uint8_t *raw,         \
					     size_t size_bytes);                                   \
	QCOW2_API void qcow2_##name##_encode(const struct qcow2_##name *in, uint8_t *raw,          \
					     size_t size_bytes);
#include <qcow2/def/extensions.def>

#undef QCOW2_F
#undef QCOW2_FA
#undef QCOW2_FB

/* All structures, in the order in which the documentation shows them; *count is set. */
QCOW2_API const struct qcow2_structure *const *qcow2_structures(size_t *count);

/* All tables of names; *count is set. */
QCOW2_API const struct qcow2_names *const *qcow2_names_tables(size_t *count);

/* The structure of that name, or NULL. */
QCOW2_API const struct qcow2_structure *qcow2_structure_find(const char *name);

/* The field of that name or alias, or NULL. */
QCOW2_API const struct qcow2_field *qcow2_structure_field(const struct qcow2_structure *structure,
							  const char *name);

/* The name of a value (or of a bit's number), or NULL if it has none. names may be NULL. */
QCOW2_API const char *qcow2_names_find(const struct qcow2_names *names, uint64_t value);

/*
 * Loads a number field from the bytes of its structure. Bytes past size_bytes read as zeros, so
 * this never fails and never reads past raw[size_bytes - 1]. cluster_bits (9..30) matters only for
 * fields with QCOW2_BIT_X. Fields wider than 8 bytes give 0.
 */
QCOW2_API uint64_t qcow2_field_load(const struct qcow2_field *field, const uint8_t *raw,
				    size_t size_bytes, unsigned cluster_bits);

/*
 * The same for a 64-bit entry that is already in host order.
 */
QCOW2_API uint64_t qcow2_field_of_entry(const struct qcow2_field *field, uint64_t entry,
					unsigned cluster_bits);

/*
 * Stores a number into the bytes of its structure, the inverse of qcow2_field_load(). Returns
 * false, and changes nothing, if the field passes size_bytes, is wider than 8 bytes, or cannot hold
 * the value.
 */
QCOW2_API bool qcow2_field_store(const struct qcow2_field *field, uint8_t *raw, size_t size_bytes,
				 unsigned cluster_bits, uint64_t value);

/*
 * Decoders: raw holds size_bytes bytes of the structure, possibly fewer than it has; what is
 * missing decodes as zeros. They never fail.
 */
QCOW2_API void qcow2_header_decode(struct qcow2_header *out, const uint8_t *raw, size_t size_bytes);
QCOW2_API void qcow2_extension_header_decode(struct qcow2_extension_header *out, const uint8_t *raw,
					     size_t size_bytes);
QCOW2_API void qcow2_feature_name_decode(struct qcow2_feature_name *out, const uint8_t *raw,
					 size_t size_bytes);
QCOW2_API void qcow2_bitmap_dir_entry_decode(struct qcow2_bitmap_dir_entry *out, const uint8_t *raw,
					     size_t size_bytes);
QCOW2_API void qcow2_snapshot_header_decode(struct qcow2_snapshot_header *out, const uint8_t *raw,
					    size_t size_bytes);
QCOW2_API void qcow2_snapshot_extra_decode(struct qcow2_snapshot_extra *out, const uint8_t *raw,
					   size_t size_bytes);
QCOW2_API void qcow2_luks1_decode(struct qcow2_luks1 *out, const uint8_t *raw, size_t size_bytes);
QCOW2_API void qcow2_luks1_key_slot_decode(struct qcow2_luks1_key_slot *out, const uint8_t *raw,
					   size_t size_bytes);
QCOW2_API void qcow2_luks2_decode(struct qcow2_luks2 *out, const uint8_t *raw, size_t size_bytes);

/*
 * Encoders, the inverse: each stores the fields of in at their places in the size_bytes bytes of
 * raw. A field that size_bytes does not hold whole is not stored, and bytes between fields stay as
 * they are. They never fail. After an encode of the whole structure, a decode gives *in again, but
 * for a version 2 header: it ends after byte 71, so that later fields are not stored.
 */
QCOW2_API void qcow2_header_encode(const struct qcow2_header *in, uint8_t *raw, size_t size_bytes);
QCOW2_API void qcow2_extension_header_encode(const struct qcow2_extension_header *in, uint8_t *raw,
					     size_t size_bytes);
QCOW2_API void qcow2_feature_name_encode(const struct qcow2_feature_name *in, uint8_t *raw,
					 size_t size_bytes);
QCOW2_API void qcow2_bitmap_dir_entry_encode(const struct qcow2_bitmap_dir_entry *in, uint8_t *raw,
					     size_t size_bytes);
QCOW2_API void qcow2_snapshot_header_encode(const struct qcow2_snapshot_header *in, uint8_t *raw,
					    size_t size_bytes);
QCOW2_API void qcow2_snapshot_extra_encode(const struct qcow2_snapshot_extra *in, uint8_t *raw,
					   size_t size_bytes);
QCOW2_API void qcow2_luks1_encode(const struct qcow2_luks1 *in, uint8_t *raw, size_t size_bytes);
QCOW2_API void qcow2_luks1_key_slot_encode(const struct qcow2_luks1_key_slot *in, uint8_t *raw,
					   size_t size_bytes);
QCOW2_API void qcow2_luks2_encode(const struct qcow2_luks2 *in, uint8_t *raw, size_t size_bytes);

QCOW2_END_DECLS

#endif
