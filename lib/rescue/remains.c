/* SPDX-License-Identifier: MIT */
/* See remains.h. Nothing here is believed because it is there, but because it fits the rest. */
#include "rescue/remains.h"

#include <string.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/error.h"
#include "base/utf8.h"

#include <qcow2/extension.h>
#include <qcow2/limits.h>

#define HEAD_BYTES sizeof(struct qcow2_extension_header)

static const uint32_t known_extensions[] = {
#define QCOW2_EXTENSION(ID, magic, id, title, kind, structure, meaning) (magic),
#include <qcow2/def/extensions.def>
#undef QCOW2_EXTENSION
};

static bool is_known(uint32_t magic)
{
	for (size_t i = 0; i < sizeof(known_extensions) / sizeof(known_extensions[0]); i++)
		if (known_extensions[i] == magic)
			return true;
	return false;
}

/* Whether bytes can be the name of a file. */
static bool is_name(struct qcow2_bytes bytes)
{
	uint32_t codepoint;
	bool valid;

	if (bytes.size == 0 || bytes.size > QCOW2_LIMIT_BACKING_NAME_BYTES)
		return false;
	for (size_t at = 0; at < bytes.size;) {
		at += q2_utf8_next(bytes.data + at, bytes.size - at, &codepoint, &valid);
		if (!valid || !q2_codepoint_printable(codepoint))
			return false;
	}
	return true;
}

/* How many fields of the header say what the guess has found out by itself. */
static unsigned fields_right(const struct qcow2_header *header, const struct q2_guess *guess)
{
	const struct q2_guess_l1 *l1 =
		guess->active == SIZE_MAX ? NULL : q2_vector_at(&guess->l1_tables, guess->active);

	return 0U + (header->cluster_bits == guess->shape.cluster_bits) +
	       (header->refcount_table_offset != 0 &&
		header->refcount_table_offset == guess->refcounts.table_bytes) +
	       (l1 && header->l1_table_offset == l1->offset_bytes) +
	       (header->version == 2 || header->version == 3);
}

/* Takes the list of extensions that begins at an offset. False, and none taken, if it is no list. */
static bool take_extensions(struct q2_remains *remains, size_t at, size_t *end)
{
	remains->extension_count = 0;
	while (at + HEAD_BYTES <= remains->size) {
		struct qcow2_extension_header head;

		qcow2_extension_header_decode(&head, remains->bytes + at, HEAD_BYTES);
		at += HEAD_BYTES;
		if (head.magic == QCOW2_EXTENSION_END && head.length == 0) {
			*end = at;
			return true;
		}
		if (!(is_known(head.magic) || (remains->has_header && head.magic != 0)) ||
		    head.length > remains->size - at ||
		    remains->extension_count == Q2_EXTENSIONS_MOST)
			break;
		remains->extensions[remains->extension_count++] = (struct q2_remain_extension){
			head.magic, {remains->bytes + at, head.length}};
		at += (head.length + (size_t)7) & ~(size_t)7;
	}
	remains->extension_count = 0;
	return false;
}

/* The places where a list of extensions begins: where the header says, and where it usually does. */
static bool find_extensions(struct q2_remains *remains, size_t *end)
{
	const size_t places[] = {remains->has_header ? remains->header.header_length : 0,
				 sizeof(struct qcow2_header), QCOW2_HEADER_V3_BYTES,
				 QCOW2_HEADER_V2_BYTES};

	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		if (places[i] < QCOW2_HEADER_V2_BYTES || places[i] % 8 != 0 ||
		    !take_extensions(remains, places[i], end))
			continue;
		/* Zeros alone read as an empty list, which proves nothing. */
		if (remains->extension_count > 0 || (i == 0 && remains->has_header))
			return true;
	}
	return false;
}

/* The text from an offset to the next NUL. */
static struct qcow2_bytes text_at(const struct q2_remains *remains, size_t at)
{
	const uint8_t *start = remains->bytes + at, *nul;

	if (at >= remains->size)
		return (struct qcow2_bytes){NULL, 0};
	nul = memchr(start, 0, remains->size - at);
	return (struct qcow2_bytes){start, nul ? (size_t)(nul - start) : remains->size - at};
}

/* Whether nothing but zeros follows. */
static bool ends_at(const struct q2_remains *remains, size_t at)
{
	for (; at < remains->size; at++)
		if (remains->bytes[at] != 0)
			return false;
	return true;
}

/*
 * The last text of the cluster, if it stands where a program puts the name of a backing file: at a
 * multiple of eight, behind the end of the list of extensions, which is eight zeros.
 */
static struct qcow2_bytes last_text(const struct q2_remains *remains)
{
	static const uint8_t end_mark[HEAD_BYTES];
	size_t end = remains->size, start;

	while (end > 0 && remains->bytes[end - 1] == 0)
		end--;
	for (start = end; start > 0 && remains->bytes[start - 1] != 0; start--)
		continue;
	if (start == end || start % 8 != 0 || start < HEAD_BYTES ||
	    memcmp(remains->bytes + start - HEAD_BYTES, end_mark, HEAD_BYTES) != 0)
		return (struct qcow2_bytes){NULL, 0};
	return (struct qcow2_bytes){remains->bytes + start, end - start};
}

static void find_backing(struct q2_remains *remains, size_t extensions_end)
{
	const struct qcow2_header *header = &remains->header;
	struct qcow2_bytes name = {NULL, 0};

	if (remains->has_header && header->backing_file_offset == 0 && remains->fields >= 3)
		return;
	if (remains->has_header && header->backing_file_offset < remains->size &&
	    header->backing_file_size <= remains->size - header->backing_file_offset)
		name = (struct qcow2_bytes){remains->bytes + header->backing_file_offset,
					    header->backing_file_size};
	remains->backing_certain = is_name(name);
	if (!is_name(name) && remains->has_extensions) {
		name = text_at(remains, extensions_end);
		remains->backing_certain =
			is_name(name) && ends_at(remains, extensions_end + name.size);
		if (!remains->backing_certain)
			name.size = 0;
	}
	if (!is_name(name))
		name = last_text(remains);
	if (is_name(name))
		remains->backing = name;
}

int q2_remains_read(struct q2_remains *remains, struct q2_guess *guess, struct qcow2_error *err)
{
	uint64_t cluster = UINT64_C(1) << guess->shape.cluster_bits;
	const uint8_t *bytes;
	size_t end = 0;

	remains->size = cluster < Q2_REMAINS_BYTES ? (size_t)cluster : Q2_REMAINS_BYTES;
	remains->bytes = q2_alloc(Q2_REMAINS_BYTES);
	if (!remains->bytes)
		return q2_fail_memory(err);
	if (q2_pieces_read(&guess->pieces, 0, remains->size, &bytes, err))
		return -1;
	memcpy(remains->bytes, bytes, remains->size);
	qcow2_header_decode(&remains->header, remains->bytes, remains->size);
	remains->fields = fields_right(&remains->header, guess);
	remains->has_header = (remains->header.magic == QCOW2_MAGIC && remains->fields >= 1) ||
			      remains->fields >= 3;
	remains->has_extensions = find_extensions(remains, &end);
	find_backing(remains, end);
	return 0;
}

void q2_remains_release(struct q2_remains *remains)
{
	q2_free(remains->bytes);
}

const struct qcow2_bytes *q2_remains_extension(const struct q2_remains *remains, uint32_t magic)
{
	for (size_t i = 0; i < remains->extension_count; i++)
		if (remains->extensions[i].magic == magic)
			return &remains->extensions[i].data;
	return NULL;
}
