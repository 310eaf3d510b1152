/* SPDX-License-Identifier: MIT */
/*
 * Applies plans: with put_back.c the only code that writes to an image. It writes the undo file
 * first, then the plan phase by phase, each phase synced before the next begins. If anything fails,
 * it takes back what was written.
 */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/sized.h"
#include "plan/digests.h"
#include "plan/freed.h"
#include "undo/mark.h"
#include "undo/save.h"

struct applying {
	struct qcow2_plan *plan;
	struct q2_places changed, freed;
	uint64_t *kept;  /* place in the store of the old bytes, for each changed place */
	uint8_t *buffer; /* Q2_PLACE_MOST_BYTES, twice */
	struct qcow2_error *err;
};

/* Returns how many bytes of a place the file had. */
static size_t old_size(const struct qcow2_plan *plan, const struct q2_place *place)
{
	uint64_t left = place->offset_bytes >= plan->old_size_bytes
				? 0
				: plan->old_size_bytes - place->offset_bytes;

	return (size_t)(left < place->size_bytes ? left : place->size_bytes);
}

/* Keeps the old bytes of all places, to be able to take the change back. */
static int keep(struct applying *a)
{
	a->kept = q2_alloc_array(a->changed.count, sizeof(*a->kept));
	if (!a->kept)
		return q2_fail_memory(a->err);
	for (size_t i = 0; i < a->changed.count; i++) {
		const struct q2_place *place = &a->changed.items[i];
		struct qcow2_bytes bytes = {a->buffer, old_size(a->plan, place)};

		if (place->offset_bytes >= a->plan->size_bytes)
			break;
		if (q2_plan_read_old(a->plan, place->offset_bytes, a->buffer, bytes.size, a->err) ||
		    q2_store_put(&a->plan->store, bytes, &a->kept[i], a->err))
			return -1;
	}
	return 0;
}

/* Makes one write of the plan, in pieces that fit the buffer. */
static int write_one(const struct applying *a, const struct q2_planned_write *write)
{
	for (uint64_t done = 0; done < write->size_bytes;) {
		uint64_t left = write->size_bytes - done;
		size_t size = (size_t)(left < Q2_PLACE_MOST_BYTES ? left : Q2_PLACE_MOST_BYTES);

		if (q2_store_get(&a->plan->store, write->at + done, a->buffer, size, a->err) ||
		    q2_source_write(a->plan->source, write->offset_bytes + done, a->buffer, size,
				    a->err))
			return -1;
		done += size;
	}
	return 0;
}

/*
 * Makes all writes. A file that grows does so first, since writes may lie in what is new; one that
 * shrinks does so last, when nothing points to what is cut off. Between two phases all is synced:
 * whatever the medium does with the order inside of a phase, a later phase finds the earlier ones
 * there.
 */
static int write_all(struct applying *a)
{
	const struct qcow2_plan *plan = a->plan;
	struct qcow2_source *source = plan->source;
	const struct q2_planned_write *before = NULL;

	if (plan->size_bytes > plan->old_size_bytes &&
	    q2_source_resize(source, plan->size_bytes, a->err))
		return -1;
	for (size_t i = 0; i < plan->count; i++) {
		const struct q2_planned_write *write = q2_plan_write_at(plan, i);

		if (before && write->phase != before->phase && q2_source_sync(source, a->err))
			return -1;
		if (write_one(a, write))
			return -1;
		before = write;
	}
	if (q2_source_sync(source, a->err))
		return -1;
	if (plan->size_bytes >= plan->old_size_bytes)
		return 0;
	return q2_source_resize(source, plan->size_bytes, a->err) || q2_source_sync(source, a->err)
		       ? -1
		       : 0;
}

/* Takes one place back; writes nothing if the change did not reach it. */
static bool take_back_place(const struct applying *a, size_t index)
{
	const struct q2_place *place = &a->changed.items[index];
	size_t size = old_size(a->plan, place);
	uint8_t *now = a->buffer + Q2_PLACE_MOST_BYTES;

	if (place->offset_bytes >= a->plan->size_bytes)
		return true;
	if (q2_store_get(&a->plan->store, a->kept[index], a->buffer, size, NULL))
		return false;
	if (q2_plan_read_old(a->plan, place->offset_bytes, now, size, NULL) == 0 &&
	    memcmp(now, a->buffer, size) == 0)
		return true;
	return q2_source_write(a->plan->source, place->offset_bytes, a->buffer, size, NULL) == 0;
}

