/* SPDX-License-Identifier: MIT */
/* Opening the key of an image: passphrases, hostile LUKS headers, short memory. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "faults.h"
#include "guest/secret.h"
#include "unit/luks_image.h"

#include <qcow2/limits.h>
#include <qcow2/qcow2.h>

static uint8_t bytes[LUKS_IMAGE_BYTES];
static struct q2_secret *secret;
static struct qcow2_error err;
static unsigned asked;

static int setup(void **state)
{
	(void)state;
	luks_put_image(bytes);
	secret = NULL;
	asked = 0;
	return 0;
}

static int give(void *opaque, const struct qcow2_image *image, uint32_t depth, uint8_t *key,
		size_t *key_bytes, struct qcow2_error *error)
{
	const char *passphrase = opaque;

	(void)error;
	asked++;
	assert_int_equal(depth, 3);
	assert_non_null(image);
	*key_bytes = strlen(passphrase);
	memcpy(key, passphrase, *key_bytes);
	return 0;
}

/* Opens the key of the first size bytes. Returns the code of the error. */
static enum qcow2_error_code open_with(qcow2_disk_key *key, const char *passphrase, size_t size)
{
	struct qcow2_disk_options options = {.size = sizeof(options), .key = key};
	struct qcow2_source *source;
	struct qcow2_image *image;
	int status;

	options.opaque = (void *)(uintptr_t)passphrase;
	assert_int_equal(qcow2_source_from_memory(bytes, size, &source, &err), 0);
	assert_int_equal(qcow2_image_open(source, &image, &err), 0);
	status = q2_secret_open(image, &options, 3, &secret, &err);
	qcow2_image_close(image);
	qcow2_source_close(source);
	assert_int_equal(secret == NULL, status != 0 || bytes[35] == 0);
	if (status == 0)
		return QCOW2_ERROR_NONE;
	assert_true(strlen(err.text) > 0);
	return err.code;
}

static enum qcow2_error_code try(const char *passphrase)
{
	return open_with(give, passphrase, sizeof(bytes));
}

/* Decrypts a sector that lies at sector 9 of the file, and at sector 5 of the disk. */
static void assert_decrypts(const uint8_t *key, uint64_t sector)
{
	uint8_t data[512], expected[512];

	memset(data, 0x3c, sizeof(data));
	memset(expected, 0x3c, sizeof(expected));
	luks_encrypt(key, sector, data, sizeof(data));
	assert_int_equal(q2_secret_decrypt(secret, UINT64_C(5) * 512, UINT64_C(9) * 512, data,
					   sizeof(data), &err),
			 0);
	assert_memory_equal(data, expected, sizeof(data));
	q2_secret_close(secret);
	secret = NULL;
}

static void passphrases(void **state)
{
	(void)state;
	assert_int_equal(try("second"), QCOW2_ERROR_NONE);
	assert_decrypts(luks_key, 9);
	assert_int_equal(try("last one"), QCOW2_ERROR_NONE);
	assert_decrypts(luks_key, 9);
	assert_int_equal(try("Second"), QCOW2_ERROR_MISMATCH);
	assert_int_equal(try(""), QCOW2_ERROR_MISMATCH);
	assert_int_equal(asked, 4);
	put_be(bytes + LUKS_SLOT(2), 4, 0x0000dead); /* a slot that is closed opens nothing */
	assert_int_equal(try("second"), QCOW2_ERROR_MISMATCH);
}

static void images_that_are_not_encrypted(void **state)
{
	(void)state;
	put_be(bytes + 32, 4, 0);
	assert_int_equal(try("second"), QCOW2_ERROR_NONE);
	assert_int_equal(asked, 0);
}

static int refuse(void *opaque, const struct qcow2_image *image, uint32_t depth, uint8_t *key,
		  size_t *key_bytes, struct qcow2_error *error)
{
	(void)opaque;
	(void)image;
	(void)depth;
	(void)key;
	(void)key_bytes;
	*error = (struct qcow2_error){.code = QCOW2_ERROR_STOPPED, .text = "no"};
	return -1;
}

