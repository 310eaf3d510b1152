/* SPDX-License-Identifier: MIT */
/*
 * See luks.h. Every number of the header is hostile: time is bounded by counting rounds of PBKDF2
 * before they are spent, memory by the stripes that a slot may have.
 */
#include "guest/luks.h"

#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/error.h"
#include "codec/crypto_hash.h"
#include "codec/split_key.h"
#include "image/extensions.h"

#include <qcow2/limits.h>
#include <qcow2/source.h>

#define HEADER_BYTES sizeof(struct qcow2_luks1)
#define SLOT_BYTES   sizeof(struct qcow2_luks1_key_slot)
#define ALL_BYTES    (HEADER_BYTES + QCOW2_LUKS1_SLOTS * SLOT_BYTES)
/* Programs make 4000. So many make 4 MiB of the longest key. */
#define STRIPES_MAX 65536
/* Ciphers need whole blocks, of which this is the longest. */
#define BLOCK_BYTES 16

/* ---- the header ---- */

/* The text in a field of the header, up to the first NUL. */
static struct qcow2_bytes text_in(const uint8_t *field, size_t size)
{
	const uint8_t *end = memchr(field, 0, size);

	return (struct qcow2_bytes){field, end ? (size_t)(end - field) : size};
}

static int judge_version(const struct q2_luks *luks, struct qcow2_error *err)
{
	static const uint8_t magic[] = {'L', 'U', 'K', 'S', 0xba, 0xbe};

	if (memcmp(luks->header.magic, magic, sizeof(magic)) != 0)
		return q2_fail(err, QCOW2_ERROR_BROKEN, luks->offset_bytes,
			       "there is no LUKS header where the image says");
	if (luks->header.version == 2)
		return q2_fail(err, QCOW2_ERROR_UNSUPPORTED, luks->offset_bytes,
			       "LUKS version 2 cannot be decrypted here, only version 1");
	if (luks->header.version != 1)
		return q2_fail(err, QCOW2_ERROR_UNSUPPORTED, luks->offset_bytes,
			       "LUKS version %u is not known", luks->header.version);
	return 0;
}

static int judge_names(struct q2_luks *luks, struct qcow2_error *err)
{
	const struct qcow2_luks1 *h = &luks->header;
	struct qcow2_bytes cipher = text_in(h->cipher_name, sizeof(h->cipher_name));
	struct qcow2_bytes mode = text_in(h->cipher_mode, sizeof(h->cipher_mode));
	struct qcow2_bytes hash = text_in(h->hash_spec, sizeof(h->hash_spec));
	const char *unknown = q2_cipher_choose(cipher, mode, h->key_bytes, &luks->choice);

	if (unknown)
		return q2_fail(err, QCOW2_ERROR_UNSUPPORTED, luks->offset_bytes,
			       "LUKS with the cipher '%.*s', mode '%.*s' and a key of %u bytes: "
			       "the %s is not known",
			       (int)cipher.size, (const char *)cipher.data, (int)mode.size,
			       (const char *)mode.data, h->key_bytes, unknown);
	luks->hash = q2_crypto_hash_find(hash);
	if (!luks->hash)
		return q2_fail(err, QCOW2_ERROR_UNSUPPORTED, luks->offset_bytes,
			       "LUKS with the hash '%.*s', which is not known", (int)hash.size,
			       (const char *)hash.data);
	if (h->mk_digest_iter == 0)
		return q2_fail(err, QCOW2_ERROR_BROKEN, luks->offset_bytes,
			       "the digest of the LUKS key has no iterations");
	return 0;
}

/* How much of the area that the image names is in the file. */
static uint64_t area_bytes(const struct qcow2_image *image, uint64_t offset)
{
	uint64_t there = qcow2_source_size_bytes(qcow2_image_source(image)) - offset;
	struct qcow2_crypto_extension crypto;
	struct qcow2_extension extension;

	if (!q2_find_extension(image, QCOW2_EXTENSION_CRYPTO, &extension))
		return 0;
	qcow2_crypto_extension_decode(&crypto, extension.data.data, extension.data.size);
	return crypto.length < there ? crypto.length : there;
}

