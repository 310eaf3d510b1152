/* SPDX-License-Identifier: MIT */
/*
 * Mends one damaged bitmap, drops it or makes it all dirty. A bit that is not certain becomes
 * dirty: a backup that copies too much is right, one that copies too little is not.
 */
#include "edit/bitmap_repair/mend.h"

#include <qcow2/limits.h>

#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/error.h"
#include "edit/bitmap/bits.h"
#include "edit/bitmap/given_up.h"
#include "edit/bitmap/list.h"
#include "edit/bitmap_trust/answers.h"
#include "image/internal.h"

static const char cost_left[] = "it stays stale: no backup can rely on it";
static const char cost_dropped[] = "the next backup of its chain must be a full one";
static const char cost_dirty[] = "the next incremental backup copies the whole disk";
static const char cost_nothing[] = "nothing is lost";
static const char cost_some[] = "the next incremental backup copies more than it had to";
static const char cost_shared[] =
	"the next incremental backup copies more than it had to; what else uses the cluster may be "
	"damaged";
static const char cost_needed[] =
	"dropped, the next backup of its chain must be a full one; assumed dirty, the next "
	"incremental backup copies the whole disk";
static const char cost_only_dropped[] =
	"it can only be dropped: the next backup of its chain must be a full one";

/* Whether the caller named this bitmap to be assumed dirty. */
static bool is_named(struct q2_bitmap_repair_run *r, struct qcow2_bytes name)
{
	bool named = false;

	for (size_t i = 0; i < r->options->name_count; i++) {
		const struct qcow2_bytes *wanted = &r->options->names[i];

		if (wanted->size != name.size || memcmp(wanted->data, name.data, name.size) != 0)
			continue;
		named = r->found[i] = true;
	}
	return named;
}

static struct q2_edited_bitmap *last_of(const struct q2_bitmap_repair_run *r)
{
	return r->editor->bitmaps[r->editor->count - 1];
}

/*
 * Returns the finest granularity, at least `bits`, that QEMU accepts for this disk; 64 if there is
 * none.
 */
static unsigned granularity_from(const struct q2_bitmap_repair_run *r, unsigned bits)
{
	if (bits < QCOW2_LIMIT_QEMU_BITMAP_GRANULARITY_BITS_MIN)
		bits = QCOW2_LIMIT_QEMU_BITMAP_GRANULARITY_BITS_MIN;
	if (bits > QCOW2_LIMIT_QEMU_BITMAP_GRANULARITY_BITS_MAX)
		bits = QCOW2_LIMIT_QEMU_BITMAP_GRANULARITY_BITS_MAX;
	for (; bits <= QCOW2_LIMIT_QEMU_BITMAP_GRANULARITY_BITS_MAX; bits++)
		if (q2_bitmap_fits(r->editor, bits, NULL) == 0)
			return bits;
	return 64;
}

bool q2_bitmap_repair_can_be_dirty(const struct q2_bitmap_repair_run *r,
				   const struct qcow2_bitmap_dir_entry *entry)
{
	return entry->type == 1 && granularity_from(r, entry->granularity_bits) < 64;
}

static void strip_extra(struct q2_edited_bitmap *e)
{
	q2_free(e->extra);
	e->extra = NULL;
	e->entry.extra_data_size = 0;
	e->entry.flags &= QCOW2_BITMAP_IN_USE | QCOW2_BITMAP_AUTO;
}

/* ---- the three ways out ---- */

static int drop(struct q2_bitmap_repair_run *r, const struct qcow2_problem_kind *kind)
{
	if (q2_bitmap_give_up(r->editor, last_of(r), r->err))
		return -1;
	q2_bitmap_editor_drop(r->editor, r->editor->count - 1);
	q2_bitmap_repair_tell(r, kind, QCOW2_BITMAP_REMEDY_DROPPED, 0, cost_dropped);
	return 0;
}

static int make_all_dirty(struct q2_bitmap_repair_run *r, const struct qcow2_problem_kind *kind,
			  enum qcow2_bitmap_remedy remedy)
{
	struct q2_edited_bitmap *e = last_of(r);

	e->entry.granularity_bits = (uint8_t)granularity_from(r, e->entry.granularity_bits);
	strip_extra(e);
	e->entry.flags &= ~QCOW2_BITMAP_IN_USE;
	if (q2_bitmap_fill(r->editor, e, Q2_BITMAP_ENTRY_ONES, r->err))
		return -1;
	e->all_dirty = true;
	q2_bitmap_repair_tell(r, kind, remedy, q2_tracked_bytes(r->editor->geometry), cost_dirty);
	return 0;
}

