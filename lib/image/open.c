/* SPDX-License-Identifier: MIT */
/*
 * Opens an image: checks magic number and version, reads the first cluster, derives the geometry.
 */
#include <inttypes.h>
#include <string.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/checked.h"
#include "base/error.h"
#include "image/internal.h"

#include <qcow2/entry.h>
#include <qcow2/limits.h>
#include <qcow2/probe.h>

#define VERSION_AT    offsetof(struct qcow2_header, version)
#define UNKNOWN_BYTES 65536 /* read if the cluster size is insane */
#define FIRST_MAX     (UINT64_C(2) << 20)

/* Says what the file is instead, as far as its bytes tell. */
static int fail_not_qcow2(struct qcow2_source *source, struct qcow2_error *err)
{
	const struct qcow2_file_kind *kind;

	if (qcow2_probe(source, &kind, err) || kind->number == QCOW2_FILE_UNKNOWN)
		return q2_fail(err, QCOW2_ERROR_NOT_QCOW2, 0,
			       "not a qcow2 image: no magic number QFI\\xfb; a raw image, or a "
			       "file of an unknown kind");
	return q2_fail(err, QCOW2_ERROR_NOT_QCOW2,
		       kind->number == QCOW2_FILE_ZEROS ? 0 : QCOW2_NO_OFFSET,
		       "not a qcow2 image but %s%s%s", kind->name, kind->advice[0] ? ": " : "",
		       kind->advice);
}

static int fail_truncated(size_t size, struct qcow2_error *err)
{
	return q2_fail(err, QCOW2_ERROR_BROKEN, size,
		       "truncated: the file ends inside the header, after %zu bytes", size);
}

static int identify(struct qcow2_source *source, const uint8_t *raw, size_t size,
		    struct qcow2_error *err)
{
	uint32_t version;

	if (size == 0)
		return q2_fail(err, QCOW2_ERROR_NOT_QCOW2, 0, "the file is empty");
	if (size < 4 || q2_load_be32(raw) != QCOW2_MAGIC)
		return fail_not_qcow2(source, err);
	if (size < 8)
		return fail_truncated(size, err);
	version = q2_load_be32(raw + VERSION_AT);
	if (version == 1)
		return fail_not_qcow2(source, err);
	if (version != 2 && version != 3)
		return q2_fail(err, QCOW2_ERROR_UNSUPPORTED, VERSION_AT,
			       "version %u is not supported: versions 2 and 3 are", version);
	if (size < (version == 2 ? QCOW2_HEADER_V2_BYTES : QCOW2_HEADER_V3_BYTES))
		return fail_truncated(size, err);
	return 0;
}

/* Fills the geometry if the header's numbers allow one. */
static void derive_geometry(struct qcow2_image *image)
{
	const struct qcow2_header *h = &image->header;
	struct qcow2_geometry *g = &image->geometry;
	bool extended = (h->incompatible_features & QCOW2_INCOMPATIBLE_EXTENDED_L2) != 0;

	if (h->cluster_bits < QCOW2_LIMIT_CLUSTER_BITS_MIN ||
	    h->cluster_bits > QCOW2_LIMIT_CLUSTER_BITS_MAX ||
	    h->refcount_order > QCOW2_LIMIT_REFCOUNT_ORDER_MAX)
		return;
	g->size = sizeof(*g);
	g->cluster_bits = h->cluster_bits;
	g->cluster_size_bytes = UINT64_C(1) << h->cluster_bits;
	g->virtual_size_bytes = h->size;
	g->file_size_bytes = qcow2_source_size_bytes(image->source);
	g->extended_l2 = extended;
	g->data_file = (h->incompatible_features & QCOW2_INCOMPATIBLE_DATA_FILE) != 0;
	g->l2_entry_bytes = extended ? 16 : 8;
	g->l2_entries = g->cluster_size_bytes / g->l2_entry_bytes;
	g->l1_entries_needed =
		q2_div_ceil_u64(q2_div_ceil_u64(h->size, g->cluster_size_bytes), g->l2_entries);
	g->refcount_bits = 1U << h->refcount_order;
	g->refcount_block_entries = g->cluster_size_bytes * 8 / g->refcount_bits;
	g->compressed_offset_bits = qcow2_compressed_bit_x(h->cluster_bits);
	image->sane = true;
}

