/* SPDX-License-Identifier: MIT */
/*
 * What the JSON of a LUKS2 header says of the data: the segment, the digest of its key, and whether
 * anything is asked for that is not known here. What is not clear is refused: data that are decrypted
 * in the wrong way look like data.
 */
#include <string.h>

#include "base/checked.h"
#include "base/error.h"
#include "base/json.h"
#include "guest/luks2.h"
#include "guest/luks2_members.h"

#include <qcow2/geometry.h>

#define BINARY_BYTES 4096

/* What is judged, and what is found. */
struct judging {
	struct q2_luks2 *luks;
	const struct q2_luks_area *area;
	struct qcow2_error *err;
	char segment[8]; /* the name of the segment */
	uint64_t sector_bytes;
	char encryption[Q2_LUKS2_NAME_BYTES];
};

static int refuse(const struct judging *j, enum qcow2_error_code code, const char *why)
{
	return q2_fail(j->err, code, j->area->offset_bytes, "LUKS version 2: %s", why);
}

static int broken(const struct judging *j, const char *why)
{
	return refuse(j, QCOW2_ERROR_BROKEN, why);
}

static int unsupported(const struct judging *j, const char *why)
{
	return refuse(j, QCOW2_ERROR_UNSUPPORTED, why);
}

/* ---- config ---- */

static int judge_config(const struct judging *j)
{
	struct q2_luks2 *luks = j->luks;
	struct qcow2_bytes config = q2_luks2_object(luks->json, "config"), requirements;
	uint64_t json_bytes, slots_bytes;
	size_t found;

	if (!q2_luks2_decimal(config, "json_size", &json_bytes) ||
	    json_bytes + BINARY_BYTES != luks->slots_at / 2 ||
	    !q2_luks2_decimal(config, "keyslots_size", &slots_bytes) ||
	    q2_add_u64(luks->slots_at, slots_bytes, &luks->slots_end))
		return broken(j, "the sizes of its areas make no sense");
	found = q2_json_member(config, "requirements", &requirements);
	if (found > 1 || (found == 1 && q2_json_kind(requirements) != Q2_JSON_OBJECT))
		return broken(j, "its requirements make no sense");
	if (!q2_luks2_is_empty(requirements, "mandatory"))
		return unsupported(j, "it requires something that is not known, as data that are "
				      "being reencrypted do");
	return 0;
}

/* ---- the segment ---- */

/* Finds the only segment. */
static int find_segment(struct judging *j, struct qcow2_bytes *segment)
{
	struct q2_json_items items = q2_json_items(q2_luks2_object(j->luks->json, "segments"));
	struct qcow2_bytes key, another;

	if (!q2_json_next(&items, &key, segment))
		return broken(j, "it has no segment of data");
	if (q2_json_next(&items, &key, &another))
		return unsupported(j, "it has more than one segment of data");
	items = q2_json_items(q2_luks2_object(j->luks->json, "segments"));
	(void)q2_json_next(&items, &key, segment);
	if (!q2_json_text(key, j->segment, sizeof(j->segment)))
		return broken(j, "the name of its segment makes no sense");
	return 0;
}

static int judge_kind(const struct judging *j, struct qcow2_bytes segment)
{
	struct qcow2_bytes integrity;

	if (!q2_luks2_is(segment, "type", "crypt"))
		return unsupported(j, "its segment is not of the type 'crypt'");
	if (q2_json_member(segment, "integrity", &integrity) > 0)
		return unsupported(j, "its data are authenticated, which is not known here");
	if (!q2_luks2_is_empty(segment, "flags"))
		return unsupported(j, "its segment has flags, as data that are being reencrypted "
				      "do");
	return 0;
}

/* Sectors that are larger than what an L2 entry maps would lie in several places. */
static int judge_sectors(struct judging *j, struct qcow2_bytes segment)
{
	const struct qcow2_geometry *geometry = qcow2_image_geometry(j->area->image);
	uint64_t unit = geometry->cluster_size_bytes;

	if (geometry->extended_l2)
		unit /= 32;
	if (!q2_luks2_number(segment, "sector_size", &j->sector_bytes) ||
	    j->sector_bytes < Q2_CIPHER_SECTOR_BYTES ||
	    j->sector_bytes > Q2_CIPHER_SECTOR_BYTES_MAX || !q2_is_power_of_two(j->sector_bytes))
		return broken(j, "its sector_size is not 512, 1024, 2048 or 4096");
	if (j->sector_bytes > unit && j->sector_bytes > Q2_CIPHER_SECTOR_BYTES)
		return unsupported(j, "its sectors are larger than a cluster or a subcluster");
	return 0;
}

