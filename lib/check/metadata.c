/* SPDX-License-Identifier: MIT */
/* The structures that are there once: header, L1 and refcount tables, LUKS header, and their rules.
 */
#include "base/alloc.h"
#include "check/internal.h"

#define LUKS_READ 65536

static bool claim_once(struct qcow2_check *check, enum q2_part part, uint64_t offset,
		       uint64_t length)
{
	return check->claim(check, &(struct q2_claim){.offset_bytes = offset,
						      .length_bytes = length,
						      .use = Q2_USE_METADATA,
						      .weight = 1,
						      .part = part});
}

/* The LUKS header's rules, and the area that the crypto extension names. */
int q2_check_luks(struct qcow2_check *check)
{
	struct qcow2_extension extension;
	struct qcow2_crypto_extension crypto;
	struct qcow2_error reason;
	uint64_t offset;
	uint8_t *raw;
	int failed;

	if (!qcow2_image_find_extension(check->image, QCOW2_EXTENSION_CRYPTO, &extension) ||
	    extension.data.size < qcow2_crypto_extension_structure.size_bytes)
		return 0; /* the rules of the extensions have said what is wrong */
	qcow2_crypto_extension_decode(&crypto, extension.data.data, extension.data.size);
	if (!claim_once(check, Q2_PART_LUKS, crypto.offset, crypto.length))
		return -1;
	raw = q2_alloc_buffer(LUKS_READ);
	if (!raw)
		return q2_check_fail_memory(check, check->err);
	failed = qcow2_image_read_luks(check->image, raw, LUKS_READ, &offset, &reason);
	if (!failed)
		q2_check_digest(&check->workers[0], offset, raw, LUKS_READ);
	if (!failed)
		q2_rules_luks(check->image, raw, LUKS_READ, offset, &check->reporter);
	q2_free(raw);
	if (failed && (reason.code == QCOW2_ERROR_IO || reason.code == QCOW2_ERROR_MEMORY)) {
		*check->err = reason;
		return -1;
	}
	return 0;
}

int q2_check_metadata(struct qcow2_check *check)
{
	const struct qcow2_header *header = check->header;
	uint64_t cluster = check->geometry->cluster_size_bytes;

	if (!claim_once(check, Q2_PART_HEADER, 0, cluster) ||
	    !claim_once(check, Q2_PART_L1, header->l1_table_offset,
			header->l1_size * UINT64_C(8)) ||
	    !claim_once(check, Q2_PART_REFCOUNT_TABLE, header->refcount_table_offset,
			header->refcount_table_clusters * cluster))
		return -1;
	if (q2_check_luks(check) || q2_check_snapshots(check) || q2_check_bitmaps(check))
		return -1;
	return q2_check_refcount_table(check);
}
