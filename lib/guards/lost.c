/* SPDX-License-Identifier: MIT */
/*
 * Guards against loss. Each extension, name, snapshot and bitmap that is found before the plan must
 * be found after it, unless the verb was to take it away.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "guards/guards.h"
#include "image/extensions.h"
#include "plan/plan.h"

/* The header has bytes of no known field from here on. */
#define KNOWN_BYTES sizeof(struct qcow2_header)

static const struct qcow2_bytes no_name = {NULL, 0};

static bool is_same(struct qcow2_bytes one, struct qcow2_bytes other)
{
	return one.size == other.size &&
	       (one.size == 0 || memcmp(one.data, other.data, one.size) == 0);
}

static bool is_extension_intended(const struct q2_trial *trial, uint32_t magic)
{
	uint8_t type[4];

	q2_store_be32(type, magic);
	return q2_is_intended(&trial->plan->intents, QCOW2_INTENT_EXTENSION,
			      (struct qcow2_bytes){type, sizeof(type)});
}

/* ---- extensions ---- */

/* Whether the content of an extension is compared elsewhere; its loss is noticed there. */
static bool is_told_elsewhere(uint32_t magic)
{
	return magic == QCOW2_EXTENSION_BACKING_FORMAT || magic == QCOW2_EXTENSION_DATA_FILE;
}

/*
 * Whether a repair found that an extension is a part of the data of the one before it, whose length
 * was wrong.
 */
static bool is_data_of_another(const struct q2_trial *trial,
			       const struct qcow2_extension *extension)
{
	struct qcow2_extension other;
	struct q2_extensions it;

	if (!trial->repairs)
		return false;
	q2_extensions_begin(trial->after, &it);
	while (q2_extensions_next(&it, &other))
		if (extension->offset_bytes > other.offset_bytes &&
		    extension->offset_bytes - other.offset_bytes <
			    sizeof(other.header) + other.data.size)
			return true;
	return false;
}

static void ask_extension(struct q2_trial *trial, const struct qcow2_extension *extension)
{
	uint64_t hash = q2_inventory_extension(&trial->had, extension);
	const struct q2_item *now = q2_items_take(&trial->has.extensions, hash);
	uint32_t magic = extension->header.magic;
	char where[QCOW2_REFUSAL_WHERE], text[64];

	if (extension->cut || is_told_elsewhere(magic) || is_extension_intended(trial, magic))
		return;
	/* The feature name table may change, but must not become shorter. */
	if (now && (magic != QCOW2_EXTENSION_FEATURE_NAMES || now->size >= extension->data.size))
		return;
	if (is_data_of_another(trial, extension))
		return;
	snprintf(where, sizeof(where), "extensions/%" PRIu64, extension->index);
	snprintf(text, sizeof(text), "extension 0x%08" PRIx32 " of %zu bytes", magic,
		 extension->data.size);
	q2_guard_refuse(trial, QCOW2_GUARD_LOST_EXTENSION, where, text, no_name);
}

static void ask_extensions(struct q2_trial *trial)
{
	const struct q2_check_totals *before = &trial->verdict->before;
	struct qcow2_extension extension;
	struct q2_extensions it;

	/* If header_length was wrong, what was found as extensions were none. */
	if (before->by_kind[QCOW2_PROBLEM_HEADER_LENGTH] > 0 ||
	    before->by_kind[QCOW2_PROBLEM_HEADER_LENGTH_UNALIGNED] > 0)
		return;
	q2_extensions_begin(trial->before, &it);
	while (q2_extensions_next(&it, &extension))
		ask_extension(trial, &extension);
	q2_items_rewind(&trial->has.extensions);
}

/* ---- names ---- */

/* Returns the data of the first extension of a type, if it is whole. */
static struct qcow2_bytes text_of(const struct qcow2_image *image, uint32_t magic)
{
	struct qcow2_extension extension;

	if (!q2_find_extension(image, magic, &extension) || extension.cut)
		return no_name;
	return extension.data;
}

