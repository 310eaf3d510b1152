/* SPDX-License-Identifier: MIT */
/* See named.h. */
#include "edit/bitmap/named.h"

#include <string.h>

#include <qcow2/limits.h>

#include "base/checked.h"
#include "base/error.h"
#include "edit/bitmap/bits.h"
#include "edit/bitmap/list.h"
#include "plan/plan.h"

uint64_t qcow2_bitmap_default_granularity(const struct qcow2_geometry *geometry)
{
	uint64_t cluster = geometry->cluster_size_bytes;

	return cluster < 4096 ? 4096 : cluster > 65536 ? 65536 : cluster;
}

int q2_verb_about(struct qcow2_bytes name, int failed, struct qcow2_error *err)
{
	if (!failed)
		return 0;
	qcow2_bitmap_error(err, name);
	return -1;
}

int q2_verb_ended(struct qcow2_bitmap_editor *editor, int failed, const struct qcow2_error *err)
{
	editor->failed |=
		failed &&
		(!err || (err->code != QCOW2_ERROR_NOT_FOUND && err->code != QCOW2_ERROR_ARGUMENT));
	return failed;
}

static bool is_called(const struct q2_edited_bitmap *bitmap, struct qcow2_bytes name)
{
	return bitmap->entry.name_size == name.size &&
	       (name.size == 0 || memcmp(bitmap->name, name.data, name.size) == 0);
}

size_t q2_verb_count(const struct qcow2_bitmap_editor *editor, struct qcow2_bytes name, size_t *at)
{
	uint64_t hash = q2_hash(&editor->key, name);
	size_t found = 0;

	for (size_t i = editor->count; i-- > 0;) {
		if (editor->hashes[i] != hash || !is_called(editor->bitmaps[i], name))
			continue;
		*at = i;
		found++;
	}
	return found;
}

void q2_verb_names(const struct qcow2_bitmap_editor *editor, char names[Q2_CHOICES_ROOM])
{
	struct q2_choices choices = {.text = names, .room = Q2_CHOICES_ROOM};

	names[0] = '\0';
	for (size_t i = 0; i < editor->count && !choices.full; i++) {
		const struct q2_edited_bitmap *bitmap = editor->bitmaps[i];

		q2_choices_add(&choices,
			       (struct qcow2_bytes){bitmap->name, bitmap->entry.name_size});
	}
}

int q2_verb_find(const struct qcow2_bitmap_editor *editor, struct qcow2_bytes name, size_t *at,
		 struct qcow2_error *err)
{
	size_t found = q2_verb_count(editor, name, at);

	if (found == 1)
		return 0;
	if (found == 0)
		return q2_fail(err, QCOW2_ERROR_NOT_FOUND, QCOW2_NO_OFFSET,
			       "there is no bitmap of that name");
	return q2_fail(err, QCOW2_ERROR_ARGUMENT, QCOW2_NO_OFFSET,
		       "%zu bitmaps have that name ('qcow2 bitmap repair' renames them)", found);
}

/* As q2_verb_find(), a bitmap whose contents may be relied on. */
int q2_verb_find_usable(const struct qcow2_bitmap_editor *editor, struct qcow2_bytes name,
			struct q2_edited_bitmap **out, struct qcow2_error *err)
{
	struct q2_edited_bitmap *bitmap;
	size_t at = 0;

	if (q2_verb_find(editor, name, &at, err))
		return -1;
	bitmap = editor->bitmaps[at];
	*out = bitmap;
	/* Locks keep an edit out while another program writes; a dry run takes none. */
	if ((bitmap->entry.flags & QCOW2_BITMAP_IN_USE) &&
	    qcow2_source_in_use(editor->plan->source))
		return q2_fail(err, QCOW2_ERROR_ARGUMENT, QCOW2_NO_OFFSET,
			       "it is in use: another program has the image open, and stores it "
			       "when it is done");
	if (bitmap->entry.flags & QCOW2_BITMAP_IN_USE)
		return q2_fail(err, QCOW2_ERROR_ARGUMENT, QCOW2_NO_OFFSET,
			       "it is in use: it was not saved properly ('qcow2 bitmap repair "
			       "--assume-dirty' makes it all dirty; it can be removed)");
	if (bitmap->entry.type != 1 || bitmap->entry.granularity_bits > 63)
		return q2_fail(err, QCOW2_ERROR_BROKEN, QCOW2_NO_OFFSET,
			       "its type or granularity makes no sense ('qcow2 bitmap repair' "
			       "can drop it)");
	if (bitmap->entry.extra_data_size > 0 &&
	    !(bitmap->entry.flags & QCOW2_BITMAP_EXTRA_DATA_COMPATIBLE))
		return q2_fail(err, QCOW2_ERROR_ARGUMENT, QCOW2_NO_OFFSET,
			       "it has extra data of an unknown kind and must not be used");
	return 0;
}

int q2_verb_check_new_name(const struct qcow2_bitmap_editor *editor, struct qcow2_bytes name,
			   struct qcow2_error *err)
{
	size_t at = 0;

	if (name.size == 0 || name.size > QCOW2_LIMIT_QEMU_BITMAP_NAME_BYTES)
		return q2_fail(err, QCOW2_ERROR_ARGUMENT, QCOW2_NO_OFFSET,
			       "the name is %zu bytes long: 1 to %d are allowed", name.size,
			       QCOW2_LIMIT_QEMU_BITMAP_NAME_BYTES);
	if (q2_verb_count(editor, name, &at) > 0)
		return q2_fail(err, QCOW2_ERROR_ARGUMENT, QCOW2_NO_OFFSET,
			       "there is a bitmap of that name already");
	return 0;
}

int q2_verb_add(struct qcow2_bitmap_editor *editor, struct qcow2_bytes name, uint64_t granularity,
		bool enabled, struct qcow2_error *err)
{
	struct q2_edited_bitmap *bitmap;
	unsigned bits;

	if (granularity == 0)
		granularity = qcow2_bitmap_default_granularity(editor->geometry);
	if (!q2_is_power_of_two(granularity))
		return q2_fail(err, QCOW2_ERROR_ARGUMENT, QCOW2_NO_OFFSET,
			       "the granularity is no power of two");
	bits = (unsigned)__builtin_ctzll(granularity);
	if (q2_verb_check_new_name(editor, name, err) || q2_bitmap_fits(editor, bits, err))
		return -1;
	if (editor->count >= QCOW2_LIMIT_QEMU_BITMAPS)
		return q2_fail(err, QCOW2_ERROR_LIMIT, QCOW2_NO_OFFSET,
			       "there are %d bitmaps already", QCOW2_LIMIT_QEMU_BITMAPS);
	bitmap = q2_bitmap_editor_append(editor, name);
	if (!bitmap)
		return q2_fail_memory(err);
	bitmap->entry.granularity_bits = (uint8_t)bits;
	bitmap->entry.flags = enabled ? QCOW2_BITMAP_AUTO : 0;
	if (qcow2_plan_intend(editor->plan, QCOW2_INTENT_BITMAP_MADE, name, err))
		return -1;
	return q2_bitmap_fill(editor, bitmap, 0, err);
}
