/* SPDX-License-Identifier: MIT */
/*
 * The fields that QEMU's qcow2.py shows and sets: their names, order, places and looks. This table
 * is frozen on purpose. The library's own lists (qcow2/def) grow with the format; what qcow2.py
 * prints does not, so a new field there must not change a byte here.
 */
#ifndef CMD_COMPAT_FIELDS_H
#define CMD_COMPAT_FIELDS_H

#include <qcow2/text.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* How the text page shows a value. JSON shows every value as a number. */
enum compat_style {
	COMPAT_DECIMAL,
	COMPAT_HEX,
	COMPAT_BITS,  /* the numbers of the bits that are set: "[0, 3]" */
	COMPAT_FLAGS, /* flags of a bitmap, with names */
	COMPAT_TYPE,  /* type of a header extension, with its name */
};

/* A big-endian number of width_bytes (1 to 8) at offset_bytes of its structure. */
struct compat_field {
	const char *name;
	uint8_t offset_bytes;
	uint8_t width_bytes;
	enum compat_style style;
};

/* The fields of a structure, in the order in which they are shown; size_bytes is where it ends. */
struct compat_fields {
	const struct compat_field *list;
	size_t count;
	size_t size_bytes;
};

extern const struct compat_fields compat_header;
extern const struct compat_fields compat_extension;
extern const struct compat_fields compat_bitmaps_extension;
extern const struct compat_fields compat_directory_entry;

/* The field of that name, or NULL. */
const struct compat_field *compat_field_find(const struct compat_fields *fields, const char *name);

/* The value of a field. raw must hold all bytes of the field. */
uint64_t compat_field_load(const struct compat_field *field, const uint8_t *raw);

/* Stores a value. False, with raw unchanged, if the value has more bits than the field. */
bool compat_field_store(const struct compat_field *field, uint8_t *raw, uint64_t value);

/* What qcow2.py calls an extension of that type; "<unknown>" if it does not know it. */
const char *compat_extension_name(uint64_t magic);

#endif
