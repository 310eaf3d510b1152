/* SPDX-License-Identifier: MIT */
/* See luks.h. */
#include "guest/luks.h"

#include <string.h>

#include "base/error.h"
#include "base/system.h"

#include <qcow2/limits.h>

/* Why a header is none that can be read, where no copy of version 2 is sound either. */
static int refuse_version(const struct q2_luks *luks, const struct qcow2_luks1 *header,
			  bool has_magic, struct qcow2_error *err)
{
	uint64_t at = luks->area.offset_bytes;

	if (!has_magic)
		return q2_fail(err, QCOW2_ERROR_BROKEN, at,
			       "there is no LUKS header where the image says");
	if (header->version == 2)
		return q2_fail(err, QCOW2_ERROR_BROKEN, at,
			       "neither copy of the LUKS version 2 header is sound: a checksum, a "
			       "size or the JSON is wrong");
	return q2_fail(err, QCOW2_ERROR_UNSUPPORTED, at, "LUKS version %u is not known",
		       header->version);
}

/* The first copy of version 2 may be damaged in any way, also in its magic number and version. */
static int read_version_2(struct q2_luks *luks, const struct qcow2_luks1 *header, bool has_magic,
			  struct qcow2_error *err)
{
	int found = q2_luks2_find(&luks->two, &luks->area, err);

	if (found < 0)
		return -1;
	if (found == 0)
		return refuse_version(luks, header, has_magic, err);
	luks->version = 2;
	return q2_luks2_judge(&luks->two, &luks->area, err);
}

int q2_luks_read(const struct qcow2_image *image, struct q2_luks *luks, struct qcow2_error *err)
{
	static const uint8_t magic[] = {'L', 'U', 'K', 'S', 0xba, 0xbe};
	uint8_t raw[Q2_LUKS1_BYTES];
	struct qcow2_error why;
	struct qcow2_luks1 header;
	bool has_magic;
	int status;

	*luks = (struct q2_luks){.version = 0};
	if (q2_luks_area_find(image, &luks->area, err))
		return -1;
	/* Where it cannot be read, there may be a second copy of version 2, or else that fails as well. */
	if (q2_luks_area_begin(&luks->area, raw, sizeof(raw), &why)) {
		if (!q2_luks_area_is_bad(&why)) {
			if (err)
				*err = why;
			return -1;
		}
		memset(raw, 0, sizeof(raw));
	}
	qcow2_luks1_decode(&header, raw, sizeof(raw));
	has_magic = memcmp(header.magic, magic, sizeof(magic)) == 0;
	if (has_magic && header.version == 1) {
		luks->version = 1;
		status = q2_luks1_judge(&luks->one, &luks->area, raw, err);
	} else {
		status = read_version_2(luks, &header, has_magic, err);
	}
	if (status)
		q2_luks_release(luks);
	return status;
}

int q2_luks_unlock(const struct q2_luks *luks, struct qcow2_bytes passphrase, uint64_t memory_bytes,
		   struct q2_cipher **out, struct qcow2_error *err)
{
	const struct q2_cipher_choice *choice =
		luks->version == 1 ? &luks->one.choice : &luks->two.choice;
	struct q2_luks_attempt attempt = {
		.area = &luks->area,
		.passphrase = passphrase,
		.memory_bytes = memory_bytes,
		.rounds_left = QCOW2_LIMIT_LUKS_ROUNDS,
		.fills_left = QCOW2_LIMIT_LUKS_ARGON2_FILLS,
	};
	uint8_t key[Q2_CIPHER_KEY_BYTES_MAX];
	int status = luks->version == 1 ? q2_luks1_unlock(&luks->one, &attempt, key, err)
					: q2_luks2_unlock(&luks->two, &attempt, key, err);

	if (status == 0) {
		*out = q2_cipher_new(choice, key);
		if (!*out)
			status = q2_fail_memory(err);
	}
	q2_wipe(key, sizeof(key));
	return status;
}

uint64_t q2_luks_tweak(const struct q2_luks *luks)
{
	return luks->version == 2 ? luks->two.tweak_sectors : 0;
}

size_t q2_luks_sector_bytes(const struct q2_luks *luks)
{
	return luks->version == 2 ? luks->two.choice.sector_bytes : Q2_CIPHER_SECTOR_BYTES;
}

void q2_luks_release(struct q2_luks *luks)
{
	q2_luks2_release(&luks->two);
	luks->version = 0;
}
