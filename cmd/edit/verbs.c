/* SPDX-License-Identifier: MIT */
/* The verbs of qcow2 edit, each with its usage and a function. */
#include "edit/verbs.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/existing.h"
#include "common/read_file.h"
#include "out/human.h"
#include "out/suggest.h"

#include <qcow2/number.h>
#include <qcow2/text.h>

/* Bytes of a path or a name that are shown. */
#define TEXT_SHOWN 200
#define TEXT_MAX   (6 * TEXT_SHOWN + 1)

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

static const char *escape(const char *text, char *safe)
{
	qcow2_text_escape(human_cut(bytes_of(text), TEXT_SHOWN), safe, TEXT_MAX);
	return safe;
}

/* Finds what a field of the header was before. False if the path is of something else. */
static bool load_old(struct qcow2_plan *plan, const char *path, uint64_t *value)
{
	const struct qcow2_field *field = NULL;
	uint8_t raw[sizeof(struct qcow2_header)];
	struct qcow2_source *view = NULL;
	struct qcow2_image *image = NULL;
	struct qcow2_error err;

	if (strncmp(path, "header/", 7) == 0)
		field = qcow2_structure_field(&qcow2_header_structure, path + 7);
	if (field && qcow2_plan_view(plan, &view, &err) == 0)
		(void)qcow2_image_open(view, &image, &err);
	if (image) {
		qcow2_header_encode(qcow2_image_header(image), raw, sizeof(raw));
		*value = qcow2_field_load(field, raw, sizeof(raw), 0);
	}
	qcow2_image_close(image);
	qcow2_source_close(view);
	return image != NULL;
}

/* Says what a number is now: "header/size: 2147483648 (2 GiB), before 1073741824". */
static void tell_number(struct effects *effects, const char *path, const char *value,
			const uint64_t *old)
{
	char before[48] = "";
	char safe[TEXT_MAX], other[TEXT_MAX], human[HUMAN_MAX];
	struct qcow2_error err;
	uint64_t number;

	escape(path, safe);
	if (old)
		snprintf(before, sizeof(before), ", before %" PRIu64, *old);
	if (qcow2_number_parse(value, UINT64_MAX, &number, &err))
		effects_add(effects, "%s: %s%s", safe, escape(value, other), before);
	else if (number >= 1024)
		effects_add(effects, "%s: %" PRIu64 " (0x%" PRIx64 ", %s)%s", safe, number, number,
			    human_size(number, human), before);
	else
		effects_add(effects, "%s: %" PRIu64 "%s", safe, number, before);
}

static int set_one(struct qcow2_plan *plan, const char *word, struct edit_effect *effect,
		   struct qcow2_error *err)
{
	const char *equals = strrchr(word, '='); /* a path may have =NAME, a value has none */
	bool raw = false;
	bool has_old;
	uint64_t old = 0;
	char *path;
	int failed;

	if (!equals || equals == word)
		return fail(err, QCOW2_ERROR_ARGUMENT, "'%s' is not PATH=VALUE", word);
	path = strndup(word, (size_t)(equals - word));
	if (!path)
		return fail(err, QCOW2_ERROR_MEMORY, "out of memory");
	has_old = load_old(plan, path, &old);
	failed = qcow2_edit_set(plan, path, equals + 1, &raw, err);
	if (failed) {
		existing_path(path, err);
		existing_value(path, equals + 1, err);
	} else {
		tell_number(effect->lines, path, equals + 1, has_old ? &old : NULL);
	}
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
	char safe[TEXT_MAX], text[SUGGEST_TEXT_MAX];
	int failed;

	if (!on && strcmp(state, "off") != 0)
		return fail(err, QCOW2_ERROR_ARGUMENT, "a feature is on or off, not '%.80s'%s",
			    state, suggest_of_words(state, "on off", text, sizeof(text)));
	failed = qcow2_edit_feature(plan, line->words[1], line->words[2], on, err);
	if (failed)
		existing_feature(line->words[1], line->words[2], err);
	else
		effects_add(effect->lines, "%s feature %s: %s", line->words[1],
			    escape(line->words[2], safe), state);
	return failed;
}

/* ---- extension ---- */

