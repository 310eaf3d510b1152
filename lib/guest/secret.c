/* SPDX-License-Identifier: MIT */
/* See secret.h. Keys and passphrases are overwritten as soon as nobody needs them any more. */
#include "guest/secret.h"

#include <assert.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/system.h"
#include "codec/cipher.h"
#include "guest/luks.h"

#include <qcow2/limits.h>

#ifdef QCOW2_CRYPTO

static_assert(Q2_SECRET_SECTOR_BYTES_MAX == Q2_CIPHER_SECTOR_BYTES_MAX, "one limit");

#define AES_KEY_BYTES 16

enum method {
	METHOD_NONE = 0,
	METHOD_AES = 1,
	METHOD_LUKS = 2,
};

struct q2_secret {
	struct q2_cipher *cipher;
	/* Sectors are numbered as they lie in the file: LUKS. Else as the guest sees them: AES. */
	bool by_host;
	uint64_t tweak_sectors; /* added to their numbers */
	size_t sector_bytes;    /* of one that is decrypted as a whole */
};

/* A passphrase, as the callback gives it. */
struct passphrase {
	uint8_t bytes[QCOW2_DISK_KEY_BYTES];
	size_t size;
};

static int ask(const struct qcow2_image *image, const struct qcow2_disk_options *options,
	       uint32_t depth, struct passphrase *passphrase, struct qcow2_error *err)
{
	if (options->key(options->opaque, image, depth, passphrase->bytes, &passphrase->size, err))
		return -1;
	if (passphrase->size > sizeof(passphrase->bytes))
		return q2_fail(err, QCOW2_ERROR_ARGUMENT, QCOW2_NO_OFFSET,
			       "the passphrase is longer than %d bytes", QCOW2_DISK_KEY_BYTES);
	return 0;
}

/* The passphrase is the key: filled up with zeros, or cut. Nothing shows whether it is right. */
static int open_aes(const struct passphrase *passphrase, struct q2_cipher **out,
		    struct qcow2_error *err)
{
	static const uint8_t name[] = "aes", mode[] = "cbc-plain64";
	size_t size = passphrase->size < AES_KEY_BYTES ? passphrase->size : AES_KEY_BYTES;
	struct q2_cipher_choice choice;
	uint8_t key[AES_KEY_BYTES] = {0};

	q2_cipher_choose((struct qcow2_bytes){name, sizeof(name) - 1},
			 (struct qcow2_bytes){mode, sizeof(mode) - 1}, sizeof(key), &choice);
	memcpy(key, passphrase->bytes, size);
	*out = q2_cipher_new(&choice, key);
	q2_wipe(key, sizeof(key));
	return *out ? 0 : q2_fail_memory(err);
}

/* What Argon2 may take: it is over before the disk takes memory for anything else. */
static uint64_t memory_for_key(const struct qcow2_disk_options *options)
{
	if (options->key_memory_limit_bytes)
		return options->key_memory_limit_bytes;
	return options->memory_limit_bytes ? options->memory_limit_bytes
					   : QCOW2_LIMIT_LUKS_ARGON2_BYTES;
}

static int open_cipher(const struct q2_luks *luks, const struct qcow2_disk_options *options,
		       const struct passphrase *passphrase, struct q2_secret *secret,
		       struct qcow2_error *err)
{
	secret->sector_bytes = Q2_CIPHER_SECTOR_BYTES;
	if (luks->version == 0)
		return open_aes(passphrase, &secret->cipher, err);
	secret->by_host = true;
	secret->tweak_sectors = q2_luks_tweak(luks);
	secret->sector_bytes = q2_luks_sector_bytes(luks);
	return q2_luks_unlock(luks, (struct qcow2_bytes){passphrase->bytes, passphrase->size},
			      memory_for_key(options), &secret->cipher, err);
}

/*
 * Whether the image can be decrypted, by all that can be known without its key. *luks is released by
 * the caller, also after an error.
 */
