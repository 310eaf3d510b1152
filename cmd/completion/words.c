/* SPDX-License-Identifier: MIT */
/* See words.h. */
#include "completion/words.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <qcow2/bitmap_directory.h>
#include <qcow2/format.h>
#include <qcow2/problem.h>
#include <qcow2/snapshot.h>

/* The most entries of a directory or table that are read. */
#define ENTRIES_MOST 4096

void words_explainable(struct offer *offer)
{
	const struct qcow2_structure *const *structures;
	const struct qcow2_problem_kind *problem = NULL;
	char word[128];
	size_t count;

	structures = qcow2_structures(&count);
	for (size_t s = 0; s < count; s++) {
		const struct qcow2_structure *structure = structures[s];

		offer_word(offer, structure->name, structure->title);
		for (size_t i = 0; i < structure->field_count; i++) {
			snprintf(word, sizeof(word), "%s/%s", structure->name,
				 structure->fields[i].name);
			offer_word(offer, word, NULL);
		}
	}
	words_fields(offer);
	while ((problem = qcow2_problem_kind_next(problem)))
		offer_word(offer, problem->id, NULL);
}

void words_features(struct offer *offer, const char *group)
{
	const struct qcow2_names *names =
		strcmp(group, "incompatible") == 0 ? &qcow2_incompatible_features
		: strcmp(group, "compatible") == 0 ? &qcow2_compatible_features
						   : &qcow2_autoclear_features;
	char word[64];

	for (size_t i = 0; i < names->count; i++) {
		snprintf(word, sizeof(word), "%s", names->list[i].name);
		for (char *at = word; *at; at++)
			if (*at == ' ')
				*at = '-';
		offer_word(offer, word, NULL);
	}
}

void words_extensions(struct offer *offer)
{
	const struct qcow2_names *names = &qcow2_extension_types;
	char word[32];

	for (size_t i = 0; i < names->count; i++) {
		if (names->list[i].value == 0)
			continue;
		snprintf(word, sizeof(word), "0x%08" PRIx64, names->list[i].value);
		offer_word(offer, word, names->list[i].name);
	}
}

void words_fields(struct offer *offer)
{
	for (size_t i = 0; i < qcow2_header_structure.field_count; i++)
		offer_word(offer, qcow2_header_structure.fields[i].name, NULL);
}

void words_bitmaps(struct offer *offer, const struct qcow2_image *image)
{
	const struct qcow2_bitmap *bitmap;
	struct qcow2_bitmaps *bitmaps;
	struct qcow2_error err;

	if (!image || qcow2_bitmaps_open(image, &bitmaps, &err))
		return;
	for (size_t i = 0; i < ENTRIES_MOST && qcow2_bitmaps_next(bitmaps, &bitmap, &err) > 0; i++)
		offer_name(offer, "", bitmap->name, "",
			   bitmap->entry.flags & QCOW2_BITMAP_IN_USE ? "in use"
			   : bitmap->entry.flags & QCOW2_BITMAP_AUTO ? "enabled"
								     : "disabled");
	qcow2_bitmaps_close(bitmaps);
}

void words_snapshots(struct offer *offer, const struct qcow2_image *image)
{
	const struct qcow2_snapshot *snapshot;
	struct qcow2_snapshots *snapshots;
	struct qcow2_error err;

	if (!image || qcow2_snapshots_open(image, &snapshots, &err))
		return;
	for (size_t i = 0; i < ENTRIES_MOST && qcow2_snapshots_next(snapshots, &snapshot, &err) > 0;
	     i++) {
		offer_name(offer, "", snapshot->id, "", "ID");
		offer_name(offer, "", snapshot->name, "", "name");
	}
	qcow2_snapshots_close(snapshots);
}

/* ---- paths ---- */

/* Whether a name can stand in a path as it is: it is no pattern or range, and not two steps. */
static bool is_step(struct qcow2_bytes name)
{
	for (size_t i = 0; i < name.size; i++)
		if (memchr("/*.=\\", name.data[i], 5))
			return false;
	return name.size > 0;
}

/*
 * Offers an entry of a list by its name, or by its index if the name cannot stand in a path. `set`:
 * the path ends at a =, so that none may stand before a name that could be taken for an index.
 */
static void offer_entry(struct offer *offer, const char *list, uint64_t index,
			struct qcow2_bytes name, bool set)
{
	bool number = name.size > 0 && name.data[0] >= '0' && name.data[0] <= '9';
	char word[64];

	snprintf(word, sizeof(word), "%s/%s", list, number ? "=" : "");
	if (is_step(name) && !(number && set)) {
		offer_name(offer, word, name, set ? "/" : "", NULL);
		return;
	}
	snprintf(word, sizeof(word), "%s/%" PRIu64 "%s", list, index, set ? "/" : "");
	offer_word(offer, word, NULL);
}

