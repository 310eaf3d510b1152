/* SPDX-License-Identifier: MIT */
/* See cause.h. */
#include "check/cause.h"

#include "check/report.h"

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

/* Whether the range of a cause lies in the file and reads as zeros. 1, 0, or -1 with *err filled. */
static int reads_as_zeros(const struct check_report *report, const struct check_cause *cause,
			  struct qcow2_error *err)
{
	struct qcow2_source *source = qcow2_image_source(report->image);
	uint64_t size = qcow2_source_size_bytes(source);
	uint64_t start = cause->offset_bytes, length = cause->length_bytes;
	uint8_t buffer[4096];

	if (start == 0 || length == 0 || length > size || start > size - length)
		return 0;
	if (length > READ_MAX_BYTES)
		length = READ_MAX_BYTES;
	for (uint64_t done = 0; done < length; done += sizeof(buffer)) {
		size_t piece = sizeof(buffer);

		if (length - done < piece)
			piece = (size_t)(length - done);
		if (qcow2_source_read(source, start + done, buffer, piece, err))
			return -1;
		if (!is_zero(buffer, piece))
			return 0;
	}
	return 1;
}

static int find_bitmap_directory(const struct check_report *report, struct check_cause *cause,
				 struct qcow2_error *err)
{
	const struct qcow2_bitmaps_extension *header;
	struct qcow2_bitmaps *bitmaps = NULL;

	if (check_report_found(report, QCOW2_PROBLEM_BITMAP_TYPE) == 0)
		return 0;
	if (qcow2_bitmaps_open(report->image, &bitmaps, err))
		return err->code == QCOW2_ERROR_MEMORY ? -1 : 0;
	header = qcow2_bitmaps_header(bitmaps);
	*cause = (struct check_cause){
		.what = "the bitmap directory",
		.where = "bitmaps",
		.offset_bytes = header->bitmap_directory_offset,
		.length_bytes = header->bitmap_directory_size,
		.prefix = "bitmap-",
	};
	qcow2_bitmaps_close(bitmaps);
	return reads_as_zeros(report, cause, err);
}

static int find_snapshot_table(const struct check_report *report, struct check_cause *cause,
			       struct qcow2_error *err)
{
	const struct qcow2_header *header = qcow2_image_header(report->image);

	*cause = (struct check_cause){
		.what = "the snapshot table",
		.where = "snapshots",
		.offset_bytes = header->snapshot_offset,
		.length_bytes = header->nb_snapshots * sizeof(struct qcow2_snapshot_header),
		.prefix = "snapshot-",
	};
	return reads_as_zeros(report, cause, err);
}

static int find_refcount_table(const struct check_report *report, struct check_cause *cause,
			       struct qcow2_error *err)
{
	const struct qcow2_header *header = qcow2_image_header(report->image);
	uint64_t cluster = qcow2_image_geometry(report->image)->cluster_size_bytes;

	*cause = (struct check_cause){
		.what = "the refcount table",
		.where = "refcount_table",
		.offset_bytes = header->refcount_table_offset,
		.length_bytes = header->refcount_table_clusters * cluster,
	};
	if (check_report_found(report, QCOW2_PROBLEM_REFCOUNT_LOW) == 0)
		return 0;
	return reads_as_zeros(report, cause, err);
}

/* The first refcount block counts the header's cluster, so that it is never all zeros. */
static int find_refcount_block(const struct check_report *report, struct check_cause *cause,
			       struct qcow2_error *err)
{
	const struct qcow2_header *header = qcow2_image_header(report->image);
	struct qcow2_source *source = qcow2_image_source(report->image);
	uint64_t offset_bytes = 0;
	uint8_t entry[8];

	if (check_report_found(report, QCOW2_PROBLEM_REFCOUNT_LOW) == 0 ||
	    header->refcount_table_clusters == 0)
		return 0;
	if (qcow2_source_read(source, header->refcount_table_offset, entry, sizeof(entry), err))
		return err->code == QCOW2_ERROR_BROKEN ? 0 : -1;
	for (size_t i = 0; i < sizeof(entry); i++)
		offset_bytes = offset_bytes << 8 | entry[i];
	/* An unaligned one is read by nobody: there is something else. */
	if (offset_bytes % qcow2_image_geometry(report->image)->cluster_size_bytes != 0)
		return 0;
	*cause = (struct check_cause){
		.what = "the first refcount block",
		.where = "refcounts/0",
		.offset_bytes = offset_bytes,
		.length_bytes = qcow2_image_geometry(report->image)->cluster_size_bytes,
	};
	return reads_as_zeros(report, cause, err);
}

int check_causes(const struct check_report *report, struct check_cause causes[CHECK_CAUSES_MAX],
		 size_t *count, struct qcow2_error *err)
{
	static int (*const finders[])(const struct check_report *, struct check_cause *,
				      struct qcow2_error *) = {
		find_bitmap_directory, find_snapshot_table, find_refcount_table,
		find_refcount_block};
	struct check_cause cause;
	int found;

	_Static_assert(sizeof(finders) / sizeof(finders[0]) == CHECK_CAUSES_MAX,
		       "each can find one cause");
	*count = 0;
	if (!report->result->clusters_checked || report->result->corruptions == 0)
		return 0;
	for (size_t i = 0; i < CHECK_CAUSES_MAX; i++) {
		found = finders[i](report, &cause, err);
		if (found < 0)
			return -1;
		if (found > 0)
			causes[(*count)++] = cause;
	}
	return 0;
}

bool check_cause_explains(const struct check_cause *cause, const struct qcow2_problem_kind *kind)
{
	return cause->prefix && strncmp(kind->id, cause->prefix, strlen(cause->prefix)) == 0;
}
