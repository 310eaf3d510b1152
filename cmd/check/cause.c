/* SPDX-License-Identifier: MIT */
/* See cause.h. */
#include "check/cause.h"

#include <string.h>

#include <qcow2/bitmap_directory.h>
#include <qcow2/geometry.h>
#include <qcow2/image.h>
#include <qcow2/source.h>

/* More of a structure is not read: what begins with so many zeros, and breaks rules, is gone. */
#define READ_MAX_BYTES (UINT64_C(1) << 20)

static bool is_zero(const uint8_t *bytes, size_t size)
{
	return size == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, size - 1) == 0);
}

/* Whether a range of the file lies in the file and reads as zeros. */
static bool reads_as_zeros(const struct check_report *report, uint64_t offset_bytes,
			   uint64_t length_bytes)
{
	struct qcow2_source *source = qcow2_image_source(report->image);
	uint64_t size = qcow2_source_size_bytes(source);
	uint8_t buffer[4096];
	struct qcow2_error err;

	if (offset_bytes == 0 || length_bytes == 0 || length_bytes > size ||
	    offset_bytes > size - length_bytes)
		return false;
	if (length_bytes > READ_MAX_BYTES)
		length_bytes = READ_MAX_BYTES;
	for (uint64_t done = 0; done < length_bytes; done += sizeof(buffer)) {
		size_t piece = sizeof(buffer);

		if (length_bytes - done < piece)
			piece = (size_t)(length_bytes - done);
		if (qcow2_source_read(source, offset_bytes + done, buffer, piece, &err) ||
		    !is_zero(buffer, piece))
			return false;
	}
	return true;
}

static bool find_bitmap_directory(const struct check_report *report, struct check_cause *cause)
{
	const struct qcow2_bitmaps_extension *header;
	struct qcow2_bitmaps *bitmaps = NULL;
	struct qcow2_error err;

	if (check_report_found(report, QCOW2_PROBLEM_BITMAP_TYPE) == 0 ||
	    qcow2_bitmaps_open(report->image, &bitmaps, &err))
		return false;
	header = qcow2_bitmaps_header(bitmaps);
	*cause = (struct check_cause){
		.what = "the bitmap directory",
		.where = "bitmaps",
		.offset_bytes = header->bitmap_directory_offset,
		.length_bytes = header->bitmap_directory_size,
		.prefix = "bitmap-",
	};
	qcow2_bitmaps_close(bitmaps);
	return reads_as_zeros(report, cause->offset_bytes, cause->length_bytes);
}

static bool find_snapshot_table(const struct check_report *report, struct check_cause *cause)
{
	const struct qcow2_header *header = qcow2_image_header(report->image);

	*cause = (struct check_cause){
		.what = "the snapshot table",
		.where = "snapshots",
		.offset_bytes = header->snapshot_offset,
		.length_bytes = header->nb_snapshots * sizeof(struct qcow2_snapshot_header),
		.prefix = "snapshot-",
	};
	return header->nb_snapshots > 0 &&
	       reads_as_zeros(report, cause->offset_bytes, cause->length_bytes);
}

static bool find_refcount_table(const struct check_report *report, struct check_cause *cause)
{
	const struct qcow2_header *header = qcow2_image_header(report->image);
	uint64_t cluster = qcow2_image_geometry(report->image)->cluster_size_bytes;

	*cause = (struct check_cause){
		.what = "the refcount table",
		.where = "refcount_table",
		.offset_bytes = header->refcount_table_offset,
		.length_bytes = header->refcount_table_clusters * cluster,
	};
	return check_report_found(report, QCOW2_PROBLEM_REFCOUNT_LOW) > 0 &&
	       reads_as_zeros(report, cause->offset_bytes, cause->length_bytes);
}

/* The first refcount block counts the header's cluster, so that it is never all zeros. */
static bool find_refcount_block(const struct check_report *report, struct check_cause *cause)
{
	const struct qcow2_header *header = qcow2_image_header(report->image);
	struct qcow2_source *source = qcow2_image_source(report->image);
	uint64_t offset_bytes = 0;
	struct qcow2_error err;
	uint8_t entry[8];

	if (check_report_found(report, QCOW2_PROBLEM_REFCOUNT_LOW) == 0 ||
	    header->refcount_table_clusters == 0 ||
	    qcow2_source_read(source, header->refcount_table_offset, entry, sizeof(entry), &err))
		return false;
	for (size_t i = 0; i < sizeof(entry); i++)
		offset_bytes = offset_bytes << 8 | entry[i];
	*cause = (struct check_cause){
		.what = "the first refcount block",
		.where = "refcounts/0",
		.offset_bytes = offset_bytes,
		.length_bytes = qcow2_image_geometry(report->image)->cluster_size_bytes,
	};
	return reads_as_zeros(report, cause->offset_bytes, cause->length_bytes);
}

size_t check_causes(const struct check_report *report, struct check_cause causes[CHECK_CAUSES_MAX])
{
	static bool (*const finders[])(const struct check_report *, struct check_cause *) = {
		find_bitmap_directory, find_snapshot_table, find_refcount_table,
		find_refcount_block};
	struct check_cause cause;
	size_t count = 0;

	_Static_assert(sizeof(finders) / sizeof(finders[0]) == CHECK_CAUSES_MAX,
		       "each can find one cause");
	if (!report->result->clusters_checked || report->result->corruptions == 0)
		return 0;
	for (size_t i = 0; i < CHECK_CAUSES_MAX; i++)
		if (finders[i](report, &cause))
			causes[count++] = cause;
	return count;
}

bool check_cause_explains(const struct check_cause *cause, const struct qcow2_problem_kind *kind)
{
	return cause->prefix && strncmp(kind->id, cause->prefix, strlen(cause->prefix)) == 0;
}
