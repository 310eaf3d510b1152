/* SPDX-License-Identifier: MIT */
/* See told.h. What a bitmap was and is comes from the image and from the plan's view of it. */
#include "bitmap/told.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "out/human.h"

#include <qcow2/bitmap.h>
#include <qcow2/source.h>
#include <qcow2/text.h>

/* More actions than this are not explained. */
#define TOLD_MOST  1000
#define NAME_SHOWN 120
#define NAME_BYTES (6 * NAME_SHOWN + 1)
/* A file system may report fewer allocated bytes than the file stores. */
#define SLACK_BYTES (UINT64_C(16) << 20)

void told_add(struct told_list *told, const char *verb, const char *name, const char *other)
{
	size_t capacity = told->capacity ? 2 * told->capacity : 16;
	struct told *grown;

	if (told->count == TOLD_MOST)
		return;
	if (told->count == told->capacity) {
		grown = realloc(told->list, capacity * sizeof(*grown));
		if (!grown)
			return;
		told->list = grown;
		told->capacity = capacity;
	}
	grown = &told->list[told->count];
	*grown = (struct told){verb, strdup(name), other ? strdup(other) : NULL};
	if (grown->name && (grown->other || !other)) {
		told->count++;
		return;
	}
	free(grown->name);
	free(grown->other);
}

void told_release(struct told_list *told)
{
	for (size_t i = 0; i < told->count; i++) {
		free(told->list[i].name);
		free(told->list[i].other);
	}
	free(told->list);
}

/* One bitmap at one time. */
struct state {
	bool is_there, is_counted;
	struct qcow2_bitmap_dir_entry entry;
	struct qcow2_bitmap_totals totals;
	char dirty[HUMAN_MAX]; /* "2 MiB" */
};

static struct qcow2_bytes bytes_of(const char *text)
{
	return (struct qcow2_bytes){(const uint8_t *)text, strlen(text)};
}

static void look(const struct qcow2_image *image, const char *name, struct state *state)
{
	struct qcow2_error err;
	uint64_t most;

	*state = (struct state){.is_there = false};
	snprintf(state->dirty, sizeof(state->dirty), "0 B");
	if (!image || qcow2_bitmap_find(image, bytes_of(name), &state->entry, &err))
		return;
	state->is_there = true;
	snprintf(state->dirty, sizeof(state->dirty), "an unknown amount");
	most = qcow2_source_allocated_bytes(qcow2_image_source(image)) + SLACK_BYTES;
	state->is_counted =
		qcow2_bitmap_count(image, &state->entry, most, &state->totals, &err) == 0;
	if (state->is_counted)
		human_size(state->totals.dirty_bytes, state->dirty);
}

static bool is_same(const struct state *a, const struct state *b)
{
	return a->is_there == b->is_there && a->entry.flags == b->entry.flags && a->is_counted &&
	       b->is_counted && a->totals.dirty_bytes == b->totals.dirty_bytes;
}

static const char *escape(const char *name, char *safe)
{
	qcow2_text_escape(human_cut(bytes_of(name), NAME_SHOWN), safe, NAME_BYTES);
	return safe;
}

static const char *mode(const struct state *state)
{
	return state->entry.flags & QCOW2_BITMAP_AUTO ? "enabled" : "disabled";
}

/* Says what a bitmap that is new, or has new bits, is like. */
static void explain_new(struct effects *effects, const char *done, const char *name,
			const struct state *after)
{
	char granularity[HUMAN_MAX];

	human_size(UINT64_C(1) << (after->entry.granularity_bits & 63), granularity);
	if (after->totals.dirty_bytes > 0)
		effects_add(effects, "%s %s: %s dirty, %s granularity, %s", done, name,
			    after->dirty, granularity, mode(after));
	else
		effects_add(effects, "%s %s: %s granularity, %s", done, name, granularity,
			    mode(after));
}

/* Explains an action. states: of the bitmap before and after the change. */
static void explain(struct effects *effects, const struct told *told, const struct state *states)
{
	const struct state *before = &states[0], *after = &states[1];
	char name[NAME_BYTES], other[NAME_BYTES];
	const char *verb = told->verb;

	escape(told->name, name);
	if (strcmp(verb, "add") == 0)
		explain_new(effects, "added", name, after);
	else if (strcmp(verb, "import") == 0)
		explain_new(effects, "imported", name, after);
	else if (strcmp(verb, "remove") == 0)
		effects_add(effects, "removed %s: %s dirty is no longer recorded", name,
			    before->dirty);
	else if (strcmp(verb, "rename") == 0)
		effects_add(effects, "renamed %s to %s: %s dirty, %s", escape(told->other, other),
			    name, after->dirty, mode(after));
	else if (strcmp(verb, "merge") == 0)
		effects_add(effects, "merged %s into %s: %s dirty, before %s", told->other, name,
			    after->dirty, before->dirty);
	else if (is_same(before, after))
		effects_add(effects, "%s: nothing to change, it is %s with %s dirty", name,
			    mode(after), after->dirty);
	else if (strcmp(verb, "clear") == 0)
		effects_add(effects, "cleared %s: %s dirty is forgotten", name, before->dirty);
	else if (strcmp(verb, "enable") == 0)
		effects_add(effects, "enabled %s: writes are recorded, %s dirty so far", name,
			    after->dirty);
	else
		effects_add(effects, "disabled %s: %s dirty stay recorded", name, after->dirty);
}

void told_explain(const struct told_list *told, struct change *change)
{
	struct qcow2_source *view = NULL;
	struct qcow2_image *before = NULL, *after = NULL;
	struct qcow2_error err;
	struct state states[2];

	if (qcow2_image_open(change->source, &before, &err) == 0 &&
	    qcow2_plan_view(change->report.plan, &view, &err) == 0)
		(void)qcow2_image_open(view, &after, &err);
	for (size_t i = 0; after && i < told->count; i++) {
		look(before, told->list[i].name, &states[0]);
		look(after, told->list[i].name, &states[1]);
		explain(&change->effects, &told->list[i], states);
	}
	qcow2_image_close(after);
	qcow2_image_close(before);
	qcow2_source_close(view);
}