/* Takes the whole change back. False if this fails too, or if something was cut off. */
static bool take_back(const struct applying *a)
{
	const struct qcow2_plan *plan = a->plan;
	struct qcow2_source *source = plan->source;

	if (qcow2_source_size_bytes(source) < plan->old_size_bytes)
		return false;
	for (size_t i = a->changed.count; i-- > 0;)
		if (!take_back_place(a, i))
			return false;
	if (qcow2_source_size_bytes(source) != plan->old_size_bytes &&
	    q2_source_resize(source, plan->old_size_bytes, NULL))
		return false;
	return q2_source_sync(source, NULL) == 0;
}

/* Finds what the undo file needs besides the plan, digests and freed clusters, and writes it. */
static int save(struct applying *a, const struct qcow2_apply_options *options,
		struct qcow2_source **undo)
{
	const struct q2_undo_saving saving = {
		.plan = a->plan, .changed = &a->changed, .freed = &a->freed, .options = options};

	if (q2_plan_find_digests(a->plan, a->err) == 0 &&
	    q2_plan_freed(a->plan, &a->changed, &a->freed, a->err) == 0 &&
	    q2_undo_save(&saving, undo, a->err) == 0)
		return 0;
	q2_error_append(a->err, "no undo file could be made, and nothing was changed");
	if (options->no_undo_file)
		*options->no_undo_file = true;
	return -1;
}

/*
 * From the moment that the undo file is on the medium, a crash at any place can be undone with it.
 * After an error there are two ways. If everything could be taken back, the image is as it was, and
 * the undo file goes. Otherwise the undo file stays, in state applying, and is the way back.
 */
static int apply(struct applying *a, const struct qcow2_apply_options *options)
{
	struct qcow2_source *undo = NULL;
	int failed;

	if (options->undo_path && save(a, options, &undo))
		return -1;
	failed = write_all(a);
	if (!failed && undo)
		failed = q2_undo_mark(undo, QCOW2_UNDO_APPLIED, a->plan->source, 0, a->err);
	if (failed && take_back(a)) {
		q2_error_append(a->err, "the image is as it was");
		q2_source_identify(a->plan->source, &a->plan->identity);
		if (undo)
			(void)q2_source_remove(options->undo_path);
	} else if (failed) {
		q2_error_append(a->err,
				undo ? "the image is changed in part: undo it"
				     : "the image is changed in part, and there is no undo file");
	} else if (undo) {
		q2_source_settle(a->plan->source);
	}
	qcow2_source_close(undo);
	return failed;
}

/* A program that knows no locks may have written since the plan began. */
static int check_unchanged(const struct qcow2_plan *plan, struct qcow2_error *err)
{
	struct q2_source_identity now;

	q2_source_identify(plan->source, &now);
	if (!now.is_file || (now.size_bytes == plan->old_size_bytes &&
			     now.modified_seconds == plan->identity.modified_seconds &&
			     now.modified_nanoseconds == plan->identity.modified_nanoseconds))
		return 0;
	return q2_fail(err, QCOW2_ERROR_IN_USE, QCOW2_NO_OFFSET,
		       "another program wrote to the image while the change was planned; nothing "
		       "was changed");
}

int qcow2_plan_apply(struct qcow2_plan *plan, const struct qcow2_apply_options *options,
		     struct qcow2_error *err)
{
	struct qcow2_apply_options mine;
	struct qcow2_error ignored;
	struct applying a = {.plan = plan, .err = err ? err : &ignored};
	int failed = -1;

	err = a.err;
	if (q2_sized_take(&mine, sizeof(mine), options, err))
		return -1;
	if (!q2_source_is_writable(plan->source))
		return q2_fail(err, QCOW2_ERROR_ARGUMENT, QCOW2_NO_OFFSET,
			       "it was opened for reading only");
	if (plan->is_broken)
		return q2_fail_memory(err);
	if (plan->count == 0 && plan->size_bytes == plan->old_size_bytes)
		return 0;
	a.buffer = q2_alloc_buffer(2 * Q2_PLACE_MOST_BYTES);
	if (!a.buffer)
		return q2_fail_memory(err);
	if (check_unchanged(plan, err) == 0 && q2_plan_places(plan, &a.changed, err) == 0 &&
	    keep(&a) == 0)
		failed = apply(&a, &mine);
	q2_places_release(&a.changed);
	q2_places_release(&a.freed);
	q2_free(a.kept);
	q2_free(a.buffer);
	return failed;
}
