/* SPDX-License-Identifier: MIT */
/*
 * See names.h. A name is a row of characters, each of a kind; the kinds are the shape of the name. The
 * names of one shape are numbered as they come, and a new name is that number in digits of the kinds
 * that its characters have.
 */
#include "capture/names.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "capture/fail.h"
#include "hash/tree.h"

#include <qcow2/text.h>

#define ROOM_LEAST ((size_t)256)

/* What a character is. */
enum kind {
	KIND_KEPT,  /* not printable: it stays */
	KIND_WRONG, /* a byte that is not UTF-8 */
	KIND_ASCII, /* and the others by their length in bytes */
	KIND_TWO,
	KIND_THREE,
	KIND_FOUR,
	KINDS
};

/* How many digits there are of a kind, and the bytes of one. */
static const uint32_t digits_of[KINDS] = {1, 10, 95, 64, 64, 64};
static const size_t bytes_of[KINDS] = {1, 1, 1, 2, 3, 4};

/* Printable ASCII, what is neutral first. */
static const char ascii[] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
			    "_-.,:;+=@%#~ !\"$&'()*/<>?[\\]^`{|}";

static_assert(sizeof(ascii) == 95 + 1, "each once, and the NUL");

/* Names of so many characters have ten digits each, fewer than that all there are. */
#define LONG_NAME 6

static enum kind kind_of(struct qcow2_bytes text, size_t *size)
{
	uint32_t codepoint;
	bool valid;

	*size = qcow2_text_next(text, &codepoint, &valid);
	if (!valid)
		return KIND_WRONG;
	if (!qcow2_text_is_printable(codepoint))
		return KIND_KEPT;
	return (enum kind)(KIND_ASCII + *size - 1);
}

/* Stores a digit at a character. */
static void put_digit(uint8_t *at, enum kind kind, uint32_t digit)
{
	static const uint8_t first[KINDS][3] = {
		[KIND_TWO] = {0xc4},              /* Latin letters with marks */
		[KIND_THREE] = {0xe4, 0xb9},      /* ideographs, */
		[KIND_FOUR] = {0xf0, 0xa0, 0x80}, /* and more of these */
	};

	if (kind == KIND_KEPT)
		return;
	if (kind == KIND_WRONG)
		*at = (uint8_t)(0xf5 + digit); /* never a part of UTF-8 */
	else if (kind == KIND_ASCII)
		*at = (uint8_t)ascii[digit];
	else {
		memcpy(at, first[kind], bytes_of[kind] - 1);
		at[bytes_of[kind] - 1] = (uint8_t)(0x80 + digit);
	}
}

/* ---- what was seen ---- */

static struct capture_known *find(const struct capture_names *names, const uint8_t *digest)
{
	uint64_t hash;
	size_t at;

	memcpy(&hash, digest, sizeof(hash));
	for (at = (size_t)(hash % names->room); names->slots[at].number != 0;
	     at = (at + 1) % names->room)
		if (memcmp(names->slots[at].digest, digest, sizeof(names->slots[at].digest)) == 0)
			break;
	return &names->slots[at];
}

static bool grow(struct capture_names *names)
{
	struct capture_names grown = {.count = names->count,
				      .room = names->room ? 2 * names->room : ROOM_LEAST};

	if (names->count < names->room / 2)
		return true;
	grown.slots = calloc(grown.room, sizeof(*grown.slots));
	if (!grown.slots)
		return false;
	for (size_t i = 0; i < names->room; i++)
		if (names->slots[i].number != 0)
			*find(&grown, names->slots[i].digest) = names->slots[i];
	free(names->slots);
	*names = grown;
	return true;
}

/* Finds what was seen, or notes it with a number of 0 that the caller sets. NULL: no memory. */
static struct capture_known *note(struct capture_names *names, const uint8_t *bytes, size_t size,
				  bool is_shape)
{
	uint8_t digest[HASH_DIGEST_BYTES];
	struct capture_known *known;

	if (!grow(names))
		return NULL;
	hash_bytes(bytes, size, digest);
	digest[sizeof(known->digest) - 1] &= 0xfe;
	digest[sizeof(known->digest) - 1] |= is_shape;
	known = find(names, digest);
	if (known->number == 0) {
		memcpy(known->digest, digest, sizeof(known->digest));
		names->count++;
	}
	return known;
}

/* The number of a name among those of its shape, from 0. False: no memory. */
static bool number_of(struct capture_names *names, const uint8_t *part, const uint8_t *shape,
		      size_t size, uint64_t *number)
{
	struct capture_known *known = note(names, part, size, false), *of_shape;
	uint8_t digest[sizeof(known->digest)];

	if (!known)
		return false;
	if (known->number == 0) {
		/* The number is needed now, as the table may move. */
		known->number = 1;
		memcpy(digest, known->digest, sizeof(digest));
		of_shape = note(names, shape, size, true);
		if (!of_shape)
			return false;
		*number = ++of_shape->number;
		known = find(names, digest);
		known->number = *number;
	}
	*number = known->number - 1;
	return true;
}

/* ---- replacing ---- */

/* A part of a name without NUL, with room for its shape: a byte for each of its bytes. */
static int replace_part(struct capture_names *names, uint8_t *part, size_t size, uint8_t *shape,
			struct qcow2_error *err)
{
	size_t characters = 0, length;
	uint64_t number;

	for (size_t at = 0; at < size; at += length) {
		const enum kind kind = kind_of((struct qcow2_bytes){part + at, size - at}, &length);

		memset(shape + at, (int)kind, length);
		/* What stays is a part of the shape: names may differ in nothing else. */
		for (size_t i = at; kind == KIND_KEPT && i < at + length; i++)
			shape[i] = (uint8_t)(0x80 | part[i]);
		characters += kind != KIND_KEPT;
	}
	if (!number_of(names, part, shape, size, &number))
		return capture_fail(err, QCOW2_ERROR_MEMORY, "out of memory");
	for (size_t end = size; end > 0; end -= length) {
		const enum kind kind = shape[end - 1] & 0x80 ? KIND_KEPT : shape[end - 1];
		const uint32_t most = digits_of[kind];
		const uint32_t base = characters >= LONG_NAME && most > 10 ? 10 : most;

		length = bytes_of[kind];
		put_digit(part + end - length, kind, (uint32_t)(number % base));
		number /= base;
	}
	return number ? capture_fail(err, QCOW2_ERROR_LIMIT,
				     "there are more short names than neutral ones for them")
		      : 0;
}

int capture_names_replace(struct capture_names *names, uint8_t *name, size_t size,
			  struct qcow2_error *err)
{
	uint8_t *shape = malloc(size ? size : 1);
	int result = 0;

	if (!shape)
		return capture_fail(err, QCOW2_ERROR_MEMORY, "out of memory");
	for (size_t at = 0; at < size && result == 0;) {
		const uint8_t *end = memchr(name + at, 0, size - at);
		const size_t length = end ? (size_t)(end - name) - at : size - at;

		if (length > 0)
			result = replace_part(names, name + at, length, shape, err);
		at += length + 1;
	}
	free(shape);
	return result;
}

void capture_names_release(struct capture_names *names)
{
	free(names->slots);
	*names = (struct capture_names){.slots = NULL};
}
