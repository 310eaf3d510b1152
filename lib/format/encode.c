/* SPDX-License-Identifier: MIT */
/*
 * From C structs to bytes, the inverse of decode.c. Each encoder is its .def list expanded into one
 * store per field, so that nobody else has to know where a field is. Encoders leave alone the bytes
 * between fields, and the fields that raw does not hold whole. A caller can therefore encode over
 * the bytes that it has read without losing what it does not know.
 */
#include <string.h>

#include "format/load.h"

#include <qcow2/format.h>

/* Stores count bytes at offset; stores nothing if raw, which has size bytes, is too short. */
static void put_bytes(uint8_t *raw, size_t size, size_t offset, const uint8_t *bytes, size_t count)
{
	if (offset <= size && size - offset >= count)
		memcpy(raw + offset, bytes, count);
}

#define QCOW2_F(type, name, offset, style, names, legal, qemu, meaning)                            \
	q2_store_within(raw, size_bytes, offset, sizeof(QCOW2_TYPE_##type), in->name);
#define QCOW2_FA(type, name, alias, offset, style, names, legal, qemu, meaning)                    \
	QCOW2_F(type, name, offset, style, names, legal, qemu, meaning)
#define QCOW2_FB(size, name, offset, style, legal, meaning)                                        \
	put_bytes(raw, size_bytes, offset, in->name, size);

void qcow2_header_encode(const struct qcow2_header *in, uint8_t *raw, size_t size_bytes)
{
	/* A version 2 header ends after byte 71; header extensions follow. */
	if (in->version == 2 && size_bytes > QCOW2_HEADER_V2_BYTES)
		size_bytes = QCOW2_HEADER_V2_BYTES;
#include <qcow2/def/header.def>
}

void qcow2_extension_header_encode(const struct qcow2_extension_header *in, uint8_t *raw,
				   size_t size_bytes)
{
#include <qcow2/def/extension.def>
}

#define QCOW2_FIELDS_BEGIN(name)                                                                   \
	void qcow2_##name##_encode(const struct qcow2_##name *in, uint8_t *raw, size_t size_bytes) \
	{
#define QCOW2_FIELDS_END(name, title, section, meaning) }
#include <qcow2/def/extensions.def>

void qcow2_feature_name_encode(const struct qcow2_feature_name *in, uint8_t *raw, size_t size_bytes)
{
#include <qcow2/def/feature_name.def>
}

void qcow2_bitmap_dir_entry_encode(const struct qcow2_bitmap_dir_entry *in, uint8_t *raw,
				   size_t size_bytes)
{
#include <qcow2/def/bitmap_dir_entry.def>
}

void qcow2_snapshot_header_encode(const struct qcow2_snapshot_header *in, uint8_t *raw,
				  size_t size_bytes)
{
#include <qcow2/def/snapshot.def>
}

void qcow2_snapshot_extra_encode(const struct qcow2_snapshot_extra *in, uint8_t *raw,
				 size_t size_bytes)
{
#include <qcow2/def/snapshot_extra.def>
}

void qcow2_luks1_encode(const struct qcow2_luks1 *in, uint8_t *raw, size_t size_bytes)
{
#include <qcow2/def/luks1.def>
}

void qcow2_luks1_key_slot_encode(const struct qcow2_luks1_key_slot *in, uint8_t *raw,
				 size_t size_bytes)
{
#include <qcow2/def/luks1_key_slot.def>
}

void qcow2_luks2_encode(const struct qcow2_luks2 *in, uint8_t *raw, size_t size_bytes)
{
#include <qcow2/def/luks2.def>
}
