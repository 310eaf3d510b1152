/* SPDX-License-Identifier: MIT */
/* See lost.h. */
#include "walk/lost.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"

static bool at_edge(const struct q2_walk_state *w)
{
	return w->lost.selector != SIZE_MAX && !w->done &&
	       q2_selection_at_edge(w->selection, w->lost.selector);
}

static const struct q2_selector *selector_of(const struct q2_walk_state *w)
{
	return &w->selection->selectors[w->lost.selector];
}

/* The segment that nothing matches. A selector whose segments all match is not lost. */
static const struct q2_segment *missing(const struct q2_walk_state *w)
{
	return &selector_of(w)->segments[selector_of(w)->best];
}

/* ---- names that there are ---- */

static void offer(struct q2_walk_state *w, struct qcow2_bytes name)
{
	if (!at_edge(w))
		return;
	w->lost.choices.text = w->lost.names;
	w->lost.choices.room = sizeof(w->lost.names);
	q2_choices_add(&w->lost.choices, name);
	w->done = w->lost.choices.full;
}

void q2_walk_offer(struct q2_walk_state *w, const char *name)
{
	offer(w, (struct qcow2_bytes){(const uint8_t *)name, strlen(name)});
}

/* Offers a snapshot as "name (ID 1)". */
static void offer_snapshot(struct q2_walk_state *w, struct qcow2_bytes name, struct qcow2_bytes id)
{
	char text[sizeof(w->lost.names)];
	int size = snprintf(text, sizeof(text), "%.*s (ID %.*s)", (int)name.size, name.data,
			    (int)id.size, id.data);

	offer(w, (struct qcow2_bytes){(const uint8_t *)text,
				      size < (int)sizeof(text) ? (size_t)size : sizeof(text) - 1});
}

void q2_walk_offer_step(struct q2_walk_state *w, const struct q2_step *step)
{
	char number[24];

	if (w->lost.selector == SIZE_MAX)
		return;
	if (step->key) {
		q2_walk_offer(w, step->key);
	} else if (step->id) {
		offer_snapshot(w, step->name, *step->id);
	} else if (step->name.size > 0) {
		offer(w, step->name);
	} else {
		snprintf(number, sizeof(number), "%" PRIu64, step->index);
		q2_walk_offer(w, number);
	}
}

/* ---- reasons in words ---- */

/* Takes the reason, and ends the walk: the first one is enough. */
static void reason(struct q2_walk_state *w, const char *format, ...)
{
	va_list list;

	va_start(list, format);
	vsnprintf(w->lost.reason, sizeof(w->lost.reason), format, list);
	va_end(list);
	w->done = true;
}

void q2_walk_lost_key(struct q2_walk_state *w, const char *key, const char *why)
{
	if (at_edge(w) && q2_segment_means(missing(w), key))
		reason(w, "%s", why);
}

void q2_walk_lost_list(struct q2_walk_state *w, const char *key, const char *why)
{
	q2_walk_lost_key(w, key, why);
	w->lost.empty = w->lost.reason[0] != '\0';
}

void q2_walk_lost_none(struct q2_walk_state *w, const char *why)
{
	if (!at_edge(w))
		return;
	reason(w, "%s", why);
	w->lost.empty = true;
}

void q2_walk_lost_rows(struct q2_walk_state *w, const char *structure, uint64_t claimed,
		       uint64_t there)
{
	if (!at_edge(w))
		return;
	if (there == 0 && claimed > 0)
		reason(w, "%s is behind the end of the file", structure);
	else if (there == 0)
		reason(w, "%s has no entries", structure);
	else if (missing(w)->numeric && missing(w)->first < there)
		return;
	else if (there < claimed)
		reason(w,
		       "the file ends within %s, and holds its first %" PRIu64 " of %" PRIu64
		       " entries",
		       structure, there, claimed);
	else if (there == 1)
		reason(w, "%s has one entry (0)", structure);
	else
		reason(w, "%s has %" PRIu64 " entries (0 to %" PRIu64 ")", structure, there,
		       there - 1);
	w->lost.empty = there == 0;
}

void q2_walk_lost_targets(struct q2_walk_state *w, const char *structure, const char *entry,
			  uint64_t count)
{
	const struct q2_segment *segment;
	uint64_t last;

	if (!at_edge(w))
		return;
	segment = missing(w);
	if (segment->any || segment->deep) {
		reason(w, "no %s is allocated", entry);
		w->lost.empty = true;
	} else if (segment->numeric && segment->first < count) {
		last = segment->last < count ? segment->last : count - 1;
		if (segment->first == last)
			reason(w, "%s %" PRIu64 " is unallocated", entry, last);
		else
			reason(w, "every %s from %" PRIu64 " to %" PRIu64 " is unallocated", entry,
			       segment->first, last);
	} else {
		q2_walk_lost_rows(w, structure, count, count);
	}
}

void q2_walk_lost_bitmaps(struct q2_walk_state *w)
{
	if (at_edge(w) && selector_of(w)->bitmaps_form)
		q2_walk_lost_none(w, "this image has no bitmaps");
}

/* ---- the error ---- */

/*
 * Whether the lost selector asks for all elements of a list: it is the path of the list, or has a
 * star behind. The short form bitmaps stands for a list that is four steps down.
 */
static bool asks_for_all(const struct q2_walk_state *w)
{
	const struct q2_selector *selector = selector_of(w);
	size_t at = selector->bitmaps_form && selector->best < 4 ? 4 : selector->best;

	if (at == 0)
		at = 1; /* the list itself is not there */

	return at == selector->count ||
	       (at + 1 == selector->count &&
		(selector->segments[at].any || selector->segments[at].deep));
}

static int fail_lost(struct q2_walk_state *w)
{
	const struct q2_walk_lost_state *lost = &w->lost;
	const struct q2_selector *selector = selector_of(w);
	const char *above = "the image";

	if (selector->best > 0)
		above = selector->segments[selector->best - 1].pattern;
	if (lost->reason[0] != '\0')
		return q2_fail(w->err, QCOW2_ERROR_NOT_FOUND, QCOW2_NO_OFFSET,
			       "selector '%.80s' names nothing: %s", selector->text, lost->reason);
	if (lost->choices.size == 0)
		return q2_fail(w->err, QCOW2_ERROR_NOT_FOUND, QCOW2_NO_OFFSET,
			       "selector '%.60s' names nothing: there is nothing below '%.40s'",
			       selector->text, above);
	return q2_fail(w->err, QCOW2_ERROR_NOT_FOUND, QCOW2_NO_OFFSET,
		       "selector '%.50s' names nothing: no '%.40s' among %s", selector->text,
		       missing(w)->pattern, lost->names);
}

int q2_walk_lost(struct q2_walk_state *w, size_t s, void (*walk)(struct q2_walk_state *))
{
	w->lost = (struct q2_walk_lost_state){.selector = s};
	w->selection->only = s;
	walk(w);
	w->selection->only = SIZE_MAX;
	if (w->failed)
		return -1;
	w->done = false;
	if (!(w->lost.empty && asks_for_all(w)))
		return fail_lost(w);
	w->lost.selector = SIZE_MAX;
	return 0;
}
