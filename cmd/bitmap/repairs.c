/* SPDX-License-Identifier: MIT */
/* See repairs.h. */
#include "bitmap/repairs.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "out/human.h"

#include <qcow2/text.h>

#define REPAIRS_KEPT ((size_t)10000)
#define NAME_SHOWN   120

static const char *remedy_name(enum qcow2_bitmap_remedy remedy)
{
	switch (remedy) {
	case QCOW2_BITMAP_REMEDY_MENDED:
		return "mended";
	case QCOW2_BITMAP_REMEDY_DROPPED:
		return "dropped";
	case QCOW2_BITMAP_REMEDY_ALL_DIRTY:
		return "all dirty";
	case QCOW2_BITMAP_REMEDY_LEFT:
		return "left as it is";
	case QCOW2_BITMAP_REMEDY_NEEDED:
		return "to be decided";
	}
	return "unknown";
}

/* Makes room for one more. What cannot be kept is counted. */
static struct kept_repair *next(struct bitmap_repairs *repairs)
{
	size_t capacity = repairs->capacity ? repairs->capacity * 2 : 16;
	void *grown;

	repairs->total++;
	if (repairs->count == REPAIRS_KEPT)
		return NULL;
	if (repairs->count == repairs->capacity) {
		grown = realloc(repairs->list, capacity * sizeof(*repairs->list));
		if (!grown)
			return NULL;
		repairs->list = grown;
		repairs->capacity = capacity;
	}
	return &repairs->list[repairs->count];
}

int bitmap_repairs_hear(void *opaque, const struct qcow2_bitmap_treatment *repair)
{
	struct bitmap_repairs *repairs = opaque;
	struct kept_repair *kept = next(repairs);

	if (repair->remedy == QCOW2_BITMAP_REMEDY_LEFT) {
		repairs->left++;
		repairs->left_to_drop += !repair->can_be_dirty;
	}
	if (!kept)
		return 0;
	*kept = (struct kept_repair){
		.has_bitmap = repair->has_bitmap,
		.index = repair->index,
		.dirty_bytes = repair->dirty_bytes,
		.kind = repair->kind,
		.remedy = repair->remedy,
		.name = malloc(repair->name.size + 1),
		.name_size = repair->name.size,
	};
	strncpy(kept->cost, repair->cost, REPAIR_COST_MAX - 1);
	if (repair->what)
		strncpy(kept->what, repair->what, REPAIR_WHAT_MAX - 1);
	if (!kept->name)
		return 0;
	if (repair->name.size > 0)
		memcpy(kept->name, repair->name.data, repair->name.size);
	repairs->count++;
	return 0;
}

void bitmap_repairs_release(struct bitmap_repairs *repairs)
{
	for (size_t i = 0; i < repairs->count; i++)
		free(repairs->list[i].name);
	free(repairs->list);
}

static struct qcow2_bytes bytes_of(const char *text)
{
	return (struct qcow2_bytes){(const uint8_t *)text, strlen(text)};
}

static struct qcow2_bytes name_of(const struct kept_repair *kept)
{
	return (struct qcow2_bytes){kept->name, kept->name_size};
}

static const char *what_is_wrong(const struct bitmap_repairs *repairs,
				 const struct kept_repair *kept)
{
	if (!kept->kind)
		return "It was asked for.";
	if (kept->what[0])
		return kept->what;
	if (repairs->image_in_use && kept->remedy == QCOW2_BITMAP_REMEDY_LEFT)
		return "Another program has the image open, and stores its bitmaps when it is "
		       "done.";
	return kept->kind->text;
}

static void show_one(struct spool *out, const struct bitmap_repairs *repairs,
		     const struct kept_repair *kept)
{
	char name[6 * NAME_SHOWN + 1], dirty[HUMAN_MAX];

	qcow2_text_escape(human_cut(name_of(kept), NAME_SHOWN), name, sizeof(name));
	if (kept->has_bitmap)
		spool_print(out, "bitmap %" PRIu64 " '%s': ", kept->index, name);
	else
		spool_text(out, "the bitmaps: ");
	spool_print(out, "%s\n  %s", what_is_wrong(repairs, kept), remedy_name(kept->remedy));
	if (kept->dirty_bytes > 0)
		spool_print(out, ", %s of the disk now count as dirty",
			    human_size(kept->dirty_bytes, dirty));
	spool_print(out, ": %s\n", kept->cost);
}

/* Says what can be done about bitmaps that were left. */
static void advise(struct spool *out, const struct bitmap_repairs *repairs)
{
	if (repairs->left == 0)
		return;
	if (repairs->image_in_use)
		spool_text(out, "No backup can rely on what was left as long as the other program "
				"has the image open.\n");
	else if (repairs->left_to_drop == 0)
		spool_text(out, "No backup can rely on what was left: --assume-dirty makes it all "
				"dirty, --drop-bad drops it.\n");
	else if (repairs->left_to_drop == repairs->left)
		spool_text(out, "No backup can rely on what was left: --drop-bad drops it.\n");
	else
		spool_text(out, "No backup can rely on what was left: --drop-bad drops it; with "
				"--assume-dirty as well, what can be is made all dirty.\n");
}

void bitmap_repairs_human(struct spool *out, const void *what)
{
	const struct bitmap_repairs *repairs = what;

	for (size_t i = 0; i < repairs->count; i++)
		show_one(out, repairs, &repairs->list[i]);
	if (repairs->total > repairs->count)
		spool_print(out, "… and %" PRIu64 " more\n", repairs->total - repairs->count);
	advise(out, repairs);
}

/* Writes the options that repair, or drop, all that was left. */
static void write_remedies(struct json *json, const struct bitmap_repairs *repairs)
{
	bool any = repairs->left > 0 && !repairs->image_in_use;

	json_key(json, "left");
	json_number(json, repairs->left);
	json_key(json, "left-remedies");
	json_begin_array(json);
	if (any && repairs->left_to_drop == 0)
		json_text(json, "--assume-dirty");
	if (any)
		json_text(json, "--drop-bad");
	json_end_array(json);
	json_key(json, "image-in-use");
	json_bool(json, repairs->image_in_use);
}

void bitmap_repairs_json(struct json *json, const void *what)
{
	const struct bitmap_repairs *repairs = what;

	json_key(json, "repairs");
	json_begin_array(json);
	for (size_t i = 0; i < repairs->count; i++) {
		const struct kept_repair *kept = &repairs->list[i];

		json_begin_object(json);
		if (kept->has_bitmap) {
			json_key(json, "index");
			json_number(json, kept->index);
			json_text_member(json, "name", name_of(kept));
		}
		json_key(json, "problem");
		if (kept->kind)
			json_text(json, kept->kind->id);
		else
			json_null(json);
		json_key(json, "remedy");
		json_text(json, remedy_name(kept->remedy));
		json_key(json, "dirty-bytes");
		json_number(json, kept->dirty_bytes);
		json_text_member(json, "what", bytes_of(what_is_wrong(repairs, kept)));
		json_text_member(json, "cost", bytes_of(kept->cost));
		json_end_object(json);
	}
	json_end_array(json);
	json_key(json, "repairs-total");
	json_number(json, repairs->total);
	write_remedies(json, repairs);
}
