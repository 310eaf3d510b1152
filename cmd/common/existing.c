/* SPDX-License-Identifier: MIT */
/* See existing.h. */
#include "common/existing.h"

#include <stdio.h>
#include <string.h>

#include "out/suggest.h"

#include <qcow2/bitmap_directory.h>
#include <qcow2/format.h>

/* The most bitmaps that are counted. */
#define BITMAPS_MOST 100000

static void append(struct qcow2_error *err, const char *text)
{
	size_t used = strlen(err->text);

	snprintf(err->text + used, sizeof(err->text) - used, "%s", text);
}

/* Begins a list in what is left of an error's text. False if that is too little. */
static bool begin_list(struct name_list *list, struct qcow2_error *err, const char *before)
{
	size_t used;

	append(err, before);
	used = strlen(err->text);
	if (sizeof(err->text) - used < 48)
		return false;
	name_list_begin(list, err->text + used, sizeof(err->text) - used);
	return true;
}

void existing_bitmaps(const struct qcow2_image *image, struct qcow2_error *err)
{
	struct qcow2_bitmaps *bitmaps;
	const struct qcow2_bitmap *bitmap;
	struct qcow2_error ignored;
	struct name_list list;

	if (!image || err->code != QCOW2_ERROR_NOT_FOUND)
		return;
	if (qcow2_bitmaps_open(image, &bitmaps, &ignored)) {
		if (ignored.code == QCOW2_ERROR_NOT_FOUND)
			append(err, "; the image has no bitmaps");
		return;
	}
	if (begin_list(&list, err, "; there are ")) {
		while (list.total < BITMAPS_MOST &&
		       qcow2_bitmaps_next(bitmaps, &bitmap, &ignored) > 0)
			name_list_add(&list, bitmap->name);
		name_list_end(&list);
	}
	qcow2_bitmaps_close(bitmaps);
}

/* The structure whose fields stand below the first part of a path. */
static const struct qcow2_structure *structure_of(const char *path)
{
	static const struct {
		const char *part;
		const struct qcow2_structure *structure;
	} parts[] = {
		{"header/", &qcow2_header_structure},
		{"bitmaps/", &qcow2_bitmap_dir_entry_structure},
		{"snapshots/", &qcow2_snapshot_structure},
	};

	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
		if (strncmp(path, parts[i].part, strlen(parts[i].part)) == 0)
			return parts[i].structure;
	return NULL;
}

/* Suggests the field of a structure that is spelled nearly as the last part of a path. */
static bool suggest_field(const struct qcow2_structure *structure, const char *path,
			  struct qcow2_error *err)
{
	const char *slash = strrchr(path, '/');
	char before[96], text[SUGGEST_TEXT_MAX + 96], quoted[96];
	struct suggestion suggestion;

	/* If there is such a field, or another part is complained of, something above is missing. */
	snprintf(quoted, sizeof(quoted), "'%.64s'", slash + 1);
	if (qcow2_structure_field(structure, slash + 1) || !strstr(err->text, quoted))
		return true;
	suggest_begin(&suggestion, slash + 1);
	for (size_t i = 0; i < structure->field_count; i++)
		suggest_offer(&suggestion, structure->fields[i].name);
	snprintf(before, sizeof(before), "%.*s", (int)(slash + 1 - path), path);
	append(err, suggest_text(&suggestion, before, text, sizeof(text)));
	return suggestion.best[0] != '\0';
}

/* Suggests the first part of a path. */
static void suggest_part(const char *path, struct qcow2_error *err)
{
	static const char parts[] =
		"header bitmaps snapshots extensions l1 l2 refcount_table refcounts luks";
	char text[SUGGEST_TEXT_MAX], part[SUGGEST_WORD_MOST + 1];
	size_t length = strcspn(path, "/");

	if (length >= sizeof(part))
		return;
	memcpy(part, path, length);
	part[length] = '\0';
	/* If it exists, something below it does not. */
	suggest_of_words(part, parts, text, sizeof(text));
	if (!strstr(parts, part))
		append(err, text);
}

