/* SPDX-License-Identifier: MIT */
/*
 * Follows the selectors down the tree. In a pattern, * matches any run of bytes, and a backslash
 * makes the next byte stand for itself. A pattern costs at most its length times that of the name,
 * since only the last star is tried again.
 */
#include <string.h>

#include "walk/select.h"

static bool same_byte(char a, char b, bool is_key)
{
	return a == b || (is_key && q2_same_in_key(a, b));
}

/* Matches a name against a pattern. Goes back to the last star only, which suffices. */
static bool matches(const char *pattern, struct qcow2_bytes name, bool is_key)
{
	const char *star = NULL;
	size_t star_at = 0, at = 0;

	while (at < name.size) {
		if (*pattern == '*') {
			star = ++pattern;
			star_at = at;
			continue;
		}
		if (*pattern != '\0') {
			const char *literal =
				*pattern == '\\' && pattern[1] ? pattern + 1 : pattern;

			if (same_byte(*literal, (char)name.data[at], is_key)) {
				pattern = literal + 1;
				at++;
				continue;
			}
		}
		if (!star)
			return false;
		pattern = star;
		at = ++star_at;
	}
	while (*pattern == '*')
		pattern++;
	return *pattern == '\0';
}

static bool key_matches(const char *pattern, const char *key)
{
	struct qcow2_bytes name = {(const uint8_t *)key, strlen(key)};

	return matches(pattern, name, true);
}

bool q2_segment_means(const struct q2_segment *segment, const char *key)
{
	return !segment->any && !segment->deep && key_matches(segment->pattern, key);
}

bool q2_segment_calls(const struct q2_segment *segment, struct qcow2_bytes name)
{
	return name.size > 0 && matches(segment->pattern, name, false);
}

static bool step_matches(const struct q2_segment *segment, const struct q2_step *step)
{
	if (segment->deep || (segment->any && step->index != QCOW2_NO_INDEX))
		return true;
	if (step->id && (segment->by_id || !segment->literal) &&
	    q2_segment_calls(segment, *step->id))
		return true;
	if (step->id && segment->by_id)
		return false;
	if (segment->numeric && step->index != QCOW2_NO_INDEX && step->index >= segment->first &&
	    step->index <= segment->last)
		return true;
	if (step->key && key_matches(segment->pattern, step->key))
		return true;
	return q2_segment_calls(segment, step->name);
}

void q2_selection_forget(struct qcow2_selection *selection)
{
	selection->matched = 0;
	for (size_t s = 0; s < selection->count; s++)
		selection->selectors[s].best = 0;
}

void q2_selection_start(struct qcow2_selection *selection)
{
	struct q2_select_level *root = &selection->levels[0];

	selection->depth = 0;
	root->alive = selection->count >= 64 ? UINT64_MAX : (UINT64_C(1) << selection->count) - 1;
	if (selection->only < selection->count)
		root->alive = UINT64_C(1) << selection->only;
	root->inside = selection->everything;
	root->deep = false;
}

/*
 * Follows selector s one step down: if its segment for this depth matches the step, it is alive in
 * *child, and if that was its last segment, everything in *child is wanted.
 */
static void follow(struct qcow2_selection *selection, size_t s, const struct q2_step *step,
		   struct q2_select_level *child)
{
	struct q2_selector *selector = &selection->selectors[s];
	size_t depth = selection->depth;
	const struct q2_segment *segment;

	if (depth >= selector->count)
		return;
	segment = &selector->segments[depth];
	if (!step_matches(segment, step))
		return;
	if (selector->best <= depth)
		selector->best = depth + 1;
	child->alive |= UINT64_C(1) << s;
	if (segment->deep)
		child->deep = true;
	if (depth + 1 == selector->count) {
		child->inside = true;
		selection->matched |= UINT64_C(1) << s;
	}
}

bool q2_selection_enter(struct qcow2_selection *selection, const struct q2_step *step)
{
	const struct q2_select_level *here = &selection->levels[selection->depth];
	struct q2_select_level child = {.deep = here->deep};

	for (uint64_t rest = here->alive; rest != 0; rest &= rest - 1)
		follow(selection, (size_t)__builtin_ctzll(rest), step, &child);
	if (here->inside && (!step->bulk || here->deep))
		child.inside = true;
	if (!child.inside && child.alive == 0)
		return false;
	selection->levels[++selection->depth] = child;
	return true;
}

void q2_selection_leave(struct qcow2_selection *selection)
{
	selection->depth--;
}

bool q2_selection_wants_field(struct qcow2_selection *selection, const char *name)
{
	const struct q2_select_level *here = &selection->levels[selection->depth];
	struct q2_select_level child = {0};
	struct q2_step step = {.key = name, .index = QCOW2_NO_INDEX};

	for (uint64_t rest = here->alive; rest != 0; rest &= rest - 1)
		follow(selection, (size_t)__builtin_ctzll(rest), &step, &child);
	return here->inside || child.inside;
}

void q2_selection_narrow(const struct qcow2_selection *selection, uint64_t *first, uint64_t *last)
{
	const struct q2_select_level *here = &selection->levels[selection->depth];
	uint64_t low = UINT64_MAX, high = 0;

	if (here->inside)
		return;
	for (uint64_t rest = here->alive; rest != 0; rest &= rest - 1) {
		const struct q2_selector *selector = &selection->selectors[__builtin_ctzll(rest)];
		const struct q2_segment *segment;

		if (selection->depth >= selector->count)
			continue;
		segment = &selector->segments[selection->depth];
		if (!segment->numeric)
			return; /* a name or a wildcard may match any entry */
		low = segment->first < low ? segment->first : low;
		high = segment->last > high ? segment->last : high;
	}
	if (low > *first)
		*first = low;
	if (high < *last)
		*last = high + 1;
}

struct q2_segment *q2_selection_next(struct qcow2_selection *selection, size_t s)
{
	struct q2_selector *selector = &selection->selectors[s];

	if (!(selection->levels[selection->depth].alive >> s & 1) ||
	    selection->depth >= selector->count)
		return NULL;
	return &selector->segments[selection->depth];
}

bool q2_selection_satisfied(const struct qcow2_selection *selection)
{
	return (uint64_t)__builtin_popcountll(selection->matched) == selection->count;
}

bool q2_selection_at_edge(const struct qcow2_selection *selection, size_t s)
{
	return (selection->levels[selection->depth].alive >> s & 1) != 0 &&
	       selection->depth == selection->selectors[s].best;
}
