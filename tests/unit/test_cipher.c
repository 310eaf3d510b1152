/* SPDX-License-Identifier: MIT */
/*
 * Ciphers, keys of passphrases and split keys against vectors: of the algorithms' own papers, or
 * made with OpenSSL and Python. What QEMU encrypts is compared in tests/oracle.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "codec/argon2.h"
#include "codec/base64.h"
#include "codec/cipher.h"
#include "codec/crypto_hash.h"
#include "codec/split_key.h"

#define SECTOR UINT64_C(0x123456789)

static struct qcow2_bytes text(const char *word)
{
	return (struct qcow2_bytes){(const uint8_t *)word, strlen(word)};
}

/* Reads hexadecimal digits. Returns how many bytes. */
static size_t from_hex(const char *digits, uint8_t *bytes)
{
	size_t size = strlen(digits) / 2;
	unsigned value;

	for (size_t i = 0; i < size; i++) {
		assert_int_equal(sscanf(digits + 2 * i, "%2x", &value), 1);
		bytes[i] = (uint8_t)value;
	}
	return size;
}

static void assert_hex(const uint8_t *bytes, const char *digits)
{
	uint8_t expected[64];
	size_t size = from_hex(digits, expected);

	assert_memory_equal(bytes, expected, size);
}

static struct q2_cipher *open_cipher(const char *name, const char *mode, const uint8_t *key,
				     size_t key_bytes)
{
	struct q2_cipher_choice choice;
	struct q2_cipher *cipher;

	assert_null(q2_cipher_choose(text(name), text(mode), key_bytes, &choice));
	cipher = q2_cipher_new(&choice, key);
	assert_non_null(cipher);
	return cipher;
}

/* Vectors whose key is 00 01 02 … and whose plain text is 80 81 82 … 9f. */
static void counting_vectors(void **state)
{
	static const struct {
		const char *name, *mode;
		size_t key_bytes;
		const char *encrypted;
	} cases[] = {
		{"aes", "cbc-plain64", 16,
		 "a25de2bf50196ba246f9fb6b707866f0c3feab88c591a2119f78b6c36d2e8a5f"},
		{"aes", "cbc-plain", 24,
		 "140904a1cad00b0a5d01db898e2c27f5102d08663fbddc67832039135d1b0065"},
		{"aes", "cbc-essiv:sha256", 32,
		 "2e069a473cd1037c4b033370293c133fab3b1bfadc65dfaa7c9d961836ba672d"},
		{"aes", "ctr-plain64", 32,
		 "4d674148b98b7e35ddcf130982f61233736dd799a45f9788218bd39fdb7cd16d"},
		{"aes", "ecb-plain64", 32,
		 "b0b0f57bcb97b783a1538ff78e9a68c2fba987594e8d0f4714056b674877eb39"},
		{"cast5", "cbc-plain64", 16,
		 "cf30b7719f5c8615ff363080e92445776d4bb6983d3ba3cfb4a00ad61828f14b"},
		{"aes", "xts-plain64", 64,
		 "8927dcbfc08c8053ed137b27457955ff5a89c6c6e34dbe4b2004f07d3432508d"},
		{"aes", "xts-plain64", 32,
		 "3ad1fd3d3f64877daae1ef10263118a7070363162bf2b32c7339e481a99da13d"},
	};
	uint8_t key[64], bytes[32];

	(void)state;
	for (size_t i = 0; i < sizeof(key); i++)
		key[i] = (uint8_t)i;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct q2_cipher *cipher =
			open_cipher(cases[i].name, cases[i].mode, key, cases[i].key_bytes);

		from_hex(cases[i].encrypted, bytes);
		q2_cipher_decrypt(cipher, SECTOR, bytes, sizeof(bytes));
		for (size_t k = 0; k < sizeof(bytes); k++)
			assert_int_equal(bytes[k], 0x80 + k);
		q2_cipher_free(cipher);
	}
}

