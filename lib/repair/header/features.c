/* SPDX-License-Identifier: MIT */
/* Feature bits that contradict what is there, and bytes that no field uses. */
#include "repair/header/header.h"

/* Clears bits of a field of feature bits, at the end of the plan. */
static int clear(struct q2_repair *repair, enum qcow2_problem_id id, uint64_t offset_bytes,
		 uint64_t value, const char *does, bool costs)
{
	const bool autoclear = offset_bytes == Q2_HEADER_AT(autoclear_features);

	return q2_repair_write_number(repair, QCOW2_PHASE_CLEAN, offset_bytes, value, 8,
				      "feature bits that say what is there") ||
			       q2_head_tell(repair, id,
					    autoclear ? "header/autoclear_features"
						      : "header/compatible_features",
					    does, costs)
		       ? -1
		       : 0;
}

/* Autoclear bits: of an image that nobody writes to, unknown ones may stay. */
static int mend_autoclear(struct q2_repair *repair, uint64_t *bits)
{
	const uint64_t at = Q2_HEADER_AT(autoclear_features);
	enum qcow2_problem_id id = QCOW2_PROBLEM_FEATURE_AUTOCLEAR_UNKNOWN;

	if (q2_has(repair, id)) {
		q2_repair_leave(repair, id,
				"it stands until something writes to the image; --all clears it");
		if (qcow2_plan_count(repair->plan) > 0 || q2_repair_may(repair, id, true)) {
			*bits &= QCOW2_AUTOCLEAR_KNOWN;
			if (clear(repair, id, at, *bits,
				  "clears autoclear bits that are not known, as any writer has to",
				  true))
				return -1;
		}
	}
	id = QCOW2_PROBLEM_FEATURE_RAW_WITHOUT_DATA_FILE;
	if (q2_has(repair, id) && !q2_has(repair, QCOW2_PROBLEM_DATA_FILE_WITHOUT_BIT) &&
	    q2_repair_may(repair, id, false)) {
		*bits &= ~QCOW2_AUTOCLEAR_DATA_FILE_RAW;
		if (clear(repair, id, at, *bits,
			  "clears the raw bit, which means nothing without a data file", false))
			return -1;
	}
	id = QCOW2_PROBLEM_FEATURE_RAW_WITH_BACKING;
	/* The offset of a backing file's name that is damaged is mended first. */
	if (q2_has(repair, id) && (*bits & QCOW2_AUTOCLEAR_DATA_FILE_RAW) &&
	    !q2_has(repair, QCOW2_PROBLEM_BACKING_OFFSET) &&
	    !q2_has(repair, QCOW2_PROBLEM_BACKING_NAME_EMPTY) && q2_repair_may(repair, id, false)) {
		*bits &= ~QCOW2_AUTOCLEAR_DATA_FILE_RAW;
		if (clear(repair, id, at, *bits,
			  "clears the raw bit: what is in the backing file is not in the data file",
			  false))
			return -1;
	}
	return 0;
}

static int mend_bitmaps_bit(struct q2_repair *repair, const struct q2_head *head, uint64_t *bits)
{
	const enum qcow2_problem_id id = QCOW2_PROBLEM_FEATURE_BITMAPS_WITHOUT_EXTENSION;
	struct qcow2_bytes data;

	/* A part that ran before may have found the extension. */
	if (!q2_has(repair, id) || !(*bits & QCOW2_AUTOCLEAR_BITMAPS) ||
	    qcow2_image_find_extension(head->image, QCOW2_EXTENSION_BITMAPS, &data) ||
	    q2_has(repair, QCOW2_PROBLEM_EXTENSION_OVERRUN) || !q2_repair_may(repair, id, false))
		return 0;
	*bits &= ~QCOW2_AUTOCLEAR_BITMAPS;
	return clear(repair, id, Q2_HEADER_AT(autoclear_features), *bits,
		     "clears the bitmaps bit: there are no bitmaps", false);
}