bool q2_bitmap_repair_is_doubtful(const struct q2_bitmap_repair_run *r,
				  const struct qcow2_bitmap *bitmap)
{
	return !(bitmap->entry.flags & QCOW2_BITMAP_IN_USE) &&
	       q2_trust_doubtful(r->trust, bitmap->index);
}

/* Leaves a bitmap as it is, but for its word that it can be believed. */
static int leave(struct q2_bitmap_repair_run *r)
{
	last_of(r)->left = true;
	if (!q2_bitmap_repair_is_doubtful(r, r->bitmap))
		return 0;
	last_of(r)->entry.flags |= QCOW2_BITMAP_IN_USE;
	r->editor->changed = true;
	return r->within->mark(r->within->opaque, r->bitmap,
			       q2_bitmap_repair_kind(QCOW2_PROBLEM_CLUSTER_OWNERS));
}

/*
 * Gives a bitmap up that cannot be mended, for the reason `id`: as the options say, or it is left
 * to be decided.
 */
static int give_up(struct q2_bitmap_repair_run *r, enum qcow2_problem_id id)
{
	bool can_be_dirty = q2_bitmap_repair_can_be_dirty(r, &last_of(r)->entry);
	const struct qcow2_bitmap_repair_options *options = r->options;

	if (options->assume_dirty && options->name_count == 0 && can_be_dirty)
		return make_all_dirty(r, q2_bitmap_repair_kind(id), QCOW2_BITMAP_REMEDY_ALL_DIRTY);
	if (options->drop_bad)
		return drop(r, q2_bitmap_repair_kind(id));
	q2_bitmap_repair_tell_all(r,
				  (struct qcow2_bitmap_treatment){
					  .kind = q2_bitmap_repair_kind(id),
					  .remedy = QCOW2_BITMAP_REMEDY_NEEDED,
					  .can_be_dirty = can_be_dirty,
					  .cost = can_be_dirty ? cost_needed : cost_only_dropped});
	return r->within ? leave(r) : 0;
}

/* ---- mending ---- */

/* Returns the first of these kinds of problems that the bitmap has, or QCOW2_PROBLEM_NONE. */
static enum qcow2_problem_id first_of(const struct q2_bitmap_repair_run *r,
				      const enum qcow2_problem_id *ids, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (r->kinds[ids[i]])
			return ids[i];
	return QCOW2_PROBLEM_NONE;
}

/*
 * Whether a bitmap's data may still be read. Bitmaps may share data; all together may read as much
 * as the file stores.
 */
static bool may_read(struct q2_bitmap_repair_run *r, const struct qcow2_bitmap_dir_entry *entry)
{
	struct qcow2_bitmap_totals totals;

	if (qcow2_bitmap_count(r->editor->image, entry, r->unread_bytes, &totals, r->err))
		return false;
	r->unread_bytes -=
		totals.disk_bytes < r->unread_bytes ? totals.disk_bytes : r->unread_bytes;
	return true;
}

/* Copies the bits to a table of a granularity that QEMU accepts. False if they cannot be read. */
static bool convert(struct q2_bitmap_repair_run *r, uint64_t *dirty_bytes)
{
	struct q2_edited_bitmap *e = last_of(r);
	unsigned bits = granularity_from(r, e->entry.granularity_bits);
	struct qcow2_bitmap_dir_entry old = e->entry;
	struct qcow2_dirty_extents *extents;
	struct qcow2_dirty_extent extent;
	uint64_t before = 0, granule = UINT64_C(1) << (bits & 63), set = 0, counted = 0;
	int more = -1;

	if (bits > QCOW2_LIMIT_BITMAP_GRANULARITY_BITS_MAX || !may_read(r, &old) ||
	    qcow2_dirty_extents_open(r->editor->image, &old, 0, &extents, r->err))
		return false;
	e->entry.granularity_bits = (uint8_t)bits;
	if (q2_bitmap_fill(r->editor, e, 0, r->err) == 0)
		while ((more = qcow2_dirty_extents_next(extents, &extent, r->err)) > 0) {
			uint64_t first = extent.start_bytes / granule;
			uint64_t end =
				q2_div_ceil_u64(extent.start_bytes + extent.length_bytes, granule);

			if (!extent.dirty)
				continue;
			before += extent.length_bytes;
			/* Several extents may lie in one granule: it is counted once. */
			set += (end - (first < counted ? counted : first)) * granule;
			counted = end;
			if (q2_bitmap_set_bits(r->editor, e, first, end, r->err)) {
				more = -1;
				break;
			}
		}
	qcow2_dirty_extents_close(extents);
	*dirty_bytes = set > before ? set - before : 0;
	return more == 0;
}

