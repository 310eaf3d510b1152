/* SPDX-License-Identifier: MIT */
/*
 * The structures of a qcow2 image. Each structure is written down once, in def/NAME.def, one row a
 * field. From that list come
 *
 *   - a C struct with the fields in host byte order       struct qcow2_header
 *   - a decoder, from bytes to the struct                 qcow2_header_decode()
 *   - an encoder, from the struct to bytes                qcow2_header_encode()
 *   - a constant table that describes the fields          qcow2_header_structure
 *
 * Use the structs if you know at compile time what you want to read. Use the tables if a user names
 * the field, or to go through all fields of a structure: the dump, "qcow2 explain" and "qcow2 edit"
 * do.
 *
 * Names in double quotes below are sections of the specification, docs/interop/qcow2.rst of QEMU.
 * Fields have the names that the specification gives them. Tables of 64-bit entries (L1, L2,
 * refcount and bitmap tables) have structs of their own in <qcow2/entry.h>; limits of fields are in
 * <qcow2/limits.h>.
 *
 * Everything here is pure: it does no I/O, allocates nothing and keeps no state. No function fails
 * because of the bytes of an image, and none prints. All functions may be called from any thread.
 * All tables are constants that belong to the library and are never freed.
 */
#ifndef QCOW2_FORMAT_H
#define QCOW2_FORMAT_H

#include <qcow2/base.h>

QCOW2_BEGIN_DECLS

/* ---- structures of the format as tables of fields ---- */

/*
 * How a field's value is best shown to people. A style says nothing about which values are legal,
 * and it never changes a value.
 */
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

/* One named value of a field, or one named bit. */
struct qcow2_name {
	uint64_t value;      /* the value, or the number of the bit: 0 is the lowest */
	const char *name;    /* a word or two, as "extended L2 entries" */
	const char *meaning; /* a sentence */
};

/*
 * The names that a field's values, or its bits, have. A value that is not in the list is one that
 * this library does not know; that alone does not make it illegal.
 */
struct qcow2_names {
	const char *id;                /* unique, as "incompatible_features" */
	bool bits;                     /* the list names bits; false: it names values */
	const struct qcow2_name *list; /* in rising order of value */
	size_t count;                  /* of the list */
};

/*
 * A field of a structure. There are two forms:
 *
 * A plain field has bit_count 0. It is width_bytes bytes at offset_bytes of its structure. With
 * 1, 2, 4 or 8 bytes it is a big-endian number; with the styles TEXT and BYTES it is that many
 * bytes in order, which can be more than 8.
 *
 * A field of an entry has bit_count > 0. It is the bits [first_bit, first_bit + bit_count) of one
 * 64-bit word. in_place means that the value keeps its place in the word, as the offsets do;
 * otherwise it is shifted down. first_bit or bit_count is QCOW2_BIT_X if it depends on the cluster
 * size, as in the descriptor of a compressed cluster.
 */
struct qcow2_field {
	const char *name;  /* as the specification spells it, or a name of ours where it has none */
	const char *alias; /* another accepted name, or NULL */
	const char *legal; /* the values that the specification allows, in words */
	const char *qemu;  /* what QEMU demands besides, in words, or NULL */
	const char *meaning;             /* one line or two of documentation */
	const struct qcow2_names *names; /* NULL if values have no names */
	uint16_t offset_bytes;
	uint16_t width_bytes;
	uint8_t first_bit;
	uint8_t bit_count;
	bool in_place;
	enum qcow2_style style;
};

/*
 * Stands for a number of bits that the cluster size decides: x = 62 - (cluster_bits - 8) of
 * "Compressed Clusters Descriptor". As first_bit it is bit x; as bit_count it is x bits for the
 * field that starts at bit 0, and the bits from x up to 61 for the field that starts at x.
 */
#define QCOW2_BIT_X 0xff

/*
 * A structure of the format: its fields in the order of the file, and what documentation says about
 * it. size_bytes counts the fixed part only; names, extra data and padding that follow it in the
 * file are not described here.
 */