int q2_luks_read(const struct qcow2_image *image, struct q2_luks *luks, struct qcow2_error *err)
{
	uint8_t raw[ALL_BYTES];

	*luks = (struct q2_luks){.image = image};
	if (qcow2_image_read_luks(image, raw, sizeof(raw), &luks->offset_bytes, err)) {
		/* The header of the image says that there is one. */
		if (err && err->code == QCOW2_ERROR_NOT_FOUND)
			err->code = QCOW2_ERROR_BROKEN;
		return -1;
	}
	luks->area_bytes = area_bytes(image, luks->offset_bytes);
	qcow2_luks1_decode(&luks->header, raw, HEADER_BYTES);
	for (size_t i = 0; i < QCOW2_LUKS1_SLOTS; i++)
		qcow2_luks1_key_slot_decode(&luks->slots[i], raw + HEADER_BYTES + i * SLOT_BYTES,
					    SLOT_BYTES);
	return judge_version(luks, err) || judge_names(luks, err) ? -1 : 0;
}

/* ---- key slots ---- */

/* What a passphrase is tried with, and what became of it. */
struct attempt {
	const struct q2_luks *luks;
	struct qcow2_bytes passphrase;
	uint64_t rounds_left;
	unsigned tried, damaged, too_slow;
};

static uint64_t material_bytes(const struct q2_luks *luks, const struct qcow2_luks1_key_slot *slot)
{
	return (uint64_t)luks->choice.key_bytes * slot->stripes;
}

/* Whether a slot can hold a key at all. */
static bool is_sound(const struct q2_luks *luks, const struct qcow2_luks1_key_slot *slot)
{
	uint64_t start = (uint64_t)slot->key_material_offset * QCOW2_LUKS_SECTOR_BYTES;

	return slot->iterations > 0 && slot->stripes > 0 && slot->stripes <= STRIPES_MAX &&
	       material_bytes(luks, slot) % BLOCK_BYTES == 0 && start >= ALL_BYTES &&
	       q2_range_fits(start, material_bytes(luks, slot), luks->area_bytes);
}

static struct q2_pbkdf2 slot_way(const struct q2_luks *luks,
				 const struct qcow2_luks1_key_slot *slot)
{
	return (struct q2_pbkdf2){luks->hash, {slot->salt, sizeof(slot->salt)}, slot->iterations};
}

static struct q2_pbkdf2 digest_way(const struct q2_luks *luks)
{
	const struct qcow2_luks1 *h = &luks->header;

	return (struct q2_pbkdf2){
		luks->hash, {h->mk_digest_salt, sizeof(h->mk_digest_salt)}, h->mk_digest_iter};
}

/* Takes the time that a slot needs from what is left; false if that is not enough. */
static bool charge(struct attempt *attempt, const struct qcow2_luks1_key_slot *slot)
{
	const struct q2_luks *luks = attempt->luks;
	struct q2_pbkdf2 key = slot_way(luks, slot), digest = digest_way(luks);
	uint64_t rounds = q2_pbkdf2_rounds(&key, luks->choice.key_bytes) +
			  q2_pbkdf2_rounds(&digest, sizeof(luks->header.mk_digest));

	if (rounds > attempt->rounds_left)
		return false;
	attempt->rounds_left -= rounds;
	return true;
}

/* Reads the key material of a slot and decrypts it with what the passphrase says. */
static int read_material(const struct attempt *attempt, const struct qcow2_luks1_key_slot *slot,
			 uint8_t *material, struct qcow2_error *err)
{
	const struct q2_luks *luks = attempt->luks;
	size_t size = (size_t)material_bytes(luks, slot), key_bytes = luks->choice.key_bytes;
	uint64_t start = (uint64_t)slot->key_material_offset * QCOW2_LUKS_SECTOR_BYTES;
	struct q2_pbkdf2 way = slot_way(luks, slot);
	uint8_t key[Q2_CIPHER_KEY_BYTES_MAX];
	struct q2_cipher *cipher;

	if (qcow2_source_read(qcow2_image_source(luks->image), luks->offset_bytes + start, material,
			      size, err))
		return -1;
	q2_pbkdf2(&way, attempt->passphrase, key, key_bytes);
	cipher = q2_cipher_new(&luks->choice, key);
	explicit_bzero(key, sizeof(key));
	if (!cipher)
		return q2_fail_memory(err);
	/* Sectors count from the start of the material. */
	q2_cipher_decrypt(cipher, 0, material, size);
	q2_cipher_free(cipher);
	return 0;
}

