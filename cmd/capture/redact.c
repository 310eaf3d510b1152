/* SPDX-License-Identifier: MIT */
/* See redact.h. Bytes that are 0 stay so: whether something is there is not hidden. */
#include "capture/redact.h"

#include <stdlib.h>
#include <string.h>

#include "capture/names.h"

#include <qcow2/bitmap_directory.h>
#include <qcow2/extension.h>
#include <qcow2/snapshot.h>

/* The fields of extra data that the format has: struct qcow2_snapshot_extra. */
#define SNAPSHOT_EXTRA_KNOWN sizeof(struct qcow2_snapshot_extra)
#define NEUTRAL              'x'

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

/* The bytes of the header that fields have, which no text is written over. */
static uint64_t header_bytes(const struct redaction *r)
{
	const uint64_t length = qcow2_image_header(r->image)->header_length;

	return length < sizeof(struct qcow2_header) ? sizeof(struct qcow2_header) : length;
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

static bool is_known(uint32_t magic)
{
	return magic == QCOW2_EXTENSION_BACKING_FORMAT || magic == QCOW2_EXTENSION_FEATURE_NAMES ||
	       magic == QCOW2_EXTENSION_BITMAPS || magic == QCOW2_EXTENSION_CRYPTO;
}

static int redact_extension(struct redaction *r, const struct qcow2_extension *extension)
{
	const uint64_t at = extension->offset_bytes + sizeof(extension->header);

	capture_ranges_add(&r->known, extension->offset_bytes,
			   sizeof(extension->header) + extension->data.size +
				   extension->padding.size,
			   UINT64_MAX);
	if (extension->header.magic == QCOW2_EXTENSION_DATA_FILE)
		return put_name(r, at, extension->data);
	return is_known(extension->header.magic) ? 0 : put_unknown(r, at, extension->data);
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
	/* The end mark, or what stands where one should be. */
	capture_ranges_add(&r->known, qcow2_extensions_at_bytes(extensions),
			   sizeof(struct qcow2_extension_header), UINT64_MAX);
	qcow2_extensions_close(extensions);
	return result;
}

/*
 * What is left of the first cluster: names of before may be there. Other tables that a damaged image
 * has there stay.
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

static int redact_snapshot(struct redaction *r, const struct qcow2_snapshot *snapshot)
{
	const struct qcow2_bytes extra = snapshot->extra_data;
	const uint64_t extra_at = snapshot->offset_bytes + sizeof(struct qcow2_snapshot_header);
	const uint64_t id_at = extra_at + snapshot->header.extra_data_size;

	if (extra.size > SNAPSHOT_EXTRA_KNOWN &&
	    put_unknown(r, extra_at + SNAPSHOT_EXTRA_KNOWN,
			(struct qcow2_bytes){extra.data + SNAPSHOT_EXTRA_KNOWN,
					     extra.size - SNAPSHOT_EXTRA_KNOWN}))
		return -1;
	return put_name(r, id_at, snapshot->id) ||
			       put_name(r, id_at + snapshot->header.id_str_size, snapshot->name)
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

static int redact_bitmaps(struct redaction *r)
{
	const struct qcow2_bitmap *bitmap;
	struct qcow2_bitmaps *bitmaps;
	int more, result = 0;

	if (qcow2_bitmaps_open(r->image, &bitmaps, r->err))
		return is_fault(r->err) ? -1 : 0;
	while (result == 0 && (more = qcow2_bitmaps_next(bitmaps, &bitmap, r->err)) != 0) {
		const uint64_t at = bitmap->offset_bytes + sizeof(struct qcow2_bitmap_dir_entry);

		result = more < 0 || put_unknown(r, at, bitmap->extra_data) ||
					 put_name(r, at + bitmap->entry.extra_data_size,
						  bitmap->name)
				 ? -1
				 : 0;
	}
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