/* Sets *size to how many bytes of data the extension gets. */
static int change_extension(struct qcow2_plan *plan, const struct edit_line *line,
			    enum qcow2_extension_change change, uint32_t magic, size_t *size,
			    struct qcow2_error *err)
{
	uint8_t *buffer = NULL;
	struct qcow2_bytes data = {NULL, 0};
	int failed;

	if (line->data && line->file)
		return fail(err, QCOW2_ERROR_ARGUMENT, "--data and --file at once");
	if (change == QCOW2_EXTENSION_REMOVE)
		return qcow2_edit_extension(plan, change, magic, data, err);
	if (line->data) {
		*size = strlen(line->data);
		return qcow2_edit_extension(plan, change, magic, bytes_of(line->data), err);
	}
	if (read_whole_file(line->file ? line->file : "-", DATA_MOST, &buffer, &data.size, err))
		return -1;
	data.data = buffer;
	*size = data.size;
	failed = qcow2_edit_extension(plan, change, magic, data, err);
	free(buffer);
	return failed;
}

static void tell_extension(struct effects *effects, enum qcow2_extension_change change,
			   uint32_t magic, size_t size)
{
	const char *name = qcow2_names_find(&qcow2_extension_types, magic);
	char title[64], bytes[48] = "";

	snprintf(title, sizeof(title), "%s%s%s", name ? " (" : "", name ? name : "",
		 name ? ")" : "");
	if (change != QCOW2_EXTENSION_REMOVE)
		snprintf(bytes, sizeof(bytes), " with %zu byte%s of data", size,
			 size == 1 ? "" : "s");
	effects_add(effects, "header extension 0x%08" PRIx32 "%s: %s%s", magic, title,
		    change == QCOW2_EXTENSION_ADD       ? "added"
		    : change == QCOW2_EXTENSION_REPLACE ? "replaced"
							: "removed",
		    bytes);
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
	char text[SUGGEST_TEXT_MAX];
	uint64_t magic;
	size_t size = 0;

	if (qcow2_number_parse(line->words[2], UINT32_MAX, &magic, &why))
		return fail(err, QCOW2_ERROR_ARGUMENT, "an extension's type has 32 bits: %s",
			    why.text);
	for (size_t i = 0; i < 3; i++) {
		if (strcmp(changes[i], change) != 0)
			continue;
		if (change_extension(plan, line, (enum qcow2_extension_change)i, (uint32_t)magic,
				     &size, err))
			return -1;
		tell_extension(effect->lines, (enum qcow2_extension_change)i, (uint32_t)magic,
			       size);
		return 0;
	}
	return fail(err, QCOW2_ERROR_ARGUMENT, "extension %.60s: add, replace or remove%s", change,
		    suggest_of_words(change, "add replace remove", text, sizeof(text)));
}

/* ---- backing, data-file, feature-names ---- */

static int verb_backing(struct qcow2_plan *plan, const struct edit_line *line,
			struct edit_effect *effect, struct qcow2_error *err)
{
	const char *what = line->words[1];
	char name[TEXT_MAX], format[TEXT_MAX];

	if (strcmp(what, "clear") == 0 && line->count == 2) {
		if (qcow2_edit_backing(plan, (struct qcow2_bytes){NULL, 0}, NULL, err))
			return -1;
		effects_add(effect->lines, "backing file: none");
		return 0;
	}
	if (strcmp(what, "set") != 0 || line->count < 3)
		return fail(err, QCOW2_ERROR_ARGUMENT, "backing set NAME FORMAT, or clear");
	if (line->words[2][0] == '\0')
		return fail(err, QCOW2_ERROR_ARGUMENT, "the backing file's name is empty");
	if (qcow2_edit_backing(plan, bytes_of(line->words[2]),
			       line->count > 3 ? line->words[3] : NULL, err))
		return -1;
	effects_add(effect->lines, "backing file: %s (%s)", escape(line->words[2], name),
		    escape(line->count > 3 ? line->words[3] : "", format));
	return 0;
}

static int verb_data_file(struct qcow2_plan *plan, const struct edit_line *line,
			  struct edit_effect *effect, struct qcow2_error *err)
{
	char name[TEXT_MAX];

	if (strcmp(line->words[1], "set") != 0)
		return fail(err, QCOW2_ERROR_ARGUMENT, "data-file set NAME");
	if (qcow2_edit_data_file(plan, bytes_of(line->words[2]), err))
		return -1;
	effects_add(effect->lines, "data file: %s", escape(line->words[2], name));
	return 0;
}

