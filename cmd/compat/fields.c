/* SPDX-License-Identifier: MIT */
/* What qcow2.py knows of the format, as it was in QEMU 5.2 and has been since. */
#include "compat/fields.h"

#include <string.h>

static const struct compat_field header_fields[] = {
	{"magic", 0, 4, COMPAT_HEX},
	{"version", 4, 4, COMPAT_DECIMAL},
	{"backing_file_offset", 8, 8, COMPAT_HEX},
	{"backing_file_size", 16, 4, COMPAT_HEX},
	{"cluster_bits", 20, 4, COMPAT_DECIMAL},
	{"size", 24, 8, COMPAT_DECIMAL},
	{"crypt_method", 32, 4, COMPAT_DECIMAL},
	{"l1_size", 36, 4, COMPAT_DECIMAL},
	{"l1_table_offset", 40, 8, COMPAT_HEX},
	{"refcount_table_offset", 48, 8, COMPAT_HEX},
	{"refcount_table_clusters", 56, 4, COMPAT_DECIMAL},
	{"nb_snapshots", 60, 4, COMPAT_DECIMAL},
	{"snapshot_offset", 64, 8, COMPAT_HEX},
	{"incompatible_features", 72, 8, COMPAT_BITS},
	{"compatible_features", 80, 8, COMPAT_BITS},
	{"autoclear_features", 88, 8, COMPAT_BITS},
	{"refcount_order", 96, 4, COMPAT_DECIMAL},
	{"header_length", 100, 4, COMPAT_DECIMAL},
};

static const struct compat_field extension_fields[] = {
	{"magic", 0, 4, COMPAT_TYPE},
	{"length", 4, 4, COMPAT_DECIMAL},
};

static const struct compat_field bitmaps_extension_fields[] = {
	{"nb_bitmaps", 0, 4, COMPAT_DECIMAL},
	{"reserved32", 4, 4, COMPAT_DECIMAL},
	{"bitmap_directory_size", 8, 8, COMPAT_HEX},
	{"bitmap_directory_offset", 16, 8, COMPAT_HEX},
};

static const struct compat_field directory_entry_fields[] = {
	{"bitmap_table_offset", 0, 8, COMPAT_HEX},
	{"bitmap_table_size", 8, 4, COMPAT_DECIMAL},
	{"flags", 12, 4, COMPAT_FLAGS},
	{"type", 16, 1, COMPAT_DECIMAL},
	{"granularity_bits", 17, 1, COMPAT_DECIMAL},
	{"name_size", 18, 2, COMPAT_DECIMAL},
	{"extra_data_size", 20, 4, COMPAT_DECIMAL},
};

#define FIELDS(list, size)                                                                         \
	{                                                                                          \
		list, sizeof(list) / sizeof((list)[0]), size                                       \
	}

const struct compat_fields compat_header = FIELDS(header_fields, 104);
const struct compat_fields compat_extension = FIELDS(extension_fields, 8);
const struct compat_fields compat_bitmaps_extension = FIELDS(bitmaps_extension_fields, 24);
const struct compat_fields compat_directory_entry = FIELDS(directory_entry_fields, 24);

static const struct {
	uint32_t magic;
	const char *name;
} extension_names[] = {
	{0xe2792aca, "Backing format"}, {0x6803f857, "Feature table"},
	{0x0537be77, "Crypto header"},  {0x23852875, "Bitmaps"},
	{0x44415441, "Data file"},
};

const struct compat_field *compat_field_find(const struct compat_fields *fields, const char *name)
{
	for (size_t i = 0; i < fields->count; i++)
		if (strcmp(fields->list[i].name, name) == 0)
			return &fields->list[i];
	return NULL;
}

uint64_t compat_field_load(const struct compat_field *field, const uint8_t *raw)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < field->width_bytes; i++)
		value = value << 8 | raw[field->offset_bytes + i];
	return value;
}

bool compat_field_store(const struct compat_field *field, uint8_t *raw, uint64_t value)
{
	if (field->width_bytes < 8 && value >> (8U * field->width_bytes) != 0)
		return false;
	for (unsigned i = field->width_bytes; i-- > 0; value >>= 8)
		raw[field->offset_bytes + i] = (uint8_t)value;
	return true;
}

const char *compat_extension_name(uint64_t magic)
{
	for (size_t i = 0; i < sizeof(extension_names) / sizeof(extension_names[0]); i++)
		if (extension_names[i].magic == magic)
			return extension_names[i].name;
	return "<unknown>";
}
