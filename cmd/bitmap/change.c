/* SPDX-License-Identifier: MIT */
/*
 * The actions of qcow2 bitmap that change an image. One action, or a script of them, is one plan.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "bitmap/actions.h"
#include "common/existing.h"
#include "common/open_image.h"
#include "common/read_file.h"
#include "common/script.h"

#include <qcow2/bitmap_file.h>
#include <qcow2/limits.h>
#include <qcow2/source.h>
#include <qcow2/text.h>

/* One action with its words and options. */
struct act {
	const char *verb;
	char **words;
	size_t count;
	uint64_t granularity;
	bool disabled, raw, force;
	const char *from;
	const char *file; /* the image that is changed */
	const struct command *command;
};

static int fail(struct qcow2_error *err, const char *text)
{
	*err = (struct qcow2_error){.code = QCOW2_ERROR_ARGUMENT, .offset_bytes = QCOW2_NO_OFFSET};
	snprintf(err->text, sizeof(err->text), "%s", text);
	return -1;
}

static int merge_image(struct qcow2_bitmap_editor *editor, const struct act *act,
		       const struct qcow2_image *image, const char *source, const char *target,
		       struct qcow2_error *err)
{
	struct qcow2_bitmap_dir_entry entry;
	struct qcow2_dirty_extents *extents;
	int failed;

	if (bitmap_find_usable(image, source, act->force, &entry, err) ||
	    qcow2_dirty_extents_open(image, &entry, act->force ? QCOW2_DIRTY_EXTENTS_LENIENT : 0,
				     &extents, err)) {
		qcow2_bitmap_error(err, bitmap_bytes(source));
		existing_bitmaps(image, err);
		err->code = QCOW2_ERROR_ARGUMENT; /* it says already what there is */
		return -1;
	}
	failed = qcow2_bitmap_merge_extents(editor, extents, bitmap_bytes(target), err);
	qcow2_dirty_extents_close(extents);
	return failed;
}

/* Puts the name of the image that --from names in front of an error. */
static int fail_other(struct qcow2_error *err, const char *from)
{
	struct qcow2_error copy = *err;
	char name[96];

	qcow2_text_escape(bitmap_bytes(from), name, sizeof(name));
	snprintf(err->text, sizeof(err->text), "%s: %.150s", name, copy.text);
	return -1;
}

static bool is_same_file(const char *a, const char *b)
{
	struct stat one, other;

	return stat(a, &one) == 0 && stat(b, &other) == 0 && one.st_dev == other.st_dev &&
	       one.st_ino == other.st_ino;
}

/*
 * Refuses to read bits that another program may still write: some may be missing. Our own lock does
 * not count.
 */
static int check_other_use(const struct act *act, const struct qcow2_source *source,
			   struct qcow2_error *err)
{
	if (is_same_file(act->from, act->file))
		return 0;
	if (!act->force && qcow2_source_in_use(source) == QCOW2_IN_USE_YES)
		return fail(err,
			    "in use: another program has it open for writing (--force reads it)");
	warn_in_use(act->command, act->from, source);
	return 0;
}

static int merge_other(struct qcow2_bitmap_editor *editor, const struct act *act,
		       const char *target, struct qcow2_error *err)
{
	struct qcow2_source *source;
	struct qcow2_image *image = NULL;
	int failed;

	if (qcow2_source_open(act->from, &source, err))
		return fail_other(err, act->from);
	failed = check_other_use(act, source, err) || qcow2_image_open(source, &image, err);
	if (failed)
		fail_other(err, act->from);
	for (size_t i = 0; i + 1 < act->count && !failed; i++)
		failed = merge_image(editor, act, image, act->words[i], target, err);
	qcow2_image_close(image);
	qcow2_source_close(source);
	return failed ? -1 : 0;
}

static int merge(struct qcow2_bitmap_editor *editor, const struct act *act, struct qcow2_error *err)
{
	const char *target = act->words[act->count - 1];
	int failed = 0;

	if (act->from)
		return merge_other(editor, act, target, err);
	for (size_t i = 0; i + 1 < act->count && !failed; i++)
		failed = qcow2_bitmap_merge(editor, bitmap_bytes(act->words[i]),
					    bitmap_bytes(target), err);
	return failed;
}

