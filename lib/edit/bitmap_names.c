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
	char safe[160], cost[256];
	struct qcow2_bytes name = qcow2_edited_name(e);
	const struct qcow2_bitmap bitmap = {.index = e->index, .name = old};

	if (name.size > 24)
		name = (struct qcow2_bytes){name.data + name.size - 24, 24};
	qcow2_text_escape(name, safe, sizeof(safe));
	snprintf(cost, sizeof(cost), "its name is %s'%s' now",
		 e->entry.name_size > 24 ? "one that ends with " : "", safe);
	r->bitmap = &bitmap;
	qcow2_repair_tell(r, qcow2_repair_kind(id), QCOW2_REMEDY_MENDED, 0, cost);
	r->bitmap = NULL;
}

/* The first of equal names stays. */
int qcow2_repair_names(struct qcow2_repair *r)
{
	struct qcow2_hash_key key;
	struct qcow2_name_set set;
	size_t *later;
	size_t count = 0;
	int failed = 0;

	qcow2_hash_key_make(&key);
	qcow2_name_set_init(&set, NAMES_MAX);
	later = qcow2_alloc_array(r->editor->count + 1, sizeof(*later));
	if (!later)
		return qcow2_fail_memory(r->err);
	for (size_t i = 0; i < r->editor->count && !failed; i++) {
		int added = add_name(&set, &key, qcow2_edited_name(r->editor->bitmaps[i]));

		if (added == 0)
			later[count++] = i;
		if (added < 0)
			failed = qcow2_fail_memory(r->err);
	}
	for (size_t i = 0; i < count && !failed; i++) {
		const struct qcow2_edited_bitmap *e = r->editor->bitmaps[later[i]];
		size_t size = e->entry.name_size;
		uint8_t *old = qcow2_alloc_buffer(size + 1);

		if (!old) {
			failed = qcow2_fail_memory(r->err);
			break;
		}
		memcpy(old, e->name, size);
		failed = rename_one(r, later[i], &set, &key);
		if (!failed)
			tell_renamed(
				r, e, (struct qcow2_bytes){old, size},
				size == 0                       ? QCOW2_PROBLEM_BITMAP_NAME_EMPTY
				: size > QCOW2_BITMAP_NAME_MOST ? QCOW2_PROBLEM_BITMAP_NAME_QEMU
				: memchr(old, '\0', size)       ? QCOW2_PROBLEM_BITMAP_NAME_TEXT
							  : QCOW2_PROBLEM_BITMAP_NAME_DUPLICATE);
		qcow2_free(old);
	}
	qcow2_free(later);
	qcow2_name_set_release(&set);
	return failed;
}
