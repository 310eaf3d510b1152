/* SPDX-License-Identifier: MIT */
/*
 * The compression type with its feature bit, and the encryption method: what the guest's clusters
 * hold says which of two values is right.
 */
#include "repair/header/header.h"

#include "base/alloc.h"
#include "base/error.h"
#include "codec/inflate.h"
#include "image/internal.h"

#include <qcow2/limits.h>
#include <qcow2/mapping.h>

#define SECTOR         512
#define CLUSTERS_MOST  32   /* that are read */
#define EXTENTS_MOST   4096 /* that are looked at */
#define DISKS_MOST     16   /* snapshots that are looked at */
#define DISTINCT_NOISE 128  /* of 512 bytes of noise, far more differ */

/* What was found in the guest's clusters. */
struct evidence {
	unsigned looked; /* at compressed clusters */
	unsigned deflate, zstd;
	unsigned data; /* clusters with data that were looked at */
	bool plain;    /* some of the data are surely not encrypted */
	bool mapped;   /* there is anything at all */
};

struct reader {
	struct q2_repair *repair;
	const struct q2_head *head;
	struct q2_inflater *deflate, *zstd;
	uint8_t *buffer;
	size_t cluster_bytes;
	struct evidence evidence;
};

static bool is_plain(const uint8_t *sector)
{
	bool seen[256] = {false};
	unsigned distinct = 0;

	for (unsigned i = 0; i < SECTOR; i++) {
		distinct += !seen[sector[i]];
		seen[sector[i]] = true;
	}
	/* Zeros may be clusters that were allocated and never written. */
	return distinct < DISTINCT_NOISE && (distinct > 1 || sector[0] != 0);
}

static int look_at_data(struct reader *reader, const struct qcow2_mapping_extent *extent)
{
	size_t size = reader->cluster_bytes;

	if (extent->length_bytes < size)
		size = (size_t)extent->length_bytes;
	reader->evidence.data++;
	if (q2_image_read_padded(reader->head->image, extent->host.byte, reader->buffer, size,
				 reader->repair->err))
		return -1;
	for (size_t at = 0; at + SECTOR <= size; at += SECTOR)
		reader->evidence.plain |= is_plain(reader->buffer + at);
	return 0;
}

static int look_at_compressed(struct reader *reader, const struct qcow2_mapping_extent *extent)
{
	size_t size = 2 * reader->cluster_bytes, used;
	struct qcow2_bytes bytes = {reader->buffer, 0};

	if (extent->host_bytes < size)
		size = (size_t)extent->host_bytes;
	bytes.size = size;
	reader->evidence.looked++;
	if (q2_image_read_padded(reader->head->image, extent->host.byte, reader->buffer, size,
				 reader->repair->err))
		return -1;
	reader->evidence.deflate += q2_inflate(reader->deflate, bytes, &used);
	reader->evidence.zstd += q2_inflate(reader->zstd, bytes, &used);
	return 0;
}

static bool is_broken(const struct qcow2_error *err)
{
	return err->code != QCOW2_ERROR_IO && err->code != QCOW2_ERROR_MEMORY;
}

static int look_at_disk(struct reader *reader, struct qcow2_mapping *mapping)
{
	const struct qcow2_mapping_extent *extent;
	struct evidence *e = &reader->evidence;
	unsigned extents = 0;
	struct qcow2_error err;
	int more = 0;

	qcow2_mapping_seek(mapping, (struct qcow2_guest){0}, UINT64_MAX);
	while (e->looked + e->data < CLUSTERS_MOST && extents++ < EXTENTS_MOST &&
	       (more = qcow2_mapping_next(mapping, &extent, &err)) > 0) {
		e->mapped |= extent->kind != QCOW2_L2_UNALLOCATED && extent->kind != QCOW2_L2_ZERO;
		if ((extent->kind == QCOW2_L2_DATA && !reader->head->image->geometry.data_file &&
		     look_at_data(reader, extent)) ||
		    (extent->kind == QCOW2_L2_COMPRESSED && look_at_compressed(reader, extent)))
			return -1;
	}
	if (more >= 0 || is_broken(&err))
		return 0;
	*reader->repair->err = err;
	return -1;
}