static int verb_feature_names(struct qcow2_plan *plan, const struct edit_line *line,
			      struct edit_effect *effect, struct qcow2_error *err)
{
	if (strcmp(line->words[1], "rebuild") != 0)
		return fail(err, QCOW2_ERROR_ARGUMENT, "feature-names rebuild");
	if (qcow2_edit_feature_names(plan, err))
		return -1;
	effects_add(effect->lines, "feature name table: written anew");
	return 0;
}

enum { SET, FEATURE, EXTENSION, BACKING, DATA_FILE, FEATURE_NAMES };

const struct action_row edit_verbs[EDIT_VERBS] = {
	[SET] = {"set", "PATH=VALUE...", 1, OPERANDS_ANY, EDIT_OPTIONS_ALL,
		 "set numbers: header/size=2G, snapshots/0/l1_size=1, l2/5/17=0, refcounts/0/9=1",
		 "PATH is what 'qcow2 dump' calls the number. VALUE is a number (64k, 0x1000) or "
		 "the name of a value (header/crypt_method=LUKS).",
		 .group = "Verbs", .changes_image = true},
	[FEATURE] = {"feature", "GROUP NAME|BIT on|off", 3, 3, EDIT_OPTIONS_ALL,
		     "set or clear a feature bit",
		     "GROUP is incompatible, compatible or autoclear. NAME is a name of 'qcow2 "
		     "explain', with - for blanks: lazy-refcounts.",
		     .changes_image = true},
	[EXTENSION] = {"extension", "add|replace|remove MAGIC", 2, 2,
		       EDIT_OPTIONS_ALL | EDIT_OPTIONS_DATA, "change a header extension",
		       "The data come from --data, --file or standard input.",
		       .changes_image = true},
	[BACKING] = {"backing", "set NAME FORMAT | clear", 1, 3, EDIT_OPTIONS_ALL,
		     "name the backing file and its format, or remove both",
		     "The file is not looked at, and no data are copied. FORMAT is raw, qcow2, ...",
		     .changes_image = true},
	[DATA_FILE] = {"data-file", "set NAME", 2, 2, EDIT_OPTIONS_ALL,
		       "name the external data file of an image that has one",
		       .changes_image = true},
	[FEATURE_NAMES] = {"feature-names", "rebuild", 1, 1, EDIT_OPTIONS_ALL,
			   "write the feature name table anew", .changes_image = true},
};

static int (*const functions[EDIT_VERBS])(struct qcow2_plan *plan, const struct edit_line *line,
					  struct edit_effect *effect, struct qcow2_error *err) = {
	[SET] = verb_set,
	[FEATURE] = verb_feature,
	[EXTENSION] = verb_extension,
	[BACKING] = verb_backing,
	[DATA_FILE] = verb_data_file,
	[FEATURE_NAMES] = verb_feature_names,
};

/* Finds what a word means that is no verb. */
static int unknown_verb(const char *word, struct qcow2_error *err)
{
	struct suggestion suggestion;
	char text[SUGGEST_TEXT_MAX];

	suggest_begin(&suggestion, word);
	for (size_t i = 0; i < EDIT_VERBS; i++)
		suggest_offer(&suggestion, edit_verbs[i].name);
	return fail(err, QCOW2_ERROR_ARGUMENT, "unknown verb '%.120s'%s", word,
		    suggest_text(&suggestion, "", text, sizeof(text)));
}

int edit_verb(struct qcow2_plan *plan, const struct edit_line *line, struct edit_effect *effect,
	      struct qcow2_error *err)
{
	for (size_t i = 0; i < EDIT_VERBS; i++) {
		const struct action_row *verb = &edit_verbs[i];

		if (strcmp(verb->name, line->words[0]) != 0)
			continue;
		if (line->count - 1 < verb->least || line->count - 1 > verb->most)
			return fail(err, QCOW2_ERROR_ARGUMENT, "usage: %s %s", verb->name,
				    verb->operands);
		if ((line->data || line->file) && i != EXTENSION)
			return fail(err, QCOW2_ERROR_ARGUMENT,
				    "--data and --file are for extensions, not for %s", verb->name);
		return functions[i](plan, line, effect, err);
	}
	return unknown_verb(line->words[0], err);
}
