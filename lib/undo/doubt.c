/* SPDX-License-Identifier: MIT */
/*
 * Decides what an undo may believe. A guest that overwrites its data in place changes no metadata.
 * A dirty bitmap that did not exist or did not record at that time has missed the write, and so has
 * any structure behind an autoclear bit that is not known here. They come back marked as not to be
 * trusted.
 */
#include "undo/doubt.h"

#include <string.h>

#include <qcow2/entry.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/hash.h"
#include "undo/layout.h"

/* Of a directory entry: the byte that has QCOW2_BITMAP_IN_USE. */
#define FLAGS_LAST    (offsetof(struct qcow2_bitmap_dir_entry, flags) + 3)
#define ENTRY_BYTES   sizeof(struct qcow2_bitmap_dir_entry)
#define AUTOCLEAR_AT  offsetof(struct qcow2_header, autoclear_features)
#define COMPARE_BYTES 4096
#define BITMAPS_MOST  ((size_t)1 << 20)
/* The most entries of bitmap tables that are looked at, of all bitmaps together. */
#define ENTRIES_MOST (UINT64_C(1) << 26)

/*
 * Whether the modification time is the one that the change left, or one that undos of later changes
 * account for.
 */
static bool is_time_accounted_for(const struct q2_undoing *u)
{
	const struct qcow2_undo_options *options = u->options;
	uint64_t seconds = u->identity.modified_seconds;
	uint32_t nanoseconds = u->identity.modified_nanoseconds;

	/* Each undo file accounts for one step at most, so that this ends. */
	for (size_t steps = 0; steps <= options->later_count; steps++) {
		const struct qcow2_undo *found = NULL;

		/* A file system that knows only whole seconds proves nothing. */
		if (nanoseconds == 0)
			return false;
		if (seconds == u->undo->mark.modified_seconds &&
		    nanoseconds == u->undo->mark.modified_nanoseconds)
			return true;
		for (size_t i = 0; i < options->later_count && !found; i++) {
			const struct qcow2_undo *later = options->later[i];

			if (later->mark.state == QCOW2_UNDO_UNDONE && later->mark.was_proved &&
			    qcow2_undo_is_of(later, u->image) &&
			    later->mark.modified_seconds == seconds &&
			    later->mark.modified_nanoseconds == nanoseconds)
				found = later;
		}
		if (!found)
			return false;
		seconds = found->identity.modified_seconds;
		nanoseconds = found->identity.modified_nanoseconds;
	}
	return false;
}

enum qcow2_undo_doubt q2_undo_find_doubt(struct q2_undoing *u)
{
	enum qcow2_undo_state state = u->undo->info.state;
	/* An undo without doubt may have ended before its first write. */
	bool is_known = state == QCOW2_UNDO_APPLIED ||
			(state == QCOW2_UNDO_UNDOING && u->undo->mark.was_proved);

	u->is_untouched =
		!u->is_copy && is_known && u->identity.is_file && is_time_accounted_for(u);
	if (u->is_copy)
		return QCOW2_UNDO_DOUBT_ELSEWHERE;
	if (u->is_untouched && state == QCOW2_UNDO_UNDOING)
		return QCOW2_UNDO_NO_DOUBT;
	if (u->undo->info.state == QCOW2_UNDO_UNDONE)
		return QCOW2_UNDO_DOUBT_TIME;
	if (u->undo->info.state != QCOW2_UNDO_APPLIED)
		return QCOW2_UNDO_DOUBT_INTERRUPTED;
	if (u->undo->flags & Q2_UNDO_HAS_DATA_FILE)
		return QCOW2_UNDO_DOUBT_DATA_FILE;
	if (!u->identity.is_file)
		return QCOW2_UNDO_DOUBT_DEVICE;
	return u->is_untouched ? QCOW2_UNDO_NO_DOUBT : QCOW2_UNDO_DOUBT_TIME;
}

/* Compares the bitmaps of the image as it is with those of the image as it would be. */
struct distrusting {
	struct q2_undoing *u;
	struct qcow2_source *restored;
	struct qcow2_image *now, *then;
	struct q2_name_set trusted; /* hashes of entries that are trusted now */
	struct q2_hash_key key;
	struct qcow2_table *table; /* reader of `then` */
	uint64_t entries_left;
};

static uint64_t hash_of(const struct distrusting *d, const struct qcow2_bitmap *bitmap)
{
	struct q2_hash_key key = d->key;

	key.low ^= q2_hash(&key, bitmap->raw);
	key.low ^= q2_hash(&key, bitmap->extra_data);
	return q2_hash(&key, bitmap->name);
}

