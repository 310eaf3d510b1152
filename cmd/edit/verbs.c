/* SPDX-License-Identifier: MIT */
/* The verbs of qcow2 edit, each with its usage and a function. */
#include "edit/verbs.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/read_file.h"

#include <qcow2/number.h>

/* The data of an extension: no more than a header cluster holds. */
#define DATA_MOST ((size_t)2 << 20)

static int fail(struct qcow2_error *err, enum qcow2_error_code code, const char *format, ...)
{
	va_list arguments;

	*err = (struct qcow2_error){.code = code, .offset_bytes = QCOW2_NO_OFFSET};
	va_start(arguments, format);
	vsnprintf(err->text, sizeof(err->text), format, arguments);
	va_end(arguments);
	return -1;
}

static struct qcow2_bytes bytes_of(const char *text)
{
	return (struct qcow2_bytes){(const uint8_t *)text, strlen(text)};
}

/* ---- set ---- */

/* Returns what an entry of a table means for the image. */
static const char *meaning_of(const char *path)
{
	static const struct {
		const char *part, *meaning;
	} tables[] = {
		{"refcount_table/", "where the refcounts of many clusters are"},
		{"refcounts/", "how many use a cluster: with less than that, it may be given away "
			       "and overwritten"},
		{"bitmaps/", "which parts of the disk a backup copies"},
		{"l2/", "where a part of the disk is: another value, and the guest reads and "
			"overwrites something else"},
		{"l1/", "where all of a large part of the disk is found"},
	};

	for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++)
		if (strstr(path, tables[i].part))
			return tables[i].meaning;
	return "what the image's contents hang on";
}

static int set_one(struct qcow2_plan *plan, const char *word, struct edit_effect *effect,
		   struct qcow2_error *err)
{
	const char *equals = strrchr(word, '='); /* a path may have =NAME, a value has none */
	bool raw = false;
	char *path;
	int failed;

	if (!equals || equals == word)
		return fail(err, QCOW2_ERROR_ARGUMENT, "'%s' is not PATH=VALUE", word);
	path = strndup(word, (size_t)(equals - word));
	if (!path)
		return fail(err, QCOW2_ERROR_MEMORY, "out of memory");
	failed = qcow2_edit_set(plan, path, equals + 1, &raw, err);
	if (raw && !failed)
		effect->raw = meaning_of(path);
	free(path);
	return failed;
}

static int verb_set(struct qcow2_plan *plan, const struct edit_line *line,
		    struct edit_effect *effect, struct qcow2_error *err)
{
	for (size_t i = 1; i < line->count; i++)
		if (set_one(plan, line->words[i], effect, err))
			return -1;
	return 0;
}

/* ---- feature ---- */

static int verb_feature(struct qcow2_plan *plan, const struct edit_line *line,
			struct edit_effect *effect, struct qcow2_error *err)
{
	const char *state = line->words[3];
	bool on = strcmp(state, "on") == 0;

	(void)effect;
	if (!on && strcmp(state, "off") != 0)
		return fail(err, QCOW2_ERROR_ARGUMENT, "a feature is on or off, not '%s'", state);
	return qcow2_edit_feature(plan, line->words[1], line->words[2], on, err);
}

/* ---- extension ---- */

static int change_extension(struct qcow2_plan *plan, const struct edit_line *line,
			    enum qcow2_extension_change change, uint32_t magic,
			    struct qcow2_error *err)
{
	uint8_t *buffer = NULL;
	struct qcow2_bytes data = {NULL, 0};
	int failed;

	if (line->data && line->file)
		return fail(err, QCOW2_ERROR_ARGUMENT, "--data and --file at once");
	if (change == QCOW2_EXTENSION_REMOVE)
		return qcow2_edit_extension(plan, change, magic, data, err);
	if (line->data)
		return qcow2_edit_extension(plan, change, magic, bytes_of(line->data), err);
	if (read_whole_file(line->file ? line->file : "-", DATA_MOST, &buffer, &data.size, err))
		return -1;
	data.data = buffer;
	failed = qcow2_edit_extension(plan, change, magic, data, err);
	free(buffer);
	return failed;
}

