/* SPDX-License-Identifier: MIT */
/*
 * Judges an undo before anything is written. The proof has two halves. The image must be in a state
 * that the change, or an undo of it, left. And the image as it would be put back must have the
 * metadata of before, by its digest. The second half is what makes undo safe: it does not matter
 * which writes happened in between, only that the result is what was there before.
 */
#include "undo/judge.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/sized.h"
#include "plan/digests.h"
#include "undo/doubt.h"
#include "undo/guest.h"
#include "undo/layout.h"
#include "undo/places.h"
#include "undo/view.h"

static int check_identity(struct q2_undoing *u)
{
	u->is_copy = !qcow2_undo_is_of(u->undo, u->image);
	if (u->is_copy && !(u->options->flags & QCOW2_UNDO_ELSEWHERE))
		return q2_undo_mismatch(
			u, QCOW2_NO_OFFSET,
			"not the file that was changed, but another one of its name");
	return 0;
}

static int check_size(struct q2_undoing *u)
{
	const struct qcow2_undo_info *info = &u->undo->info;
	uint64_t low = info->old_size_bytes, high = info->new_size_bytes;
	uint64_t now = qcow2_source_size_bytes(u->image);

	if (info->state == QCOW2_UNDO_APPLIED && !u->is_copy)
		low = high;
	if (info->state == QCOW2_UNDO_UNDONE && !u->is_copy)
		high = low;
	if (now < (low < high ? low : high) || now > (low < high ? high : low))
		return q2_undo_mismatch(u, QCOW2_NO_OFFSET,
					"the image was written to since: its size is not what "
					"the change left");
	return 0;
}

/* Compares the beginning of the restored image: without digests, only this tells it from others. */
static int check_first(struct q2_undoing *u, struct qcow2_source *restored)
{
	uint64_t all = qcow2_source_size_bytes(restored);
	struct qcow2_bytes first = {NULL,
				    all < Q2_UNDO_FIRST_BYTES ? (size_t)all : Q2_UNDO_FIRST_BYTES};
	uint8_t *bytes = q2_alloc_buffer(first.size);
	int failed;

	if (!bytes)
		return q2_fail_memory(u->err);
	first.data = bytes;
	failed = qcow2_source_read(restored, 0, bytes, first.size, u->err);
	if (!failed && q2_undo_checksum(Q2_UNDO_SEED_FIRST, first) != u->undo->first_sum)
		failed = q2_undo_mismatch(u, 0,
					  "the image begins unlike the one that was changed, or "
					  "was written to since");
	q2_free(bytes);
	return failed;
}

static bool is_same(const struct q2_check_totals *totals, const uint64_t *digest)
{
	return totals->sum.has_digest && memcmp(totals->sum.metadata_digest, digest,
						sizeof(totals->sum.metadata_digest)) == 0;
}

/* Finds the digests of the image as it is and as it would be. */
static int find_digests(struct q2_undoing *u, struct qcow2_source *restored)
{
	const struct q2_undo_records *pieces = &u->undo->pieces;
	uint64_t same_from = 0;

	/* Pieces are in the order of the file and do not overlap. */
	if (pieces->count > 0)
		same_from = pieces->items[pieces->count - 1].offset_bytes +
			    pieces->items[pieces->count - 1].size;
	if (q2_metadata_digests(u->image, restored, same_from, &u->now, &u->then))
		return 0;
	return q2_metadata_digest(u->image, &u->now, u->err) ||
			       q2_metadata_digest(restored, &u->then, u->err)
		       ? -1
		       : 0;
}

static int check_digests(struct q2_undoing *u, struct qcow2_source *restored)
{
	const struct qcow2_undo *undo = u->undo;

	if (find_digests(u, restored))
		return -1;
	if (undo->info.state == QCOW2_UNDO_APPLIED && !u->is_copy &&
	    (undo->flags & Q2_UNDO_HAS_AFTER) && !is_same(&u->now, undo->digest_after))
		return q2_undo_mismatch(u, QCOW2_NO_OFFSET,
					"the image was written to since: its metadata are not "
					"what the change left");
	/*
	 * The metadata are proved. So a freed cluster that was used in between is free again now,
	 * and its content shows the use.
	 */
	if (q2_undo_check_freed(u))
		return -1;
	if (!is_same(&u->then, undo->digest_before))
		return q2_undo_mismatch(
			u, QCOW2_NO_OFFSET,
			undo->info.state == QCOW2_UNDO_APPLIED && !u->is_copy
				? "the image was written to since: the undo would not bring back "
				  "the metadata of before"
				: "the image was written to since the change was interrupted, or "
				  "is none that it was made to");
	return 0;
}

/*
 * Whether a change or an undo was interrupted, and left the file no image that a program could have
 * opened since.
 */
