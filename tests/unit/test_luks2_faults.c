/* SPDX-License-Identifier: MIT */
/* Opening the key of an image whose header is LUKS version 2: short memory, limits, short files. */
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
#include "unit/luks2_image.h"

#include <qcow2/qcow2.h>

static uint8_t bytes[LUKS2_IMAGE_BYTES];
static struct q2_secret *secret;
static struct qcow2_error err;
static struct qcow2_disk_options options;

static int setup(void **state)
{
	(void)state;
	luks2_put_image(bytes);
	secret = NULL;
	options = (struct qcow2_disk_options){.size = sizeof(options)};
	return 0;
}

static int give(void *opaque, const struct qcow2_image *image, uint32_t depth, uint8_t *key,
		size_t *key_bytes, struct qcow2_error *error)
{
	const char *passphrase = opaque;

	(void)image;
	(void)depth;
	(void)error;
	*key_bytes = strlen(passphrase);
	memcpy(key, passphrase, *key_bytes);
	return 0;
}

/* Opens the key of the first size bytes; an allocation of that number fails, or none. */
static int open_failing(const char *passphrase, size_t size, unsigned long failing)
{
	struct qcow2_source *source;
	struct qcow2_image *image;
	int status;

	options.key = give;
	options.opaque = (void *)(uintptr_t)passphrase;
	assert_int_equal(qcow2_source_from_memory(bytes, size, &source, &err), 0);
	assert_int_equal(qcow2_image_open(source, &image, &err), 0);
	err.code = QCOW2_ERROR_NONE;
	faults_allocations = 0;
	faults_fail_allocation = failing;
	status = q2_secret_open(image, &options, 0, &secret, &err);
	faults_fail_allocation = 0;
	qcow2_image_close(image);
	qcow2_source_close(source);
	assert_int_equal(secret == NULL, status != 0);
	return status;
}

static int open_first(const char *passphrase, size_t size)
{
	return open_failing(passphrase, size, 0);
}

static enum qcow2_error_code try(const char *passphrase)
{
	if (open_first(passphrase, sizeof(bytes)) == 0)
		return QCOW2_ERROR_NONE;
	assert_true(strlen(err.text) > 0);
	return err.code;
}

/* Replaces text in the JSON of both copies by text that is as long. */
static void change(const char *from, const char *to)
{
	assert_int_equal(strlen(from), strlen(to));
	for (unsigned i = 0; i < 2; i++) {
		uint8_t *found =
			memmem(bytes + LUKS2_JSON(i), LUKS2_JSON_BYTES, from, strlen(from));

		assert_non_null(found);
		memcpy(found, to, strlen(to));
		luks2_sign(bytes + LUKS2_COPY(i));
	}
}

/* Sectors are those of the file, whatever their places on the disk. */
static void assert_decrypts(uint64_t sector)
{
	uint8_t data[512], expected[512];

	memset(data, 0x3c, sizeof(data));
	memset(expected, 0x3c, sizeof(expected));
	luks_encrypt(luks_key, sector, data, sizeof(data));
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
	assert_decrypts(9);
	assert_int_equal(try("last one"), QCOW2_ERROR_NONE);
	assert_int_equal(q2_secret_sector_bytes(secret), 512);
	assert_decrypts(9);
	assert_int_equal(try("first"), QCOW2_ERROR_MISMATCH);
	change("\"iv_tweak\":\"0\"", "\"iv_tweak\":\"7\"");
	assert_int_equal(try("last one"), QCOW2_ERROR_NONE);
	assert_decrypts(16);
}

static void short_memory(void **state)
{
	unsigned long needed = 0;

	(void)state;
	for (unsigned long i = 1;; i++) {
		if (open_failing("last one", sizeof(bytes), i) == 0)
			break;
		assert_int_equal(err.code, QCOW2_ERROR_MEMORY);
		needed = i;
	}
	/*
	 * Two copies, the secret, for each of two slots the material and a cipher, what Argon2 takes,
	 * and the cipher of the data.
	 */
	assert_int_equal(needed, q2_argon2_is_there() ? 9 : 8);
	assert_decrypts(9);
}

