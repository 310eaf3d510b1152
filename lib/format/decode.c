/* SPDX-License-Identifier: MIT */
/*
 * From bytes to C structs. Each decoder is its .def list expanded into one load per field. Bytes
 * that are missing decode as zeros, so no decoder can fail. Static assertions prove that the
 * offsets in the lists are right.
 */
#include <string.h>

#include "format/load.h"

#include <qcow2/format.h>

/* Copies count bytes from offset on into out; raw has size bytes, and missing ones become zeros. */
static void take_bytes(uint8_t *out, size_t count, const uint8_t *raw, size_t size, size_t offset)
{
	size_t there = offset < size ? size - offset : 0;

	memset(out, 0, count);
	if (there > 0)
		memcpy(out, raw + offset, there < count ? there : count);
}

/*
 * The C compiler lays out naturally aligned fields as the format does. Equal offsets in the struct
 * therefore prove the offsets in the list, and callers may use offsetof() and sizeof for places in
 * the file. The structs are still never laid over bytes. LUKS2 has holes between its fields and is
 * left out.
 */
#define QCOW2_F(type, name, offset, style, names, legal, qemu, meaning)                            \
	_Static_assert(offsetof(struct LAID_OUT, name) == (offset), #name " is misplaced");
#define QCOW2_FA(type, name, alias, offset, style, names, legal, qemu, meaning)                    \
	QCOW2_F(type, name, offset, style, names, legal, qemu, meaning)
#define QCOW2_FB(size, name, offset, style, legal, meaning)                                        \
	_Static_assert(offsetof(struct LAID_OUT, name) == (offset), #name " is misplaced");
#define LAID_OUT qcow2_header
#include <qcow2/def/header.def>
#undef LAID_OUT
#define LAID_OUT qcow2_bitmap_dir_entry
#include <qcow2/def/bitmap_dir_entry.def>
#undef LAID_OUT
#define LAID_OUT qcow2_snapshot_header
#include <qcow2/def/snapshot.def>
#undef LAID_OUT
#define LAID_OUT qcow2_feature_name
#include <qcow2/def/feature_name.def>
#undef LAID_OUT
#define LAID_OUT qcow2_luks1
#include <qcow2/def/luks1.def>
#undef LAID_OUT
#define LAID_OUT qcow2_luks1_key_slot
#include <qcow2/def/luks1_key_slot.def>
#undef LAID_OUT
#define LAID_OUT qcow2_extension_header
#include <qcow2/def/extension.def>
#undef LAID_OUT
#define LAID_OUT qcow2_snapshot_extra
#include <qcow2/def/snapshot_extra.def>
#undef LAID_OUT
/* Sizes as well: some machines align 64 bits at 4 bytes, and would end the header early. */
_Static_assert(sizeof(struct qcow2_header) == 112, "the padding of the header is missing");
_Static_assert(sizeof(struct qcow2_bitmap_dir_entry) == 24, "a directory entry is 24 bytes");
_Static_assert(sizeof(struct qcow2_snapshot_header) == 40, "a snapshot begins with 40 bytes");
#undef QCOW2_F
#undef QCOW2_FA
#undef QCOW2_FB

#define QCOW2_F(type, name, offset, style, names, legal, qemu, meaning)                            \
	out->name = (QCOW2_TYPE_##type)q2_load_within(raw, size_bytes, offset,                     \
						      sizeof(QCOW2_TYPE_##type));
#define QCOW2_FA(type, name, alias, offset, style, names, legal, qemu, meaning)                    \
	QCOW2_F(type, name, offset, style, names, legal, qemu, meaning)
#define QCOW2_FB(size, name, offset, style, legal, meaning)                                        \
	take_bytes(out->name, size, raw, size_bytes, offset);

void qcow2_header_decode(struct qcow2_header *out, const uint8_t *raw, size_t size_bytes)
{
#include <qcow2/def/header.def>
	if (out->version == 2) {
		/* A version 2 header ends after byte 71; header extensions follow. */
		out->incompatible_features = 0;
		out->compatible_features = 0;
		out->autoclear_features = 0;
		out->refcount_order = 4;
		out->header_length = QCOW2_HEADER_V2_BYTES;
	}
	if (out->header_length <= QCOW2_HEADER_V3_BYTES)
		out->compression_type = 0;
}

void qcow2_extension_header_decode(struct qcow2_extension_header *out, const uint8_t *raw,
				   size_t size_bytes)
{
#include <qcow2/def/extension.def>
}

void qcow2_feature_name_decode(struct qcow2_feature_name *out, const uint8_t *raw,
			       size_t size_bytes)
{
#include <qcow2/def/feature_name.def>
}

void qcow2_bitmap_dir_entry_decode(struct qcow2_bitmap_dir_entry *out, const uint8_t *raw,
				   size_t size_bytes)
{
#include <qcow2/def/bitmap_dir_entry.def>
}

void qcow2_snapshot_header_decode(struct qcow2_snapshot_header *out, const uint8_t *raw,
				  size_t size_bytes)
{
#include <qcow2/def/snapshot.def>
}

void qcow2_snapshot_extra_decode(struct qcow2_snapshot_extra *out, const uint8_t *raw,
				 size_t size_bytes)
{
#include <qcow2/def/snapshot_extra.def>
}

void qcow2_luks1_decode(struct qcow2_luks1 *out, const uint8_t *raw, size_t size_bytes)
{
#include <qcow2/def/luks1.def>
}

void qcow2_luks1_key_slot_decode(struct qcow2_luks1_key_slot *out, const uint8_t *raw,
				 size_t size_bytes)
{
#include <qcow2/def/luks1_key_slot.def>
}

void qcow2_luks2_decode(struct qcow2_luks2 *out, const uint8_t *raw, size_t size_bytes)
{
#include <qcow2/def/luks2.def>
}

/* Extensions: the layout is proved within the decoder, where the struct has a name. */
#undef QCOW2_F
#undef QCOW2_FB
#define QCOW2_F(type, name, offset, style, names, legal, qemu, meaning)                            \
	_Static_assert(offsetof(__typeof__(*out), name) == (offset), #name " is misplaced");       \
	out->name = (QCOW2_TYPE_##type)q2_load_within(raw, size_bytes, offset,                     \
						      sizeof(QCOW2_TYPE_##type));
#define QCOW2_FB(size, name, offset, style, legal, meaning)                                        \
	_Static_assert(offsetof(__typeof__(*out), name) == (offset), #name " is misplaced");       \
	take_bytes(out->name, size, raw, size_bytes, offset);
#define QCOW2_FIELDS_BEGIN(name)                                                                   \
	void qcow2_##name##_decode(struct qcow2_##name *out, const uint8_t *raw,                   \
				   size_t size_bytes)                                              \
	{
#define QCOW2_FIELDS_END(name, title, section, meaning) }
#include <qcow2/def/extensions.def>
