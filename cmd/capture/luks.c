/* SPDX-License-Identifier: MIT */
/*
 * The area of the LUKS header. None of it is captured but the fields of the header that a check and
 * a dump look at, and of these neither digests nor salts. Where nothing says LUKS, the area is no
 * place for keys, and hides nothing.
 */
#include "capture/gather.h"

#include <string.h>

#include <qcow2/extension.h>
#include <qcow2/format.h>
#include <qcow2/geometry.h>
#include <qcow2/luks.h>

/* Key material of a slot at the most, whatever its fields say: keys of 64 bytes in 4,000 stripes. */
#define MATERIAL_MOST UINT64_C(256000)

static const uint8_t magic[6] = {'L', 'U', 'K', 'S', 0xba, 0xbe};
/* So many bytes of it are enough: it may be damaged. */
#define MAGIC_LEAST 4
/* Where the fields of version 2 end, but for the checksum. */
#define VERSION_2_FIELDS ((size_t)264)

/*
 * Hides the header with all its key material: as far as the header says that it reaches, as the
 * length in the pointer may be damaged, and each slot for itself.
 */
static void hide_version_1(const struct capture_content *content, uint64_t area_bytes,
			   uint64_t file_size, struct capture_ranges *keys)
{
	const uint8_t *raw = content->luks;
	const uint64_t at = content->luks_at_bytes;
	const uint64_t area_end = area_bytes < file_size - at ? at + area_bytes : file_size;
	struct qcow2_luks1 luks;

	qcow2_luks1_decode(&luks, raw, sizeof(luks));
	capture_ranges_add(keys, at, (uint64_t)luks.payload_offset * QCOW2_LUKS_SECTOR_BYTES,
			   area_end);
	capture_ranges_add(keys, at, CAPTURE_LUKS_BYTES, file_size);
	for (size_t i = 0; i < QCOW2_LUKS1_SLOTS; i++) {
		struct qcow2_luks1_key_slot slot;
		uint64_t size, offset;

		qcow2_luks1_key_slot_decode(&slot, raw + sizeof(luks) + i * sizeof(slot),
					    sizeof(slot));
		size = (uint64_t)luks.key_bytes * slot.stripes;
		offset = (uint64_t)slot.key_material_offset * QCOW2_LUKS_SECTOR_BYTES;
		if (size > 0 && offset > 0 && at <= UINT64_MAX - offset)
			capture_ranges_add(keys, at + offset,
					   size < MATERIAL_MOST ? size : MATERIAL_MOST, file_size);
	}
}

static void blank(uint8_t *raw, size_t at, size_t size)
{
	memset(raw + at, 0, size);
}

/* What stands behind the end of a text may be left over from anything. */
static void cut_text(uint8_t *raw, size_t at, size_t size)
{
	const uint8_t *end = memchr(raw + at, 0, size);

	if (end)
		blank(raw, (size_t)(end - raw), at + size - (size_t)(end - raw));
}

/* Takes what must not be known out of a header of version 1. */
static void blank_version_1(uint8_t *raw, bool plain_text)
{
	cut_text(raw, offsetof(struct qcow2_luks1, cipher_name), 32);
	cut_text(raw, offsetof(struct qcow2_luks1, cipher_mode), 32);
	cut_text(raw, offsetof(struct qcow2_luks1, hash_spec), 32);
	blank(raw, offsetof(struct qcow2_luks1, mk_digest), 20);
	blank(raw, offsetof(struct qcow2_luks1, mk_digest_salt), 32);
	if (plain_text)
		blank(raw, offsetof(struct qcow2_luks1, uuid), 40);
	for (size_t i = 0; i < QCOW2_LUKS1_SLOTS; i++)
		blank(raw,
		      sizeof(struct qcow2_luks1) + i * sizeof(struct qcow2_luks1_key_slot) +
			      offsetof(struct qcow2_luks1_key_slot, salt),
		      32);
}

/* The binary header of version 2; its JSON area, with keys and tokens, is left out altogether. */
static void blank_version_2(uint8_t *raw, bool plain_text)
{
	blank(raw, offsetof(struct qcow2_luks2, salt), 64);
	/* The checksum, which is of keys as well, and the unused bytes in front of it. */
	blank(raw, VERSION_2_FIELDS, qcow2_luks2_structure.size_bytes - VERSION_2_FIELDS);
	cut_text(raw, offsetof(struct qcow2_luks2, csum_alg), 32);
	if (!plain_text)
		return;
	blank(raw, offsetof(struct qcow2_luks2, label), 48);
	blank(raw, offsetof(struct qcow2_luks2, uuid), 40);
	blank(raw, offsetof(struct qcow2_luks2, subsystem), 48);
}

/* Keeps fields, and hides the area. */
static void take_luks(const struct qcow2_image *image, const struct capture_wanted *wanted,
		      struct capture_content *content, uint64_t area_bytes)
{
	const uint64_t file_size = qcow2_source_size_bytes(qcow2_image_source(image));
	const uint64_t cluster = qcow2_image_geometry(image)->cluster_size_bytes;
	struct capture_range header = {0, cluster};
	const struct capture_ranges apart = {.list = &header, .count = 1};
	uint8_t *raw = content->luks;
	struct qcow2_luks1 luks;

	qcow2_luks1_decode(&luks, raw, sizeof(luks));
	if (luks.version == 2) {
		capture_ranges_add(&content->keys, content->luks_at_bytes, area_bytes, file_size);
		blank_version_2(raw, wanted->plain_text);
		content->luks_size = qcow2_luks2_structure.size_bytes;
	} else { /* a dump takes any other one for version 1 */
		hide_version_1(content, area_bytes, file_size, &content->keys);
		blank_version_1(raw, wanted->plain_text);
		content->luks_size =
			sizeof(luks) + QCOW2_LUKS1_SLOTS * sizeof(struct qcow2_luks1_key_slot);
	}
	/* A pointer into the header is wrong: the header stays. */
	capture_ranges_settle(&content->keys);
	capture_ranges_take_away(&content->keys, &apart);
}

static bool is_luks(const uint8_t *raw)
{
	unsigned same = 0;

	for (size_t i = 0; i < sizeof(magic); i++)
		same += raw[i] == magic[i];
	return same >= MAGIC_LEAST;
}

int capture_gather_luks(const struct qcow2_image *image, const struct capture_wanted *wanted,
			struct capture_content *content, struct qcow2_error *err)
{
	const uint64_t file_size = qcow2_source_size_bytes(qcow2_image_source(image));
	struct qcow2_crypto_extension crypto;
	struct qcow2_bytes data;
	uint64_t left;

	if (!qcow2_image_find_extension(image, QCOW2_EXTENSION_CRYPTO, &data) ||
	    data.size < sizeof(crypto))
		return 0;
	qcow2_crypto_extension_decode(&crypto, data.data, data.size);
	if (qcow2_image_read_luks(image, content->luks, sizeof(content->luks),
				  &content->luks_at_bytes, err))
		return err->code == QCOW2_ERROR_IO || err->code == QCOW2_ERROR_MEMORY ? -1 : 0;
	if (is_luks(content->luks))
		take_luks(image, wanted, content, crypto.length);
	else
		content->luks_size = sizeof(magic); /* a check tells what stands there instead */
	left = file_size - content->luks_at_bytes;
	if (content->luks_size > left)
		content->luks_size = (size_t)left;
	return 0;
}
