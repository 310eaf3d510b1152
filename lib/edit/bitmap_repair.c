/* SPDX-License-Identifier: MIT */
/*
 * The doctor: looks at every bitmap by itself, and makes the image one that QEMU opens. What cannot
 * be mended needs a decision of the caller's.
 */
#include "edit/bitmap_repair.h"

#include <string.h>

#include <qcow2/text.h>

#include "base/alloc.h"
#include "base/error.h"
#include "image/internal.h"

#define FIXED_BYTES 24
/* File systems may count less than a file stores. */
#define SLACK_BYTES (UINT64_C(16) << 20)

const struct qcow2_problem_kind *qcow2_repair_kind(enum qcow2_problem_id id)
{
	size_t count;

	return &qcow2_problem_kinds(&count)[id];
}

static void hear(void *opaque, const struct qcow2_problem *problem)
{
	struct qcow2_repair *r = opaque;
	size_t count;

	r->kinds[problem->kind - qcow2_problem_kinds(&count)] = true;
}

void qcow2_repair_tell(struct qcow2_repair *r, const struct qcow2_problem_kind *kind,
		       enum qcow2_bitmap_remedy remedy, uint64_t dirty_bytes, const char *cost)
{
	struct qcow2_bitmap_treatment repair = {
		.kind = kind, .remedy = remedy, .dirty_bytes = dirty_bytes, .cost = cost};

	if (remedy == QCOW2_REMEDY_NEEDED)
		r->needed++;
	if (!r->options->tell)
		return;
	if (r->bitmap) {
		repair.has_bitmap = true;
		repair.index = r->bitmap->index;
		repair.name = r->bitmap->name;
	}
	r->options->tell(r->options->opaque, &repair);
}

/* ---- the directory ---- */

/* Something is wrong with all of them. */
static int give_up_all(struct qcow2_repair *r, enum qcow2_problem_id id, const char *cost)
{
	r->bitmap = NULL;
	if (!r->options->drop_bad) {
		qcow2_repair_tell(
			r, qcow2_repair_kind(id), QCOW2_REMEDY_NEEDED, 0,
			cost ? cost
			     : "no bitmap can be found: they can only be dropped, and the next "
			       "backup must "
			       "be a full one");
		return 0;
	}
	qcow2_repair_tell(r, qcow2_repair_kind(id), QCOW2_REMEDY_DROPPED, 0,
			  cost ? cost : "all bitmaps are gone: the next backup must be a full one");
	r->editor->changed = true;
	return 0;
}

/* An entry whose end is missing: its table may still be known, so that its clusters can be freed.
 */
static int give_up_cut(struct qcow2_repair *r, const struct qcow2_bitmap *bitmap)
{
	struct qcow2_bitmap rest = *bitmap;

	if (r->options->drop_bad && bitmap->raw.size == FIXED_BYTES) {
		rest.entry.extra_data_size = 0;
		rest.name.size = 0;
		if (qcow2_bitmap_editor_take(r->editor, &rest, r->err) ||
		    qcow2_bitmap_give_up(r->editor, r->editor->bitmaps[r->editor->count - 1],
					 r->err))
			return -1;
		qcow2_bitmap_editor_drop(r->editor, r->editor->count - 1);
	}
	return give_up_all(r, QCOW2_PROBLEM_BITMAP_ENTRY_CUT,
			   r->options->drop_bad
				   ? "it, and what may have stood behind it, are gone"
				   : "it, and what may stand behind it, can only be dropped");
}

/* Whether what stands behind what the extension counts looks like a bitmap, too. */
static bool is_likely(const struct qcow2_bitmap *bitmap)
{
	return !bitmap->cut && bitmap->entry.type == 1 && bitmap->entry.name_size > 0 &&
	       bitmap->entry.bitmap_table_offset != 0 && bitmap->entry.granularity_bits < 64;
}

static bool is_empty(const struct qcow2_bitmap *bitmap)
{
	static const uint8_t zeros[FIXED_BYTES];

	return bitmap->raw.size == FIXED_BYTES &&
	       memcmp(bitmap->raw.data, zeros, sizeof(zeros)) == 0;
}

/* Zeros where an entry has to be: nothing is known of it. Those behind it may be whole. */
static int treat_hole(struct qcow2_repair *r, struct qcow2_bitmaps *bitmaps,
		      const struct qcow2_bitmap *bitmap, uint64_t directory_size)
{
	bool drop = r->options->drop_bad;

	r->bitmap = bitmap;
	qcow2_repair_tell(
		r, qcow2_repair_kind(QCOW2_PROBLEM_BITMAP_TYPE),
		drop ? QCOW2_REMEDY_DROPPED : QCOW2_REMEDY_NEEDED, 0,
		drop ? "its entry was all zeros: if it was in use, the next backup of its "
		       "chain must be a full one"
		     : "its entry is all zeros: it can only be dropped");
	r->bitmap = NULL;
	r->editor->changed |= drop;
	return qcow2_bitmaps_skip_zeros(bitmaps, directory_size, r->err);
}