/*
 * Tells of faults of other kinds in the same table. Their cost is part of what was told with the
 * first kind.
 */
static void tell_other_faults(struct q2_bitmap_repair_run *r, enum qcow2_problem_id told)
{
	static const enum qcow2_problem_id ids[] = {
		QCOW2_PROBLEM_BITMAP_ENTRY_RESERVED,  QCOW2_PROBLEM_BITMAP_ENTRY_ALL_ONES,
		QCOW2_PROBLEM_BITMAP_DATA_UNALIGNED,  QCOW2_PROBLEM_BITMAP_DATA_TAIL,
		QCOW2_PROBLEM_BITMAP_DATA_BEYOND_END, QCOW2_PROBLEM_REFCOUNT_LOW,
		QCOW2_PROBLEM_REFCOUNT_HIGH,          QCOW2_PROBLEM_CLUSTER_OWNERS,
	};

	for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++)
		if (ids[i] != told && q2_trust_has(r->trust, r->bitmap->index, ids[i]))
			q2_bitmap_repair_tell(r, q2_bitmap_repair_kind(ids[i]),
					      QCOW2_BITMAP_REMEDY_MENDED, 0,
					      "what that costs is counted above");
}

/* Mends the table and the bits. Returns 0, 1 if they cannot be mended, or -1. */
static int mend_table(struct q2_bitmap_repair_run *r, enum qcow2_problem_id *why)
{
	static const enum qcow2_problem_id kinds[] = {
		QCOW2_PROBLEM_BITMAP_GRANULARITY_QEMU,
		QCOW2_PROBLEM_BITMAP_TABLE_SIZE_QEMU,
		QCOW2_PROBLEM_BITMAP_DATA_TAIL,
	};
	struct q2_edited_bitmap *e = last_of(r);
	enum qcow2_problem_id damage = q2_trust_any(r->trust, r->bitmap->index);
	bool fits = q2_bitmap_fits(r->editor, e->entry.granularity_bits, NULL) == 0;
	uint64_t uncertain = 0;

	*why = damage != QCOW2_PROBLEM_NONE ? damage : first_of(r, kinds, 3);
	if (*why == QCOW2_PROBLEM_NONE)
		return 0;
	if (!fits) {
		if (damage != QCOW2_PROBLEM_NONE)
			return 1;
		r->err->code = QCOW2_ERROR_NONE;
		if (!convert(r, &uncertain))
			return r->err->code == QCOW2_ERROR_MEMORY ? -1 : 1;
	} else {
		if (q2_bitmap_load(r->editor, e, r->trust, &uncertain, r->err))
			return -1;
		uncertain <<= e->entry.granularity_bits;
	}
	if (uncertain > q2_tracked_bytes(r->editor->geometry))
		uncertain = q2_tracked_bytes(r->editor->geometry);
	q2_bitmap_repair_tell(r, q2_bitmap_repair_kind(*why), QCOW2_BITMAP_REMEDY_MENDED, uncertain,
			      *why == QCOW2_PROBLEM_CLUSTER_OWNERS ? cost_shared
			      : uncertain > 0                      ? cost_some
								   : cost_nothing);
	tell_other_faults(r, *why);
	return 0;
}

/*
 * Mends the entry in the directory, but for the name: names come last, when all of them are known.
 */
static void mend_entry(struct q2_bitmap_repair_run *r)
{
	static const enum qcow2_problem_id ids[] = {
		QCOW2_PROBLEM_BITMAP_FLAGS_RESERVED,
		QCOW2_PROBLEM_BITMAP_ENTRY_PADDING,
		QCOW2_PROBLEM_BITMAP_EXTRA_DATA_QEMU,
	};

	for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
		if (!r->kinds[ids[i]])
			continue;
		r->editor->changed = true;
		strip_extra(last_of(r));
		q2_bitmap_repair_tell(r, q2_bitmap_repair_kind(ids[i]), QCOW2_BITMAP_REMEDY_MENDED,
				      0,
				      ids[i] == QCOW2_PROBLEM_BITMAP_EXTRA_DATA_QEMU
					      ? "its extra data, if it had any, are gone"
					      : cost_nothing);
	}
}