/* The place of the segment says nothing of an image, but nonsense is a sign of another layout. */
static int judge_place(const struct judging *j, struct qcow2_bytes segment)
{
	struct qcow2_bytes value;
	uint64_t offset, size;

	if (!q2_luks2_decimal(segment, "offset", &offset) || offset % j->sector_bytes != 0)
		return broken(j, "the offset of its segment makes no sense");
	if (offset < j->luks->slots_end)
		return unsupported(j, "its segment begins before its key slots end, as that of a "
				      "detached header does");
	if (q2_luks2_is(segment, "size", "dynamic"))
		return 0;
	if (q2_json_member(segment, "size", &value) != 1 || !q2_json_decimal(value, &size) ||
	    size == 0 || size % j->sector_bytes != 0)
		return broken(j, "the size of its segment makes no sense");
	if (size < qcow2_image_geometry(j->area->image)->virtual_size_bytes)
		return unsupported(j, "its segment is smaller than the disk");
	return 0;
}

static int judge_segment(struct judging *j)
{
	struct q2_luks2 *luks = j->luks;
	struct qcow2_bytes segment;

	if (find_segment(j, &segment) || judge_kind(j, segment) || judge_sectors(j, segment) ||
	    judge_place(j, segment))
		return -1;
	if (!q2_luks2_decimal(segment, "iv_tweak", &luks->tweak_sectors) ||
	    luks->tweak_sectors % (j->sector_bytes / Q2_CIPHER_SECTOR_BYTES) != 0)
		return broken(j, "its iv_tweak makes no sense");
	if (!q2_luks2_text(segment, "encryption", j->encryption, sizeof(j->encryption)))
		return broken(j, "the name of its cipher makes no sense");
	return 0;
}

/* ---- the digest ---- */

/* Finds the only digest of the segment's key. */
static int find_digest(const struct judging *j, struct qcow2_bytes *digest)
{
	struct q2_json_items items = q2_json_items(q2_luks2_object(j->luks->json, "digests"));
	struct qcow2_bytes key, value, segments;
	unsigned found = 0, seen = 0;

	while (seen <= Q2_LUKS2_OBJECTS && q2_json_next(&items, &key, &value)) {
		seen++;
		(void)q2_json_member(value, "segments", &segments);
		if (!q2_luks2_lists(segments, j->segment))
			continue;
		found++;
		*digest = value;
	}
	if (seen > Q2_LUKS2_OBJECTS)
		return broken(j, "it has too many digests");
	if (found != 1)
		return broken(j, "its segment has not one digest");
	return 0;
}

static int judge_digest(const struct judging *j)
{
	struct q2_luks2 *luks = j->luks;
	struct qcow2_bytes digest, name;
	char hash[Q2_LUKS2_NAME_BYTES];
	uint64_t iterations;

	if (find_digest(j, &digest))
		return -1;
	if (!q2_luks2_is(digest, "type", "pbkdf2"))
		return unsupported(j, "the type of its digest is not known");
	if (!q2_luks2_text(digest, "hash", hash, sizeof(hash)) ||
	    !q2_luks2_number(digest, "iterations", &iterations) || iterations == 0 ||
	    iterations > UINT32_MAX ||
	    !q2_luks2_base64(digest, "salt", luks->salt, sizeof(luks->salt), &luks->salt_bytes) ||
	    !q2_luks2_base64(digest, "digest", luks->digest, sizeof(luks->digest),
			     &luks->digest_bytes))
		return broken(j, "its digest makes no sense");
	luks->iterations = (uint32_t)iterations;
	name = (struct qcow2_bytes){(const uint8_t *)hash, strlen(hash)};
	luks->hash = q2_crypto_hash_find(name);
	if (!luks->hash)
		return unsupported(j, "the hash of its digest is not known");
	/* A shorter one would let other keys pass. */
	if (luks->digest_bytes != q2_crypto_hash_bytes(luks->hash))
		return broken(j, "its digest is not as long as its hash");
	(void)q2_json_member(digest, "keyslots", &luks->digest_slots);
	return 0;
}

/* ---- all ---- */

static int choose_cipher(const struct judging *j, uint64_t key_bytes)
{
	const char *unknown = q2_luks2_choose(j->encryption, key_bytes, &j->luks->choice);

	if (unknown)
		return q2_fail(j->err, QCOW2_ERROR_UNSUPPORTED, j->area->offset_bytes,
			       "LUKS with the cipher '%s' and a key of %llu bytes: the %s is not "
			       "known",
			       j->encryption, (unsigned long long)key_bytes, unknown);
	j->luks->choice.sector_bytes = (size_t)j->sector_bytes;
	return 0;
}

int q2_luks2_judge(struct q2_luks2 *luks, const struct q2_luks_area *area, struct qcow2_error *err)
{
	struct judging j = {.luks = luks, .area = area, .err = err};
	uint64_t key_bytes;

	if (judge_config(&j) || judge_segment(&j) || judge_digest(&j) ||
	    q2_luks2_judge_slots(luks, area, &key_bytes, err))
		return -1;
	return choose_cipher(&j, key_bytes);
}