struct qcow2_structure {
	const char *name;    /* "header", "bitmap_dir_entry", … */
	const char *title;   /* "Header", "Bitmap directory entry", … */
	const char *section; /* section of the specification */
	const char *meaning; /* a line or two of documentation */
	const struct qcow2_field *fields;
	size_t field_count;
	uint32_t size_bytes; /* of the fixed part */
};

/* Names of feature bits ("Header"). */
extern QCOW2_API const struct qcow2_names qcow2_incompatible_features;
extern QCOW2_API const struct qcow2_names qcow2_compatible_features;
extern QCOW2_API const struct qcow2_names qcow2_autoclear_features;
/* Names of values: crypt_method and compression_type ("Header", "Additional fields"). */
extern QCOW2_API const struct qcow2_names qcow2_crypt_methods;
extern QCOW2_API const struct qcow2_names qcow2_compression_types;
/* Names of extension types ("Header extensions") and of types of feature names. */
extern QCOW2_API const struct qcow2_names qcow2_extension_types;
extern QCOW2_API const struct qcow2_names qcow2_feature_types;
/* Names of the flags and types of bitmaps ("Bitmap directory"), and of states of LUKS key slots. */
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

/* ---- structures of the format as C structs ---- */

/* The first four bytes of an image, and the lengths of the two versions' fixed headers. */
#define QCOW2_MAGIC           0x514649fbU
#define QCOW2_HEADER_V2_BYTES 72
#define QCOW2_HEADER_V3_BYTES 104

/*
 * The structures as C structs, with numbers in host byte order. They are never laid over bytes:
 * decode from bytes, and encode to bytes. Nevertheless, offsetof(struct qcow2_header, size) is also
 * the offset of the field in the file; static assertions prove it for each struct but qcow2_luks2,
 * which has holes in the file. A struct may be longer than its fields: the size in the file is
 * size_bytes of its table, such as qcow2_crypto_extension_structure.
 */

#define QCOW2_TYPE_u8                                                   uint8_t
#define QCOW2_TYPE_u16                                                  uint16_t
#define QCOW2_TYPE_u32                                                  uint32_t
#define QCOW2_TYPE_u64                                                  uint64_t
#define QCOW2_F(type, name, offset, style, names, legal, qemu, meaning) QCOW2_TYPE_##type name;
#define QCOW2_FA(type, name, alias, offset, style, names, legal, qemu, meaning)                    \
	QCOW2_TYPE_##type name;
#define QCOW2_FB(size, name, offset, style, legal, meaning) uint8_t name[size];

/*
 * The header, at offset 0 of the file ("Header", "Additional fields"). In version 2, the fields
 * after snapshot_offset are not in the file; a decode gives them the values that the specification
 * fixes: no feature bits, refcount_order 4, header_length 72, compression_type 0.
 *
 * The size of the struct is that of the header with its padding, 112 bytes, on every machine: those
 * that align 64 bits at 4 bytes would make it 108.
 */
struct __attribute__((aligned(8))) qcow2_header {
#include <qcow2/def/header.def>
};
/* The start of a header extension ("Header extensions"); length bytes of data follow. */
struct qcow2_extension_header {
#include <qcow2/def/extension.def>
};
/* One entry of the feature name table ("Feature name table"). */
struct qcow2_feature_name {
#include <qcow2/def/feature_name.def>
};
/* One entry of the bitmap directory, without its extra data and name ("Bitmap directory"). */
struct qcow2_bitmap_dir_entry {
#include <qcow2/def/bitmap_dir_entry.def>
};
/* One entry of the snapshot table, without extra data, ID and name ("Snapshots"). */
struct qcow2_snapshot_header {
#include <qcow2/def/snapshot.def>
};
/*
 * The known extra data of a snapshot ("Snapshots"). A field that the extra data does not reach is
 * 0.
 */
