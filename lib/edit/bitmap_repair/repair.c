/* SPDX-License-Identifier: MIT */
/*
 * Repairs bitmaps: looks at each by itself, and makes the image one that QEMU opens. What cannot be
 * mended needs a decision of the caller's.
 */
#include <string.h>

#include <qcow2/text.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/error.h"
#include "base/sized.h"
#include "edit/bitmap/given_up.h"
#include "edit/bitmap/list.h"
#include "edit/bitmap/named.h"
#include "edit/bitmap/open.h"
#include "edit/bitmap_repair/judge.h"
#include "edit/bitmap_repair/mend.h"
#include "edit/bitmap_repair/names.h"
#include "edit/bitmap_repair/part.h"
#include "edit/bitmap_trust/answers.h"
#include "edit/bitmap_trust/walk.h"
#include "image/extensions.h"

/* A file system may report fewer allocated bytes than the file stores. */
#define SLACK_BYTES (UINT64_C(16) << 20)

static int hear(void *opaque, const struct qcow2_problem *problem)
{
	struct q2_bitmap_repair_run *r = opaque;

	r->kinds[problem->kind->number] = true;
	return 0;
}

/* ---- the directory ---- */

/* Gives all bitmaps up, for a fault that concerns all of them. */
static int give_up_all(struct q2_bitmap_repair_run *r, enum qcow2_problem_id id, const char *cost)
{
	r->bitmap = NULL;
	r->undecided |= !r->options->drop_bad;
	if (!r->options->drop_bad) {
		q2_bitmap_repair_tell(
			r, q2_bitmap_repair_kind(id), QCOW2_BITMAP_REMEDY_NEEDED, 0,
			cost ? cost
			     : "no bitmap can be found: they can only be dropped, and the next "
			       "backup must "
			       "be a full one");
		return 0;
	}
	q2_bitmap_repair_tell(r, q2_bitmap_repair_kind(id), QCOW2_BITMAP_REMEDY_DROPPED, 0,
			      cost ? cost
				   : "all bitmaps are gone: the next backup must be a full one");
	r->editor->changed = true;
	return 0;
}

/*
 * Gives up an entry whose end is missing. Its table may still be known, so that its clusters can be
 * freed.
 */
static int give_up_cut(struct q2_bitmap_repair_run *r, const struct qcow2_bitmap *bitmap)
{
	struct qcow2_bitmap rest = *bitmap;

	if (r->options->drop_bad &&
	    bitmap->raw.size == qcow2_bitmap_dir_entry_structure.size_bytes) {
		rest.entry.extra_data_size = 0;
		rest.name.size = 0;
		if (q2_bitmap_editor_take(r->editor, &rest, r->err) ||
		    q2_bitmap_give_up(r->editor, r->editor->bitmaps[r->editor->count - 1], r->err))
			return -1;
		q2_bitmap_editor_drop(r->editor, r->editor->count - 1);
	}
	return give_up_all(r, QCOW2_PROBLEM_BITMAP_ENTRY_CUT,
			   r->options->drop_bad
				   ? "it, and what may have stood behind it, are gone"
				   : "it, and what may stand behind it, can only be dropped");
}

/*
 * Treats zeros where an entry has to be. Nothing is known of that bitmap; the entries behind it may
 * be whole.
 */
static void treat_hole(struct q2_bitmap_repair_run *r, const struct q2_directory_walk *walk)
{
	bool drop = r->options->drop_bad;
	bool all = walk->count == 1 && walk->used >= walk->claimed.bitmap_directory_size;

	r->undecided |= !drop;
	r->bitmap = all ? NULL : walk->bitmap;
	q2_bitmap_repair_tell_all(
		r,
		(struct qcow2_bitmap_treatment){
			.kind = q2_bitmap_repair_kind(QCOW2_PROBLEM_BITMAP_TYPE),
			.what = all ? "The bitmap directory is all zeros."
				    : "The bitmap's entry in the directory is all zeros.",
			.remedy = drop ? QCOW2_BITMAP_REMEDY_DROPPED : QCOW2_BITMAP_REMEDY_NEEDED,
			.cost = drop ? "nothing is known of what it was: the next backup of its "
				       "chain must be a full one"
				     : "nothing is known of what it was: it can only be dropped, "
				       "and the next backup must be a full one"});
	r->bitmap = NULL;
	r->editor->changed |= drop;
}