static uint64_t smaller(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* Reads the first cluster as far as the file has it. The bytes at `start` were read already. */
static int read_first(struct qcow2_image *image, const uint8_t *start, size_t start_size,
		      struct qcow2_error *err)
{
	uint32_t bits = image->header.cluster_bits;
	bool known = bits >= QCOW2_LIMIT_CLUSTER_BITS_MIN && bits <= QCOW2_LIMIT_CLUSTER_BITS_MAX;
	uint64_t size = smaller(known ? UINT64_C(1) << bits : UNKNOWN_BYTES,
				smaller(qcow2_source_size_bytes(image->source), FIRST_MAX));

	image->first_size = size < start_size ? start_size : (size_t)size;
	image->first = q2_alloc_buffer(image->first_size);
	if (!image->first)
		return q2_fail_memory(err);
	memcpy(image->first, start, start_size);
	if (image->first_size > start_size &&
	    qcow2_source_read(image->source, start_size, image->first + start_size,
			      image->first_size - start_size, err))
		return -1;
	if (size < image->first_size)
		image->first_size = (size_t)size;
	return 0;
}

int q2_image_open_started(struct qcow2_source *source, struct qcow2_bytes start,
			  struct qcow2_image **out, struct qcow2_error *err)
{
	struct qcow2_image *image;

	if (identify(source, start.data, start.size, err))
		return -1;
	image = q2_alloc(sizeof(*image));
	if (!image)
		return q2_fail_memory(err);
	image->source = source;
	qcow2_header_decode(&image->header, start.data, start.size);
	derive_geometry(image);
	if (read_first(image, start.data, start.size, err)) {
		qcow2_image_close(image);
		return -1;
	}
	*out = image;
	return 0;
}

int qcow2_image_open(struct qcow2_source *source, struct qcow2_image **out, struct qcow2_error *err)
{
	uint8_t start[512];
	size_t size = (size_t)smaller(qcow2_source_size_bytes(source), sizeof(start));

	if (qcow2_source_read(source, 0, start, size, err))
		return -1;
	return q2_image_open_started(source, (struct qcow2_bytes){start, size}, out, err);
}

void qcow2_image_close(struct qcow2_image *image)
{
	if (!image)
		return;
	q2_free(image->first);
	q2_free(image);
}

const struct qcow2_header *qcow2_image_header(const struct qcow2_image *image)
{
	return &image->header;
}

struct qcow2_bytes qcow2_image_first_cluster(const struct qcow2_image *image)
{
	return (struct qcow2_bytes){image->first, image->first_size};
}

const struct qcow2_geometry *qcow2_image_geometry(const struct qcow2_image *image)
{
	return image->sane ? &image->geometry : NULL;
}

struct qcow2_source *qcow2_image_source(const struct qcow2_image *image)
{
	return image->source;
}

struct qcow2_bytes qcow2_image_backing_name(const struct qcow2_image *image)
{
	uint64_t offset = image->header.backing_file_offset;
	struct qcow2_bytes name = {NULL, 0};

	if (offset == 0 || offset >= image->first_size)
		return name;
	name.data = image->first + offset;
	name.size = (size_t)smaller(
		image->first_size - offset,
		smaller(image->header.backing_file_size, QCOW2_LIMIT_BACKING_NAME_BYTES));
	return name;
}

int q2_image_check_known(const struct qcow2_image *image, struct qcow2_error *err)
{
	const uint64_t unknown = image->header.incompatible_features & ~QCOW2_INCOMPATIBLE_KNOWN;

	if (!image->sane)
		return q2_fail(err, QCOW2_ERROR_BROKEN, QCOW2_NO_OFFSET,
			       "the cluster size or the refcount width is insane");
	if (unknown)
		return q2_fail(err, QCOW2_ERROR_UNSUPPORTED,
			       offsetof(struct qcow2_header, incompatible_features),
			       "unknown incompatible features 0x%" PRIx64, unknown);
	return 0;
}
