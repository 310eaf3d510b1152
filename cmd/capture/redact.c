/* SPDX-License-Identifier: MIT */
/* See redact.h. Bytes that are 0 stay so: whether something is there is not hidden. */
#include "capture/redact.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "capture/names.h"

#include <qcow2/bitmap_directory.h>
#include <qcow2/extension.h>
#include <qcow2/snapshot.h>

/* The fields of extra data that the format has: struct qcow2_snapshot_extra. */
#define SNAPSHOT_EXTRA_KNOWN sizeof(struct qcow2_snapshot_extra)
#define NEUTRAL              'x'
/* The header of version 2, and the least one of version 3, which has no compression_type. */
#define HEADER_2_BYTES offsetof(struct qcow2_header, incompatible_features)
#define HEADER_3_BYTES offsetof(struct qcow2_header, compression_type)
/* The most bytes that fill up to a multiple of 8. */
#define PADDING_MOST 7

/* A call of capture_redact(). */
struct redaction {
	const struct qcow2_image *image;
	const struct capture_content *content;
	const struct capture_writer *to;
	struct capture_names names;
	struct capture_ranges known; /* bytes of the first cluster that something is said of */
	uint64_t count;
	struct qcow2_error *err;
};

/*
 * The bytes of the header that known fields have, which no text is written over. Behind them, other
 * fields that header_length counts, extensions or the backing file's name may begin at once.
 */
static uint64_t header_bytes(const struct redaction *r)
{
	const struct qcow2_header *header = qcow2_image_header(r->image);

	if (header->version < 3)
		return HEADER_2_BYTES;
	return header->header_length < sizeof(*header) ? HEADER_3_BYTES : sizeof(*header);
}

/* Writes what is not in the header's fields, where a damaged offset may lead to. */
static int put(struct redaction *r, uint64_t at, const uint8_t *bytes, size_t size)
{
	const uint64_t fields = header_bytes(r);

	if (at < fields && size <= fields - at)
		return 0;
	if (at < fields) {
		bytes += fields - at;
		size -= (size_t)(fields - at);
		at = fields;
	}
	return r->to->write(r->to->opaque, at, bytes, size, r->err);
}

static uint8_t *copy(struct redaction *r, struct qcow2_bytes bytes)
{
	uint8_t *mine = malloc(bytes.size);

	if (mine)
		memcpy(mine, bytes.data, bytes.size);
	else
		capture_fail(r->err, QCOW2_ERROR_MEMORY, "out of memory");
	return mine;
}

static int put_name(struct redaction *r, uint64_t at, struct qcow2_bytes name)
{
	uint8_t *mine;
	int result;

	if (name.size == 0)
		return 0;
	mine = copy(r, name);
	if (!mine)
		return -1;
	r->count++;
	result = capture_names_replace(&r->names, mine, name.size, r->err);
	if (result == 0)
		result = put(r, at, mine, name.size);
	free(mine);
	return result;
}

/* Bytes that nobody here knows: any that is not 0 becomes the same one. */
static int put_unknown(struct redaction *r, uint64_t at, struct qcow2_bytes bytes)
{
	uint8_t *mine;
	int result;

	if (bytes.size == 0)
		return 0;
	mine = copy(r, bytes);
	if (!mine)
		return -1;
	for (size_t i = 0; i < bytes.size; i++)
		mine[i] = mine[i] ? NEUTRAL : 0;
	result = put(r, at, mine, bytes.size);
	free(mine);
	return result;
}

/* ---- the first cluster ---- */

/*
 * How many bytes of an extension's data are kept. One with a length that passes the end of the area
 * swallows whatever follows: of it only fields of a fixed size are.
 */
static size_t known_bytes(const struct qcow2_extension *extension)
{
	const size_t size = extension->data.size;

	switch (extension->header.magic) {
	case QCOW2_EXTENSION_BACKING_FORMAT:
		return extension->cut ? 0 : size;
	case QCOW2_EXTENSION_FEATURE_NAMES:
		return extension->cut ? 0 : size - size % sizeof(struct qcow2_feature_name);
	case QCOW2_EXTENSION_BITMAPS:
		return sizeof(struct qcow2_bitmaps_extension);
	case QCOW2_EXTENSION_CRYPTO:
		return sizeof(struct qcow2_crypto_extension);
	default:
		return 0;
	}
}

static int redact_extension(struct redaction *r, const struct qcow2_extension *extension)
{
	const uint64_t at = extension->offset_bytes + sizeof(extension->header);
	struct qcow2_bytes data = extension->data;
	size_t known = known_bytes(extension);

	if (known > data.size)
		known = data.size;
	capture_ranges_add(&r->known, extension->offset_bytes,
			   sizeof(extension->header) + data.size, UINT64_MAX);
	if (extension->header.magic == QCOW2_EXTENSION_DATA_FILE)
		return put_name(r, at, data);
	data.data += known;
	data.size -= known;
	return put_unknown(r, at + known, data);
}

static int redact_extensions(struct redaction *r)
{
	const struct qcow2_extension *extension;
	struct qcow2_extensions *extensions;
	int result = 0;

	if (qcow2_extensions_open(r->image, &extensions, r->err))
		return -1;
	while (result == 0 && qcow2_extensions_next(extensions, &extension))
		result = redact_extension(r, extension);
	if (qcow2_extensions_terminated(extensions))
		capture_ranges_add(&r->known, qcow2_extensions_at_bytes(extensions),
				   sizeof(struct qcow2_extension_header), UINT64_MAX);
	qcow2_extensions_close(extensions);
	return result;
}

/*
 * What is left of the first cluster: names of before may be there, and fields of the header and
 * padding that nobody here knows. Other tables that a damaged image has there stay.
 */