static int mend_compatible(struct q2_repair *repair, const struct q2_head *head)
{
	const enum qcow2_problem_id id = QCOW2_PROBLEM_FEATURE_COMPATIBLE_UNKNOWN;

	if (!q2_has(repair, id))
		return 0;
	/* Whoever names the kind wants it. */
	if (repair->options->only_count > 0 && q2_repair_may(repair, id, true))
		return clear(repair, id, Q2_HEADER_AT(compatible_features),
			     head->header->compatible_features & QCOW2_COMPATIBLE_KNOWN,
			     "clears compatible bits that are not known", true);
	if (repair->options->only_count == 0)
		q2_repair_leave(repair, id,
				"it does no harm, and may mean something to a newer program");
	return 0;
}

static int mend_padding(struct q2_repair *repair, const struct q2_head *head)
{
	static const uint8_t zeros[7];
	const enum qcow2_problem_id id = QCOW2_PROBLEM_HEADER_PADDING;
	const size_t at = Q2_HEADER_AT(compression_type) + 1;
	size_t end = sizeof(struct qcow2_header);

	if (!q2_has(repair, id))
		return 0;
	q2_repair_leave(repair, id, "a newer program may have given these bytes a meaning");
	if (!q2_repair_may(repair, id, true))
		return 0;
	if (end > head->header->header_length)
		end = head->header->header_length;
	if (end > head->first.size)
		end = head->first.size;
	if (end <= at)
		return 0;
	return q2_repair_write(repair, QCOW2_PHASE_POINT, at, (struct qcow2_bytes){zeros, end - at},
			       "bytes that no field uses are zero") ||
			       q2_head_tell(repair, id, "header",
					    "clears bytes of the header that no known field uses",
					    true)
		       ? -1
		       : 0;
}

/* Kinds that nothing here mends, and why. */
static void leave_others(struct q2_repair *repair)
{
	q2_repair_leave(repair, QCOW2_PROBLEM_FEATURE_DATA_FILE_SNAPSHOTS,
			"snapshots of such an image can only be dropped");
	repair->why[QCOW2_PROBLEM_FEATURE_DATA_FILE_SNAPSHOTS].wants_drop = true;
	q2_repair_leave(repair, QCOW2_PROBLEM_HEADER_CLUSTER_BITS,
			"the cluster size is not known: 'qcow2 rescue IMAGE' finds it out from the "
			"tables");
	q2_repair_leave(repair, QCOW2_PROBLEM_HEADER_CLUSTER_BITS_EXTENDED,
			"either the cluster size or the extended L2 bit is wrong: 'qcow2 rescue "
			"IMAGE' finds out which from the tables");
	q2_repair_leave(repair, QCOW2_PROBLEM_HEADER_CLUSTER_BITS_QEMU,
			"QEMU has no such clusters; other programs read the image");
	q2_repair_leave(repair, QCOW2_PROBLEM_HEADER_SIZE_SECTORS,
			"whether the last bytes belong to the disk, only its user knows");
	q2_repair_leave(repair, QCOW2_PROBLEM_EXTENSION_TEXT,
			"nothing tells what the name was; 'qcow2 dump IMAGE extensions' shows it");
	q2_repair_leave(repair, QCOW2_PROBLEM_DATA_FILE_NAME_MISSING,
			"the image does not have the name: 'qcow2 edit IMAGE data-file set NAME' "
			"sets it");
}

int q2_header_mend_features(struct q2_repair *repair)
{
	struct q2_head head;
	uint64_t bits;
	int failed;

	leave_others(repair);
	if (repair->header->version < 3)
		return 0;
	failed = q2_head_open(repair, &head);
	if (!failed) {
		bits = head.header->autoclear_features;
		failed = mend_bitmaps_bit(repair, &head, &bits) || mend_autoclear(repair, &bits) ||
			 mend_compatible(repair, &head) || mend_padding(repair, &head);
	}
	q2_head_close(&head);
	return failed ? -1 : 0;
}