/* Whether a key is the one of the image. */
static bool is_the_key(const struct q2_luks *luks, const uint8_t *key)
{
	struct q2_pbkdf2 way = digest_way(luks);
	uint8_t digest[sizeof(luks->header.mk_digest)];

	q2_pbkdf2(&way, (struct qcow2_bytes){key, luks->choice.key_bytes}, digest, sizeof(digest));
	return memcmp(digest, luks->header.mk_digest, sizeof(digest)) == 0;
}

/* Returns 1 with *out set, 0 if the passphrase is not that of the slot, or -1. */
static int try_slot(const struct attempt *attempt, const struct qcow2_luks1_key_slot *slot,
		    struct q2_cipher **out, struct qcow2_error *err)
{
	const struct q2_luks *luks = attempt->luks;
	size_t size = (size_t)material_bytes(luks, slot);
	uint8_t *material = q2_alloc_buffer(size), key[Q2_CIPHER_KEY_BYTES_MAX];
	int result = -1;

	if (!material)
		return q2_fail_memory(err);
	if (read_material(attempt, slot, material, err))
		goto out;
	q2_split_key_join(luks->hash, material, slot->stripes, key, luks->choice.key_bytes);
	result = is_the_key(luks, key);
	if (result == 0)
		goto out;
	*out = q2_cipher_new(&luks->choice, key);
	if (!*out)
		result = q2_fail_memory(err);
out:
	explicit_bzero(key, sizeof(key));
	explicit_bzero(material, size);
	q2_free(material);
	return result;
}

/* Why no slot opened. */
static int refuse(const struct attempt *attempt, struct qcow2_error *err)
{
	uint64_t at = attempt->luks->offset_bytes;

	if (attempt->too_slow > 0)
		return q2_fail(err, QCOW2_ERROR_LIMIT, at,
			       "%u key slots of the LUKS header need too many iterations",
			       attempt->too_slow);
	if (attempt->tried > 0 && attempt->damaged > 0)
		return q2_fail(err, QCOW2_ERROR_MISMATCH, at,
			       "the passphrase opens no key slot, and %u other slots are damaged",
			       attempt->damaged);
	if (attempt->tried > 0)
		return q2_fail(err, QCOW2_ERROR_MISMATCH, QCOW2_NO_OFFSET,
			       "the passphrase opens no key slot");
	return q2_fail(err, QCOW2_ERROR_BROKEN, at,
		       attempt->damaged > 0 ? "all key slots of the LUKS header are damaged"
					    : "no key slot of the LUKS header is active");
}

int q2_luks_unlock(const struct q2_luks *luks, struct qcow2_bytes passphrase,
		   struct q2_cipher **out, struct qcow2_error *err)
{
	struct attempt attempt = {
		.luks = luks, .passphrase = passphrase, .rounds_left = QCOW2_LIMIT_LUKS_ROUNDS};

	for (size_t i = 0; i < QCOW2_LUKS1_SLOTS; i++) {
		const struct qcow2_luks1_key_slot *slot = &luks->slots[i];
		int found;

		if (slot->active == QCOW2_LUKS1_SLOT_INACTIVE)
			continue;
		if (slot->active != QCOW2_LUKS1_SLOT_ACTIVE || !is_sound(luks, slot)) {
			attempt.damaged++;
			continue;
		}
		if (!charge(&attempt, slot)) {
			attempt.too_slow++;
			continue;
		}
		attempt.tried++;
		found = try_slot(&attempt, slot, out, err);
		if (found != 0)
			return found > 0 ? 0 : -1;
	}
	return refuse(&attempt, err);
}