static int redact_rest(struct redaction *r)
{
	const struct qcow2_bytes first = qcow2_image_first_cluster(r->image);
	struct capture_range all = {0, first.size};
	struct capture_ranges rest = {0};
	int result = 0;

	capture_ranges_add(&rest, all.start_bytes, all.end_bytes, UINT64_MAX);
	capture_ranges_add(&r->known, 0, header_bytes(r), UINT64_MAX);
	capture_ranges_settle(&r->known);
	capture_ranges_take_away(&rest, &r->known);
	capture_ranges_take_away(&rest, &r->content->tables_in_header);
	if (rest.failed || r->known.failed)
		result = capture_fail(r->err, QCOW2_ERROR_MEMORY, "out of memory");
	for (size_t i = 0; i < rest.count && result == 0; i++) {
		const uint64_t at = rest.list[i].start_bytes, end = rest.list[i].end_bytes;

		if (capture_ranges_cover(&r->content->metadata, at, end))
			result = put_unknown(
				r, at, (struct qcow2_bytes){first.data + at, (size_t)(end - at)});
	}
	capture_ranges_release(&rest);
	return result;
}

static int redact_header(struct redaction *r)
{
	const struct qcow2_bytes backing = qcow2_image_backing_name(r->image);
	const uint64_t at = qcow2_image_header(r->image)->backing_file_offset;

	capture_ranges_add(&r->known, at, backing.size, UINT64_MAX);
	if (redact_extensions(r) || redact_rest(r))
		return -1;
	return put_name(r, at, backing);
}

/* ---- lists ---- */

/* Whether this list could not be read for a reason that is no fault of the image. */
static bool is_fault(const struct qcow2_error *err)
{
	return err->code == QCOW2_ERROR_IO || err->code == QCOW2_ERROR_MEMORY ||
	       err->code == QCOW2_ERROR_LIMIT;
}

/* What fills up an entry to 8 bytes, which the iterator does not show. */
static int redact_padding(struct redaction *r, uint64_t at, uint64_t end)
{
	struct qcow2_source *source = qcow2_image_source(r->image);
	const uint64_t file_size = qcow2_source_size_bytes(source);
	uint8_t padding[PADDING_MOST];
	size_t size;

	if (end > file_size)
		end = file_size;
	if (at >= end)
		return 0;
	size = end - at < sizeof(padding) ? (size_t)(end - at) : sizeof(padding);
	if (qcow2_source_read(source, at, padding, size, r->err))
		return -1;
	return put_unknown(r, at, (struct qcow2_bytes){padding, size});
}

static int redact_snapshot(struct redaction *r, const struct qcow2_snapshot *snapshot)
{
	const struct qcow2_bytes extra = snapshot->extra_data;
	const uint64_t extra_at = snapshot->offset_bytes + sizeof(struct qcow2_snapshot_header);
	const uint64_t id_at = extra_at + snapshot->header.extra_data_size;
	const uint64_t name_at = id_at + snapshot->header.id_str_size;

	if (extra.size > SNAPSHOT_EXTRA_KNOWN &&
	    put_unknown(r, extra_at + SNAPSHOT_EXTRA_KNOWN,
			(struct qcow2_bytes){extra.data + SNAPSHOT_EXTRA_KNOWN,
					     extra.size - SNAPSHOT_EXTRA_KNOWN}))
		return -1;
	return put_name(r, id_at, snapshot->id) || put_name(r, name_at, snapshot->name) ||
			       redact_padding(r, name_at + snapshot->header.name_size,
					      snapshot->offset_bytes + snapshot->size_bytes)
		       ? -1
		       : 0;
}

static int redact_snapshots(struct redaction *r)
{
	const struct qcow2_snapshot *snapshot;
	struct qcow2_snapshots *snapshots;
	int more, result = 0;

	if (qcow2_snapshots_open(r->image, &snapshots, r->err))
		return is_fault(r->err) ? -1 : 0;
	while (result == 0 && (more = qcow2_snapshots_next(snapshots, &snapshot, r->err)) != 0)
		result = more < 0 ? -1 : redact_snapshot(r, snapshot);
	qcow2_snapshots_close(snapshots);
	return result;
}

static int redact_bitmap(struct redaction *r, const struct qcow2_bitmap *bitmap)
{
	const uint64_t extra_at = bitmap->offset_bytes + sizeof(struct qcow2_bitmap_dir_entry);
	const uint64_t name_at = extra_at + bitmap->entry.extra_data_size;

	return put_unknown(r, extra_at, bitmap->extra_data) || put_name(r, name_at, bitmap->name) ||
			       put_unknown(r, name_at + bitmap->entry.name_size, bitmap->padding)
		       ? -1
		       : 0;
}

static int redact_bitmaps(struct redaction *r)
{
	const struct qcow2_bitmap *bitmap;
	struct qcow2_bitmaps *bitmaps;
	int more, result = 0;

	if (qcow2_bitmaps_open(r->image, &bitmaps, r->err))
		return is_fault(r->err) ? -1 : 0;
	while (result == 0 && (more = qcow2_bitmaps_next(bitmaps, &bitmap, r->err)) != 0)
		result = more < 0 ? -1 : redact_bitmap(r, bitmap);
	qcow2_bitmaps_close(bitmaps);
	return result;
}

int capture_redact(const struct qcow2_image *image, const struct capture_content *content,
		   const struct capture_writer *to, uint64_t *names, struct qcow2_error *err)
{
	struct redaction r = {.image = image, .content = content, .to = to, .err = err};
	int result = redact_header(&r);

	if (result == 0 && !content->header_alone)
		result = redact_snapshots(&r);
	if (result == 0 && !content->header_alone)
		result = redact_bitmaps(&r);
	capture_names_release(&r.names);
	capture_ranges_release(&r.known);
	*names = r.count;
	return result;
}