static void short_files(void **state)
{
	(void)state;
	assert_int_equal(open_first("last one", LUKS2_MATERIAL(1) + 64), 0);
	q2_secret_close(secret);
	for (size_t size = LUKS_AT + 1; size < LUKS2_MATERIAL(1) + 64; size += 333)
		assert_int_equal(open_first("last one", size), -1);
}

static void limits_of_memory(void **state)
{
	(void)state;
	if (!q2_argon2_is_there()) {
		change("\"type\":\"pbkdf2\",\"hash\":\"sha256\",\"iterations\":2,\"salt\"",
		       "\"type\":\"argon2i\",\"hash\":\"sha256\",\"iteration\":2,\"salt\"");
		assert_int_equal(try("second"), QCOW2_ERROR_UNSUPPORTED);
		return;
	}
	options.key_memory_limit_bytes = 16 * 1024;
	assert_int_equal(try("second"), QCOW2_ERROR_NONE);
	q2_secret_close(secret);
	options.key_memory_limit_bytes = 16 * 1024 - 1;
	assert_int_equal(try("second"), QCOW2_ERROR_LIMIT);
	/* What is too large does not keep another slot from opening. */
	assert_int_equal(try("last one"), QCOW2_ERROR_NONE);
	assert_decrypts(9);
	options.memory_limit_bytes = 1 << 30;
	assert_int_equal(try("second"), QCOW2_ERROR_LIMIT);
	options.key_memory_limit_bytes = 0;
	options.memory_limit_bytes = 16 * 1024 - 1;
	assert_int_equal(try("second"), QCOW2_ERROR_LIMIT);
}

/* ---- a file with places that cannot be read ---- */

static uint64_t bad_start, bad_end;

static int read_badly(void *opaque, uint64_t offset, void *buffer, size_t size)
{
	(void)opaque;
	memcpy(buffer, bytes + offset, size);
	return offset < bad_end && offset + size > bad_start ? EIO : 0;
}

static enum qcow2_error_code try_badly(size_t start, size_t end)
{
	const struct qcow2_source_ops ops = {.size = sizeof(ops), .read = read_badly};
	struct qcow2_source *source;
	struct qcow2_image *image;
	int status;

	bad_start = start;
	bad_end = end;
	options.key = give;
	options.opaque = (void *)(uintptr_t) "last one";
	assert_int_equal(qcow2_source_from_ops(&ops, NULL, sizeof(bytes), &source, &err), 0);
	assert_int_equal(qcow2_image_open(source, &image, &err), 0);
	status = q2_secret_open(image, &options, 0, &secret, &err);
	qcow2_image_close(image);
	qcow2_source_close(source);
	return status == 0 ? QCOW2_ERROR_NONE : err.code;
}

/* What cannot be read of one copy or of one slot, another one has. */
static void unreadable_places(void **state)
{
	static const struct {
		size_t start, end;
		enum qcow2_error_code code;
	} cases[] = {
		{LUKS2_COPY(0), LUKS2_COPY(0) + 1, QCOW2_ERROR_NONE},
		{LUKS2_JSON(0), LUKS2_JSON(0) + 1, QCOW2_ERROR_NONE},
		{LUKS2_COPY(0), LUKS2_COPY(1), QCOW2_ERROR_NONE},
		{LUKS2_COPY(1), LUKS2_COPY(2), QCOW2_ERROR_NONE},
		{LUKS2_COPY(0), LUKS2_COPY(2), QCOW2_ERROR_IO},
		{LUKS2_MATERIAL(0), LUKS2_MATERIAL(0) + 1, QCOW2_ERROR_NONE},
		{LUKS2_MATERIAL(1), LUKS2_MATERIAL(1) + 1, QCOW2_ERROR_IO},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(try_badly(cases[i].start, cases[i].end), cases[i].code);
		if (cases[i].code == QCOW2_ERROR_NONE)
			assert_decrypts(9);
		else
			assert_true(err.errnum == EIO && strstr(err.text, "LUKS header"));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(passphrases, setup),
		cmocka_unit_test_setup(short_memory, setup),
		cmocka_unit_test_setup(short_files, setup),
		cmocka_unit_test_setup(limits_of_memory, setup),
		cmocka_unit_test_setup(unreadable_places, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