/* Vectors of Twofish's authors and IEEE 1619, and of Serpent by libgcrypt, whose plain text is zeros. */
static void vectors_of_zeros(void **state)
{
	static const struct {
		const char *name, *mode;
		size_t key_bytes;
		uint8_t first; /* byte of the key; the others are zeros */
		const char *encrypted;
	} cases[] = {
		{"aes", "xts-plain64", 32, 0,
		 "917cf69ebd68b2ec9b9fe9a3eadda692cd43d2f59598ed858c02c2652fbf922e"},
		{"twofish", "ecb", 16, 0, "9f589f5cf6122c32b6bfec2f2ae8c35a"},
		{"twofish", "ecb", 32, 0, "57ff739d4dc92c1bd7fc01700cc8216f"},
		{"serpent", "ecb", 16, 0x80, "264e5481eff42a4606abda06c0bfda3d"},
		{"serpent", "ecb", 32, 0x80, "a223aa1288463c0e2be38ebd825616c0"},
	};
	static const uint8_t zeros[32];
	uint8_t key[64] = {0}, bytes[32];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		size_t size = from_hex(cases[i].encrypted, bytes);
		struct q2_cipher *cipher;

		key[0] = cases[i].first;
		cipher = open_cipher(cases[i].name, cases[i].mode, key, cases[i].key_bytes);
		q2_cipher_decrypt(cipher, 0, bytes, size);
		assert_memory_equal(bytes, zeros, size);
		q2_cipher_free(cipher);
	}
}

/* However many sectors are decrypted at once, each comes out alike. */
static void sectors_are_independent(void **state)
{
	static const struct {
		const char *name, *mode;
		size_t key_bytes;
	} cases[] = {
		{"aes", "xts-plain64", 64},     {"serpent", "xts-essiv:sha256", 64},
		{"aes", "cbc-essiv:md5", 16},   {"twofish", "ctr-plain64", 32},
		{"cast5", "cbc-essiv:md5", 16}, {"cast5", "ctr-plain", 16},
		{"serpent", "ecb", 24},
	};
	uint8_t key[64], all[21 * 512], one[sizeof(all)];

	(void)state;
	memset(key, 0x5a, sizeof(key) / 2);
	memset(key + sizeof(key) / 2, 0xa5, sizeof(key) / 2);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct q2_cipher *cipher =
			open_cipher(cases[i].name, cases[i].mode, key, cases[i].key_bytes);

		for (size_t k = 0; k < sizeof(all); k++)
			all[k] = one[k] = (uint8_t)(k / 3);
		q2_cipher_decrypt(cipher, (uint64_t)UINT32_MAX - 3, all, sizeof(all));
		for (size_t k = 0; k < sizeof(one) / 512; k++)
			q2_cipher_decrypt(cipher, (uint64_t)UINT32_MAX - 3 + k, one + k * 512, 512);
		assert_memory_equal(all, one, sizeof(all));
		q2_cipher_free(cipher);
	}
}

/* Sectors of any size are independent, too, and numbers count 512 bytes. */
static void large_sectors(void **state)
{
	static const char *const modes[] = {"xts-plain64", "cbc-essiv:sha256", "ctr-plain"};
	uint8_t key[64], all[5 * 4096 - 512], one[sizeof(all)];
	struct q2_cipher_choice choice;

	(void)state;
	for (size_t i = 0; i < sizeof(key); i++)
		key[i] = (uint8_t)i;
	for (size_t i = 0; i < 3 * 4; i++) {
		const size_t key_bytes = i / 4 == 0 ? 64 : 32, sector_bytes = 512U << i % 4;
		struct q2_cipher *cipher;

		assert_null(q2_cipher_choose(text("aes"), text(modes[i / 4]), key_bytes, &choice));
		assert_int_equal(choice.sector_bytes, 512);
		choice.sector_bytes = sector_bytes;
		cipher = q2_cipher_new(&choice, key);
		assert_non_null(cipher);
		for (size_t k = 0; k < sizeof(all); k++)
			all[k] = one[k] = (uint8_t)(k / 3);
		q2_cipher_decrypt(cipher, (uint64_t)UINT32_MAX - 7, all, sizeof(all));
		for (size_t at = 0; at < sizeof(one); at += sector_bytes)
			q2_cipher_decrypt(cipher, (uint64_t)UINT32_MAX - 7 + at / 512, one + at,
					  sizeof(one) - at < sector_bytes ? sizeof(one) - at
									  : sector_bytes);
		assert_memory_equal(all, one, sizeof(all));
		q2_cipher_free(cipher);
	}
}

