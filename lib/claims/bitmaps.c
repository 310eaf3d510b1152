/* SPDX-License-Identifier: MIT */
/* The bitmap directory, the tables of its bitmaps, and the clusters of their bits. */
#include <inttypes.h>
#include <stdio.h>

#include "base/error.h"
#include "claims/metadata.h"
#include "source/ahead.h"

/* What holes may add to what the file stores before the rest of tables is not looked at. */
#define SLACK_BYTES (UINT64_C(1) << 20)
/* Of one table in so many it is asked whether it has to come from the disk. */
#define ASK_EACH 64

/* One visit to the directory. */
struct visit {
	struct q2_metadata *metadata;
	const struct q2_listener *listener;
	struct qcow2_table *table;
	struct qcow2_bitmaps *ahead; /* of tables that the disk is told to read, or NULL */
	/* The bytes of tables that are still followed: 65,535 bitmaps may each claim a table of
	 * 32 GiB at the same place. */
	uint64_t table_bytes_left;
};

static int claim(const struct visit *visit, const struct qcow2_bitmap *bitmap,
		 enum qcow2_claim_part part, struct qcow2_claim claim)
{
	claim.part = part;
	claim.use = QCOW2_USE_METADATA;
	claim.weight = 1;
	if (bitmap) {
		claim.part_of = QCOW2_PART_OF_BITMAP;
		claim.part_of_index = bitmap->index;
	}
	return visit->listener->claim(visit->listener->opaque, &claim);
}

static void tell_cut(const struct visit *visit)
{
	if (visit->listener->cut)
		visit->listener->cut(visit->listener->opaque);
}

/* One entry of a bitmap's table. */
static int visit_entry(const struct visit *visit, const struct qcow2_bitmap *bitmap,
		       const struct q2_entry_place *place)
{
	const struct q2_metadata *metadata = visit->metadata;
	const struct q2_listener *listener = visit->listener;
	uint64_t entry, offset;

	if (qcow2_table_entry(visit->table, place->index, &entry, metadata->err))
		return -1;
	if (listener->bitmap_table_entry &&
	    listener->bitmap_table_entry(listener->opaque, bitmap, place, entry))
		return -1;
	offset = entry & QCOW2_ENTRY_MASK(bitmap_table_entry, offset);
	if (offset == 0 || offset >= metadata->geometry->file_size_bytes)
		return 0;
	return claim(visit, bitmap, QCOW2_CLAIM_BITMAP_DATA,
		     (struct qcow2_claim){.offset_bytes = offset,
					  .length_bytes = metadata->geometry->cluster_size_bytes,
					  .index = place->index});
}

static int visit_table(struct visit *visit, const struct qcow2_bitmap *bitmap)
{
	const struct qcow2_bitmap_dir_entry *e = &bitmap->entry;
	char owner[64];
	struct q2_entry_place place = {.owner = owner};
	uint64_t entries;

	if (claim(visit, bitmap, QCOW2_CLAIM_BITMAP_TABLE,
		  (struct qcow2_claim){.offset_bytes = e->bitmap_table_offset,
				       .length_bytes = e->bitmap_table_size * UINT64_C(8)}))
		return -1;
	entries = qcow2_table_begin(visit->table, e->bitmap_table_offset, e->bitmap_table_size);
	if (entries > visit->table_bytes_left / 8) {
		entries = visit->table_bytes_left / 8;
		tell_cut(visit);
	}
	visit->table_bytes_left -= entries * 8;
	snprintf(owner, sizeof(owner), "bitmaps/%" PRIu64 "/table", bitmap->index);
	for (place.index = 0; place.index < entries; place.index++) {
		place.offset_bytes = e->bitmap_table_offset + place.index * 8;
		if (visit_entry(visit, bitmap, &place))
			return -1;
	}
	return 0;
}

static int visit_bitmap(struct visit *visit, const struct qcow2_bitmap *bitmap)
{
	const struct q2_listener *listener = visit->listener;

	if (listener->bitmap && listener->bitmap(listener->opaque, bitmap))
		return -1;
	if (bitmap->raw.size < qcow2_bitmap_dir_entry_structure.size_bytes)
		return 0; /* it ends before it says where its table is */
	return visit_table(visit, bitmap);
}

