/* SPDX-License-Identifier: MIT */
/* See act.h. */
#include "bitmap/act.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "bitmap/layers.h"
#include "common/existing.h"
#include "common/limits.h"
#include "common/open_image.h"
#include "common/read_file.h"
#include "out/suggest.h"

#include <qcow2/bitmap_file.h>
#include <qcow2/limits.h>
#include <qcow2/source.h>
#include <qcow2/text.h>

int act_fail(struct qcow2_error *err, const char *text)
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
static int check_other_use(const struct act *act, const char *file,
			   const struct qcow2_source *source, struct qcow2_error *err)
{
	if (is_same_file(file, act->file))
		return 0;
	if (!act->force && qcow2_source_in_use(source) == QCOW2_IN_USE_YES)
		return act_fail(
			err, "in use: another program has it open for writing (--force reads it)");
	warn_in_use(act->command, file, source);
	return 0;
}

static int merge_other(struct qcow2_bitmap_editor *editor, const struct act *act,
		       const char *target, struct qcow2_error *err)
{
	struct qcow2_source *source;
	struct qcow2_image *image = NULL;
	int failed;

	if (limits_open(act->command->common, act->from, &source, err))
		return fail_other(err, act->from);
	failed = check_other_use(act, act->from, source, err) ||
		 qcow2_image_open(source, &image, err);
	if (failed)
		fail_other(err, act->from);
	for (size_t i = 0; i + 1 < act->count && !failed; i++)
		failed = merge_image(editor, act, image, act->words[i], target, err);
	qcow2_image_close(image);
	qcow2_source_close(source);
	return failed ? -1 : 0;
}

/* Merges the bitmap of one image of the chain; the first one is that which is changed. */
static int merge_layer(struct qcow2_bitmap_editor *editor, const struct act *act,
		       const struct layer *layer, const char *source, struct qcow2_error *err)
{
	const char *target = act->words[act->count - 1];
	struct qcow2_dirty_extents *extents;
	int failed;

	if (layers_extents(layer, source, act->force, &extents, err))
		return -1;
	if (!extents)
		return 0;
	failed = check_other_use(act, layer->file, layer->source, err)
			 ? fail_other(err, layer->file)
			 : qcow2_bitmap_merge_extents(editor, extents, bitmap_bytes(target), err);
	qcow2_dirty_extents_close(extents);
	return failed;
}

static int merge_chain(struct qcow2_bitmap_editor *editor, const struct act *act,
		       struct qcow2_error *err)
{
	struct layers layers;
	size_t depth;
	int failed = layers_open(&layers, act->command, act->file, err);

	for (size_t i = 0; i + 1 < act->count && !failed; i++) {
		failed = layers_with(&layers, act->words[i], act->force, &depth, err);
		for (size_t j = 0; !failed && j < depth; j++)
			failed = merge_layer(editor, act, &layers.items[j], act->words[i], err);
	}
	layers_close(&layers);
	return failed;
}

static int merge(struct qcow2_bitmap_editor *editor, const struct act *act, struct qcow2_error *err)
{
	const char *target = act->words[act->count - 1];
	int failed = 0;

	if (act->chain)
		return merge_chain(editor, act, err);
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
		(void)act_fail(err, "the export is of a bitmap that was not saved properly or is "
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

/* Remembers what an action did. */
static void tell(const struct act *act)
{
	const char *verb = act->verb;
	size_t last = act->count - 1;
	struct name_list sources;
	char text[400];

	if (strcmp(verb, "merge") == 0) {
		name_list_begin(&sources, text, sizeof(text));
		for (size_t i = 0; i < last; i++)
			name_list_add(&sources, bitmap_bytes(act->words[i]));
		told_add(act->told, verb, act->words[last], name_list_end(&sources));
	} else if (strcmp(verb, "rename") == 0) {
		told_add(act->told, verb, act->words[1], act->words[0]);
	} else if (strcmp(verb, "import") == 0) {
		told_add(act->told, verb, act->words[0], NULL);
	} else {
		for (size_t i = 0; i < act->count; i++)
			told_add(act->told, verb, act->words[i], NULL);
	}
}

int act_run(struct qcow2_bitmap_editor *editor, const struct act *act, struct qcow2_error *err)
{
	int failed = 0;

	if (strcmp(act->verb, "merge") == 0)
		failed = merge(editor, act, err);
	else if (strcmp(act->verb, "import") == 0)
		failed = import(editor, act, err);
	else if (strcmp(act->verb, "rename") == 0)
		failed = qcow2_bitmap_rename(editor, bitmap_bytes(act->words[0]),
					     bitmap_bytes(act->words[1]), err);
	else
		for (size_t i = 0; i < act->count && !failed; i++)
			failed = one(editor, act, act->words[i], err);
	if (failed)
		return -1;
	tell(act);
	return 0;
}