void existing_path(const char *path, struct qcow2_error *err)
{
	const struct qcow2_structure *structure = structure_of(path);
	struct name_list list;

	if (err->code != QCOW2_ERROR_NOT_FOUND)
		return;
	if (!structure) {
		suggest_part(path, err);
		return;
	}
	if (suggest_field(structure, path, err) || structure != &qcow2_header_structure)
		return;
	if (!begin_list(&list, err, "; it has "))
		return;
	for (size_t i = 0; i < structure->field_count; i++) {
		const char *name = structure->fields[i].name;

		name_list_add(&list, (struct qcow2_bytes){(const uint8_t *)name, strlen(name)});
	}
	name_list_end(&list);
}

void existing_value(const char *path, const char *value, struct qcow2_error *err)
{
	const struct qcow2_structure *structure = structure_of(path);
	const struct qcow2_field *field = NULL;
	char text[SUGGEST_TEXT_MAX];
	struct suggestion suggestion;
	struct name_list list;

	if (structure && err->code == QCOW2_ERROR_ARGUMENT && strstr(err->text, "' is no number"))
		field = qcow2_structure_field(structure, strrchr(path, '/') + 1);
	if (!field || !field->names || field->names->bits)
		return;
	suggest_begin(&suggestion, value);
	for (size_t i = 0; i < field->names->count; i++)
		suggest_offer(&suggestion, field->names->list[i].name);
	append(err, suggest_text(&suggestion, "", text, sizeof(text)));
	if (suggestion.best[0] || !begin_list(&list, err, "; its values are called "))
		return;
	for (size_t i = 0; i < field->names->count; i++) {
		const char *name = field->names->list[i].name;

		name_list_add(&list, (struct qcow2_bytes){(const uint8_t *)name, strlen(name)});
	}
	name_list_end(&list);
}

/* The name of a feature as options take it: with - for blanks. */
static const char *feature_word(const char *name, char *word, size_t size)
{
	snprintf(word, size, "%s", name);
	for (char *at = word; *at; at++)
		if (*at == ' ')
			*at = '-';
	return word;
}

static void list_features(const struct qcow2_names *names, struct qcow2_error *err)
{
	struct name_list list;
	char word[64];

	if (!begin_list(&list, err, "; there are "))
		return;
	for (size_t i = 0; i < names->count; i++) {
		feature_word(names->list[i].name, word, sizeof(word));
		name_list_add(&list, (struct qcow2_bytes){(const uint8_t *)word, strlen(word)});
	}
	name_list_end(&list);
}

void existing_feature(const char *group, const char *name, struct qcow2_error *err)
{
	static const struct {
		const char *group;
		const struct qcow2_names *names;
	} groups[] = {
		{"incompatible", &qcow2_incompatible_features},
		{"compatible", &qcow2_compatible_features},
		{"autoclear", &qcow2_autoclear_features},
	};
	const struct qcow2_names *names = NULL;
	char text[SUGGEST_TEXT_MAX], word[64];
	struct suggestion suggestion;

	if (err->code != QCOW2_ERROR_ARGUMENT)
		return;
	for (size_t i = 0; i < sizeof(groups) / sizeof(groups[0]); i++)
		if (strcmp(groups[i].group, group) == 0)
			names = groups[i].names;
	if (!names) {
		append(err, suggest_of_words(group, "incompatible compatible autoclear", text,
					     sizeof(text)));
		return;
	}
	/* Other errors about arguments name no feature. */
	if (!strstr(err->text, "' is no "))
		return;
	suggest_begin(&suggestion, name);
	for (size_t i = 0; i < names->count; i++)
		suggest_offer(&suggestion, feature_word(names->list[i].name, word, sizeof(word)));
	append(err, suggest_text(&suggestion, "", text, sizeof(text)));
	if (!suggestion.best[0])
		list_features(names, err);
}