static int give_too_much(void *opaque, const struct qcow2_image *image, uint32_t depth,
			 uint8_t *key, size_t *key_bytes, struct qcow2_error *error)
{
	(void)opaque;
	(void)image;
	(void)depth;
	(void)error;
	memset(key, 'x', QCOW2_DISK_KEY_BYTES);
	*key_bytes = QCOW2_DISK_KEY_BYTES + 1;
	return 0;
}

static void callbacks(void **state)
{
	(void)state;
	assert_int_equal(open_with(NULL, "second", sizeof(bytes)), QCOW2_ERROR_UNSUPPORTED);
	assert_int_equal(open_with(refuse, "second", sizeof(bytes)), QCOW2_ERROR_STOPPED);
	assert_int_equal(open_with(give_too_much, "second", sizeof(bytes)), QCOW2_ERROR_ARGUMENT);
}

/* Of the old method, the passphrase is the key, and the place on the disk counts. */
static void aes(void **state)
{
	static const char *const passphrases[] = {"", "short", "0123456789abcdef",
						  "0123456789abcdefg"};
	uint8_t key[16], data[512], same[512];
	struct aes128_ctx context;

	(void)state;
	put_be(bytes + 32, 4, 1);
	for (size_t i = 0; i < sizeof(passphrases) / sizeof(passphrases[0]); i++) {
		uint8_t iv[16] = {5};

		memset(key, 0, sizeof(key));
		memcpy(key, passphrases[i], strnlen(passphrases[i], sizeof(key)));
		memset(same, 0x3c, sizeof(same));
		aes128_set_encrypt_key(&context, key);
		cbc_encrypt(&context, (nettle_cipher_func *)aes128_encrypt, sizeof(iv), iv,
			    sizeof(data), data, same);
		memset(same, 0x3c, sizeof(same));
		assert_int_equal(try(passphrases[i]), QCOW2_ERROR_NONE);
		assert_int_equal(q2_secret_decrypt(secret, UINT64_C(5) * 512, UINT64_C(9) * 512,
						   data, sizeof(data), &err),
				 0);
		assert_memory_equal(data, same, sizeof(data));
		q2_secret_close(secret);
	}
}

/* What is wrong with the header itself. Nobody is asked for a passphrase then. */
static void hostile_headers(void **state)
{
	static const struct {
		size_t at;
		unsigned width;
		uint64_t value;
		enum qcow2_error_code code;
	} cases[] = {
		{32, 4, 3, QCOW2_ERROR_UNSUPPORTED},
		{32, 4, UINT32_MAX, QCOW2_ERROR_UNSUPPORTED},
		{LUKS_EXTENSION, 4, 0, QCOW2_ERROR_BROKEN},
		{LUKS_EXTENSION + 4, 4, 8, QCOW2_ERROR_BROKEN},
		{LUKS_EXTENSION + 8, 8, LUKS_IMAGE_BYTES, QCOW2_ERROR_BROKEN},
		{LUKS_EXTENSION + 8, 8, UINT64_MAX, QCOW2_ERROR_BROKEN},
		{LUKS_EXTENSION + 8, 8, LUKS_AT - 512, QCOW2_ERROR_BROKEN},
		{LUKS_EXTENSION + 8, 8, LUKS_IMAGE_BYTES - 1, QCOW2_ERROR_BROKEN},
		{LUKS_AT, 1, 'l', QCOW2_ERROR_BROKEN},
		{LUKS_AT + 6, 2, 2, QCOW2_ERROR_BROKEN}, /* test_luks2_faults.c has sound ones */
		{LUKS_AT + 6, 2, 0, QCOW2_ERROR_UNSUPPORTED},
		{LUKS_AT + 6, 2, 3, QCOW2_ERROR_UNSUPPORTED},
		{LUKS_AT + 8, 1, 'A', QCOW2_ERROR_UNSUPPORTED},
		{LUKS_AT + 40, 1, 'C', QCOW2_ERROR_UNSUPPORTED},
		{LUKS_AT + 72, 1, 'S', QCOW2_ERROR_UNSUPPORTED},
		{LUKS_AT + 108, 4, 0, QCOW2_ERROR_UNSUPPORTED},
		{LUKS_AT + 108, 4, 33, QCOW2_ERROR_UNSUPPORTED},
		{LUKS_AT + 108, 4, UINT32_MAX, QCOW2_ERROR_UNSUPPORTED},
		{LUKS_AT + 164, 4, 0, QCOW2_ERROR_BROKEN},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		luks_put_image(bytes);
		put_be(bytes + cases[i].at, cases[i].width, cases[i].value);
		assert_int_equal(try("second"), cases[i].code);
		assert_int_equal(asked, 0);
	}
}

