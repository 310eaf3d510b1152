/* SPDX-License-Identifier: MIT */
/*
 * Fuzzes the key of an encrypted image: bytes of an image with LUKS are replaced, those of its
 * headers and of the key material, and it is opened with a passphrase that is right or wrong. If it
 * opens, any number of sectors must come out as each of them does by itself.
 *
 * The input: a byte that chooses the passphrase, then changes of three bytes each, a place and a
 * value.
 */
#include <stdlib.h>
#include <string.h>

#include <qcow2/limits.h>
#include <qcow2/qcow2.h>

#include "guest/secret.h"
#include "unit/luks_image.h"

#define CHANGE_BYTES  3
#define CHANGES_MOST  256
#define SECTORS       19
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

static void judge(const struct q2_secret *secret)
{
	uint8_t all[SECTORS * 512], one[sizeof(all)];
	const uint64_t guest = UINT64_C(0xfffffffe) * 512, host = UINT64_C(0x1fffffffb) * 512;

	for (size_t i = 0; i < sizeof(all); i++)
		all[i] = one[i] = (uint8_t)(i * 31 >> 3);
	if (q2_secret_decrypt(secret, guest, host, all, sizeof(all), NULL))
		abort();
	for (size_t at = 0; at < sizeof(one); at += 512)
		if (q2_secret_decrypt(secret, guest + at, host + at, one + at, 512, NULL))
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
	static uint8_t sound[LUKS_IMAGE_BYTES];
	uint8_t bytes[LUKS_IMAGE_BYTES];
	struct qcow2_source *source;
	struct qcow2_image *image;

	if (sound[0] == 0)
		luks_put_image(sound);
	if (size == 0 || size > 1 + CHANGES_MOST * CHANGE_BYTES)
		return 0;
	memcpy(bytes, sound, sizeof(bytes));
	for (size_t at = 1; at + CHANGE_BYTES <= size; at += CHANGE_BYTES)
		bytes[place_of(data + at)] = data[at + 2];
	hurry_header(bytes);
	if (qcow2_source_from_memory(bytes, sizeof(bytes), &source, NULL))
		abort();
	if (qcow2_image_open(source, &image, NULL) == 0) {
		open_secret(image, data, memcmp(bytes, sound, sizeof(bytes)) == 0);
		qcow2_image_close(image);
	}
	qcow2_source_close(source);
	return 0;
}