static int judge(const struct qcow2_image *image, const struct qcow2_disk_options *options,
		 struct q2_luks *luks, struct qcow2_error *err)
{
	uint32_t method = qcow2_image_header(image)->crypt_method;

	*luks = (struct q2_luks){.version = 0};
	if (method > METHOD_LUKS)
		return q2_fail(err, QCOW2_ERROR_UNSUPPORTED, QCOW2_NO_OFFSET,
			       "encryption method %u is not known", method);
	if (method == METHOD_LUKS && q2_luks_read(image, luks, err))
		return -1;
	if (!options->key)
		return q2_fail(err, QCOW2_ERROR_UNSUPPORTED, QCOW2_NO_OFFSET,
			       "the image is encrypted, and there is no passphrase");
	return 0;
}

/* Asks for the passphrase, and makes a secret with it. */
static int make(const struct qcow2_image *image, const struct qcow2_disk_options *options,
		const struct q2_luks *luks, uint32_t depth, struct q2_secret **out,
		struct qcow2_error *err)
{
	struct passphrase passphrase = {.size = 0};
	struct q2_secret *secret = q2_alloc(sizeof(*secret));
	int status;

	if (!secret)
		return q2_fail_memory(err);
	status = ask(image, options, depth, &passphrase, err);
	if (status == 0)
		status = open_cipher(luks, options, &passphrase, secret, err);
	q2_wipe(&passphrase, sizeof(passphrase));
	if (status)
		q2_secret_close(secret);
	else
		*out = secret;
	return status;
}

int q2_secret_open(const struct qcow2_image *image, const struct qcow2_disk_options *options,
		   uint32_t depth, struct q2_secret **out, struct qcow2_error *err)
{
	struct q2_luks luks;
	int status;

	*out = NULL;
	if (qcow2_image_header(image)->crypt_method == METHOD_NONE)
		return 0;
	status = judge(image, options, &luks, err);
	if (status == 0)
		status = make(image, options, &luks, depth, out, err);
	q2_luks_release(&luks);
	return status;
}

void q2_secret_close(struct q2_secret *secret)
{
	if (!secret)
		return;
	q2_cipher_free(secret->cipher);
	q2_free(secret);
}

int q2_secret_decrypt(const struct q2_secret *secret, uint64_t guest_byte, uint64_t host_byte,
		      uint8_t *bytes, size_t size, struct qcow2_error *err)
{
	const uint64_t at = secret->by_host ? host_byte : guest_byte;

	(void)err;
	q2_cipher_decrypt(secret->cipher, at / Q2_CIPHER_SECTOR_BYTES + secret->tweak_sectors,
			  bytes, size);
	return 0;
}

size_t q2_secret_sector_bytes(const struct q2_secret *secret)
{
	return secret->sector_bytes;
}

#else

/* Without Nettle there are no secrets. */

int q2_secret_open(const struct qcow2_image *image, const struct qcow2_disk_options *options,
		   uint32_t depth, struct q2_secret **out, struct qcow2_error *err)
{
	(void)options;
	(void)depth;
	*out = NULL;
	if (qcow2_image_header(image)->crypt_method == 0)
		return 0;
	return q2_fail(err, QCOW2_ERROR_UNSUPPORTED, QCOW2_NO_OFFSET,
		       "the image is encrypted, and the library was built without decryption");
}

void q2_secret_close(struct q2_secret *secret)
{
	(void)secret;
}

int q2_secret_decrypt(const struct q2_secret *secret, uint64_t guest_byte, uint64_t host_byte,
		      uint8_t *bytes, size_t size, struct qcow2_error *err)
{
	(void)secret;
	(void)guest_byte;
	(void)host_byte;
	(void)bytes;
	(void)size;
	return q2_fail(err, QCOW2_ERROR_UNSUPPORTED, QCOW2_NO_OFFSET, "there is no key");
}

size_t q2_secret_sector_bytes(const struct q2_secret *secret)
{
	(void)secret;
	return Q2_SECRET_SECTOR_BYTES_MAX;
}

#endif