static int treat_entry(struct q2_bitmap_repair_run *r, const struct qcow2_bitmap *bitmap)
{
	int failed;

	memset(r->kinds, 0, sizeof(r->kinds));
	r->bitmap = bitmap;
	failed = qcow2_bitmap_health_examine(r->health, bitmap, hear, r, r->err) ||
		 q2_bitmap_editor_take(r->editor, bitmap, r->err) || q2_bitmap_repair_bitmap(r);
	r->bitmap = NULL;
	return failed ? -1 : 0;
}

/* Treats all entries that are found; the extension may claim more or fewer. */
static int treat_entries(struct q2_bitmap_repair_run *r, struct q2_directory_walk *walk)
{
	int more;

	while ((more = q2_directory_walk_next(walk, r->err)) > 0) {
		if (walk->is_hole) {
			treat_hole(r, walk);
			continue;
		}
		if (walk->bitmap->cut)
			return give_up_cut(r, walk->bitmap);
		if (treat_entry(r, walk->bitmap))
			return -1;
	}
	return more;
}

/* Compares what the extension says of the directory with what was found. */
static void treat_extension(struct q2_bitmap_repair_run *r, const struct q2_directory_walk *walk,
			    const struct qcow2_extension *place)
{
	const struct qcow2_bitmaps_extension *claimed = &walk->claimed;
	/* Nobody knows how many entries there were where zeros are now. */
	uint64_t count = walk->holes ? claimed->nb_bitmaps : walk->count;
	enum qcow2_problem_id id = QCOW2_PROBLEM_BITMAP_DIRECTORY_SIZE;

	if (walk->used == claimed->bitmap_directory_size && count == claimed->nb_bitmaps &&
	    claimed->reserved32 == 0 && place->data.size == sizeof(*claimed))
		return;
	if (claimed->reserved32 != 0)
		id = QCOW2_PROBLEM_BITMAPS_RESERVED;
	else if (count != claimed->nb_bitmaps)
		id = QCOW2_PROBLEM_BITMAPS_COUNT;
	q2_bitmap_repair_tell_all(
		r, (struct qcow2_bitmap_treatment){
			   .kind = q2_bitmap_repair_kind(id),
			   .what = id == QCOW2_PROBLEM_BITMAPS_COUNT
					   ? "The number of bitmaps is not the one in the header."
					   : NULL,
			   .remedy = QCOW2_BITMAP_REMEDY_MENDED,
			   .cost = count < claimed->nb_bitmaps
					   ? "if there was another bitmap, it is gone, and the "
					     "next backup of its chain must be a full one"
				   : walk->holes ? "nothing else is lost"
						 : "nothing is lost"});
	r->editor->changed = true;
	/* Give up all bytes that were read as entries, not only those that the extension claims. */
	if (walk->used > claimed->bitmap_directory_size)
		r->editor->directory_size = walk->used;
}

static int treat_directory(struct q2_bitmap_repair_run *r, struct q2_directory_walk *walk,
			   const struct qcow2_extension *place)
{
	r->editor->has_extension = true;
	r->editor->directory_offset = walk->claimed.bitmap_directory_offset;
	r->editor->directory_size = walk->claimed.bitmap_directory_size;
	if (walk->claimed.bitmap_directory_offset == 0 ||
	    walk->claimed.bitmap_directory_offset % r->editor->geometry->cluster_size_bytes != 0) {
		r->editor->has_extension =
			false; /* nothing of it is used, and nothing is given up */
		return give_up_all(r, QCOW2_PROBLEM_BITMAP_DIRECTORY_OFFSET, NULL);
	}
	if (treat_entries(r, walk))
		return -1;
	treat_extension(r, walk, place);
	/* It remembers all names, and is not needed any more. */
	qcow2_bitmap_health_close(r->health);
	r->health = NULL;
	return q2_bitmap_repair_names(r);
}

