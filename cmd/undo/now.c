/* SPDX-License-Identifier: MIT */
/*
 * See now.h. Undo files of one image depend on each other: each was made on what the one before
 * left. So only the last one can be undone, and those before it come after it.
 */
#include "undo/now.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The most undo files of an image that are open at once; older ones wait until these are gone. */
#define OPEN_MOST 256

/* The undo files of one image. */
struct group {
	struct undo_list *list;
	size_t from, to;
	struct qcow2_source *image;
	struct qcow2_undo **undone;
	size_t undone_count;
	bool in_doubt; /* one that is not known may have to be undone first */
};

/*
 * Sets the verdict on an entry. The text leaves out that nothing was written, which is clear here.
 */
static void set(struct undo_entry *entry, enum undo_now now, const char *why)
{
	const char *end = why ? strstr(why, "; nothing was written") : NULL;

	entry->now = now;
	free(entry->why);
	entry->why = !why ? NULL : end ? strndup(why, (size_t)(end - why)) : strdup(why);
}

void undo_list_open(struct undo_list *list, size_t from, size_t to)
{
	for (size_t i = from; i < to && i - from < OPEN_MOST; i++)
		if (list->entries[i].now != UNDO_NOW_BROKEN &&
		    qcow2_undo_open(list->entries[i].path, &list->entries[i].undo, NULL))
			list->entries[i].undo = NULL;
}

void undo_list_close(struct undo_list *list, size_t from, size_t to)
{
	for (size_t i = from; i < to; i++) {
		qcow2_undo_close(list->entries[i].undo);
		list->entries[i].undo = NULL;
	}
}

/*
 * Returns which newer entry was made on what this one left and is not undone; UNDO_NO_ENTRY if
 * there is none. Older entries do not count, although they may begin with the same bytes: a bit may
 * be set, cleared, and set again.
 */
static size_t follower(const struct undo_list *list, size_t from, size_t index)
{
	const struct qcow2_undo *undo = list->entries[index].undo;

	for (size_t i = index; i-- > from;) {
		const struct undo_entry *entry = &list->entries[i];

		if (undo && entry->undo && entry->info.state != QCOW2_UNDO_UNDONE &&
		    qcow2_undo_follows(entry->undo, undo))
			return i;
	}
	return UNDO_NO_ENTRY;
}

const struct undo_entry *undo_list_first(const struct undo_list *list, size_t index)
{
	size_t last = UNDO_NO_ENTRY;

	while ((index = follower(list, 0, index)) != UNDO_NO_ENTRY)
		last = index;
	return last == UNDO_NO_ENTRY ? NULL : &list->entries[last];
}

struct qcow2_undo **undo_list_undone(const struct undo_list *list, size_t from, size_t to,
				     size_t *count)
{
	struct qcow2_undo **undone = calloc(to - from + 1, sizeof(struct qcow2_undo *));

	*count = 0;
	for (size_t i = from; undone && i < to; i++)
		if (list->entries[i].undo && list->entries[i].info.state == QCOW2_UNDO_UNDONE)
			undone[(*count)++] = list->entries[i].undo;
	return undone;
}

/* ---- judging ---- */

/* Judges one entry with flags of enum qcow2_undo_flags. */
static enum undo_now judge_with(const struct group *group, struct undo_entry *entry, unsigned flags,
				struct qcow2_error *err)
{
	const struct qcow2_undo_options how = {.size = sizeof(how),
					       .flags = flags,
					       .later = group->undone,
					       .later_count = group->undone_count};

	entry->result.size = sizeof(entry->result);
	if (qcow2_undo_judge(entry->undo, group->image, &how, &entry->result, err))
		return err->code == QCOW2_ERROR_MISMATCH && !group->in_doubt ? UNDO_NOW_NEVER
									     : UNDO_NOW_UNKNOWN;
	if (entry->result.is_undone)
		return UNDO_NOW_UNDONE;
	return entry->result.is_exact ? UNDO_NOW_EXACT : UNDO_NOW_SAFE;
}

static void judge_alone(const struct group *group, struct undo_entry *entry)
{
	struct qcow2_error err, ignored;
	enum undo_now now = judge_with(group, entry, 0, &err), insisted;
	bool failed = now == UNDO_NOW_NEVER || now == UNDO_NOW_UNKNOWN;

	if (failed && err.code == QCOW2_ERROR_MISMATCH) {
		insisted = judge_with(group, entry, QCOW2_UNDO_EXACT, &ignored);
		now = insisted == UNDO_NOW_EXACT ? UNDO_NOW_INSIST : now;
	}
	set(entry, now, failed ? err.text : NULL);
}

