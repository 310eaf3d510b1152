/* SPDX-License-Identifier: MIT */
/*
 * Fuzzes the key of an encrypted image: bytes of an image with LUKS are replaced, those of its
 * headers and of the key material, and it is opened with a passphrase that is right or wrong. If it
 * opens, any number of sectors must come out as each of them does by itself.
 *
 * The input: a byte that chooses the passphrase, the version of LUKS and whether the checksums of
 * version 2 are made true again; then changes of three bytes each, a place and a value.
 */
#include <stdlib.h>
#include <string.h>

#include <qcow2/limits.h>
#include <qcow2/qcow2.h>

#include "guest/secret.h"
#include "unit/luks2_image.h"

#define CHANGE_BYTES  3
#define CHANGES_MOST  256
#define SECTORS       24
#define VERSION_2     4
#define SIGNED        8
#define ROUNDS_CALLED 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int give(void *opaque, const struct qcow2_image *image, uint32_t depth, uint8_t *key,
		size_t *key_bytes, struct qcow2_error *err)
{
	static const char *const passphrases[] = {"second", "last one", "", "wrong"};
	const char *passphrase = passphrases[*(const uint8_t *)opaque % 4];

	(void)image;
	(void)depth;
	(void)err;
	*key_bytes = strlen(passphrase);
	memcpy(key, passphrase, *key_bytes);
	return 0;
}

/* Numbers of iterations that the library would spend are made small; those that it refuses stay. */
static void hurry(uint8_t *iterations)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < 4; i++)
		value = value << 8 | iterations[i];
	if (value < QCOW2_LIMIT_LUKS_ROUNDS)
		put_be(iterations, 4, value % ROUNDS_CALLED);
}

/* Where the LUKS header is may have been changed, too: it is looked for. */
static void hurry_header(uint8_t *image)
{
	for (size_t at = 0; at + 592 <= LUKS_IMAGE_BYTES; at++) {
		if (memcmp(image + at, "LUKS\xba\xbe", 6) != 0)
			continue;
		hurry(image + at + 164);
		for (size_t i = 0; i < 8; i++)
			hurry(image + at + 208 + 48 * i + 4);
	}
}

/* The file is 12 KiB: changes are most often wanted in 1 KiB of it. */
static size_t place_of(const uint8_t *change)
{
	size_t place = ((size_t)change[0] << 8 | change[1]) % LUKS_IMAGE_BYTES;

	return change[0] < 0xc0 ? LUKS_AT + place % 592 : place;
}

/* Of version 2, most are wanted in the JSON of the first copy. */
static size_t place_of_2(const uint8_t *change)
{
	size_t place = (size_t)change[0] << 8 | change[1];

	return change[0] < 0xc0 ? LUKS2_JSON(0) + place % 2048 : place % LUKS2_IMAGE_BYTES;
}

/* Numbers of rounds and passes, and of memory, have two digits at most. */
static void hurry_json(uint8_t *json)
{
	static const char *const names[] = {"\"iterations\":", "\"time\":", "\"memory\":"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		const size_t length = strlen(names[i]);

		for (size_t at = 0; at + length + 2 < LUKS2_JSON_BYTES; at++) {
			if (json[at] != '"' || memcmp(json + at, names[i], length) != 0)
				continue;
			for (size_t k = at + length + 2; k < LUKS2_JSON_BYTES; k++) {
				if (json[k] < '0' || json[k] > '9')
					break;
				json[k] = ' ';
			}
		}
	}
}

static void change_2(uint8_t *bytes, const uint8_t *data, size_t size)
{
	for (size_t at = 1; at + CHANGE_BYTES <= size; at += CHANGE_BYTES)
		bytes[place_of_2(data + at)] = data[at + 2];
	for (unsigned i = 0; i < 2; i++) {
		hurry_json(bytes + LUKS2_JSON(i));
		if (data[0] & SIGNED)
			luks2_sign(bytes + LUKS2_COPY(i));
	}
}

static void change_1(uint8_t *bytes, const uint8_t *data, size_t size)
{
	for (size_t at = 1; at + CHANGE_BYTES <= size; at += CHANGE_BYTES)
		bytes[place_of(data + at)] = data[at + 2];
	hurry_header(bytes);
}

static void judge(const struct q2_secret *secret)
{
	uint8_t all[SECTORS * 512], one[sizeof(all)];
	const uint64_t guest = UINT64_C(0xfffffffe) * 512, host = UINT64_C(0x1fffffff8) * 512;
	const size_t step = q2_secret_sector_bytes(secret);

	for (size_t i = 0; i < sizeof(all); i++)
		all[i] = one[i] = (uint8_t)(i * 31 >> 3);
	if (q2_secret_decrypt(secret, guest, host, all, sizeof(all), NULL))
		abort();
	for (size_t at = 0; at < sizeof(one); at += step)
		if (q2_secret_decrypt(secret, guest + at, host + at, one + at, step, NULL))
			abort();
	if (memcmp(all, one, sizeof(all)) != 0)
		abort();
}

static void open_secret(const struct qcow2_image *image, const uint8_t *choice, bool unchanged)
{
	const struct qcow2_disk_options options = {
		.size = sizeof(options), .key = give, .opaque = (void *)(uintptr_t)choice};
	struct qcow2_error err = {.code = QCOW2_ERROR_NONE};
	struct q2_secret *secret;

	if (q2_secret_open(image, &options, 0, &secret, &err)) {
		if (secret || err.code == QCOW2_ERROR_NONE || err.text[0] == '\0' ||
		    (unchanged && (*choice % 4 < 2 || err.code != QCOW2_ERROR_MISMATCH)))
			abort();
		return;
	}
	if (unchanged && *choice % 4 > 1)
		abort();
	if (secret)
		judge(secret);
	q2_secret_close(secret);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t sound[2][LUKS2_IMAGE_BYTES];
	const size_t sizes[] = {LUKS_IMAGE_BYTES, LUKS2_IMAGE_BYTES};
	uint8_t bytes[LUKS2_IMAGE_BYTES];
	struct qcow2_source *source;
	struct qcow2_image *image;
	unsigned version_2;

	if (sound[0][0] == 0) {
		luks_put_image(sound[0]);
		luks2_put_image(sound[1]);
	}
	if (size == 0 || size > 1 + CHANGES_MOST * CHANGE_BYTES)
		return 0;
	version_2 = (data[0] & VERSION_2) != 0;
	memcpy(bytes, sound[version_2], sizes[version_2]);
	(version_2 ? change_2 : change_1)(bytes, data, size);
	if (qcow2_source_from_memory(bytes, sizes[version_2], &source, NULL))
		abort();
	if (qcow2_image_open(source, &image, NULL) == 0) {
		open_secret(image, data, memcmp(bytes, sound[version_2], sizes[version_2]) == 0);
		qcow2_image_close(image);
	}
	qcow2_source_close(source);
	return 0;
}