/* Entries, as many as there are; the extension may claim more or fewer. */
static int treat_entries(struct qcow2_repair *r, struct qcow2_bitmaps *bitmaps, uint64_t *count,
			 uint64_t *used, bool *holes)
{
	const struct qcow2_bitmaps_extension claimed = *qcow2_bitmaps_header(bitmaps);
	struct qcow2_bitmap bitmap;
	int more;

	*count = *used = 0;
	*holes = false;
	qcow2_bitmaps_go_beyond(bitmaps);
	while ((more = qcow2_bitmaps_next(bitmaps, &bitmap, r->err)) > 0) {
		bool inside = *count < claimed.nb_bitmaps && *used < claimed.bitmap_directory_size;
		bool outside =
			*count >= claimed.nb_bitmaps && *used >= claimed.bitmap_directory_size;

		if (outside || (!inside && !is_likely(&bitmap)))
			return 0;
		if (is_empty(&bitmap)) {
			if (treat_hole(r, bitmaps, &bitmap, claimed.bitmap_directory_size))
				return -1;
			++*count;
			*used = qcow2_bitmaps_used_bytes(bitmaps);
			*holes = true;
			continue;
		}
		memset(r->kinds, 0, sizeof(r->kinds));
		if (bitmap.cut)
			return give_up_cut(r, &bitmap);
		r->bitmap = &bitmap;
		if (qcow2_bitmap_health_examine(r->health, &bitmap, hear, r, r->err) ||
		    qcow2_bitmap_editor_take(r->editor, &bitmap, r->err) || qcow2_repair_bitmap(r))
			return -1;
		r->bitmap = NULL;
		++*count;
		*used = qcow2_bitmaps_used_bytes(bitmaps);
	}
	return more;
}

static int treat_directory(struct qcow2_repair *r, struct qcow2_bitmaps *bitmaps,
			   const struct qcow2_extension *place)
{
	const struct qcow2_bitmaps_extension claimed = *qcow2_bitmaps_header(bitmaps);
	uint64_t count, used;
	bool holes;

	r->editor->has_extension = true;
	r->editor->directory_offset = claimed.bitmap_directory_offset;
	r->editor->directory_size = claimed.bitmap_directory_size;
	if (claimed.bitmap_directory_offset == 0 ||
	    claimed.bitmap_directory_offset % r->editor->geometry->cluster_size_bytes != 0) {
		r->editor->has_extension = false; /* nothing of it is used or given up */
		return give_up_all(r, QCOW2_PROBLEM_BITMAP_DIRECTORY_OFFSET, NULL);
	}
	if (treat_entries(r, bitmaps, &count, &used, &holes))
		return -1;
	r->bitmap = NULL;
	/* How many there were where zeros are now is not known. */
	if (holes)
		count = claimed.nb_bitmaps;
	if (used != claimed.bitmap_directory_size || count != claimed.nb_bitmaps ||
	    claimed.reserved32 != 0 || place->data.size != FIXED_BYTES) {
		qcow2_repair_tell(r,
				  qcow2_repair_kind(claimed.reserved32 != 0
							    ? QCOW2_PROBLEM_BITMAPS_RESERVED
						    : count != claimed.nb_bitmaps
							    ? QCOW2_PROBLEM_BITMAPS_COUNT
							    : QCOW2_PROBLEM_BITMAP_DIRECTORY_SIZE),
				  QCOW2_REMEDY_MENDED, 0, "nothing is lost");
		r->editor->changed = true;
		/* Its size is not known well enough to write over it. */
		if (used > claimed.bitmap_directory_size)
			r->editor->directory_size = used;
	}
	return qcow2_repair_names(r);
}

/* Of more than one extension only the first is looked at, and kept. */
static void treat_duplicates(struct qcow2_repair *r)
{
	struct qcow2_extensions it;
	struct qcow2_extension extension;
	unsigned count = 0;

	qcow2_extensions_begin(r->editor->image, &it);
	while (qcow2_extensions_next(&it, &extension))
		count += extension.header.magic == QCOW2_EXTENSION_BITMAPS;
	if (count < 2)
		return;
	qcow2_repair_tell(r, qcow2_repair_kind(QCOW2_PROBLEM_EXTENSION_DUPLICATE),
			  QCOW2_REMEDY_MENDED, 0,
			  "the first is kept; what only the others named is lost");
	r->editor->changed = true;
}