/* Names that fill their fields have no NUL. */
static void names_without_an_end(void **state)
{
	(void)state;
	for (size_t at = 8; at < 104; at += 32) {
		luks_put_image(bytes);
		memset(bytes + LUKS_AT + at, 0xff, 32);
		assert_int_equal(try("second"), QCOW2_ERROR_UNSUPPORTED);
	}
}

/* A damaged slot opens nothing, and does not keep another one from opening. */
static void hostile_slots(void **state)
{
	static const struct {
		size_t at;
		uint32_t value;
		enum qcow2_error_code code; /* with the passphrase of the slot */
	} cases[] = {
		{0, 0, QCOW2_ERROR_MISMATCH},
		{4, 0, QCOW2_ERROR_MISMATCH},
		{4, UINT32_MAX, QCOW2_ERROR_LIMIT},
		{4, QCOW2_LIMIT_LUKS_ROUNDS, QCOW2_ERROR_LIMIT},
		{8, 1, QCOW2_ERROR_MISMATCH},
		{40, 0, QCOW2_ERROR_MISMATCH},
		{40, 1, QCOW2_ERROR_MISMATCH}, /* within the header */
		{40, 15, QCOW2_ERROR_MISMATCH},
		{40, 16, QCOW2_ERROR_MISMATCH}, /* past the area */
		{40, UINT32_MAX, QCOW2_ERROR_MISMATCH},
		{44, 0, QCOW2_ERROR_MISMATCH},
		{44, 1, QCOW2_ERROR_MISMATCH},
		{44, 3, QCOW2_ERROR_MISMATCH},
		{44, 65537, QCOW2_ERROR_MISMATCH},
		{44, UINT32_MAX, QCOW2_ERROR_MISMATCH},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		luks_put_image(bytes);
		put_be(bytes + LUKS_SLOT(2) + cases[i].at, 4, cases[i].value);
		assert_int_equal(try("second"), cases[i].code);
		assert_int_equal(try("last one"), QCOW2_ERROR_NONE);
		assert_decrypts(luks_key, 9);
	}
}

/* The rounds of all slots together are bounded. */
static void rounds_add_up(void **state)
{
	(void)state;
	put_be(bytes + LUKS_AT + 164, 4, QCOW2_LIMIT_LUKS_ROUNDS - 1);
	assert_int_equal(try("second"), QCOW2_ERROR_LIMIT);
	assert_int_equal(asked, 1);
}

static void no_slot_opens(void **state)
{
	(void)state;
	put_be(bytes + LUKS_SLOT(2) + 44, 4, 0);
	put_be(bytes + LUKS_SLOT(7) + 44, 4, 0);
	assert_int_equal(try("second"), QCOW2_ERROR_BROKEN);
	put_be(bytes + LUKS_SLOT(2), 4, 0x0000dead);
	put_be(bytes + LUKS_SLOT(7), 4, 0x0000dead);
	assert_int_equal(try("second"), QCOW2_ERROR_BROKEN);
}