static bool has_bitmaps(const struct qcow2_image *image)
{
	return (qcow2_image_header(image)->autoclear_features & QCOW2_AUTOCLEAR_BITMAPS) != 0;
}

/* Calls `visit` for each whole entry of the directory. */
static int each_bitmap(struct distrusting *d, const struct qcow2_image *image,
		       int (*visit)(struct distrusting *d, const struct qcow2_bitmap *bitmap))
{
	struct qcow2_bitmaps *bitmaps;
	const struct qcow2_bitmap *bitmap;
	struct qcow2_error *err = d->u->err, why;
	int more = 0, failed = 0;

	if (!has_bitmaps(image))
		return 0;
	if (qcow2_bitmaps_open(image, &bitmaps, &why)) {
		if (why.code != QCOW2_ERROR_MEMORY && why.code != QCOW2_ERROR_IO)
			return 0;
		if (err)
			*err = why;
		return -1;
	}
	while (!failed && (more = qcow2_bitmaps_next(bitmaps, &bitmap, err)) > 0)
		if (bitmap->raw.size == ENTRY_BYTES && !bitmap->cut)
			failed = visit(d, bitmap);
	qcow2_bitmaps_close(bitmaps);
	return failed || more < 0 ? -1 : 0;
}

static int remember(struct distrusting *d, const struct qcow2_bitmap *bitmap)
{
	uint64_t earlier;

	if (bitmap->entry.flags & QCOW2_BITMAP_IN_USE)
		return 0;
	/* A bitmap that the set has no room for is not trusted. */
	if (q2_name_set_insert(&d->trusted, hash_of(d, bitmap), 1, &earlier) == QCOW2_ERROR_MEMORY)
		return q2_fail_memory(d->u->err);
	return 0;
}

/* Whether the bytes [first, last) differ between the image and what it would be. */
static bool differ(const struct distrusting *d, uint64_t first, uint64_t last)
{
	uint8_t now[COMPARE_BYTES], then[COMPARE_BYTES];

	while (first < last) {
		size_t size = last - first < sizeof(now) ? (size_t)(last - first) : sizeof(now);

		/* Bytes that cannot be read in either, as past its end, count as different. */
		if (qcow2_source_read(d->u->image, first, now, size, NULL) ||
		    qcow2_source_read(d->restored, first, then, size, NULL) ||
		    memcmp(now, then, size) != 0)
			return true;
		first += size;
	}
	return false;
}

/* Whether the undo changes bytes of a range. */
static bool is_touched(const struct distrusting *d, uint64_t offset, uint64_t size)
{
	const struct q2_undo_records *pieces = &d->u->undo->pieces;
	uint64_t end = offset + size;

	for (size_t i = q2_undo_find(pieces, offset);
	     i < pieces->count && pieces->items[i].offset_bytes < end; i++) {
		uint64_t first = pieces->items[i].offset_bytes;
		uint64_t last = first + pieces->items[i].size;

		if (differ(d, first > offset ? first : offset, last < end ? last : end))
			return true;
	}
	return false;
}

/* Whether the undo changes bytes of a bitmap's table or data. */
static bool is_rewritten(struct distrusting *d, const struct qcow2_bitmap *bitmap)
{
	uint64_t cluster = qcow2_image_geometry(d->then)->cluster_size_bytes;
	uint64_t entries = qcow2_table_begin(d->table, bitmap->entry.bitmap_table_offset,
					     bitmap->entry.bitmap_table_size);
	struct qcow2_error ignored;
	uint64_t entry, offset;

	if (entries > d->entries_left ||
	    is_touched(d, bitmap->entry.bitmap_table_offset, entries * 8))
		return true;
	d->entries_left -= entries;
	for (uint64_t i = 0; i < entries; i++) {
		if (qcow2_table_entry(d->table, i, &entry, &ignored))
			return true;
		offset = qcow2_bitmap_table_entry_decode(entry).offset;
		if (offset != 0 && is_touched(d, offset, cluster))
			return true;
	}
	return false;
}

/* Marks a bitmap as in use unless it was there all the time, the same, and recorded. */
static int distrust(struct distrusting *d, const struct qcow2_bitmap *bitmap)
{
	const struct q2_undo_patch patch = {.offset_bytes = bitmap->offset_bytes + FLAGS_LAST,
					    .set = QCOW2_BITMAP_IN_USE};
	uint64_t earlier;
	uint8_t saved;

	if (bitmap->entry.flags & QCOW2_BITMAP_IN_USE) {
		/* An earlier undo of this change may have marked it. */
		if (q2_undo_freed_byte(d->u->undo, patch.offset_bytes, &saved) &&
		    !(saved & QCOW2_BITMAP_IN_USE)) {
			d->u->result->bitmaps_in_use++;
			d->u->is_marked = true;
		}
		return 0;
	}
	if (q2_name_set_insert(&d->trusted, hash_of(d, bitmap), 0, &earlier) == QCOW2_ERROR_MEMORY)
		return q2_fail_memory(d->u->err);
	if (earlier == 1 && !is_rewritten(d, bitmap))
		return 0;
	d->u->result->bitmaps_in_use++;
	return q2_undo_patch_add(&d->u->patches, patch) ? 0 : q2_fail_memory(d->u->err);
}

