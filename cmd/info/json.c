/* SPDX-License-Identifier: MIT */
/* qcow2 info as JSON: the keys and values of qemu-img info, without opening any other file. */
#include "common/bitmap_state.h"
#include "info/pages.h"
#include "out/human.h"

#include <qcow2/limits.h>
#include <qcow2/luks.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LUKS1_BYTES (SLOTS_AT + QCOW2_LUKS1_SLOTS * SLOT_BYTES)
#define SLOTS_AT    sizeof(struct qcow2_luks1)
#define SLOT_BYTES  sizeof(struct qcow2_luks1_key_slot)

static void key_text(struct json *json, const char *key, const char *text)
{
	json_text_member(json, key, (struct qcow2_bytes){(const uint8_t *)text, strlen(text)});
}

static void key_bytes(struct json *json, const char *key, struct qcow2_bytes bytes)
{
	json_text_member(json, key, bytes);
}

/* A name or another text of any length, which is cut here: see struct info. */
static void key_long(struct json *json, const struct info *info, const char *key,
		     struct qcow2_bytes bytes)
{
	const struct qcow2_bytes shown =
		info->bytes_most > 0 ? human_cut(bytes, info->bytes_most) : bytes;
	char omitted[64];

	key_bytes(json, key, shown);
	if (shown.size == bytes.size)
		return;
	snprintf(omitted, sizeof(omitted), "%s-omitted-bytes", key);
	json_number_member(json, omitted, bytes.size - shown.size);
}

static void key_bool(struct json *json, const char *key, bool truth)
{
	json_key(json, key);
	json_bool(json, truth);
}

/* Whether a list is cut here: see struct info. */
static bool is_full(const struct info *info, uint64_t rows)
{
	return info->rows_most > 0 && rows >= info->rows_most;
}

static void show_snapshots(struct json *json, struct info *info)
{
	struct qcow2_snapshots *snapshots;
	const struct qcow2_snapshot *s;
	struct qcow2_error err;
	uint64_t rows = 0;
	int more = 0;

	if (qcow2_snapshots_open(info->image, &snapshots, &err)) {
		info_note(info, &err);
		return;
	}
	json_key(json, "snapshots");
	json_begin_array(json);
	/* QEMU refuses more; a table in a hole may claim billions. */
	while (!is_full(info, rows) && rows++ < QCOW2_LIMIT_QEMU_SNAPSHOTS &&
	       (more = qcow2_snapshots_next(snapshots, &s, &err)) > 0) {
		json_begin_object(json);
		if (s->has_icount)
			json_number_member(json, "icount", s->extra.icount);
		json_number_member(json, "vm-clock-nsec", s->header.vm_clock_nsec % 1000000000);
		key_long(json, info, "name", s->name);
		json_number_member(json, "date-sec", s->header.date_sec);
		json_number_member(json, "date-nsec", s->header.date_nsec);
		json_number_member(json, "vm-clock-sec", s->header.vm_clock_nsec / 1000000000);
		key_long(json, info, "id", s->id);
		json_number_member(json, "vm-state-size", s->vm_state_size_bytes);
		json_end_object(json);
	}
	json_end_array(json);
	if (is_full(info, rows) && qcow2_image_header(info->image)->nb_snapshots > rows)
		json_number_member(json, "snapshots-omitted",
				   qcow2_image_header(info->image)->nb_snapshots - rows);
	if (more < 0)
		info_note(info, &err);
	qcow2_snapshots_close(snapshots);
}

static void show_bitmap(struct json *json, const struct info *info,
			const struct qcow2_bitmap *bitmap)
{
	json_begin_object(json);
	json_key(json, "flags");
	json_begin_array(json);
	if (bitmap->entry.flags & QCOW2_BITMAP_IN_USE)
		json_text(json, "in-use");
	if (bitmap->entry.flags & QCOW2_BITMAP_AUTO)
		json_text(json, "auto");
	json_end_array(json);
	key_long(json, info, "name", bitmap->name);
	if (bitmap->entry.granularity_bits < 64)
		json_number_member(json, "granularity",
				   UINT64_C(1) << bitmap->entry.granularity_bits);
	json_end_object(json);
}