/* Tells the system of the next tables. They lie anywhere, and each is read alone. */
static void look_ahead(struct visit *visit, unsigned count)
{
	const struct qcow2_bitmap *bitmap;
	struct qcow2_error err;

	while (visit->ahead && count-- > 0) {
		if (qcow2_bitmaps_next(visit->ahead, &bitmap, &err) <= 0) {
			qcow2_bitmaps_close(visit->ahead);
			visit->ahead = NULL;
		} else if (bitmap->entry.bitmap_table_size > 0) {
			q2_source_will_need(qcow2_image_source(visit->metadata->image),
					    bitmap->entry.bitmap_table_offset,
					    bitmap->entry.bitmap_table_size * UINT64_C(8));
		}
	}
}

/*
 * Looks ahead from a bitmap on, if its table has to come from the disk. The first tables may have
 * come with the header, so that others are asked for as well, but not often.
 */
static void begin_ahead(struct visit *visit, const struct qcow2_bitmap *bitmap)
{
	const struct qcow2_image *image = visit->metadata->image;
	struct qcow2_error err;

	if (!visit->ahead && bitmap->index % ASK_EACH == ASK_EACH - 1 &&
	    q2_source_is_cold(qcow2_image_source(image), bitmap->entry.bitmap_table_offset) &&
	    qcow2_bitmaps_open(image, &visit->ahead, &err) == 0)
		look_ahead(visit, (unsigned)bitmap->index + Q2_AHEAD);
}

static int visit_directory(struct visit *visit, struct qcow2_bitmaps *bitmaps)
{
	const struct q2_listener *listener = visit->listener;
	struct q2_directory_read read = {.extension = qcow2_bitmaps_header(bitmaps)};
	uint64_t most = visit->table_bytes_left;
	const struct qcow2_bitmap *bitmap;
	int more = 1;

	while (read.used_bytes <= most) {
		more = qcow2_bitmaps_next(bitmaps, &bitmap, visit->metadata->err);
		if (more <= 0)
			break;
		begin_ahead(visit, bitmap);
		look_ahead(visit, 1);
		if (visit_bitmap(visit, bitmap))
			return -1;
		read.entries++;
		read.cut = bitmap->cut;
		read.used_bytes = qcow2_bitmaps_used_bytes(bitmaps);
	}
	if (more < 0)
		return -1;
	if (more > 0)
		tell_cut(visit);
	else if (listener->directory)
		return listener->directory(listener->opaque, &read);
	return 0;
}

int q2_metadata_visit_bitmaps(struct q2_metadata *metadata, const struct q2_listener *listener)
{
	struct visit visit = {
		.metadata = metadata,
		.listener = listener,
		.table_bytes_left =
			qcow2_source_allocated_bytes(qcow2_image_source(metadata->image)) +
			SLACK_BYTES,
	};
	const struct qcow2_bitmaps_extension *extension;
	struct qcow2_bitmaps *bitmaps = NULL;
	int result = -1;

	/* QEMU and the specification ignore inconsistent bitmaps; the extension's rules say so. */
	if (!(metadata->header->autoclear_features & QCOW2_AUTOCLEAR_BITMAPS))
		return 0;
	if (qcow2_bitmaps_open(metadata->image, &bitmaps, metadata->err))
		return q2_is_fault(metadata->err) ? -1 : 0; /* the rules say why */
	extension = qcow2_bitmaps_header(bitmaps);
	if (qcow2_table_open(metadata->image, &visit.table, metadata->err) == 0 &&
	    claim(&visit, NULL, QCOW2_CLAIM_BITMAP_DIRECTORY,
		  (struct qcow2_claim){.offset_bytes = extension->bitmap_directory_offset,
				       .length_bytes = extension->bitmap_directory_size}) == 0)
		result = visit_directory(&visit, bitmaps);
	qcow2_bitmaps_close(visit.ahead);
	qcow2_table_close(visit.table);
	qcow2_bitmaps_close(bitmaps);
	return result;
}