static int verb_extension(struct qcow2_plan *plan, const struct edit_line *line,
			  struct edit_effect *effect, struct qcow2_error *err)
{
	static const char *const changes[] = {
		[QCOW2_EXTENSION_ADD] = "add",
		[QCOW2_EXTENSION_REPLACE] = "replace",
		[QCOW2_EXTENSION_REMOVE] = "remove",
	};
	const char *change = line->words[1];
	struct qcow2_error why;
	uint64_t magic;

	(void)effect;
	if (qcow2_number_parse(line->words[2], UINT32_MAX, &magic, &why))
		return fail(err, QCOW2_ERROR_ARGUMENT, "an extension's type has 32 bits: %s",
			    why.text);
	for (size_t i = 0; i < 3; i++)
		if (strcmp(changes[i], change) == 0)
			return change_extension(plan, line, (enum qcow2_extension_change)i,
						(uint32_t)magic, err);
	return fail(err, QCOW2_ERROR_ARGUMENT, "extension %s: add, replace or remove", change);
}

/* ---- backing, data-file, feature-names ---- */

static int verb_backing(struct qcow2_plan *plan, const struct edit_line *line,
			struct edit_effect *effect, struct qcow2_error *err)
{
	const char *what = line->words[1];

	(void)effect;
	if (strcmp(what, "clear") == 0 && line->count == 2)
		return qcow2_edit_backing(plan, (struct qcow2_bytes){NULL, 0}, NULL, err);
	if (strcmp(what, "set") != 0 || line->count < 3)
		return fail(err, QCOW2_ERROR_ARGUMENT, "backing set NAME FORMAT, or clear");
	if (line->words[2][0] == '\0')
		return fail(err, QCOW2_ERROR_ARGUMENT, "the backing file's name is empty");
	return qcow2_edit_backing(plan, bytes_of(line->words[2]),
				  line->count > 3 ? line->words[3] : NULL, err);
}

static int verb_data_file(struct qcow2_plan *plan, const struct edit_line *line,
			  struct edit_effect *effect, struct qcow2_error *err)
{
	(void)effect;
	if (strcmp(line->words[1], "set") != 0)
		return fail(err, QCOW2_ERROR_ARGUMENT, "data-file set NAME");
	return qcow2_edit_data_file(plan, bytes_of(line->words[2]), err);
}

static int verb_feature_names(struct qcow2_plan *plan, const struct edit_line *line,
			      struct edit_effect *effect, struct qcow2_error *err)
{
	(void)effect;
	if (strcmp(line->words[1], "rebuild") != 0)
		return fail(err, QCOW2_ERROR_ARGUMENT, "feature-names rebuild");
	return qcow2_edit_feature_names(plan, err);
}

static const struct verb {
	const char *name;
	const char *usage;
	size_t least, most; /* words, the verb included */
	int (*run)(struct qcow2_plan *plan, const struct edit_line *line,
		   struct edit_effect *effect, struct qcow2_error *err);
} verbs[] = {
	{"set", "set PATH=VALUE...", 2, SIZE_MAX, verb_set},
	{"feature", "feature GROUP NAME|BIT on|off", 4, 4, verb_feature},
	{"extension", "extension add|replace|remove MAGIC", 3, 3, verb_extension},
	{"backing", "backing set NAME FORMAT, or backing clear", 2, 4, verb_backing},
	{"data-file", "data-file set NAME", 3, 3, verb_data_file},
	{"feature-names", "feature-names rebuild", 2, 2, verb_feature_names},
};

int edit_verb(struct qcow2_plan *plan, const struct edit_line *line, struct edit_effect *effect,
	      struct qcow2_error *err)
{
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
		const struct verb *verb = &verbs[i];

		if (strcmp(verb->name, line->words[0]) != 0)
			continue;
		if (line->count < verb->least || line->count > verb->most)
			return fail(err, QCOW2_ERROR_ARGUMENT, "usage: %s", verb->usage);
		if ((line->data || line->file) && verb->run != verb_extension)
			return fail(err, QCOW2_ERROR_ARGUMENT,
				    "--data and --file are for extensions, not for %s", verb->name);
		return verb->run(plan, line, effect, err);
	}
	return fail(err, QCOW2_ERROR_ARGUMENT, "unknown verb '%s'", line->words[0]);
}