/* Adds the bitmap first if an option says how. A bitmap that exists keeps its granularity. */
static int add_as_asked(struct qcow2_bitmap_editor *editor, const struct act *act,
			uint64_t granularity, bool enabled, struct qcow2_error *err)
{
	if (!act->granularity && !act->disabled)
		return 0;
	return qcow2_bitmap_add(editor, bitmap_bytes(act->words[0]),
				act->granularity ? act->granularity : granularity,
				enabled && !act->disabled, err);
}

static int import_raw(struct qcow2_bitmap_editor *editor, const struct act *act,
		      struct qcow2_bytes bits, struct qcow2_error *err)
{
	struct qcow2_bytes name = bitmap_bytes(act->words[0]);
	int failed = add_as_asked(editor, act, 0, true, err);

	if (!failed)
		failed = qcow2_bitmap_import(editor, name, bits, err);
	if (failed && err->code == QCOW2_ERROR_NOT_FOUND)
		failed = qcow2_bitmap_add(editor, name, 0, true, err) ||
			 qcow2_bitmap_import(editor, name, bits, err);
	return failed ? -1 : 0;
}

static int import_file(struct qcow2_bitmap_editor *editor, const struct act *act,
		       struct qcow2_bytes bytes, struct qcow2_error *err)
{
	struct qcow2_bitmap_file file;
	struct qcow2_bytes bits;

	if (qcow2_bitmap_file_parse(bytes, &file, &bits, err)) {
		size_t used = strlen(err->text);

		snprintf(err->text + used, sizeof(err->text) - used,
			 " (bits alone that only begin like an export need --raw)");
		qcow2_bitmap_error(err, bitmap_bytes(act->words[0]));
		return -1;
	}
	if (file.stale && !act->force) {
		(void)fail(err, "the export is of a bitmap that was not saved properly or is "
				"damaged: bits may be missing (--force takes it)");
		qcow2_bitmap_error(err, bitmap_bytes(act->words[0]));
		return -1;
	}
	return add_as_asked(editor, act, UINT64_C(1) << file.granularity_bits, file.enabled, err) ||
			       qcow2_bitmap_import_file(editor, bitmap_bytes(act->words[0]), bytes,
							err)
		       ? -1
		       : 0;
}

static int import(struct qcow2_bitmap_editor *editor, const struct act *act,
		  struct qcow2_error *err)
{
	struct qcow2_bytes bytes;
	uint8_t *buffer;
	int failed;

	if (read_whole_file(act->words[1],
			    QCOW2_LIMIT_QEMU_BITMAP_DATA_BYTES + QCOW2_BITMAP_FILE_HEADER_BYTES +
				    QCOW2_BITMAP_FILE_TRAILER_BYTES,
			    &buffer, &bytes.size, err))
		return -1;
	bytes.data = buffer;
	failed = !act->raw && qcow2_bitmap_file_begins(bytes) ? import_file(editor, act, bytes, err)
							      : import_raw(editor, act, bytes, err);
	free(buffer);
	return failed;
}

static int one(struct qcow2_bitmap_editor *editor, const struct act *act, const char *word,
	       struct qcow2_error *err)
{
	struct qcow2_bytes name = bitmap_bytes(word);

	if (strcmp(act->verb, "add") == 0)
		return qcow2_bitmap_add(editor, name, act->granularity, !act->disabled, err);
	if (strcmp(act->verb, "remove") == 0)
		return qcow2_bitmap_remove(editor, name, err);
	if (strcmp(act->verb, "clear") == 0)
		return qcow2_bitmap_clear(editor, name, err);
	return qcow2_bitmap_enable(editor, name, strcmp(act->verb, "enable") == 0, err);
}

static int run_act(struct qcow2_bitmap_editor *editor, const struct act *act,
		   struct qcow2_error *err)
{
	int failed = 0;

	if (strcmp(act->verb, "merge") == 0)
		return merge(editor, act, err);
	if (strcmp(act->verb, "import") == 0)
		return import(editor, act, err);
	if (strcmp(act->verb, "rename") == 0)
		return qcow2_bitmap_rename(editor, bitmap_bytes(act->words[0]),
					   bitmap_bytes(act->words[1]), err);
	for (size_t i = 0; i < act->count && !failed; i++)
		failed = one(editor, act, act->words[i], err);
	return failed;
}

/* ---- scripts ---- */

struct script_run {
	struct qcow2_bitmap_editor *editor;
	const struct bitmap_run *run;
};

/*
 * Returns the value of an option if the word at *i is that option: from the same word or the next
 * one. NULL if it is not.
 */