static void ask_backing(struct q2_trial *trial)
{
	const struct q2_check_totals *before = &trial->verdict->before;
	struct qcow2_bytes had = qcow2_image_backing_name(trial->before);
	struct qcow2_bytes has = qcow2_image_backing_name(trial->after);
	struct qcow2_bytes format = text_of(trial->before, QCOW2_EXTENSION_BACKING_FORMAT);
	struct qcow2_bytes now = text_of(trial->after, QCOW2_EXTENSION_BACKING_FORMAT);
	bool is_named = q2_is_intended(&trial->plan->intents, QCOW2_INTENT_BACKING, has);
	bool is_meant = is_named || is_extension_intended(trial, QCOW2_EXTENSION_BACKING_FORMAT);
	bool was_broken = before->by_kind[QCOW2_PROBLEM_BACKING_OFFSET] > 0 ||
			  before->by_kind[QCOW2_PROBLEM_BACKING_SIZE] > 0;

	if (!is_same(had, has) && !was_broken && !is_named)
		q2_guard_refuse(trial, QCOW2_GUARD_BACKING_FILE, "header/backing_file_offset",
				had.size > 0 ? "the name now is" : "the name would be",
				had.size > 0 ? had : has);
	/*
	 * Without a format, programs guess it from bytes that a guest may have written. So the
	 * format must not go while the backing file stays.
	 */
	if (has.size > 0 && now.size == 0)
		is_meant = false;
	if (format.size > 0 && !is_meant && !is_same(format, now))
		q2_guard_refuse(trial, QCOW2_GUARD_BACKING_FORMAT, "extensions",
				"the format now is", format);
	/* A repair finds the name of before again, and what is not written down it does not know. */
	else if (!trial->repairs && is_named && has.size > 0 && now.size == 0 && !is_same(had, has))
		q2_guard_refuse(trial, QCOW2_GUARD_BACKING_FORMAT, "extensions",
				"the file that would be named is", has);
}

/* Returns the data file's name; without the feature bit, no program looks for it. */
static struct qcow2_bytes data_file_of(const struct qcow2_image *image)
{
	if (!(qcow2_image_header(image)->incompatible_features & QCOW2_INCOMPATIBLE_DATA_FILE))
		return no_name;
	return text_of(image, QCOW2_EXTENSION_DATA_FILE);
}

static void ask_data_file(struct q2_trial *trial)
{
	struct qcow2_bytes had = data_file_of(trial->before);

	if (had.size == 0 || is_same(had, data_file_of(trial->after)) ||
	    is_extension_intended(trial, QCOW2_EXTENSION_DATA_FILE) ||
	    q2_is_intended(&trial->plan->intents, QCOW2_INTENT_DATA_FILE, no_name))
		return;
	q2_guard_refuse(trial, QCOW2_GUARD_DATA_FILE, "extensions", "the name now is", had);
}

/* Returns the header's bytes of no known field, without the zeros at their end. */
static struct qcow2_bytes unknown_of(const struct qcow2_image *image)
{
	struct qcow2_bytes first = qcow2_image_first_cluster(image);
	uint64_t end = qcow2_image_header(image)->header_length;

	if (qcow2_image_header(image)->version < 3 || end > first.size || end <= KNOWN_BYTES)
		return no_name;
	while (end > KNOWN_BYTES && first.data[end - 1] == 0)
		end--;
	return (struct qcow2_bytes){first.data + KNOWN_BYTES, (size_t)end - KNOWN_BYTES};
}

static void ask_header_bytes(struct q2_trial *trial)
{
	struct qcow2_bytes had = unknown_of(trial->before), has = unknown_of(trial->after);

	/* A repair finds where the header ends: what is behind is not the header's. */
	if (!trial->repairs && had.size > 0 && !is_same(had, has) &&
	    trial->verdict->before.by_kind[QCOW2_PROBLEM_HEADER_LENGTH] == 0)
		q2_guard_refuse(trial, QCOW2_GUARD_LOST_HEADER_BYTES, "header/header_length", "",
				no_name);
}

/* ---- snapshots and bitmaps ---- */

static void refuse_snapshot(struct q2_trial *trial, const struct qcow2_snapshot *snapshot,
			    const char *text)
{
	char where[QCOW2_REFUSAL_WHERE];

	snprintf(where, sizeof(where), "snapshots/%" PRIu64, snapshot->index);
	q2_guard_refuse(trial, QCOW2_GUARD_LOST_SNAPSHOT, where, text, snapshot->name);
}

