/* SPDX-License-Identifier: MIT */
/* Names that QEMU refuses: empty, too long, or another bitmap's. */
#include <stdio.h>
#include <string.h>

#include <qcow2/text.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/hash.h"
#include "check/rules.h"
#include "edit/bitmap_repair.h"

#define NAMES_MAX ((size_t)1 << 21)

/* Whether a name can be a bitmap's: 1 and it is in the set now, 0, or -1 if memory is short. */
static int add_name(struct qcow2_name_set *set, const struct qcow2_hash_key *key,
		    struct qcow2_bytes name)
{
	uint64_t earlier = QCOW2_NAME_SET_NEW;

	/* QEMU reads a name up to a NUL, and then finds that the directory's size is wrong. */
	if (name.size == 0 || name.size > QCOW2_BITMAP_NAME_MOST ||
	    memchr(name.data, '\0', name.size))
		return 0;
	if (qcow2_name_set_insert(set, qcow2_hash(key, name), 0, &earlier) != QCOW2_ERROR_NONE)
		return -1;
	return earlier == QCOW2_NAME_SET_NEW;
}

/* Another name for a bitmap: its own, as far as it can be kept, and its number. */
static int rename_one(struct qcow2_repair *r, size_t at, struct qcow2_name_set *set,
		      const struct qcow2_hash_key *key)
{
	struct qcow2_edited_bitmap *e = r->editor->bitmaps[at];
	char text[QCOW2_BITMAP_NAME_MOST + 64], number[48];
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
			if (kept > QCOW2_BITMAP_NAME_MOST - sizeof(number))
				kept = QCOW2_BITMAP_NAME_MOST - sizeof(number);
			/* Not in the middle of a character. */
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
		if (added < 0 || !qcow2_bitmap_editor_rename(
					 r->editor, at, (struct qcow2_bytes){(uint8_t *)text, all}))
			return qcow2_fail_memory(r->err);
		r->editor->changed = true;
		return 0;
	}
	return qcow2_fail(r->err, QCOW2_ERROR_LIMIT, QCOW2_NO_OFFSET,
			  "no name was found for bitmap %llu", (unsigned long long)e->index);
}

static void tell_renamed(struct qcow2_repair *r, const struct qcow2_edited_bitmap *e,
			 struct qcow2_bytes old, enum qcow2_problem_id id)
{
	char safe[160], cost[320];
	struct qcow2_bytes name = qcow2_edited_name(e);
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
	qcow2_repair_tell(r, qcow2_repair_kind(id), QCOW2_REMEDY_MENDED, 0, cost);
	r->bitmap = NULL;
}

/*
 * Of bitmaps that have one name, one is not what it says, and nobody knows which. So none keeps it,
 * unless it is all dirty: then it is right for whoever looks for that name.
 */
static bool is_doubtful(const struct qcow2_repair *r, const struct qcow2_edited_bitmap *e)
{
	return !e->all_dirty && qcow2_trust_same_name(r->trust, e->index);
}

/* What is wrong with a name that cannot stay. */
static enum qcow2_problem_id why_not(struct qcow2_bytes name)
{
	if (name.size == 0)
		return QCOW2_PROBLEM_BITMAP_NAME_EMPTY;
	if (name.size > QCOW2_BITMAP_NAME_MOST)
		return QCOW2_PROBLEM_BITMAP_NAME_QEMU;
	if (memchr(name.data, '\0', name.size))
		return QCOW2_PROBLEM_BITMAP_NAME_TEXT;
	return QCOW2_PROBLEM_BITMAP_NAME_DUPLICATE;
}

/* Enters the names that may stay, then those that may not, so that no other bitmap gets one. */
static int enter_names(struct qcow2_repair *r, const struct qcow2_hash_key *key,
		       struct qcow2_name_set *set, bool *later)
{
	for (unsigned doubtful = 0; doubtful < 2; doubtful++)
		for (size_t i = 0; i < r->editor->count; i++) {
			const struct qcow2_edited_bitmap *e = r->editor->bitmaps[i];
			int added;

			if (is_doubtful(r, e) != (doubtful == 1))
				continue;
			added = add_name(set, key, qcow2_edited_name(e));
			if (added < 0)
				return qcow2_fail_memory(r->err);
			later[i] = added == 0 || doubtful == 1;
		}
	return 0;
}

static int rename_and_tell(struct qcow2_repair *r, size_t at, struct qcow2_name_set *set,
			   const struct qcow2_hash_key *key)
{
	const struct qcow2_edited_bitmap *e = r->editor->bitmaps[at];
	struct qcow2_bytes old = {NULL, e->entry.name_size};
	uint8_t *copy = qcow2_alloc_buffer(old.size + 1);
	int failed;

	if (!copy)
		return qcow2_fail_memory(r->err);
	memcpy(copy, e->name, old.size);
	old.data = copy;
	failed = rename_one(r, at, set, key);
	if (!failed)
		tell_renamed(r, e, old, why_not(old));
	qcow2_free(copy);
	return failed;
}

int qcow2_repair_names(struct qcow2_repair *r)
{
	struct qcow2_hash_key key;
	struct qcow2_name_set set;
	bool *later = qcow2_alloc_array(r->editor->count + 1, sizeof(*later));
	int failed;

	if (!later)
		return qcow2_fail_memory(r->err);
	qcow2_hash_key_make(&key);
	qcow2_name_set_init(&set, NAMES_MAX);
	failed = enter_names(r, &key, &set, later);
	for (size_t i = 0; i < r->editor->count && !failed; i++)
		if (later[i])
			failed = rename_and_tell(r, i, &set, &key);
	qcow2_free(later);
	qcow2_name_set_release(&set);
	return failed;
}
