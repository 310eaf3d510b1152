/* SPDX-License-Identifier: MIT */
/* Names of what claims are for. */
#include <qcow2/claims.h>

const char *qcow2_claim_part_name(enum qcow2_claim_part part)
{
	static const char *const names[] = {
		[QCOW2_CLAIM_HEADER] = "header",
		[QCOW2_CLAIM_L1_TABLE] = "l1-table",
		[QCOW2_CLAIM_REFCOUNT_TABLE] = "refcount-table",
		[QCOW2_CLAIM_REFCOUNT_BLOCK] = "refcount-block",
		[QCOW2_CLAIM_SNAPSHOT_TABLE] = "snapshot-table",
		[QCOW2_CLAIM_BITMAP_DIRECTORY] = "bitmap-directory",
		[QCOW2_CLAIM_BITMAP_TABLE] = "bitmap-table",
		[QCOW2_CLAIM_BITMAP_DATA] = "bitmap-data",
		[QCOW2_CLAIM_LUKS] = "luks",
		[QCOW2_CLAIM_L2_TABLE] = "l2-table",
		[QCOW2_CLAIM_DATA] = "data",
	};

	return (unsigned)part < sizeof(names) / sizeof(names[0]) ? names[part] : NULL;
}