/* Bitmaps that the autoclear bit does not vouch for are not shown by QEMU either. */
static void show_bitmaps(struct json *json, struct info *info)
{
	struct qcow2_bitmaps *bitmaps;
	const struct qcow2_bitmap *bitmap;
	struct qcow2_error err;
	uint64_t rows = 0;
	int more = 0;

	if (!(qcow2_image_header(info->image)->autoclear_features & QCOW2_AUTOCLEAR_BITMAPS))
		return;
	if (qcow2_bitmaps_open(info->image, &bitmaps, &err)) {
		info_note(info, &err);
		return;
	}
	json_key(json, "bitmaps");
	json_begin_array(json);
	while (!is_full(info, rows) &&
	       !bitmap_past_stored(bitmaps, qcow2_image_source(info->image)) &&
	       (more = qcow2_bitmaps_next(bitmaps, &bitmap, &err)) > 0) {
		show_bitmap(json, info, bitmap);
		rows++;
	}
	json_end_array(json);
	if (is_full(info, rows) && qcow2_bitmaps_header(bitmaps)->nb_bitmaps > rows)
		json_number_member(json, "bitmaps-omitted",
				   qcow2_bitmaps_header(bitmaps)->nb_bitmaps - rows);
	if (more < 0)
		info_note(info, &err);
	qcow2_bitmaps_close(bitmaps);
}

static struct qcow2_bytes up_to_nul(const uint8_t *text, size_t size)
{
	return (struct qcow2_bytes){text, strnlen((const char *)text, size)};
}

static struct qcow2_bytes up_to(struct qcow2_bytes text, char stop)
{
	const uint8_t *found = text.size ? memchr(text.data, stop, text.size) : NULL;

	if (found)
		text.size = (size_t)(found - text.data);
	return text;
}

/* "xts-plain64", "cbc-essiv:sha256": mode, generator of initialization vectors, and its hash. */
static void show_cipher(struct json *json, const struct qcow2_luks1 *luks)
{
	struct qcow2_bytes spec = up_to_nul(luks->cipher_mode, sizeof(luks->cipher_mode));
	struct qcow2_bytes mode = up_to(spec, '-');
	struct qcow2_bytes rest = {spec.data + mode.size, spec.size - mode.size};
	struct qcow2_bytes name = up_to_nul(luks->cipher_name, sizeof(luks->cipher_name));
	char cipher[64];
	size_t size = name.size;

	if (rest.size > 0) {
		rest.data++;
		rest.size--;
	}
	key_bytes(json, "ivgen-alg", up_to(rest, ':'));
	if (up_to(rest, ':').size + 1 < rest.size) {
		size_t skip = up_to(rest, ':').size + 1;

		key_bytes(json, "ivgen-hash-alg",
			  (struct qcow2_bytes){rest.data + skip, rest.size - skip});
	}
	key_bytes(json, "cipher-mode", mode);
	/* The length of the key is part of the cipher's name; XTS takes two keys. */
	memcpy(cipher, name.data, name.size);
	size += (size_t)snprintf(
		cipher + size, sizeof(cipher) - size, "-%u",
		luks->key_bytes * 8U /
			(mode.size == 3 && memcmp(mode.data, "xts", 3) == 0 ? 2 : 1));
	key_bytes(json, "cipher-alg", (struct qcow2_bytes){(const uint8_t *)cipher, size});
}

static void show_slot(struct json *json, const uint8_t *raw)
{
	struct qcow2_luks1_key_slot slot;

	qcow2_luks1_key_slot_decode(&slot, raw, SLOT_BYTES);
	json_begin_object(json);
	key_bool(json, "active", slot.active == QCOW2_LUKS1_SLOT_ACTIVE);
	if (slot.active == QCOW2_LUKS1_SLOT_ACTIVE) {
		json_number_member(json, "iters", slot.iterations);
		json_number_member(json, "stripes", slot.stripes);
	}
	json_number_member(json, "key-offset",
			   (uint64_t)slot.key_material_offset * QCOW2_LUKS_SECTOR_BYTES);
	json_end_object(json);
}

static void show_luks(struct json *json, struct info *info)
{
	uint8_t raw[LUKS1_BYTES];
	struct qcow2_luks1 luks;
	struct qcow2_error err;
	uint64_t offset;

	key_text(json, "format", "luks");
	if (qcow2_image_read_luks(info->image, raw, sizeof(raw), &offset, &err)) {
		info_note(info, &err);
		return;
	}
	qcow2_luks1_decode(&luks, raw, sizeof(raw));
	if (luks.version != 1)
		return;
	show_cipher(json, &luks);
	key_bytes(json, "hash-alg", up_to_nul(luks.hash_spec, sizeof(luks.hash_spec)));
	key_bytes(json, "uuid", up_to_nul(luks.uuid, sizeof(luks.uuid)));
	json_number_member(json, "payload-offset",
			   (uint64_t)luks.payload_offset * QCOW2_LUKS_SECTOR_BYTES);
	json_number_member(json, "master-key-iters", luks.mk_digest_iter);
	json_key(json, "slots");
	json_begin_array(json);
	for (size_t i = 0; i < QCOW2_LUKS1_SLOTS; i++)
		show_slot(json, raw + SLOTS_AT + i * SLOT_BYTES);
	json_end_array(json);
}