/*
 * Leaves autoclear bits clear that are not known here: they tell a program that it saw every write.
 */
static int distrust_autoclear(struct distrusting *d)
{
	uint64_t now = qcow2_image_header(d->now)->autoclear_features;
	uint64_t then = qcow2_image_header(d->then)->autoclear_features;
	uint64_t lost = then & ~now & ~QCOW2_AUTOCLEAR_KNOWN;

	d->u->result->autoclear_lost = lost;
	for (unsigned i = 0; i < 8; i++) {
		const struct q2_undo_patch patch = {.offset_bytes = AUTOCLEAR_AT + i,
						    .clear = (uint8_t)(lost >> (56 - 8 * i))};

		if (patch.clear != 0 && !q2_undo_patch_add(&d->u->patches, patch))
			return q2_fail_memory(d->u->err);
	}
	return 0;
}

static int find_patches(struct distrusting *d)
{
	if (distrust_autoclear(d) || each_bitmap(d, d->now, remember))
		return -1;
	if (!qcow2_image_geometry(d->then))
		return 0;
	if (qcow2_table_open(d->then, &d->table, d->u->err))
		return -1;
	return each_bitmap(d, d->then, distrust);
}

int q2_undo_distrust(struct q2_undoing *u, struct qcow2_source *restored)
{
	struct distrusting d = {.u = u, .restored = restored, .entries_left = ENTRIES_MOST};
	int failed = 0;

	/* A file that is no image holds nothing that could be believed. */
	if (q2_undo_open_image(u, restored, &d.then))
		return -1;
	if (!d.then)
		return 0;
	q2_hash_key_make(&d.key);
	q2_name_set_init(&d.trusted, BITMAPS_MOST);
	if (qcow2_image_open(u->image, &d.now, u->err))
		failed = -1;
	else
		failed = find_patches(&d);
	q2_name_set_release(&d.trusted);
	qcow2_table_close(d.table);
	qcow2_image_close(d.now);
	qcow2_image_close(d.then);
	return failed;
}

static int mark(struct distrusting *d, const struct qcow2_bitmap *bitmap)
{
	const struct q2_undo_patch patch = {.offset_bytes = bitmap->offset_bytes + FLAGS_LAST,
					    .set = QCOW2_BITMAP_IN_USE};

	return q2_undo_patch_add(&d->u->marks, patch) ? 0 : q2_fail_memory(d->u->err);
}

/* Finds the bits that an earlier undo which was not exact may have left different. */
static int find_marks_of_undos(struct distrusting *d)
{
	const struct qcow2_header *then = qcow2_image_header(d->then);
	uint64_t autoclear = then->autoclear_features & ~QCOW2_AUTOCLEAR_KNOWN;

	/* An undo that was interrupted had cleared the bitmaps bit. */
	if (then->version >= 3)
		autoclear |= QCOW2_AUTOCLEAR_BITMAPS;
	for (unsigned i = 0; i < 8; i++) {
		const struct q2_undo_patch patch = {.offset_bytes = AUTOCLEAR_AT + i,
						    .clear = (uint8_t)(autoclear >> (56 - 8 * i))};

		if (patch.clear != 0 && !q2_undo_patch_add(&d->u->marks, patch))
			return q2_fail_memory(d->u->err);
	}
	return each_bitmap(d, d->then, mark);
}

int q2_undo_find_marks(struct q2_undoing *u, struct qcow2_source *restored)
{
	struct distrusting d = {.u = u};
	int failed = q2_undo_open_image(u, u->image, &d.now);

	if (!failed && (u->undo->info.state != QCOW2_UNDO_APPLIED || u->is_copy))
		failed = q2_undo_open_image(u, restored, &d.then);
	if (!failed && d.then)
		failed = find_marks_of_undos(&d);
	/*
	 * A program that opened the image, or an undo of a later change, may have marked bitmaps as
	 * in use.
	 */
	if (!failed && d.now)
		failed = each_bitmap(&d, d.now, mark);
	q2_undo_patches_sort(&u->marks);
	qcow2_image_close(d.now);
	qcow2_image_close(d.then);
	return failed ? -1 : 0;
}
