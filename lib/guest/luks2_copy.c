/* SPDX-License-Identifier: MIT */
/*
 * Finds a sound copy of a LUKS2 header: there are two, one behind the other, each with a checksum over
 * its binary part and its JSON. A sound first copy says where the second one is; else it is looked for
 * at each place where it may be.
 */
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/error.h"
#include "base/json.h"
#include "guest/luks2.h"

#include <qcow2/format.h>

/* The binary part, before the JSON, and what of it has a meaning. */
#define BINARY_BYTES 4096
#define FIELDS_BYTES 512
/* The sizes that a header may have: powers of two. */
#define HEADER_BYTES_MIN (UINT64_C(16) << 10)
#define HEADER_BYTES_MAX (UINT64_C(4) << 20)

/* A copy of the header. */
struct copy {
	uint8_t *bytes; /* NULL: it is not sound */
	struct qcow2_luks2 header;
	struct qcow2_bytes json;
};

static const uint8_t first_magic[] = {'L', 'U', 'K', 'S', 0xba, 0xbe};
static const uint8_t second_magic[] = {'S', 'K', 'U', 'L', 0xba, 0xbe};

/* Whether the binary part of a copy makes sense at this place. */
static bool is_header(const struct qcow2_luks2 *header, const struct q2_luks_area *area,
		      uint64_t at)
{
	return memcmp(header->magic, at == 0 ? first_magic : second_magic, sizeof(first_magic)) ==
		       0 &&
	       header->version == 2 && header->hdr_offset == at &&
	       header->hdr_size >= HEADER_BYTES_MIN && header->hdr_size <= HEADER_BYTES_MAX &&
	       q2_is_power_of_two(header->hdr_size) && (at == 0 || header->hdr_size == at) &&
	       q2_range_fits(at, header->hdr_size, area->size_bytes);
}

/* Whether the checksum is right. Clears it. */
static bool has_checksum(struct copy *copy)
{
	const struct qcow2_luks2 *header = &copy->header;
	const size_t name_bytes = strnlen((const char *)header->csum_alg, sizeof(header->csum_alg));
	const struct nettle_hash *hash =
		q2_crypto_hash_find((struct qcow2_bytes){header->csum_alg, name_bytes});
	const struct qcow2_field *field;
	uint8_t digest[Q2_CRYPTO_HASH_BYTES_MAX];

	if (!hash)
		return false;
	field = qcow2_structure_field(&qcow2_luks2_structure, "csum");
	memset(copy->bytes + field->offset_bytes, 0, field->width_bytes);
	q2_crypto_hash(hash, (struct qcow2_bytes){copy->bytes, (size_t)header->hdr_size},
		       (struct qcow2_bytes){copy->bytes, 0}, digest);
	return memcmp(digest, header->csum, q2_crypto_hash_bytes(hash)) == 0;
}

/* Whether the JSON is an object, with NULs alone behind it, one at least. */
static bool has_json(struct copy *copy)
{
	struct qcow2_bytes area = {copy->bytes + BINARY_BYTES,
				   (size_t)copy->header.hdr_size - BINARY_BYTES};
	const uint8_t *end = memchr(area.data, 0, area.size);
	struct qcow2_bytes text = {area.data, end ? (size_t)(end - area.data) : 0};

	for (size_t i = text.size; i < area.size; i++)
		if (area.data[i] != 0)
			return false;
	return q2_json_check(text, &copy->json) && q2_json_kind(copy->json) == Q2_JSON_OBJECT;
}

/* Reads the copy at a place; copy->bytes stays NULL if it is not sound, also after an error. */
static int read_sound_copy(const struct q2_luks_area *area, uint64_t at, struct copy *copy,
			   struct qcow2_error *err)
{
	uint8_t binary[FIELDS_BYTES];

	*copy = (struct copy){.bytes = NULL};
	if (!q2_range_fits(at, sizeof(binary), area->size_bytes))
		return 0;
	if (q2_luks_area_read(area, at, binary, sizeof(binary), err))
		return -1;
	qcow2_luks2_decode(&copy->header, binary, sizeof(binary));
	if (!is_header(&copy->header, area, at))
		return 0;
	copy->bytes = q2_alloc_buffer((size_t)copy->header.hdr_size);
	if (!copy->bytes)
		return q2_fail_memory(err);
	if (q2_luks_area_read(area, at, copy->bytes, (size_t)copy->header.hdr_size, err)) {
		q2_free(copy->bytes);
		copy->bytes = NULL;
		return -1;
	}
	/* A file that changes meanwhile could have another size now. */
	if (memcmp(binary, copy->bytes, sizeof(binary)) != 0 || !has_checksum(copy) ||
	    !has_json(copy)) {
		q2_free(copy->bytes);
		copy->bytes = NULL;
	}
	return 0;
}

/* What is looked at, and why a part of it could not be read. */
struct search {
	const struct q2_luks_area *area;
	struct qcow2_error unread; /* code NONE: all could be read */
};

/* A copy that cannot be read is none, as one that is not sound. */
static int read_copy(struct search *search, uint64_t at, struct copy *copy, struct qcow2_error *err)
{
	struct qcow2_error why;

	if (read_sound_copy(search->area, at, copy, &why) == 0)
		return 0;
	if (!q2_luks_area_is_bad(&why)) {
		if (err)
			*err = why;
		return -1;
	}
	if (search->unread.code == QCOW2_ERROR_NONE)
		search->unread = why;
	return 0;
}

/* Looks for the second copy. */
static int read_second(struct search *search, const struct copy *first, struct copy *second,
		       struct qcow2_error *err)
{
	*second = (struct copy){.bytes = NULL};
	if (first->bytes)
		return read_copy(search, first->header.hdr_size, second, err);
	for (uint64_t at = HEADER_BYTES_MIN; at <= HEADER_BYTES_MAX; at *= 2) {
		if (read_copy(search, at, second, err))
			return -1;
		if (second->bytes)
			break;
	}
	return 0;
}

int q2_luks2_find(struct q2_luks2 *luks, const struct q2_luks_area *area, struct qcow2_error *err)
{
	struct search search = {.area = area, .unread.code = QCOW2_ERROR_NONE};
	struct copy first, second;

	*luks = (struct q2_luks2){.copy = NULL};
	if (read_copy(&search, 0, &first, err))
		return -1;
	if (read_second(&search, &first, &second, err)) {
		q2_free(first.bytes);
		return -1;
	}
	if (first.bytes && second.bytes) {
		struct copy *older = second.header.seqid > first.header.seqid ? &first : &second;

		q2_free(older->bytes);
		older->bytes = NULL;
	}
	if (!first.bytes)
		first = second;
	if (!first.bytes && search.unread.code != QCOW2_ERROR_NONE) {
		if (err)
			*err = search.unread;
		q2_error_append(err, "a LUKS header is there");
		return -1;
	}
	luks->copy = first.bytes;
	luks->json = first.json;
	luks->slots_at = 2 * first.header.hdr_size;
	return luks->copy != NULL;
}

void q2_luks2_release(struct q2_luks2 *luks)
{
	q2_free(luks->copy);
	luks->copy = NULL;
}