static void show_encryption(struct json *json, struct info *info)
{
	uint32_t method = qcow2_image_header(info->image)->crypt_method;

	if (method == 0)
		return;
	json_key(json, "encrypt");
	json_begin_object(json);
	if (method == 2)
		show_luks(json, info);
	else
		key_text(json, "format", method == 1 ? "aes" : "unknown");
	json_end_object(json);
}

/* zlib is what qemu-img calls type 0 there. */
static const char *compression_name(unsigned type)
{
	return type == 0 ? "zlib" : type == 1 ? "zstd" : "unknown";
}

static void show_specific(struct json *json, struct info *info)
{
	const struct qcow2_image *image = info->image;
	const struct qcow2_header *h = qcow2_image_header(image);

	json_key(json, "format-specific");
	json_begin_object(json);
	key_text(json, "type", "qcow2");
	json_key(json, "data");
	json_begin_object(json);
	key_text(json, "compat", h->version >= 3 ? "1.1" : "0.10");
	key_text(json, "compression-type", compression_name(h->compression_type));
	if (h->version >= 3) {
		key_bool(json, "lazy-refcounts",
			 (h->compatible_features & QCOW2_COMPATIBLE_LAZY_REFCOUNTS) != 0);
		show_bitmaps(json, info);
	}
	if (h->refcount_order <= QCOW2_LIMIT_REFCOUNT_ORDER_MAX)
		json_number_member(json, "refcount-bits", UINT64_C(1) << h->refcount_order);
	if (h->version >= 3) {
		key_bool(json, "corrupt",
			 (h->incompatible_features & QCOW2_INCOMPATIBLE_CORRUPT) != 0);
		key_bool(json, "extended-l2",
			 (h->incompatible_features & QCOW2_INCOMPATIBLE_EXTENDED_L2) != 0);
	}
	if (h->incompatible_features & QCOW2_INCOMPATIBLE_DATA_FILE) {
		struct qcow2_bytes name = info_extension_text(image, QCOW2_EXTENSION_DATA_FILE);

		if (name.size > 0)
			key_long(json, info, "data-file", name);
		key_bool(json, "data-file-raw",
			 (h->autoclear_features & QCOW2_AUTOCLEAR_DATA_FILE_RAW) != 0);
	}
	show_encryption(json, info);
	json_end_object(json);
	json_end_object(json);
}

static void show_backing(struct json *json, struct info *info)
{
	struct qcow2_bytes name = qcow2_image_backing_name(info->image);
	struct qcow2_bytes format =
		info_extension_text(info->image, QCOW2_EXTENSION_BACKING_FORMAT);
	char *full;

	if (name.size == 0)
		return;
	key_long(json, info, "backing-filename", name);
	full = chain_full_name(info->file, name);
	if (full)
		key_long(json, info, "full-backing-filename",
			 (struct qcow2_bytes){(const uint8_t *)full, strlen(full)});
	else
		info_note(info, &(struct qcow2_error){.code = QCOW2_ERROR_MEMORY,
						      .offset_bytes = QCOW2_NO_OFFSET,
						      .text = "out of memory"});
	free(full);
	if (format.size > 0)
		key_long(json, info, "backing-filename-format", format);
}

static void show_qcow2(struct json *json, struct info *info)
{
	const struct qcow2_header *h = qcow2_image_header(info->image);
	const struct qcow2_geometry *geometry = qcow2_image_geometry(info->image);

	show_snapshots(json, info);
	json_number_member(json, "virtual-size", h->size & ~UINT64_C(511));
	if (geometry)
		json_number_member(json, "cluster-size", geometry->cluster_size_bytes);
	key_text(json, "format", "qcow2");
	show_specific(json, info);
	if (h->crypt_method != 0)
		key_bool(json, "encrypted", true);
	show_backing(json, info);
	key_bool(json, "dirty-flag", (h->incompatible_features & QCOW2_INCOMPATIBLE_DIRTY) != 0);
}

void info_show_json(struct json *json, struct info *info)
{
	json_begin_object(json);
	key_text(json, "filename", info->file);
	json_number_member(json, "actual-size", qcow2_source_allocated_bytes(info->source));
	if (info->image) {
		show_qcow2(json, info);
	} else {
		/* as QEMU counts: in sectors, the last of which may be cut */
		if (strcmp(info->link->format, "raw") == 0)
			json_number_member(json, "virtual-size",
					   (qcow2_source_size_bytes(info->source) + 511) &
						   ~UINT64_C(511));
		key_text(json, "format", info->link->format);
		key_bool(json, "dirty-flag", false);
	}
	json_end_object(json);
}
