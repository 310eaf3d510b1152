/* SPDX-License-Identifier: MIT */
/* The structures that are there once: header, L1 and refcount tables, LUKS area. */
#include "base/alloc.h"
#include "base/error.h"
#include "claims/metadata.h"
#include "image/extensions.h"

#define LUKS_READ 65536

static int claim_once(const struct q2_listener *listener, enum qcow2_claim_part part,
		      uint64_t offset_bytes, uint64_t length_bytes)
{
	return listener->claim(listener->opaque, &(struct qcow2_claim){.offset_bytes = offset_bytes,
								       .length_bytes = length_bytes,
								       .use = QCOW2_USE_METADATA,
								       .weight = 1,
								       .part = part});
}

/* Reads the LUKS header for who wants to see it. One that is not there is no error of the walk. */
static int read_luks(const struct q2_metadata *metadata, const struct q2_listener *listener)
{
	struct qcow2_error reason;
	uint64_t at;
	uint8_t *raw = q2_alloc_buffer(LUKS_READ);
	int result;

	if (!raw)
		return q2_fail_memory(metadata->err);
	result = qcow2_image_read_luks(metadata->image, raw, LUKS_READ, &at, &reason);
	if (result == 0)
		result = listener->luks(listener->opaque, at, raw, LUKS_READ);
	else if (reason.code == QCOW2_ERROR_IO || reason.code == QCOW2_ERROR_MEMORY)
		*metadata->err = reason;
	else
		result = 0; /* the rules of the extension say what is wrong */
	q2_free(raw);
	return result;
}

static int visit_luks(const struct q2_metadata *metadata, const struct q2_listener *listener)
{
	struct qcow2_extension extension;
	struct qcow2_crypto_extension crypto;

	if (!q2_find_extension(metadata->image, QCOW2_EXTENSION_CRYPTO, &extension) ||
	    extension.data.size < qcow2_crypto_extension_structure.size_bytes)
		return 0; /* the rules of the extensions say what is wrong */
	qcow2_crypto_extension_decode(&crypto, extension.data.data, extension.data.size);
	if (claim_once(listener, QCOW2_CLAIM_LUKS, crypto.offset, crypto.length))
		return -1;
	return listener->luks ? read_luks(metadata, listener) : 0;
}

static int claim_active_l1(const struct q2_metadata *metadata, const struct q2_listener *listener)
{
	const struct qcow2_header *header = metadata->header;
	struct qcow2_claim claim = {.offset_bytes = header->l1_table_offset,
				    .length_bytes = header->l1_size * UINT64_C(8),
				    .use = QCOW2_USE_METADATA,
				    .weight = 1,
				    .part = QCOW2_CLAIM_L1_TABLE};

	q2_claim_set_guest(&claim,
			   q2_guest_l1(metadata->geometry, metadata->geometry->virtual_size_bytes,
				       0, header->l1_size));
	return listener->claim(listener->opaque, &claim);
}

int q2_metadata_visit_structures(struct q2_metadata *metadata, const struct q2_listener *listener)
{
	const struct qcow2_header *header = metadata->header;
	uint64_t cluster = metadata->geometry->cluster_size_bytes;

	if (claim_once(listener, QCOW2_CLAIM_HEADER, 0, cluster) ||
	    claim_active_l1(metadata, listener) ||
	    claim_once(listener, QCOW2_CLAIM_REFCOUNT_TABLE, header->refcount_table_offset,
		       header->refcount_table_clusters * cluster))
		return -1;
	if (visit_luks(metadata, listener) || q2_metadata_visit_snapshots(metadata, listener) ||
	    q2_metadata_visit_bitmaps(metadata, listener))
		return -1;
	return q2_metadata_visit_refcount_table(metadata, listener);
}