static int find_unusable(struct q2_undoing *u, bool *unusable)
{
	enum qcow2_undo_state state = u->undo->info.state;
	struct qcow2_image *now;

	*unusable = false;
	if (u->is_copy || (state != QCOW2_UNDO_APPLYING && state != QCOW2_UNDO_UNDOING))
		return 0;
	if (q2_undo_open_image(u, u->image, &now))
		return -1;
	*unusable = !now;
	qcow2_image_close(now);
	return 0;
}

/*
 * Judges an undo of an image that could not be checked, and so has no digest. Then only a file that
 * nobody has touched, or could have used, is known to be what the change left.
 */
static int check_without_digests(struct q2_undoing *u, struct qcow2_source *restored)
{
	bool unusable;

	if (q2_undo_check_freed(u) || check_first(u, restored) || find_unusable(u, &unusable))
		return -1;
	if (u->is_untouched || u->is_exact || unusable)
		return 0;
	return q2_undo_mismatch(u, QCOW2_NO_OFFSET,
				"the image could not be checked when it was changed, so that "
				"nothing proves that it was left alone since (--exact puts the "
				"saved bytes back all the same)");
}

/*
 * The steps build on each other. Marks have to be known before places are compared, since marked
 * bits may differ. Places have to be proved before digests: only then is the restored image made of
 * bytes that the change or an undo of it left. Doubt concerns guest data, which no digest covers.
 * It is resolved last, and only for an undo that does not insist on the saved bytes.
 */
static int prove(struct q2_undoing *u, struct qcow2_source *restored)
{
	if (q2_undo_find_marks(u, restored) || q2_undo_check_places(u))
		return -1;
	/* A copy may have been made before the change: then nothing has to be done. */
	u->result->is_undone = u->is_copy ? u->is_old && qcow2_source_size_bytes(u->image) ==
								 u->undo->info.old_size_bytes
					  : u->undo->info.state == QCOW2_UNDO_UNDONE;
	if (u->is_copy && u->result->is_undone)
		return 0;
	/*
	 * An undo that insists on the saved bytes may follow one that was careful, or a program that
	 * cleared autoclear bits since.
	 */
	if (u->result->is_undone && (!u->is_exact || (u->undo->mark.was_exact && u->is_old)))
		return 0;
	u->result->is_undone = false;
	u->result->doubt = q2_undo_find_doubt(u);
	if (u->undo->info.proves_metadata ? check_digests(u, restored)
					  : check_without_digests(u, restored))
		return -1;
	if (u->result->doubt == QCOW2_UNDO_NO_DOUBT || u->is_exact)
		return 0;
	return q2_undo_check_guest(u, restored) || q2_undo_distrust(u, restored) ? -1 : 0;
}

int q2_undo_find_out(struct q2_undoing *u)
{
	struct q2_undo_view view = {.undo = u->undo, .image = u->image};
	struct qcow2_source *restored;
	int failed;

	*u->result = (struct qcow2_undo_result){.is_undone = false};
	u->is_exact = (u->options->flags & QCOW2_UNDO_EXACT) != 0;
	u->is_old = true;
	q2_source_identify(u->image, &u->identity);
	if (q2_undo_refresh(u->undo, u->err) || q2_undo_prove(u->undo, u->err) ||
	    check_identity(u) || check_size(u) || q2_undo_view_open(&view, &restored, u->err))
		return -1;
	failed = prove(u, restored);
	qcow2_source_close(restored);
	u->result->is_exact = u->result->is_undone
				      ? u->is_copy || (u->undo->mark.was_exact && u->is_old)
				      : u->patches.count == 0 && !u->is_marked;
	return failed;
}

int q2_undo_take_options(struct qcow2_undo_options *mine, const struct qcow2_undo_options *options,
			 const struct qcow2_undo_result *result, struct qcow2_error *err)
{
	if (q2_sized_take(mine, sizeof(*mine), options, err) ||
	    q2_flags_check(mine->flags, QCOW2_UNDO_ELSEWHERE | QCOW2_UNDO_EXACT, err))
		return -1;
	return result ? q2_sized_check(result, err) : 0;
}

int qcow2_undo_judge(struct qcow2_undo *undo, struct qcow2_source *image,
		     const struct qcow2_undo_options *options, struct qcow2_undo_result *result,
		     struct qcow2_error *err)
{
	struct qcow2_error ignored;
	struct qcow2_undo_options mine;
	struct qcow2_undo_result found = {.size = sizeof(found)};
	struct q2_undoing u = {.undo = undo,
			       .image = image,
			       .options = &mine,
			       .result = &found,
			       .err = err ? err : &ignored};
	int failed;

	err = u.err;
	if (q2_undo_take_options(&mine, options, result, err))
		return -1;
	failed = q2_undo_find_out(&u);
	if (result)
		q2_sized_give(result, &found, sizeof(found));
	q2_undoing_release(&u);
	return failed;
}
