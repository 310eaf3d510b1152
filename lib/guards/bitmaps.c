/* SPDX-License-Identifier: MIT */
/*
 * Guards of bitmaps. A bitmap that programs may believe after the plan must fulfil one of these: it
 * could be believed before; it is all dirty, which is never wrong; the plan makes it.
 */
#include <inttypes.h>
#include <stdio.h>

#include <qcow2/bitmap.h>

#include "guards/guards.h"
#include "plan/plan.h"

/* A bitmap of the planned image, and what it was before. */
struct pair {
	const struct qcow2_bitmap *now;
	const struct q2_item *then; /* NULL: it was not there */
	bool trusted_now, trusted_then;
	bool made, mended, written; /* as the plan means it */
};

static bool may_be_believed(const struct q2_inventory *inventory, uint32_t flags)
{
	return inventory->trusts_bitmaps && !(flags & QCOW2_BITMAP_IN_USE);
}

/* Sets *dirty if all bits of a bitmap are set. Bits that cannot be read may be clean. */
static int is_all_dirty(struct q2_trial *trial, const struct qcow2_bitmap *bitmap, bool *dirty)
{
	struct qcow2_dirty_extents *extents;
	struct qcow2_dirty_extent extent;
	int more = 0;

	*dirty = qcow2_dirty_extents_open(trial->after, &bitmap->entry, 0, &extents, trial->err) ==
		 0;
	if (!*dirty)
		return trial->err->code == QCOW2_ERROR_MEMORY ? -1 : 0;
	while (*dirty && (more = qcow2_dirty_extents_next(extents, &extent, trial->err)) > 0)
		*dirty = extent.dirty;
	qcow2_dirty_extents_close(extents);
	*dirty = *dirty && more == 0;
	return more < 0 && trial->err->code == QCOW2_ERROR_IO ? -1 : 0;
}

/* Returns the guard that objects; QCOW2_GUARD_NONE if none does. */
static enum qcow2_guard_id who_objects(const struct q2_trial *trial, const struct pair *pair)
{
	uint32_t now = pair->now->entry.flags, then = pair->then ? pair->then->entry.flags : 0;

	if (pair->made || (pair->mended && !pair->then && trial->had.trusts_bitmaps))
		return QCOW2_GUARD_NONE;
	if (pair->trusted_now && !pair->trusted_then) {
		if (pair->then && then & QCOW2_BITMAP_IN_USE)
			return QCOW2_GUARD_BITMAP_IN_USE;
		return trial->had.trusts_bitmaps ? QCOW2_GUARD_BITMAP_NEW : QCOW2_GUARD_BITMAPS_BIT;
	}
	if (!pair->then)
		return QCOW2_GUARD_NONE;
	if (!pair->trusted_then && now & ~then & QCOW2_BITMAP_AUTO)
		return QCOW2_GUARD_BITMAP_AUTO;
	if (pair->trusted_then && pair->trusted_now && !pair->mended &&
	    pair->now->entry.granularity_bits != pair->then->entry.granularity_bits)
		return QCOW2_GUARD_BITMAP_GRANULARITY;
	if (pair->trusted_then && pair->trusted_now && !pair->mended && !pair->written &&
	    (pair->now->entry.bitmap_table_offset != pair->then->entry.bitmap_table_offset ||
	     pair->now->entry.bitmap_table_size != pair->then->entry.bitmap_table_size))
		return QCOW2_GUARD_BITMAP_TABLE;
	return QCOW2_GUARD_NONE;
}

/*
 * Finds what a bitmap was before the plan. A repair of several bitmaps of one name drops those in
 * use and renames those that it keeps, so that the first one that was saved is taken.
 */
static const struct q2_item *find_then(struct q2_trial *trial, const struct pair *pair,
				       uint64_t old_hash)
{
	struct q2_items *had = &trial->had.bitmaps;
	const struct q2_item *then = q2_items_take(had, old_hash), *next;

	while (then && pair->mended && pair->trusted_now &&
	       then->entry.flags & QCOW2_BITMAP_IN_USE &&
	       (next = q2_items_take(had, old_hash)) != NULL)
		then = next;
	return then;
}

static int ask_one(struct q2_trial *trial, const struct qcow2_bitmap *bitmap)
{
	const struct q2_item *item = q2_items_at(&trial->has.bitmaps, bitmap->index);
	struct pair pair = {.now = bitmap};
	enum qcow2_guard_id guard;
	char where[QCOW2_REFUSAL_WHERE];
	bool all_dirty;

	pair.trusted_now = may_be_believed(&trial->has, bitmap->entry.flags);
	pair.made = q2_is_intended(&trial->plan->intents, QCOW2_INTENT_BITMAP_MADE, bitmap->name);
	pair.mended =
		q2_is_intended(&trial->plan->intents, QCOW2_INTENT_BITMAP_MENDED, bitmap->name);
	pair.written =
		q2_is_intended(&trial->plan->intents, QCOW2_INTENT_BITMAP_WRITTEN, bitmap->name);
	pair.then = item ? find_then(trial, &pair, item->old_hash) : NULL;
	/* A repair copies a table that lies on something else. */
	if (trial->repairs && pair.then &&
	    pair.then->entry.bitmap_table_size == bitmap->entry.bitmap_table_size)
		pair.written = true;
	pair.trusted_then = pair.then && may_be_believed(&trial->had, pair.then->entry.flags);
	guard = who_objects(trial, &pair);
	if (guard == QCOW2_GUARD_NONE)
		return 0;
	if (is_all_dirty(trial, bitmap, &all_dirty))
		return -1;
	if (all_dirty)
		return 0;
	snprintf(where, sizeof(where), "bitmaps/%" PRIu64, bitmap->index);
	q2_guard_refuse(trial, guard, where, "bitmap", bitmap->name);
	return 0;
}

/*
 * Asks about the bitmaps bit, cleared while there are bitmaps. A repair clears it where other faults
 * reach into them, and says so.
 */
static void ask_cleared(struct q2_trial *trial)
{
	if (!trial->repairs && trial->had.trusts_bitmaps && !trial->has.trusts_bitmaps &&
	    trial->had.bitmaps.list.count > 0 && trial->has.bitmaps.list.count > 0)
		q2_guard_refuse(trial, QCOW2_GUARD_BITMAPS_BIT_CLEARED, "header/autoclear_features",
				"", (struct qcow2_bytes){NULL, 0});
}

int q2_guards_bitmaps(struct q2_trial *trial)
{
	struct qcow2_bitmaps *bitmaps;
	const struct qcow2_bitmap *bitmap = NULL;
	int more = 0, failed = 0;

	ask_cleared(trial);
	if (trial->has.bitmaps.list.count == 0)
		return 0;
	if (qcow2_bitmaps_open(trial->after, &bitmaps, trial->err))
		return -1;
	for (size_t i = 0; i < trial->has.bitmaps.list.count && !failed; i++) {
		more = qcow2_bitmaps_next(bitmaps, &bitmap, trial->err);
		failed = more <= 0 ? more : ask_one(trial, bitmap);
	}
	qcow2_bitmaps_close(bitmaps);
	q2_items_rewind(&trial->had.bitmaps);
	return failed;
}