/* The active disk, and then the disks of snapshots. */
static int look_at_disks(struct reader *reader)
{
	const struct evidence *e = &reader->evidence;
	struct qcow2_mapping *mapping;
	struct qcow2_error err;

	for (uint64_t i = 0; i <= DISKS_MOST && e->looked + e->data < CLUSTERS_MOST; i++) {
		int failed = i == 0 ? qcow2_mapping_open(reader->head->image, &mapping, &err)
				    : qcow2_mapping_open_snapshot(reader->head->image, i - 1,
								  &mapping, &err);

		if (failed && is_broken(&err))
			break;
		if (failed) {
			*reader->repair->err = err;
			return -1;
		}
		failed = look_at_disk(reader, mapping);
		qcow2_mapping_close(mapping);
		if (failed)
			return -1;
	}
	return 0;
}

static int gather(struct q2_repair *repair, const struct q2_head *head, struct evidence *evidence)
{
	struct reader reader = {.repair = repair,
				.head = head,
				.cluster_bytes = (size_t)1 << head->header->cluster_bits};
	int failed;

	*evidence = (struct evidence){0, 0, 0, 0, false, false};
	if (head->header->cluster_bits > QCOW2_LIMIT_QEMU_CLUSTER_BITS)
		return 0;
	reader.deflate = q2_inflater_new(reader.cluster_bytes, false);
	reader.zstd = q2_inflater_new(reader.cluster_bytes, true);
	reader.buffer = q2_alloc_array(reader.cluster_bytes, 2);
	if (!reader.deflate || !reader.zstd || !reader.buffer)
		failed = q2_fail_memory(repair->err);
	else
		failed = look_at_disks(&reader);
	*evidence = reader.evidence;
	q2_inflater_free(reader.deflate);
	q2_inflater_free(reader.zstd);
	q2_free(reader.buffer);
	return failed;
}

/* ---- compression ---- */

/* A header that is too short for the field gets it. */
static int lengthen(struct q2_repair *repair, bool *usable)
{
	struct q2_area area;
	int failed = q2_head_area(repair, &area, usable);

	if (!failed && *usable) {
		area.header_length = sizeof(struct qcow2_header);
		*usable = q2_area_fits(&area);
	}
	if (!failed && *usable)
		failed = q2_area_plan(&area, repair->plan, "room for the compression type",
				      repair->err);
	q2_area_close(&area);
	return failed;
}

static int set_type(struct q2_repair *repair, const struct q2_head *head, bool zstd,
		    const char *does)
{
	const enum qcow2_problem_id id = q2_has(repair, QCOW2_PROBLEM_HEADER_COMPRESSION_TYPE)
						 ? QCOW2_PROBLEM_HEADER_COMPRESSION_TYPE
						 : QCOW2_PROBLEM_HEADER_COMPRESSION_BIT;
	const uint64_t old = head->header->incompatible_features;
	const bool has_field = head->header->header_length > Q2_HEADER_AT(compression_type);
	bool usable = true;

	if (!q2_repair_may(repair, id, false))
		return 0;
	if (zstd && !has_field && lengthen(repair, &usable))
		return -1;
	if (!usable) {
		q2_repair_leave(repair, id, "the first cluster has no room for a longer header");
		return 0;
	}
	if ((has_field || zstd) &&
	    q2_repair_write_number(repair, QCOW2_PHASE_POINT, Q2_HEADER_AT(compression_type), zstd,
				   1, "what compressed clusters are"))
		return -1;
	return q2_repair_write_number(repair, QCOW2_PHASE_CLEAN,
				      Q2_HEADER_AT(incompatible_features),
				      zstd ? old | QCOW2_INCOMPATIBLE_COMPRESSION
					   : old & ~QCOW2_INCOMPATIBLE_COMPRESSION,
				      8, "the bit says what the compression type says") ||
			       q2_head_tell_reads(repair, id, "header/compression_type", does,
						  QCOW2_READS_ERROR)
		       ? -1
		       : 0;
}