static int mend(struct q2_bitmap_repair_run *r)
{
	enum qcow2_problem_id why;
	int left = mend_table(r, &why);

	if (left != 0)
		return left < 0 ? -1 : give_up(r, why);
	mend_entry(r);
	if (r->kinds[QCOW2_PROBLEM_BITMAP_IN_USE])
		q2_bitmap_repair_tell_all(
			r, (struct qcow2_bitmap_treatment){
				   .kind = q2_bitmap_repair_kind(QCOW2_PROBLEM_BITMAP_IN_USE),
				   .remedy = QCOW2_BITMAP_REMEDY_LEFT,
				   .can_be_dirty =
					   q2_bitmap_repair_can_be_dirty(r, &last_of(r)->entry),
				   .cost = cost_left});
	return 0;
}

/* ---- one bitmap ---- */

/*
 * Returns the problem for which a decision is needed what becomes of the bitmap, or
 * QCOW2_PROBLEM_NONE.
 */
static enum qcow2_problem_id beyond_mending(const struct q2_bitmap_repair_run *r)
{
	static const enum qcow2_problem_id beyond[] = {
		QCOW2_PROBLEM_BITMAP_TYPE,         QCOW2_PROBLEM_BITMAP_GRANULARITY,
		QCOW2_PROBLEM_BITMAP_TABLE_OFFSET, QCOW2_PROBLEM_BITMAP_TABLE_BEYOND_END,
		QCOW2_PROBLEM_BITMAP_TABLE_SHARED, QCOW2_PROBLEM_BITMAP_EXTRA_DATA_UNKNOWN,
	};
	enum qcow2_problem_id why = first_of(r, beyond, sizeof(beyond) / sizeof(beyond[0]));

	if (why != QCOW2_PROBLEM_NONE)
		return why;
	why = q2_trust_whole(r->trust, r->bitmap->index);
	switch (why) {
	case QCOW2_PROBLEM_BITMAP_IN_USE:
	case QCOW2_PROBLEM_BITMAP_FLAGS_RESERVED:
	case QCOW2_PROBLEM_BITMAP_TABLE_SIZE:
		return QCOW2_PROBLEM_NONE;
	default:
		return why;
	}
}

/* Treats a stale bitmap if the options say how. Returns 0 if they do, 1 if they do not, or -1. */
static int treat_stale(struct q2_bitmap_repair_run *r, bool named)
{
	const struct qcow2_bitmap_repair_options *options = r->options;
	const struct qcow2_problem_kind *kind =
		r->kinds[QCOW2_PROBLEM_BITMAP_IN_USE]
			? q2_bitmap_repair_kind(QCOW2_PROBLEM_BITMAP_IN_USE)
			: NULL;
	bool stale = kind || r->editor->inconsistent;
	bool wanted = options->assume_dirty && (named || (options->name_count == 0 && stale));

	if (wanted && q2_bitmap_repair_can_be_dirty(r, &last_of(r)->entry))
		return make_all_dirty(r, kind, QCOW2_BITMAP_REMEDY_ALL_DIRTY);
	if (stale && (options->drop_bad || wanted))
		return give_up(r, QCOW2_PROBLEM_BITMAP_IN_USE);
	return 1;
}

/* The last bitmap in the editor's list now. */
int q2_bitmap_repair_bitmap(struct q2_bitmap_repair_run *r)
{
	enum qcow2_problem_id why;
	int left = treat_stale(r, is_named(r, r->bitmap->name));

	if (left != 1)
		return left;
	if (r->editor->inconsistent) {
		/* Once the bit is set again, each bitmap has to say of itself that it is stale. */
		last_of(r)->entry.flags |= QCOW2_BITMAP_IN_USE;
		r->editor->changed = true;
		r->kinds[QCOW2_PROBLEM_BITMAP_IN_USE] = true;
	}
	why = beyond_mending(r);
	if (why != QCOW2_PROBLEM_NONE)
		return give_up(r, why);
	why = q2_trust_whole(r->trust, r->bitmap->index);
	if (why == QCOW2_PROBLEM_NONE || why == QCOW2_PROBLEM_BITMAP_IN_USE)
		return mend(r);
	/* The table's place is known, but nothing that the bitmap says can be believed. */
	r->kinds[QCOW2_PROBLEM_BITMAP_FLAGS_RESERVED] = false;
	if (!q2_bitmap_repair_can_be_dirty(r, &last_of(r)->entry))
		return give_up(r, why);
	if (make_all_dirty(r, q2_bitmap_repair_kind(why), QCOW2_BITMAP_REMEDY_MENDED))
		return -1;
	last_of(r)->all_dirty = true;
	mend_entry(r);
	return 0;
}