static const char *value_of(char **words, size_t count, size_t *i, const char *name, char letter)
{
	const char *word = words[*i];
	size_t size = strlen(name);
	bool is_short = word[1] == letter;

	if (!is_short && strncmp(word + 1, name, size) != 0)
		return NULL;
	word += is_short ? 2 : 1 + size;
	if (*word)
		return is_short ? word : *word == '=' ? word + 1 : NULL;
	return *i + 1 < count ? words[++*i] : NULL;
}

/* Takes one option of a line. */
static int take_word(struct act *act, char **words, size_t count, size_t *i,
		     struct qcow2_error *err)
{
	const char *value;

	if (strcmp(words[*i], "--disabled") == 0) {
		act->disabled = true;
		return 0;
	}
	if (strcmp(words[*i], "--raw") == 0) {
		act->raw = true;
		return 0;
	}
	value = value_of(words, count, i, "-granularity", 'g');
	if (value)
		return bitmap_granularity(value, &act->granularity, err);
	act->from = value_of(words, count, i, "-from", 'b');
	return act->from ? 0
			 : fail(err, "an unknown option, or one without its value (there are "
				     "--granularity=SIZE, --disabled, --raw and --from=IMAGE)");
}

/* Takes the options of a line out of its words. */
static int take_words(struct act *act, char **words, size_t count, struct qcow2_error *err)
{
	bool ended = false;

	for (size_t i = 0; i < count; i++) {
		if (ended || words[i][0] != '-' || strcmp(words[i], "-") == 0)
			words[act->count++] = words[i];
		else if (strcmp(words[i], "--") == 0)
			ended = true;
		else if (take_word(act, words, count, &i, err))
			return -1;
	}
	return 0;
}

static int run_line(void *opaque, char **words, size_t count, struct qcow2_error *err)
{
	static const struct {
		const char *verb;
		size_t least, most;
		bool makes, merges, imports; /* which options it takes */
	} verbs[] = {
		{"add", 1, SIZE_MAX, true, false, false},
		{"remove", 1, SIZE_MAX, false, false, false},
		{"clear", 1, SIZE_MAX, false, false, false},
		{"enable", 1, SIZE_MAX, false, false, false},
		{"disable", 1, SIZE_MAX, false, false, false},
		{"rename", 2, 2, false, false, false},
		{"merge", 2, SIZE_MAX, false, true, false},
		{"import", 2, 2, true, false, true},
	};
	const struct script_run *script = opaque;
	struct act act = {.verb = words[0],
			  .words = words + 1,
			  .force = script->run->force,
			  .file = script->run->file,
			  .command = script->run->command};

	if (take_words(&act, words + 1, count - 1, err))
		return -1;
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
		if (strcmp(verbs[i].verb, act.verb) != 0)
			continue;
		if (act.count < verbs[i].least || act.count > verbs[i].most)
			return fail(err, "too few or too many names");
		if ((!verbs[i].makes && (act.granularity || act.disabled)) ||
		    (!verbs[i].merges && act.from) || (!verbs[i].imports && act.raw))
			return fail(err, "that action does not take that option");
		return run_act(script->editor, &act, err);
	}
	return fail(err, "no such action");
}

/* ---- the plan ---- */

static int plan_change(struct change *change)
{
	const struct bitmap_run *run = change->opaque;
	const struct act act = {
		.verb = run->action->name,
		.words = run->names,
		.count = run->name_count,
		.granularity = run->granularity,
		.disabled = run->disabled,
		.raw = run->raw,
		.force = run->force,
		.from = run->from,
		.file = run->file,
		.command = run->command,
	};
	struct script_run script = {.run = run};
	struct qcow2_error err;
	int failed;

	if (qcow2_bitmap_editor_open(change->report.plan, &script.editor, &err))
		return change_fail(change, &err);
	failed = strcmp(act.verb, "script") == 0
			 ? script_run(run->names[0], run_line, &script, &err)
			 : run_act(script.editor, &act, &err);
	if (!failed)
		failed = qcow2_bitmap_editor_finish(script.editor, &err);
	qcow2_bitmap_editor_close(script.editor);
	return failed ? bitmap_fail_change(change, &err) : EXIT_FINE;
}

int bitmap_change(struct bitmap_run *run)
{
	run->change.plan = plan_change;
	return change_run(&run->change);
}