static int mend_compression(struct q2_repair *repair, const struct q2_head *head)
{
	struct evidence e;

	if (gather(repair, head, &e))
		return -1;
	if (e.deflate != e.zstd)
		return set_type(repair, head, e.zstd > e.deflate,
				"sets the compression type and its bit to what compressed clusters "
				"are");
	if (e.looked > 0 && head->header->compression_type > 1) {
		q2_repair_leave(repair, QCOW2_PROBLEM_HEADER_COMPRESSION_TYPE,
				"the compressed clusters inflate neither as zlib nor as zstd");
		return 0;
	}
	return set_type(repair, head, head->header->compression_type == 1,
			"makes the bit say what the compression type says; there is nothing that "
			"is compressed");
}

int q2_header_mend_codec(struct q2_repair *repair)
{
	struct q2_head head;
	int failed;

	if ((!q2_has(repair, QCOW2_PROBLEM_HEADER_COMPRESSION_TYPE) &&
	     !q2_has(repair, QCOW2_PROBLEM_HEADER_COMPRESSION_BIT)) ||
	    !repair->geometry || repair->header->version < 3)
		return 0;
	failed = q2_head_open(repair, &head) || mend_compression(repair, &head);
	q2_head_close(&head);
	return failed ? -1 : 0;
}

/* ---- encryption ---- */

/* No LUKS header was found: only an image without encryption has data that are not noise. */
static int mend_method(struct q2_repair *repair, const struct q2_head *head,
		       enum qcow2_problem_id id)
{
	bool unknown = id == QCOW2_PROBLEM_HEADER_CRYPT_METHOD;
	struct evidence e;

	if (gather(repair, head, &e))
		return -1;
	if (unknown && !e.plain && e.mapped && e.deflate + e.zstd == 0)
		q2_repair_leave(
			repair, id,
			"the data read like noise: they may be encrypted with AES (1), or "
			"compressed (0); 'qcow2 edit IMAGE set header/crypt_method=N' sets it");
	if (!e.plain && e.deflate + e.zstd == 0 &&
	    (e.mapped || !q2_repair_may(repair, id, !unknown)))
		return 0;
	if (!q2_repair_may(repair, id, false))
		return 0;
	if (q2_repair_write_number(repair, QCOW2_PHASE_POINT, Q2_HEADER_AT(crypt_method), 0, 4,
				   "the data are not encrypted"))
		return -1;
	return e.mapped ? q2_head_tell_reads(repair, id, "header/crypt_method",
					     "sets the encryption method to none: the data are not "
					     "encrypted",
					     QCOW2_READS_ERROR)
			: q2_head_tell(repair, id, "header/crypt_method",
				       "sets the encryption method to none: there are no data",
				       !unknown);
}

int q2_header_mend_crypt(struct q2_repair *repair)
{
	struct qcow2_bytes data;
	struct q2_head head;
	int failed;

	if ((!q2_has(repair, QCOW2_PROBLEM_HEADER_CRYPT_METHOD) &&
	     !q2_has(repair, QCOW2_PROBLEM_CRYPTO_MISSING)) ||
	    !repair->geometry)
		return 0;
	failed = q2_head_open(repair, &head);
	/* The part for LUKS may have set the method, or found the LUKS header. */
	if (!failed && head.header->crypt_method > 2)
		failed = mend_method(repair, &head, QCOW2_PROBLEM_HEADER_CRYPT_METHOD);
	else if (!failed && head.header->crypt_method == 2 &&
		 !qcow2_image_find_extension(head.image, QCOW2_EXTENSION_CRYPTO, &data))
		failed = mend_method(repair, &head, QCOW2_PROBLEM_CRYPTO_MISSING);
	q2_head_close(&head);
	return failed;
}