struct qcow2_snapshot_extra {
#include <qcow2/def/snapshot_extra.def>
};
/* The LUKS1 header without its key slots. payload_offset counts sectors of 512 bytes. */
struct qcow2_luks1 {
#include <qcow2/def/luks1.def>
};
/* One of the eight key slots of LUKS1. key_material_offset counts sectors of 512 bytes. */
struct qcow2_luks1_key_slot {
#include <qcow2/def/luks1_key_slot.def>
};
/* The binary header of LUKS2. A JSON area, which is not decoded, follows it. */
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

/* ---- find structures, fields and names ---- */

/*
 * Lists all structures, in the order in which the documentation shows them. Returns an array of *count
 * pointers; it and what it points to are constants of the library.
 */
QCOW2_API const struct qcow2_structure *const *qcow2_structures(size_t *count);

/* Lists all tables of names. Returns an array of *count pointers to constants of the library. */
QCOW2_API const struct qcow2_names *const *qcow2_names_tables(size_t *count);

/*
 * Finds a structure by its name.
 *
 * name: NUL terminated, as "bitmap_dir_entry".
 *
 * Returns the structure, a constant of the library, or NULL if none has that name. Thread safe.
 */
QCOW2_API const struct qcow2_structure *qcow2_structure_find(const char *name);

/*
 * Finds a field of a structure by its name or its alias: "snapshots_offset", as the specification
 * spells it, and "snapshot_offset" find the same field of the header.
 *
 * structure: not NULL. name: NUL terminated.
 *
 * Returns the field, a constant of the library, or NULL if the structure has none of that name.
 * Thread safe.
 */
QCOW2_API const struct qcow2_field *qcow2_structure_field(const struct qcow2_structure *structure,
							  const char *name);

/*
 * Finds the name of a value.
 *
 * names: a table of names, as the member names of a field; NULL is fine, as such a member may be.
 * value: the value, or the number of a bit if names->bits.
 *
 * Returns the name, a constant string, or NULL if the value has none. Thread safe.
 */
QCOW2_API const char *qcow2_names_find(const struct qcow2_names *names, uint64_t value);

/* ---- load and store a field of a structure ---- */

/*
 * Loads the value of a number field.
 *
 * field:         a field of the structure that raw holds
 * raw:           the structure as stored, from its first byte on
 * size_bytes:    how many bytes raw has; what is missing reads as zeros
 * cluster_bits:  9 to 30, the header's; matters only for fields with QCOW2_BIT_X
 *
 * Returns the value in host order; 0 for a field that is wider than 8 bytes, which is no number.
 * This never fails, and never reads past raw[size_bytes - 1].
 *
 *	uint8_t raw[112];  // the start of an image
 *	const struct qcow2_field *field =
 *		qcow2_structure_field(&qcow2_header_structure, "cluster_bits");
 *	uint64_t bits = qcow2_field_load(field, raw, sizeof(raw), 0);
 */
QCOW2_API uint64_t qcow2_field_load(const struct qcow2_field *field, const uint8_t *raw,
				    size_t size_bytes, unsigned cluster_bits);

/*
 * Takes a field out of a 64-bit entry that is already in host order.
 *
 * field: a field of the kind of entry. entry: any value. cluster_bits: as for qcow2_field_load().
 *
 * Returns the value of the field; entry itself if the field is not one of an entry. Never fails.
 */
QCOW2_API uint64_t qcow2_field_of_entry(const struct qcow2_field *field, uint64_t entry,
					unsigned cluster_bits);

/*
 * Stores a number in the bytes of its structure, the inverse of qcow2_field_load(). raw has
 * size_bytes bytes; only the bits of the field change. cluster_bits: as for qcow2_field_load().
 *
 * Returns true if the value was stored. Returns false, and changes nothing, if the field does not
 * end within size_bytes, is wider than 8 bytes, or cannot hold the value; a field that is in_place
 * cannot hold bits outside of its own. Whether the specification allows the value is not looked at.
 */
QCOW2_API bool qcow2_field_store(const struct qcow2_field *field, uint8_t *raw, size_t size_bytes,
				 unsigned cluster_bits, uint64_t value);