static void offer_bitmaps(struct offer *offer, const struct qcow2_image *image, bool set)
{
	const struct qcow2_bitmap *bitmap;
	struct qcow2_bitmaps *bitmaps;
	struct qcow2_error err;

	if (qcow2_bitmaps_open(image, &bitmaps, &err))
		return;
	for (size_t i = 0; i < ENTRIES_MOST && qcow2_bitmaps_next(bitmaps, &bitmap, &err) > 0; i++)
		offer_entry(offer, "bitmaps", bitmap->index, bitmap->name, set);
	qcow2_bitmaps_close(bitmaps);
}

static void offer_snapshots(struct offer *offer, const struct qcow2_image *image, bool set)
{
	const struct qcow2_snapshot *snapshot;
	struct qcow2_snapshots *snapshots;
	struct qcow2_error err;

	if (qcow2_snapshots_open(image, &snapshots, &err))
		return;
	for (size_t i = 0; i < ENTRIES_MOST && qcow2_snapshots_next(snapshots, &snapshot, &err) > 0;
	     i++) {
		offer_entry(offer, "snapshots", snapshot->index, snapshot->name, set);
		if (!set && is_step(snapshot->id))
			offer_name(offer, "snapshots/=", snapshot->id, "", "ID");
	}
	qcow2_snapshots_close(snapshots);
}

/* Offers the fields of a structure behind the part of a path that ends with a slash. */
static void offer_fields(struct offer *offer, const struct qcow2_structure *structure,
			 const char *path, size_t length, const char *behind)
{
	char word[1200];

	for (size_t i = 0; i < structure->field_count; i++) {
		snprintf(word, sizeof(word), "%.*s%s%s", (int)length, path,
			 structure->fields[i].name, behind);
		offer_word(offer, word, NULL);
	}
}

/* The structure of a path's part before its last slash: "header/", "bitmaps/NAME/". */
static const struct qcow2_structure *structure_at(const char *path, size_t length)
{
	const char *slash = memchr(path, '/', length);
	bool entry = slash && memchr(slash + 1, '/', length - (size_t)(slash + 1 - path)) ==
				      path + length - 1;

	if (!slash)
		return NULL;
	if (slash == path + length - 1)
		return strncmp(path, "header/", 7) == 0 ? &qcow2_header_structure : NULL;
	if (entry && strncmp(path, "bitmaps/", 8) == 0)
		return &qcow2_bitmap_dir_entry_structure;
	return entry && strncmp(path, "snapshots/", 10) == 0 ? &qcow2_snapshot_structure : NULL;
}

/* Offers the names of the values of a field: "header/crypt_method=LUKS". */
static void offer_values(struct offer *offer, const char *equals)
{
	const char *slash = equals;
	const struct qcow2_structure *structure;
	char name[64], word[1200];

	while (slash > offer->typed && slash[-1] != '/')
		slash--;
	structure = structure_at(offer->typed, (size_t)(slash - offer->typed));
	snprintf(name, sizeof(name), "%.*s", (int)(equals - slash), slash);
	for (size_t i = 0; structure && i < structure->field_count; i++) {
		const struct qcow2_names *names = structure->fields[i].names;

		if (strcmp(structure->fields[i].name, name) != 0 || !names || names->bits)
			continue;
		for (size_t n = 0; n < names->count; n++) {
			snprintf(word, sizeof(word), "%.*s%s", (int)(equals + 1 - offer->typed),
				 offer->typed, names->list[n].name);
			if (!strchr(names->list[n].name, ' '))
				offer_word(offer, word, NULL);
		}
	}
}

/* The parts of an entry of a list besides its fields. */
static void offer_parts(struct offer *offer, size_t length)
{
	bool bitmap = strncmp(offer->typed, "bitmaps/", 8) == 0;
	const char *const parts[] = {bitmap ? "table" : "l1", bitmap ? "data" : "id",
				     bitmap ? "name" : "name"};
	char word[1200];

	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		snprintf(word, sizeof(word), "%.*s%s", (int)length, offer->typed, parts[i]);
		offer_word(offer, word, NULL);
	}
}

void words_paths(struct offer *offer, const struct qcow2_image *image, bool set)
{
	const char *slash = strrchr(offer->typed, '/'), *equals = strchr(offer->typed, '=');
	const char *behind = set ? "=" : "";
	size_t length = slash ? (size_t)(slash + 1 - offer->typed) : 0;
	const struct qcow2_structure *structure = structure_at(offer->typed, length);

	if (set && equals) {
		offer_values(offer, equals);
		return;
	}
	if (structure && structure != &qcow2_header_structure) {
		offer_fields(offer, structure, offer->typed, length, behind);
		if (!set)
			offer_parts(offer, length);
		return;
	}
	offer_words(offer, set ? "bitmaps/ snapshots/ l1/ l2/ refcount_table/ refcounts/ luks/"
			       : "header features extensions backing_file bitmaps snapshots luks "
				 "l1 l2 refcount_table refcounts all");
	offer_fields(offer, &qcow2_header_structure, "header/", 7, behind);
	/* The names of an image come once something is typed: without it, the list is short. */
	if (!image || (!set && !offer->typed[0]))
		return;
	offer_bitmaps(offer, image, set);
	offer_snapshots(offer, image, set);
}