/* Tells of further bitmaps extensions: only the first is looked at and kept. */
static void treat_duplicates(struct q2_bitmap_repair_run *r)
{
	struct q2_extensions it;
	struct qcow2_extension extension;
	unsigned count = 0;

	q2_extensions_begin(r->editor->image, &it);
	while (q2_extensions_next(&it, &extension))
		count += extension.header.magic == QCOW2_EXTENSION_BITMAPS;
	if (count < 2)
		return;
	q2_bitmap_repair_tell(r, q2_bitmap_repair_kind(QCOW2_PROBLEM_EXTENSION_DUPLICATE),
			      QCOW2_BITMAP_REMEDY_MENDED, 0,
			      "the first is kept; what only the others named is lost");
	r->editor->changed = true;
}

/* Leaves all bitmaps stale, and finds out whether assuming them dirty would help. */
static int leave_all(struct q2_bitmap_repair_run *r)
{
	struct qcow2_bitmap_treatment left = {
		.kind = q2_bitmap_repair_kind(QCOW2_PROBLEM_BITMAPS_INCONSISTENT),
		.remedy = QCOW2_BITMAP_REMEDY_LEFT,
		.cost = "all bitmaps stay stale: no backup can rely on them",
	};
	struct q2_directory_walk walk;
	int more = 0;

	if (q2_directory_walk_open(&walk, r->editor->image, r->err) == 0) {
		uint64_t directory = walk.claimed.bitmap_directory_offset;

		left.can_be_dirty =
			directory != 0 && directory % r->editor->geometry->cluster_size_bytes == 0;
		while (left.can_be_dirty && (more = q2_directory_walk_next(&walk, r->err)) > 0)
			left.can_be_dirty = !walk.is_hole && !walk.bitmap->cut &&
					    q2_bitmap_repair_can_be_dirty(r, &walk.bitmap->entry);
		left.can_be_dirty &= walk.count > 0;
		q2_directory_walk_close(&walk);
	} else if (r->err->code == QCOW2_ERROR_MEMORY) {
		return -1;
	}
	if (more >= 0)
		q2_bitmap_repair_tell_all(r, left);
	return more < 0 ? -1 : 0;
}

/* Drops all bitmaps, on which nobody can rely, and gives up their clusters. */
static int drop_all(struct q2_bitmap_repair_run *r)
{
	struct q2_directory_walk walk;
	int more;

	q2_bitmap_repair_tell(r, q2_bitmap_repair_kind(QCOW2_PROBLEM_BITMAPS_INCONSISTENT),
			      QCOW2_BITMAP_REMEDY_DROPPED, 0,
			      "all bitmaps are gone: the next backup must be a full one");
	r->editor->changed = true;
	if (q2_directory_walk_open(&walk, r->editor->image, r->err))
		return r->err->code == QCOW2_ERROR_MEMORY ? -1 : 0;
	r->editor->has_extension = true;
	r->editor->directory_offset = walk.claimed.bitmap_directory_offset;
	r->editor->directory_size = walk.claimed.bitmap_directory_size;
	while ((more = q2_directory_walk_next(&walk, r->err)) > 0 && !walk.bitmap->cut) {
		if (walk.is_hole)
			continue;
		if (q2_bitmap_editor_take(r->editor, walk.bitmap, r->err) ||
		    q2_bitmap_give_up(r->editor, r->editor->bitmaps[0], r->err)) {
			more = -1;
			break;
		}
		q2_bitmap_editor_drop(r->editor, 0);
	}
	q2_directory_walk_close(&walk);
	return more < 0 ? -1 : 0;
}