static void base64(void **state)
{
	static const char *const bad[] = {
		"A", "AA", "AAA", "AA=", "AA==A", "====", "AAA!", "AAA=="};
	uint8_t bytes[6];
	size_t size;

	(void)state;
	assert_true(q2_base64_decode("", bytes, sizeof(bytes), &size));
	assert_int_equal(size, 0);
	assert_true(q2_base64_decode("AQIDBAUG", bytes, sizeof(bytes), &size));
	assert_int_equal(size, 6);
	assert_memory_equal(bytes, "\1\2\3\4\5\6", 6);
	assert_true(q2_base64_decode("/+8=", bytes, sizeof(bytes), &size));
	assert_int_equal(size, 2);
	assert_memory_equal(bytes, "\xff\xef", 2);
	assert_false(q2_base64_decode("AQIDBAUGBw==", bytes, sizeof(bytes), &size));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(q2_base64_decode(bad[i], bytes, sizeof(bytes), &size));
}

/* Made with OpenSSL 3, by way of Python. */
static void argon2(void **state)
{
	static const struct {
		struct q2_argon2 how;
		const char *key;
	} cases[] = {
		{{true, 1, 8, 1, {NULL, 0}},
		 "52b16d7ff2007d6db89b2a405b471c72cb60f1402d2eaf42a70f1a4e551bec3d"},
		{{true, 3, 64, 4, {NULL, 0}},
		 "0beff72d1114104b581098517173228074310dedc2a85e666e6b4193a6c37e8f"},
		{{true, 4, 1000, 3, {NULL, 0}},
		 "6cf604744a9bd76413780312858624c27e6ace9c880645fb17bc47729148b432"},
		{{false, 3, 64, 4, {NULL, 0}},
		 "2bfc7b5c9c30fd8116f3930b876f3d1a987fa48207cc0872ff19b437bff3bf94"},
	};
	uint8_t key[32];

	(void)state;
	for (size_t i = 0; q2_argon2_is_there() && i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct q2_argon2 how = cases[i].how;

		assert_false(q2_argon2_is_sound(&how));
		how.salt = text("0123456789abcdef");
		assert_true(q2_argon2_is_sound(&how));
		assert_true(q2_argon2(&how, text("a passphrase"), key, sizeof(key)));
		assert_hex(key, cases[i].key);
		assert_int_equal(q2_argon2_bytes(&how), how.block_count * 1024);
		how.lanes = how.block_count / 8 + 1;
		assert_false(q2_argon2_is_sound(&how));
		how.lanes = 0;
		assert_false(q2_argon2_is_sound(&how));
	}
	assert_true(
		q2_argon2_fills(&(struct q2_argon2){true, UINT32_MAX, UINT32_MAX, 1, {NULL, 0}}) ==
		(uint64_t)UINT32_MAX * UINT32_MAX);
}

static void unknown_choices(void **state)
{
	static const struct {
		const char *name, *mode;
		size_t key_bytes;
		const char *unknown;
	} cases[] = {
		{"des", "cbc-plain64", 16, "cipher"},
		{"", "cbc-plain64", 16, "cipher"},
		{"aes2", "cbc-plain64", 16, "cipher"},
		{"aes", "cbc-plain64", 0, "length of the key"},
		{"aes", "cbc-plain64", 64, "length of the key"},
		{"aes", "xts-plain64", 16, "length of the key"},
		{"aes", "xts-plain64", 65, "length of the key"},
		{"aes", "xts-plain64", 128, "length of the key"},
		{"aes", "xts-plain64", SIZE_MAX, "length of the key"},
		{"aes", "lrw-benbi", 32, "mode"},
		{"aes", "", 32, "mode"},
		{"aes", "-", 32, "mode"},
		{"cast5", "xts-plain64", 32, "mode"},
		{"aes", "cbc", 32, "initialization vector"},
		{"aes", "cbc-", 32, "initialization vector"},
		{"aes", "cbc-benbi", 32, "initialization vector"},
		{"aes", "cbc-plain65", 32, "initialization vector"},
		{"aes", "cbc-essiv", 32, "initialization vector"},
		{"aes", "cbc-essiv:", 32, "initialization vector"},
		{"aes", "cbc-essiv:sha1", 32, "initialization vector"},
		{"aes", "cbc-essiv:sha512", 32, "initialization vector"},
		{"cast5", "cbc-essiv:sha256", 16, "initialization vector"},
	};
	struct q2_cipher_choice choice;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *unknown = q2_cipher_choose(text(cases[i].name), text(cases[i].mode),
						       cases[i].key_bytes, &choice);

		assert_non_null(unknown);
		assert_string_equal(unknown, cases[i].unknown);
	}
	assert_null(q2_crypto_hash_find(text("whirlpool")));
	assert_null(q2_crypto_hash_find(text("sha")));
	assert_null(q2_crypto_hash_find(text("")));
}