/* ---- decode structures of the format ---- */

/*
 * Decoders. Each fills *out, which the caller owns, from the bytes of the structure.
 *
 * out:         set whole, whatever the bytes are; any values are taken as they come
 * raw:         the structure as stored, from its first byte on, of any alignment
 * size_bytes:  how many bytes raw has, at most or at least those of the structure; bytes that are
 *              missing decode as zeros, more are ignored
 *
 * They never fail and never read past raw[size_bytes - 1]. raw may be NULL if size_bytes is 0.
 *
 *	struct qcow2_bitmap_dir_entry entry;
 *
 *	qcow2_bitmap_dir_entry_decode(&entry, bytes.data, bytes.size);
 *	printf("table at %#" PRIx64 "\n", entry.bitmap_table_offset);
 */

/*
 * "Header", "Additional fields". Gives a version 2 header the values that the specification fixes
 * for later fields, and compression_type 0 to a header that ends before it. magic and version are
 * not checked.
 */
QCOW2_API void qcow2_header_decode(struct qcow2_header *out, const uint8_t *raw, size_t size_bytes);

/* "Header extensions": the magic and the length of one. */
QCOW2_API void qcow2_extension_header_decode(struct qcow2_extension_header *out, const uint8_t *raw,
					     size_t size_bytes);

/* "Feature name table": an entry of 48 bytes. A name of 46 bytes is not NUL terminated. */
QCOW2_API void qcow2_feature_name_decode(struct qcow2_feature_name *out, const uint8_t *raw,
					 size_t size_bytes);

/* "Bitmap directory": the 24 fixed bytes of an entry; extra data, name and padding follow them. */
QCOW2_API void qcow2_bitmap_dir_entry_decode(struct qcow2_bitmap_dir_entry *out, const uint8_t *raw,
					     size_t size_bytes);

/* "Snapshots": the 40 fixed bytes of an entry; extra data, ID, name and padding follow them. */
QCOW2_API void qcow2_snapshot_header_decode(struct qcow2_snapshot_header *out, const uint8_t *raw,
					    size_t size_bytes);

/* "Snapshots": the extra data. Pass extra_data_size as size_bytes: later fields are 0 then. */
QCOW2_API void qcow2_snapshot_extra_decode(struct qcow2_snapshot_extra *out, const uint8_t *raw,
					   size_t size_bytes);

/* The LUKS1 header, 208 bytes; eight key slots of 48 bytes follow. */
QCOW2_API void qcow2_luks1_decode(struct qcow2_luks1 *out, const uint8_t *raw, size_t size_bytes);

/* One key slot of LUKS1. */
QCOW2_API void qcow2_luks1_key_slot_decode(struct qcow2_luks1_key_slot *out, const uint8_t *raw,
					   size_t size_bytes);

/* The binary header of LUKS2, 512 bytes of its 4096. */
QCOW2_API void qcow2_luks2_decode(struct qcow2_luks2 *out, const uint8_t *raw, size_t size_bytes);

/* ---- encode structures of the format ---- */

/*
 * Encoders, the inverse of the decoders. Each stores the fields of *in at their places in raw.
 *
 * in:          any values; nothing is checked
 * raw:         where the structure starts, of any alignment
 * size_bytes:  how many bytes raw has; a field that does not end within them is not stored, and
 *              bytes behind the structure stay as they are
 *
 * Bytes between fields stay as they are, too, so that a caller can read a structure, decode it,
 * change a field and encode it over what was read. They never fail. A decode of what was encoded
 * gives *in again, but for a version 2 header: it ends after byte 71, so that no later field is
 * stored. Encoders do not make an image consistent: "qcow2 edit" and <qcow2/edit.h> plan changes,
 * check them and can undo them.
 *
 *	struct qcow2_extension_header head = {QCOW2_EXTENSION_DATA_FILE, 9};
 *	uint8_t raw[sizeof(head)];
 *
 *	qcow2_extension_header_encode(&head, raw, sizeof(raw));
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
