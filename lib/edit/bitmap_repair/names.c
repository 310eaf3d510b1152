/* SPDX-License-Identifier: MIT */
/* Gives other names to bitmaps whose names QEMU refuses: empty, too long, or another bitmap's. */
#include "edit/bitmap_repair/names.h"

#include <stdio.h>
#include <string.h>

#include <qcow2/limits.h>
#include <qcow2/text.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/hash.h"
#include "edit/bitmap/list.h"
#include "edit/bitmap_trust/answers.h"
#include "rules/rules.h"

#define NAMES_MAX ((size_t)1 << 21)

/*
 * Adds a name to the set. Returns 1 if it can be a bitmap's name and was not in the set, 0 if not,
 * -1 if memory is short.
 */
static int add_name(struct q2_name_set *set, const struct q2_hash_key *key, struct qcow2_bytes name)
{
	uint64_t earlier = Q2_NAME_SET_NEW;

	/* QEMU reads a name up to a NUL, and then finds that the directory's size is wrong. */
	if (name.size == 0 || name.size > QCOW2_LIMIT_QEMU_BITMAP_NAME_BYTES ||
	    memchr(name.data, '\0', name.size))
		return 0;
	if (q2_name_set_insert(set, q2_hash(key, name), 0, &earlier) != QCOW2_ERROR_NONE)
		return -1;
	return earlier == Q2_NAME_SET_NEW;
}

/* Renames a bitmap to its old name, as far as that can be kept, and its number. */
static int rename_one(struct q2_bitmap_repair_run *r, size_t at, struct q2_name_set *set,
		      const struct q2_hash_key *key)
{
	struct q2_edited_bitmap *e = r->editor->bitmaps[at];
	char text[QCOW2_LIMIT_QEMU_BITMAP_NAME_BYTES + 64], number[48];
	size_t kept = strnlen((const char *)e->name, e->entry.name_size);

	for (unsigned attempt = 0; attempt < 1000; attempt++) {
		int size = attempt == 0 ? snprintf(number, sizeof(number), "-%llu",
						   (unsigned long long)e->index)
					: snprintf(number, sizeof(number), "-%llu-%u",
						   (unsigned long long)e->index, attempt);
		size_t all;
		int added;

		if (kept == 0) {
			memcpy(text, "bitmap", 6);
			kept = 6;
		} else if (attempt == 0) {
			if (kept > QCOW2_LIMIT_QEMU_BITMAP_NAME_BYTES - sizeof(number))
				kept = QCOW2_LIMIT_QEMU_BITMAP_NAME_BYTES - sizeof(number);
			/* Do not cut a UTF-8 character. */
			while (kept > 0 && kept < e->entry.name_size &&
			       (e->name[kept] & 0xc0) == 0x80)
				kept--;
			memcpy(text, e->name, kept);
		}
		memcpy(text + kept, number, (size_t)size);
		all = kept + (size_t)size;
		added = add_name(set, key, (struct qcow2_bytes){(uint8_t *)text, all});
		if (added == 0)
			continue;
		if (added < 0 || !q2_bitmap_editor_rename(
					 r->editor, at, (struct qcow2_bytes){(uint8_t *)text, all}))
			return q2_fail_memory(r->err);
		r->editor->changed = true;
		return 0;
	}
	return q2_fail(r->err, QCOW2_ERROR_LIMIT, QCOW2_NO_OFFSET,
		       "no name was found for bitmap %llu", (unsigned long long)e->index);
}

static void tell_renamed(struct q2_bitmap_repair_run *r, const struct q2_edited_bitmap *e,
			 struct qcow2_bytes old, enum qcow2_problem_id id)
{
	char safe[160], cost[320];
	struct qcow2_bytes name = q2_edited_name(e);
	const struct qcow2_bitmap bitmap = {.index = e->index, .name = old};

	if (name.size > 24)
		name = (struct qcow2_bytes){name.data + name.size - 24, 24};
	qcow2_text_escape(name, safe, sizeof(safe));
	snprintf(cost, sizeof(cost), "its name is %s'%s' now%s",
		 e->entry.name_size > 24 ? "one that ends with " : "", safe,
		 id == QCOW2_PROBLEM_BITMAP_NAME_DUPLICATE
			 ? ": whose the old one was is not known (--assume-dirty NAME keeps it)"
			 : "");
	r->bitmap = &bitmap;
	q2_bitmap_repair_tell(r, q2_bitmap_repair_kind(id), QCOW2_BITMAP_REMEDY_MENDED, 0, cost);
	r->bitmap = NULL;
}

/*
 * Whether a bitmap must not keep its name because another one has the same. One of them is not what
 * it says, and nobody knows which. A bitmap that is all dirty may keep the name: it is right for
 * whoever looks for it.
 */
static bool is_doubtful(const struct q2_bitmap_repair_run *r, const struct q2_edited_bitmap *e)
{
	return !e->all_dirty && q2_trust_same_name(r->trust, e->index);
}

/* Returns the problem of a name that cannot stay. */
static enum qcow2_problem_id why_not(struct qcow2_bytes name)
{
	if (name.size == 0)
		return QCOW2_PROBLEM_BITMAP_NAME_EMPTY;
	if (name.size > QCOW2_LIMIT_QEMU_BITMAP_NAME_BYTES)
		return QCOW2_PROBLEM_BITMAP_NAME_QEMU;
	if (memchr(name.data, '\0', name.size))
		return QCOW2_PROBLEM_BITMAP_NAME_TEXT;
	return QCOW2_PROBLEM_BITMAP_NAME_DUPLICATE;
}

/*
 * Enters the names that may stay first, then the others, so that no bitmap gets a name that was
 * doubtful.
 */
static int enter_names(struct q2_bitmap_repair_run *r, const struct q2_hash_key *key,
		       struct q2_name_set *set, bool *later)
{
	for (unsigned doubtful = 0; doubtful < 2; doubtful++)
		for (size_t i = 0; i < r->editor->count; i++) {
			const struct q2_edited_bitmap *e = r->editor->bitmaps[i];
			int added;

			if (is_doubtful(r, e) != (doubtful == 1))
				continue;
			added = add_name(set, key, q2_edited_name(e));
			if (added < 0)
				return q2_fail_memory(r->err);
			later[i] = added == 0 || doubtful == 1;
		}
	return 0;
}

static int rename_and_tell(struct q2_bitmap_repair_run *r, size_t at, struct q2_name_set *set,
			   const struct q2_hash_key *key)
{
	const struct q2_edited_bitmap *e = r->editor->bitmaps[at];
	struct qcow2_bytes old = {NULL, e->entry.name_size};
	uint8_t *copy = q2_alloc_buffer(old.size + 1);
	int failed;

	if (!copy)
		return q2_fail_memory(r->err);
	memcpy(copy, e->name, old.size);
	old.data = copy;
	failed = rename_one(r, at, set, key);
	if (!failed)
		tell_renamed(r, e, old, why_not(old));
	q2_free(copy);
	return failed;
}

int q2_bitmap_repair_names(struct q2_bitmap_repair_run *r)
{
	struct q2_hash_key key;
	struct q2_name_set set;
	bool *later = q2_alloc_array(r->editor->count + 1, sizeof(*later));
	int failed;

	if (!later)
		return q2_fail_memory(r->err);
	q2_hash_key_make(&key);
	q2_name_set_init(&set, NAMES_MAX);
	failed = enter_names(r, &key, &set, later);
	for (size_t i = 0; i < r->editor->count && !failed; i++)
		if (later[i])
			failed = rename_and_tell(r, i, &set, &key);
	q2_free(later);
	q2_name_set_release(&set);
	return failed;
}