/* Key material that the file does not have, or that the extension does not count in. */
static void cut_areas(void **state)
{
	(void)state;
	assert_int_equal(open_with(give, "last one", LUKS_MATERIAL(7) + 63), QCOW2_ERROR_MISMATCH);
	assert_int_equal(open_with(give, "last one", LUKS_MATERIAL(7) + 64), QCOW2_ERROR_NONE);
	q2_secret_close(secret);
	put_be(bytes + LUKS_EXTENSION + 16, 8, 15 * 512 + 63);
	assert_int_equal(try("last one"), QCOW2_ERROR_MISMATCH);
	put_be(bytes + LUKS_EXTENSION + 16, 8, UINT64_MAX);
	assert_int_equal(try("last one"), QCOW2_ERROR_NONE);
	q2_secret_close(secret);
}

static void short_memory(void **state)
{
	struct qcow2_disk_options options = {
		.size = sizeof(options), .key = give, .opaque = (void *)(uintptr_t) "last one"};
	struct qcow2_source *source;
	struct qcow2_image *image;
	unsigned long needed = 1;

	(void)state;
	assert_int_equal(qcow2_source_from_memory(bytes, sizeof(bytes), &source, &err), 0);
	assert_int_equal(qcow2_image_open(source, &image, &err), 0);
	for (unsigned long i = 1; i <= needed; i++) {
		faults_allocations = 0;
		faults_fail_allocation = i;
		if (q2_secret_open(image, &options, 3, &secret, &err) == 0)
			break;
		needed = faults_allocations + 1;
		assert_int_equal(err.code, QCOW2_ERROR_MEMORY);
		assert_null(secret);
	}
	faults_fail_allocation = 0;
	assert_non_null(secret);
	/* Itself, and for each of two slots the material and a cipher; the cipher of the data. */
	assert_int_equal(needed, 7);
	assert_decrypts(luks_key, 9);
	qcow2_image_close(image);
	qcow2_source_close(source);
}

/* ---- a file with places that cannot be read ---- */

static uint64_t bad_start, bad_end;

static int read_badly(void *opaque, uint64_t offset, void *buffer, size_t size)
{
	(void)opaque;
	if (offset < bad_end && offset + size > bad_start)
		return EIO;
	memcpy(buffer, bytes + offset, size);
	return 0;
}

static enum qcow2_error_code try_badly(const char *passphrase)
{
	const struct qcow2_source_ops ops = {.size = sizeof(ops), .read = read_badly};
	struct qcow2_disk_options options = {.size = sizeof(options), .key = give};
	struct qcow2_source *source;
	struct qcow2_image *image;
	int status;

	options.opaque = (void *)(uintptr_t)passphrase;
	assert_int_equal(qcow2_source_from_ops(&ops, NULL, sizeof(bytes), &source, &err), 0);
	assert_int_equal(qcow2_image_open(source, &image, &err), 0);
	status = q2_secret_open(image, &options, 3, &secret, &err);
	qcow2_image_close(image);
	qcow2_source_close(source);
	return status == 0 ? QCOW2_ERROR_NONE : err.code;
}

/* A slot whose key material cannot be read does not keep another one from opening. */
static void unreadable_slots(void **state)
{
	(void)state;
	bad_start = LUKS_MATERIAL(2);
	bad_end = bad_start + 1;
	assert_int_equal(try_badly("last one"), QCOW2_ERROR_NONE);
	assert_decrypts(luks_key, 9);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(try_badly(i ? "wrong" : "second"), QCOW2_ERROR_IO);
		assert_int_equal(err.errnum, EIO);
		assert_non_null(
			strstr(err.text, "a key slot of the LUKS header keeps its key there"));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(passphrases, setup),
		cmocka_unit_test_setup(images_that_are_not_encrypted, setup),
		cmocka_unit_test_setup(callbacks, setup),
		cmocka_unit_test_setup(aes, setup),
		cmocka_unit_test_setup(hostile_headers, setup),
		cmocka_unit_test_setup(names_without_an_end, setup),
		cmocka_unit_test_setup(hostile_slots, setup),
		cmocka_unit_test_setup(rounds_add_up, setup),
		cmocka_unit_test_setup(no_slot_opens, setup),
		cmocka_unit_test_setup(cut_areas, setup),
		cmocka_unit_test_setup(short_memory, setup),
		cmocka_unit_test_setup(unreadable_slots, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
