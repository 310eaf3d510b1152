/* SPDX-License-Identifier: MIT */
/*
 * Applies plans: the only code that writes to an image. First the undo file, then phase by phase;
 * whatever fails, what was written is taken back.
 */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "edit/undo.h"

struct applying {
	struct qcow2_plan *plan;
	struct qcow2_place *places;
	size_t place_count;
	uint8_t **old_bytes; /* of each place that a write changes; NULL of what is only cut off */
	struct qcow2_error *err;
};

static size_t old_size(const struct qcow2_plan *plan, const struct qcow2_place *place)
{
	uint64_t left = place->offset_bytes >= plan->old_size_bytes
				? 0
				: plan->old_size_bytes - place->offset_bytes;

	return (size_t)(left < place->size_bytes ? left : place->size_bytes);
}

/* Keeps what the writes will change, in order to take them back. */
static int keep(struct applying *a)
{
	a->old_bytes = qcow2_alloc_array(a->place_count, sizeof(uint8_t *));
	if (!a->old_bytes)
		return qcow2_fail_memory(a->err);
	for (size_t i = 0; i < a->place_count; i++) {
		const struct qcow2_place *place = &a->places[i];
		size_t size = old_size(a->plan, place);

		if (place->offset_bytes >= a->plan->size_bytes)
			break;
		a->old_bytes[i] = qcow2_alloc_buffer(size);
		if (!a->old_bytes[i])
			return qcow2_fail_memory(a->err);
		if (qcow2_plan_read(a->plan, 0, place->offset_bytes, a->old_bytes[i], size, a->err))
			return -1;
	}
	return 0;
}

static int write_all(struct applying *a)
{
	const struct qcow2_plan *plan = a->plan;
	struct qcow2_source *source = plan->source;

	if (plan->size_bytes > plan->old_size_bytes &&
	    qcow2_source_resize(source, plan->size_bytes, a->err))
		return -1;
	for (size_t i = 0; i < plan->count; i++) {
		const struct qcow2_planned_write *write = plan->writes[i];

		if (i > 0 && write->phase != plan->writes[i - 1]->phase &&
		    qcow2_source_sync(source, a->err))
			return -1;
		if (qcow2_source_write(source, write->offset_bytes, write->bytes, write->size,
				       a->err))
			return -1;
	}
	if (qcow2_source_sync(source, a->err))
		return -1;
	if (plan->size_bytes >= plan->old_size_bytes)
		return 0;
	return qcow2_source_resize(source, plan->size_bytes, a->err) ||
			       qcow2_source_sync(source, a->err)
		       ? -1
		       : 0;
}

/* Takes back what was written. False if that fails, too, or if something was cut off. */
static bool take_back(struct applying *a)
{
	const struct qcow2_plan *plan = a->plan;
	struct qcow2_source *source = plan->source;

	if (qcow2_source_size_bytes(source) < plan->old_size_bytes)
		return false;
	for (size_t i = a->place_count; i-- > 0;)
		if (a->old_bytes[i] &&
		    qcow2_source_write(source, a->places[i].offset_bytes, a->old_bytes[i],
				       old_size(plan, &a->places[i]), NULL))
			return false;
	return qcow2_source_resize(source, plan->old_size_bytes, NULL) == 0 &&
	       qcow2_source_sync(source, NULL) == 0;
}

/* Says in the error what has become of the image. */
static void append(struct qcow2_error *err, const char *text)
{
	struct qcow2_error copy;

	if (!err)
		return;
	copy = *err;
	qcow2_fail(err, copy.code, copy.offset_bytes, "%s; %s", copy.text, text);
	err->errnum = copy.errnum;
}

static int apply(struct applying *a, const struct qcow2_apply_options *options)
{
	struct qcow2_source *undo = NULL;
	int failed;

	if (options->undo_path &&
	    qcow2_undo_save(a->plan, a->places, a->place_count, options, &undo, a->err)) {
		append(a->err, "no undo file could be made, and nothing was changed");
		return -1;
	}
	failed = write_all(a);
	if (!failed && undo)
		failed = qcow2_undo_mark(undo, QCOW2_UNDO_APPLIED, a->err);
	if (failed && take_back(a)) {
		append(a->err, "the image is as it was");
		if (undo)
			(void)qcow2_source_remove(options->undo_path);
	} else if (failed) {
		append(a->err, undo ? "the image is changed in part: undo it"
				    : "the image is changed in part, and there is no undo file");
	}
	qcow2_source_close(undo);
	return failed;
}

int qcow2_plan_apply(struct qcow2_plan *plan, const struct qcow2_apply_options *options,
		     struct qcow2_error *err)
{
	static const struct qcow2_apply_options defaults;
	struct applying a = {.plan = plan, .err = err};
	int failed = -1;

	if (!qcow2_source_is_writable(plan->source))
		return qcow2_fail(err, QCOW2_ERROR_ARGUMENT, QCOW2_NO_OFFSET,
				  "it was opened for reading only");
	if (plan->count == 0 && plan->size_bytes == plan->old_size_bytes)
		return 0;
	if (qcow2_plan_places(plan, &a.places, &a.place_count, err) == 0 && keep(&a) == 0)
		failed = apply(&a, options ? options : &defaults);
	for (size_t i = 0; a.old_bytes && i < a.place_count; i++)
		qcow2_free(a.old_bytes[i]);
	qcow2_free(a.old_bytes);
	qcow2_free(a.places);
	return failed;
}