/* Nobody can rely on any of them: all are dropped, and what they take is given up. */
static int drop_all(struct qcow2_repair *r)
{
	struct qcow2_bitmaps *bitmaps;
	struct qcow2_bitmap bitmap;
	int more;

	qcow2_repair_tell(r, qcow2_repair_kind(QCOW2_PROBLEM_BITMAPS_INCONSISTENT),
			  QCOW2_REMEDY_DROPPED, 0,
			  "all bitmaps are gone: the next backup must be a full one");
	r->editor->changed = true;
	if (qcow2_bitmaps_open(r->editor->image, &bitmaps, r->err))
		return r->err->code == QCOW2_ERROR_MEMORY ? -1 : 0;
	r->editor->has_extension = true;
	r->editor->directory_offset = qcow2_bitmaps_header(bitmaps)->bitmap_directory_offset;
	r->editor->directory_size = qcow2_bitmaps_header(bitmaps)->bitmap_directory_size;
	while ((more = qcow2_bitmaps_next(bitmaps, &bitmap, r->err)) > 0 && !bitmap.cut) {
		if (qcow2_bitmap_editor_take(r->editor, &bitmap, r->err) ||
		    qcow2_bitmap_give_up(r->editor, r->editor->bitmaps[0], r->err)) {
			more = -1;
			break;
		}
		qcow2_bitmap_editor_drop(r->editor, 0);
	}
	qcow2_bitmaps_close(bitmaps);
	return more < 0 ? -1 : 0;
}

static int treat_all(struct qcow2_repair *r)
{
	uint64_t bits = qcow2_image_header(r->editor->image)->autoclear_features;
	struct qcow2_extension place;
	struct qcow2_bitmaps *bitmaps;
	int failed;

	if (!qcow2_image_find_extension(r->editor->image, QCOW2_EXTENSION_BITMAPS, &place)) {
		if (!(bits & QCOW2_AUTOCLEAR_BITMAPS))
			return 0;
		qcow2_repair_tell(
			r, qcow2_repair_kind(QCOW2_PROBLEM_FEATURE_BITMAPS_WITHOUT_EXTENSION),
			QCOW2_REMEDY_MENDED, 0, "the bit is cleared; there was no bitmap");
		r->editor->changed = true;
		return 0;
	}
	r->editor->inconsistent = !(bits & QCOW2_AUTOCLEAR_BITMAPS);
	if (r->editor->inconsistent && r->options->drop_bad)
		return drop_all(r);
	if (r->editor->inconsistent && !r->options->assume_dirty) {
		qcow2_repair_tell(r, qcow2_repair_kind(QCOW2_PROBLEM_BITMAPS_INCONSISTENT),
				  QCOW2_REMEDY_LEFT, 0,
				  "all bitmaps stay stale: no backup can rely on them");
		return 0;
	}
	treat_duplicates(r);
	if (qcow2_bitmaps_open(r->editor->image, &bitmaps, r->err))
		return r->err->code == QCOW2_ERROR_MEMORY
			       ? -1
			       : give_up_all(r, QCOW2_PROBLEM_BITMAP_DIRECTORY_BEYOND_END, NULL);
	failed = treat_directory(r, bitmaps, &place);
	qcow2_bitmaps_close(bitmaps);
	return failed;
}

static int check_names(const struct qcow2_repair *r)
{
	char safe[160];

	for (size_t i = 0; i < r->options->name_count; i++) {
		if (r->found[i])
			continue;
		qcow2_text_escape(r->options->names[i], safe, sizeof(safe));
		return qcow2_fail(r->err, QCOW2_ERROR_NOT_FOUND, QCOW2_NO_OFFSET,
				  "there is no bitmap '%s'", safe);
	}
	if (r->needed > 0)
		return qcow2_fail(r->err, QCOW2_ERROR_BROKEN, QCOW2_NO_OFFSET,
				  "not all can be mended: say what to do with the rest "
				  "(--drop-bad or --assume-dirty)");
	return 0;
}

/* It says itself, and asks, what becomes of each bitmap. */
static int intend(struct qcow2_plan *plan, struct qcow2_error *err)
{
	static const struct qcow2_bytes type = {(const uint8_t *)"\x23\x85\x28\x75", 4}, any;

	return qcow2_plan_intend(plan, QCOW2_INTENT_BITMAP_GONE, any, err) ||
			       qcow2_plan_intend(plan, QCOW2_INTENT_BITMAP_MENDED, any, err) ||
			       qcow2_plan_intend(plan, QCOW2_INTENT_EXTENSION, type, err)
		       ? -1
		       : 0;
}

int qcow2_bitmap_repair(struct qcow2_plan *plan, const struct qcow2_bitmap_repair_options *options,
			struct qcow2_error *err)
{
	struct qcow2_error ignored;
	struct qcow2_repair r = {.options = options, .err = err ? err : &ignored};
	int failed;

	if (intend(plan, r.err) || qcow2_bitmap_editor_new(plan, &r.editor, r.err))
		return -1;
	r.unread_bytes = qcow2_source_allocated_bytes(r.editor->view) + SLACK_BYTES;
	r.found = qcow2_alloc_array(options->name_count + 1, sizeof(*r.found));
	failed = r.found ? qcow2_bitmap_health_new(r.editor->image, &r.health, r.err)
			 : qcow2_fail_memory(r.err);
	if (!failed)
		failed = qcow2_repair_find_shared(&r) || treat_all(&r) ? -1 : 0;
	if (!failed)
		failed = check_names(&r);
	if (!failed)
		failed = qcow2_bitmap_editor_finish(r.editor, r.err);
	qcow2_bitmap_health_free(r.health);
	qcow2_bitmap_editor_close(r.editor);
	qcow2_free(r.found);
	qcow2_free(r.shared);
	return failed;
}