/* A snapshot must be found, and read as the same disk, unless it could not be read before. */
static void ask_snapshot(struct q2_trial *trial, const struct qcow2_snapshot *snapshot)
{
	const struct q2_check_totals *before = &trial->verdict->before;
	const struct q2_item *now =
		q2_items_take(&trial->has.snapshots, q2_inventory_snapshot(&trial->had, snapshot));

	if (!now) {
		if (!q2_is_intended(&trial->plan->intents, QCOW2_INTENT_SNAPSHOT_GONE,
				    snapshot->id))
			refuse_snapshot(trial, snapshot, "snapshot");
		return;
	}
	if (before->by_kind[QCOW2_PROBLEM_SNAPSHOT_L1_OFFSET] > 0 ||
	    before->by_kind[QCOW2_PROBLEM_SNAPSHOT_L1_BEYOND_END] > 0 ||
	    before->by_kind[QCOW2_PROBLEM_SNAPSHOT_L1_TOO_SMALL] > 0)
		return;
	/* A repair may copy the table; it proves that the copy maps the same. */
	if (!trial->repairs && now->state.l1_table_offset != snapshot->header.l1_table_offset)
		refuse_snapshot(trial, snapshot, "the L1 table would be another one, of snapshot");
	/* A repair may say how large the disk was, where nothing said it. */
	if ((snapshot->has_disk_size || (now->state.has_disk_size && !trial->repairs)) &&
	    now->state.disk_size_bytes != snapshot->disk_size_bytes)
		refuse_snapshot(trial, snapshot, "the disk would have another size, of snapshot");
}

static int ask_snapshots(struct q2_trial *trial)
{
	struct qcow2_snapshots *snapshots;
	const struct qcow2_snapshot *snapshot;
	int more = 1;

	if (trial->had.snapshots.list.count == 0)
		return 0;
	if (qcow2_snapshots_open(trial->before, &snapshots, trial->err))
		return -1;
	for (size_t i = 0; i < trial->had.snapshots.list.count && more > 0; i++) {
		more = qcow2_snapshots_next(snapshots, &snapshot, trial->err);
		if (more > 0)
			ask_snapshot(trial, snapshot);
	}
	qcow2_snapshots_close(snapshots);
	q2_items_rewind(&trial->has.snapshots);
	return more < 0 ? -1 : 0;
}

static void ask_bitmap(struct q2_trial *trial, const struct qcow2_bitmap *bitmap)
{
	const struct q2_item *item = q2_items_at(&trial->had.bitmaps, bitmap->index);
	char where[QCOW2_REFUSAL_WHERE];

	if (!item || q2_items_take(&trial->has.bitmaps, item->hash) ||
	    q2_is_intended(&trial->plan->intents, QCOW2_INTENT_BITMAP_GONE, bitmap->name) ||
	    is_extension_intended(trial, QCOW2_EXTENSION_BITMAPS))
		return;
	snprintf(where, sizeof(where), "bitmaps/%" PRIu64, bitmap->index);
	q2_guard_refuse(trial, QCOW2_GUARD_LOST_BITMAP, where, "bitmap", bitmap->name);
}

static int ask_bitmaps(struct q2_trial *trial)
{
	struct qcow2_bitmaps *bitmaps;
	const struct qcow2_bitmap *bitmap;
	int more = 1;

	if (trial->had.bitmaps.list.count == 0)
		return 0;
	if (qcow2_bitmaps_open(trial->before, &bitmaps, trial->err))
		return -1;
	for (size_t i = 0; i < trial->had.bitmaps.list.count && more > 0; i++) {
		more = qcow2_bitmaps_next(bitmaps, &bitmap, trial->err);
		if (more > 0)
			ask_bitmap(trial, bitmap);
	}
	qcow2_bitmaps_close(bitmaps);
	q2_items_rewind(&trial->has.bitmaps);
	return more < 0 ? -1 : 0;
}

int q2_guards_lost(struct q2_trial *trial)
{
	ask_extensions(trial);
	ask_backing(trial);
	ask_data_file(trial);
	ask_header_bytes(trial);
	return ask_snapshots(trial) || ask_bitmaps(trial) ? -1 : 0;
}