static int treat_all(struct q2_bitmap_repair_run *r)
{
	uint64_t bits = qcow2_image_header(r->editor->image)->autoclear_features;
	struct qcow2_extension place;
	struct q2_directory_walk walk;
	int failed;

	if (!q2_find_extension(r->editor->image, QCOW2_EXTENSION_BITMAPS, &place)) {
		if (!(bits & QCOW2_AUTOCLEAR_BITMAPS))
			return 0;
		q2_bitmap_repair_tell(
			r, q2_bitmap_repair_kind(QCOW2_PROBLEM_FEATURE_BITMAPS_WITHOUT_EXTENSION),
			QCOW2_BITMAP_REMEDY_MENDED, 0, "the bit is cleared; there was no bitmap");
		r->editor->changed = true;
		return 0;
	}
	r->editor->inconsistent = !(bits & QCOW2_AUTOCLEAR_BITMAPS);
	if (r->editor->inconsistent && !r->options->assume_dirty)
		return r->options->drop_bad ? drop_all(r) : leave_all(r);
	treat_duplicates(r);
	if (q2_directory_walk_open(&walk, r->editor->image, r->err))
		return r->err->code == QCOW2_ERROR_MEMORY
			       ? -1
			       : give_up_all(r, QCOW2_PROBLEM_BITMAP_DIRECTORY_BEYOND_END, NULL);
	failed = treat_directory(r, &walk, &place);
	q2_directory_walk_close(&walk);
	return failed;
}

static int check_names(const struct q2_bitmap_repair_run *r)
{
	char safe[100], names[Q2_CHOICES_ROOM];

	for (size_t i = 0; i < r->options->name_count; i++) {
		if (r->found[i])
			continue;
		qcow2_text_escape(r->options->names[i], safe, sizeof(safe));
		q2_verb_names(r->editor, names);
		return q2_fail(r->err, QCOW2_ERROR_NOT_FOUND, QCOW2_NO_OFFSET,
			       "there is no bitmap '%s'%s%s", safe, names[0] ? " among " : "",
			       names);
	}
	return 0;
}

/* Tells the plan that a repair takes bitmaps away: it asks by itself what becomes of each. */
static int intend(struct qcow2_plan *plan, struct qcow2_error *err)
{
	static const struct qcow2_bytes type = {(const uint8_t *)"\x23\x85\x28\x75", 4}, any;

	return qcow2_plan_intend(plan, QCOW2_INTENT_BITMAP_GONE, any, err) ||
			       qcow2_plan_intend(plan, QCOW2_INTENT_BITMAP_MENDED, any, err) ||
			       qcow2_plan_intend(plan, QCOW2_INTENT_EXTENSION, type, err)
		       ? -1
		       : 0;
}

/* Fails if decisions are missing, before anything is changed. */
static int ask(const struct q2_bitmap_repair_run *r)
{
	const char *how = "--drop-bad or --assume-dirty";

	if (r->needed == 0 || r->within)
		return 0;
	if (r->options->assume_dirty && r->options->name_count == 0)
		how = "--drop-bad as well";
	else if (r->needed_dropped == r->needed)
		how = "--drop-bad";
	else if (r->needed_dropped > 0)
		how = "--drop-bad, with --assume-dirty where that is possible";
	return q2_fail(r->err, QCOW2_ERROR_BROKEN, QCOW2_NO_OFFSET,
		       "not all can be mended: say what to do with the rest (%s)%s", how,
		       q2_trust_others_sound(r->trust)
			       ? "; only bitmaps are damaged, the disk itself is sound"
			       : "");
}

/*
 * The directory cannot be written, as long as nobody says what becomes of a part of it. Bitmaps that
 * must not be believed once their clusters are mended are marked where they are.
 */