/*
 * Judges an entry, after all newer ones. If no entry that was made on it can be undone any more,
 * this one may still be: the image may have been put back by other means.
 */
static void judge_entry(struct group *group, size_t index)
{
	struct undo_entry *entry = &group->list->entries[index];
	const struct undo_entry *later;
	size_t next;

	if (entry->now != UNDO_NOW_UNKNOWN)
		return;
	if (!entry->undo) {
		set(entry, UNDO_NOW_UNKNOWN, "there are too many undo files of its image");
		return;
	}
	if (!qcow2_undo_is_of(entry->undo, group->image)) {
		set(entry, UNDO_NOW_OTHER, "another file is where its image was");
		return;
	}
	next = follower(group->list, group->from, index);
	later = next == UNDO_NO_ENTRY ? NULL : &group->list->entries[next];
	if (later && (later->now == UNDO_NOW_EXACT || later->now == UNDO_NOW_SAFE ||
		      later->now == UNDO_NOW_INSIST || later->now == UNDO_NOW_AFTER)) {
		set(entry, UNDO_NOW_AFTER, NULL);
		entry->first = later->now == UNDO_NOW_AFTER ? later->first : next;
		return;
	}
	judge_alone(group, entry);
}

/* Gives all entries that are not judged yet the same verdict. */
static void set_all(struct group *group, enum undo_now now, const char *why)
{
	for (size_t i = group->from; i < group->to; i++)
		if (group->list->entries[i].now == UNDO_NOW_UNKNOWN && !group->list->entries[i].why)
			set(&group->list->entries[i], now, why);
}

static void judge_on(struct group *group)
{
	undo_list_open(group->list, group->from, group->to);
	group->in_doubt = group->list->cut;
	group->undone = undo_list_undone(group->list, group->from, group->to, &group->undone_count);
	for (size_t i = group->from; group->undone && i < group->to; i++) {
		judge_entry(group, i);
		group->in_doubt |= group->list->entries[i].now == UNDO_NOW_UNKNOWN;
	}
	free(group->undone);
	undo_list_close(group->list, group->from, group->to);
}

static void judge_group(struct group *group)
{
	struct qcow2_bytes name = group->list->entries[group->from].info.image_path;
	char path[8193];
	enum qcow2_in_use in_use;
	struct qcow2_error err;
	bool left = false;

	for (size_t i = group->from; i < group->to; i++) {
		struct undo_entry *entry = &group->list->entries[i];

		if (entry->now != UNDO_NOW_BROKEN && entry->info.state == QCOW2_UNDO_UNDONE)
			set(entry, UNDO_NOW_UNDONE, NULL);
		left |= entry->now == UNDO_NOW_UNKNOWN && !entry->extra;
	}
	if (!left)
		return;
	if (name.size == 0 || name.size >= sizeof(path) || memchr(name.data, 0, name.size)) {
		set_all(group, UNDO_NOW_UNKNOWN, "it names no image");
		return;
	}
	memcpy(path, name.data, name.size);
	path[name.size] = '\0';
	if (qcow2_source_open(path, &group->image, &err)) {
		set_all(group, err.errnum == ENOENT ? UNDO_NOW_GONE : UNDO_NOW_UNKNOWN, err.text);
		return;
	}
	in_use = qcow2_source_in_use(group->image);
	if (in_use == QCOW2_IN_USE_YES)
		set_all(group, UNDO_NOW_UNKNOWN, "another program has the image open for writing");
	else if (in_use == QCOW2_IN_USE_UNKNOWN)
		set_all(group, UNDO_NOW_UNKNOWN,
			"nobody can tell whether another program has the image open for writing");
	else
		judge_on(group);
	qcow2_source_close(group->image);
}

static bool is_same_image(const struct undo_entry *a, const struct undo_entry *b)
{
	struct qcow2_bytes x = a->info.image_path, y = b->info.image_path;

	return x.size == y.size && (x.size == 0 || memcmp(x.data, y.data, x.size) == 0);
}

void undo_list_judge(struct undo_list *list)
{
	size_t to;

	for (size_t from = 0; from < list->count; from = to) {
		struct group group = {.list = list, .from = from};

		for (to = from + 1; to < list->count; to++)
			if (!is_same_image(&list->entries[from], &list->entries[to]))
				break;
		group.to = to;
		judge_group(&group);
	}
}