/* The first two are those of RFC 6070 and RFC 7914. */
static void keys_of_passphrases(void **state)
{
	static const struct {
		const char *hash;
		uint32_t iterations, rounds;
		const char *key;
	} cases[] = {
		{"sha1", 4096, 4096, "4b007901b765489abead49d926f721d065a429c1"},
		{"sha256", 2, 4,
		 "ae4d0c95af6b46d32d0adff928f06dd02a303f8ef3c251dfd6e2d85a95474c43830651afcb5c862"
		 "f"},
		{"sha512", 3, 3,
		 "b6b07cb2cebf4ad84468391a543824fccffe0e0769dbe6bddf10a65673c4b648"
		 "e612d44918f9ce9a19a1294cf5140628084ba994c3b21a4ef4741220b811c633"},
		{"sha224", 2, 2, "93200ffa96c5776d38fa10abdf8f5bfc0054b9718513df472d2331d2"},
		{"sha384", 2, 2,
		 "54f775c6d790f21930459162fc535dbf04a939185127016a"
		 "04176a0730c6f1f4fb48832ad1261baadd2cedd50814b1c8"},
		{"md5", 5, 5, "f544b11e986b964cb26493a77147bd17"},
		{"ripemd160", 2, 2, "768dcc27b7bfdef794a1ff9d935090fcf598555e"},
	};
	uint8_t key[64];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct q2_pbkdf2 how = {q2_crypto_hash_find(text(cases[i].hash)), text("salt"),
					cases[i].iterations};
		size_t size = strlen(cases[i].key) / 2;

		assert_non_null(how.hash);
		assert_int_equal(q2_pbkdf2_rounds(&how, size), cases[i].rounds);
		q2_pbkdf2(&how, text("password"), key, size);
		assert_hex(key, cases[i].key);
	}
}

static void rounds_do_not_overflow(void **state)
{
	const struct q2_pbkdf2 how = {q2_crypto_hash_find(text("md5")), text("salt"), UINT32_MAX};

	(void)state;
	assert_int_equal(q2_pbkdf2_rounds(&how, 64), 4 * (uint64_t)UINT32_MAX);
}

static void split_keys(void **state)
{
	static const struct {
		const char *hash, *key;
	} cases[] = {
		{"sha1", "ee24e45290600c067d9d39ef3beadb8844e3cb5c3e8ad046"
			 "e11da094ea84f731339fae133f8b19451dcd26ee00613488"},
		{"sha512", "99d0577c8e24e5804c586ad09844c4e7edb51f6d384351c8"
			   "6b7e3fc2c5319456110da63ea41cc1540709b61212b5ae5d"},
	};
	uint8_t material[3 * 48], key[48];

	(void)state;
	for (size_t i = 0; i < sizeof(material); i++)
		material[i] = (uint8_t)(i * 7 + 3);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		q2_split_key_join(q2_crypto_hash_find(text(cases[i].hash)), material, 3, key,
				  sizeof(key));
		assert_hex(key, cases[i].key);
	}
	q2_split_key_join(q2_crypto_hash_find(text("sha1")), material, 1, key, sizeof(key));
	assert_memory_equal(key, material, sizeof(key));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(counting_vectors),
		cmocka_unit_test(vectors_of_zeros),
		cmocka_unit_test(sectors_are_independent),
		cmocka_unit_test(large_sectors),
		cmocka_unit_test(base64),
		cmocka_unit_test(argon2),
		cmocka_unit_test(unknown_choices),
		cmocka_unit_test(keys_of_passphrases),
		cmocka_unit_test(rounds_do_not_overflow),
		cmocka_unit_test(split_keys),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