static int mark_in_place(struct q2_bitmap_repair_run *r)
{
	struct q2_directory_walk walk;
	int more, failed = 0;

	if (q2_trust_directory_is_shared(r->trust))
		return q2_fail(r->err, QCOW2_ERROR_BROKEN, QCOW2_NO_OFFSET,
			       "something else uses the place of the list of bitmaps: --all "
			       "writes it anew");
	if (q2_directory_walk_open(&walk, r->editor->image, r->err))
		return r->err->code == QCOW2_ERROR_MEMORY ? -1 : 0;
	while (!failed && (more = q2_directory_walk_next(&walk, r->err)) > 0) {
		const struct qcow2_bitmap *bitmap = walk.bitmap;
		uint8_t flags[4];

		if (walk.is_hole || bitmap->cut || !q2_bitmap_repair_is_doubtful(r, bitmap))
			continue;
		q2_store_be32(flags, bitmap->entry.flags | QCOW2_BITMAP_IN_USE);
		failed = qcow2_plan_write(r->editor->plan, QCOW2_PHASE_POINT,
					  bitmap->offset_bytes +
						  offsetof(struct qcow2_bitmap_dir_entry, flags),
					  (struct qcow2_bytes){flags, sizeof(flags)},
					  "nobody can rely on this bitmap", r->err) ||
			 r->within->mark(r->within->opaque, bitmap,
					 q2_bitmap_repair_kind(QCOW2_PROBLEM_CLUSTER_OWNERS));
	}
	q2_directory_walk_close(&walk);
	return failed || more < 0 ? -1 : 0;
}

static int repair(struct q2_bitmap_repair_run *r)
{
	if (qcow2_bitmap_health_open(r->editor->image, &r->health, r->err) ||
	    q2_bitmap_trust_new(r->editor->image, r->within, &r->trust, r->err))
		return -1;
	r->editor->trust = r->trust;
	/* A cluster that is not counted may be in use: new clusters are taken behind all others. */
	r->editor->careful |= q2_trust_refcounts_low(r->trust);
	if (treat_all(r) || check_names(r) || ask(r))
		return -1;
	if (r->stopped)
		return q2_fail(r->err, QCOW2_ERROR_STOPPED, QCOW2_NO_OFFSET, "stopped");
	if (r->undecided && r->within)
		return mark_in_place(r);
	if (!r->editor->changed)
		return 0;
	return qcow2_bitmap_editor_finish(r->editor, r->err) || q2_bitmap_repair_judge(r) ? -1 : 0;
}

int qcow2_bitmap_repair(struct qcow2_plan *plan, const struct qcow2_bitmap_repair_options *options,
			struct qcow2_error *err)
{
	return q2_bitmap_repair_within(plan, options, NULL, err);
}

int q2_bitmap_repair_within(struct qcow2_plan *plan,
			    const struct qcow2_bitmap_repair_options *options,
			    const struct q2_bitmap_within *within, struct qcow2_error *err)
{
	struct qcow2_error ignored;
	struct qcow2_bitmap_repair_options mine;
	struct q2_bitmap_repair_run r = {
		.options = &mine, .within = within, .err = err ? err : &ignored};
	int failed;

	if (q2_sized_take(&mine, sizeof(mine), options, r.err))
		return -1;
	if (intend(plan, r.err) || q2_bitmap_editor_new(plan, &r.editor, r.err))
		return -1;
	r.editor->within = within;
	r.unread_bytes = qcow2_source_allocated_bytes(r.editor->view) + SLACK_BYTES;
	r.found = q2_alloc_array(mine.name_count + 1, sizeof(*r.found));
	failed = r.found ? repair(&r) : q2_fail_memory(r.err);
	q2_bitmap_trust_free(r.trust);
	qcow2_bitmap_health_close(r.health);
	qcow2_bitmap_editor_close(r.editor);
	q2_free(r.found);
	return failed;
}
