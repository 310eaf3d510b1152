/* SPDX-License-Identifier: MIT */
/* The names of values and bits, each with a line of documentation. Constant tables only. */
#include <qcow2/format.h>
#include <qcow2/luks.h>

#define COUNT(list) (sizeof(list) / sizeof((list)[0]))
#define VALUES(id, list)                                                                           \
	{                                                                                          \
		id, false, list, COUNT(list)                                                       \
	}
#define BITS(id, list)                                                                             \
	{                                                                                          \
		id, true, list, COUNT(list)                                                        \
	}

static const struct qcow2_name incompatible[] = {
	{0, "dirty", "Refcounts may be inconsistent: the image was not closed properly."},
	{1, "corrupt", "Any structure may be corrupt; the image must not be written to."},
	{2, "external data file", "Guest clusters are stored in an external data file."},
	{3, "compression type", "compression_type is not 0."},
	{4, "extended L2 entries",
	 "L2 entries are 128 bits wide and describe 32 subclusters each."},
};
const struct qcow2_names qcow2_incompatible_features = BITS("incompatible_features", incompatible);

static const struct qcow2_name compatible[] = {
	{0, "lazy refcounts", "Refcount updates may be postponed while the dirty bit is set."},
};
const struct qcow2_names qcow2_compatible_features = BITS("compatible_features", compatible);

static const struct qcow2_name autoclear[] = {
	{0, "bitmaps", "The bitmaps extension is consistent."},
	{1, "raw external data", "The external data file can be read alone as a raw image."},
};
const struct qcow2_names qcow2_autoclear_features = BITS("autoclear_features", autoclear);

static const struct qcow2_name crypt_methods[] = {
	{0, "none", "Guest data is not encrypted."},
	{1, "AES", "AES-CBC with 256-bit keys, obsolete."},
	{2, "LUKS", "Encrypted as the LUKS header says."},
};
const struct qcow2_names qcow2_crypt_methods = VALUES("crypt_method", crypt_methods);

static const struct qcow2_name compression_types[] = {
	{0, "zlib", "Raw deflate streams."},
	{1, "zstd", "Zstandard frames."},
};
const struct qcow2_names qcow2_compression_types = VALUES("compression_type", compression_types);

static const struct qcow2_name extension_types[] = {
	{0x00000000, "End", "Ends the header extension area."},
#define QCOW2_EXTENSION(id, magic, key, name, shape, structure, meaning) {magic, name, meaning},
#include <qcow2/def/extensions.def>
};
const struct qcow2_names qcow2_extension_types = VALUES("extension", extension_types);

static const struct qcow2_name feature_types[] = {
	{0, "incompatible", "A bit of incompatible_features."},
	{1, "compatible", "A bit of compatible_features."},
	{2, "autoclear", "A bit of autoclear_features."},
};
const struct qcow2_names qcow2_feature_types = VALUES("feature_type", feature_types);

static const struct qcow2_name bitmap_flags[] = {
	{0, "in_use", "The bitmap was not saved properly and may be inconsistent."},
	{1, "auto", "The bitmap is enabled: it must reflect every write to the virtual disk."},
	{2, "extra_data_compatible",
	 "The bitmap may be used by a program that does not know its extra data."},
};
const struct qcow2_names qcow2_bitmap_flags = BITS("bitmap_flags", bitmap_flags);

static const struct qcow2_name bitmap_types[] = {
	{1, "dirty tracking bitmap", "A set bit: this part of the virtual disk was written to."},
};
const struct qcow2_names qcow2_bitmap_types = VALUES("bitmap_type", bitmap_types);

static const struct qcow2_name luks_slot_states[] = {
	{QCOW2_LUKS1_SLOT_INACTIVE, "inactive", "The key slot is free."},
	{QCOW2_LUKS1_SLOT_ACTIVE, "active", "The key slot holds a key."},
};
const struct qcow2_names qcow2_luks_slot_states = VALUES("luks_slot", luks_slot_states);

static const struct qcow2_names *const all[] = {
	&qcow2_incompatible_features, &qcow2_compatible_features, &qcow2_autoclear_features,
	&qcow2_crypt_methods,         &qcow2_compression_types,   &qcow2_extension_types,
	&qcow2_feature_types,         &qcow2_bitmap_flags,        &qcow2_bitmap_types,
	&qcow2_luks_slot_states,
};

const struct qcow2_names *const *qcow2_names_tables(size_t *count)
{
	*count = COUNT(all);
	return all;
}

const char *qcow2_names_find(const struct qcow2_names *names, uint64_t value)
{
	for (size_t i = 0; names && i < names->count; i++)
		if (names->list[i].value == value)
			return names->list[i].name;
	return NULL;
}
