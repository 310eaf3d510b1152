/* SPDX-License-Identifier: MIT */
/*
 * The commands of qcow2.py that change an image. It takes the header and the extensions apart,
 * changes them and writes all of them again: the extensions from header_length on, an end mark,
 * the backing file's name right behind; then the header's fields in the layout of version 3, but
 * for the last byte of header_length. What comes out is the same, byte for byte; where it dies in
 * the middle, this changes nothing and says why, or does what was asked.
 */
#include "compat/edit.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/open_image.h"
#include "common/read_file.h"
#include "common/report.h"
#include "compat/fields.h"
#include "compat/python_int.h"

#include <qcow2/edit.h>
#include <qcow2/format.h>
#include <qcow2/text.h>

#define HEADER_BYTES QCOW2_HEADER_V3_BYTES /* the fields that qcow2.py knows */
#define EXTENSION    sizeof(struct qcow2_extension_header)
/* What is not a header cluster by any means is not read into memory. */
#define AREA_MOST ((size_t)64 << 20)

/* The first cluster as qcow2.py takes it apart. */
struct script {
	const struct compat_edit *edit;
	struct spool *out;
	struct qcow2_source *source;
	uint8_t header[HEADER_BYTES];
	uint64_t cluster_size; /* as the image has it before the change */
	uint8_t *area;         /* extensions as they are written again */
	size_t size;
	uint8_t *backing;
	size_t backing_size;
	struct qcow2_error err;
};

/* Leaves the error of a call that failed, or of what qcow2.py dies of. */
static int die(struct script *s, enum qcow2_error_code code, const char *text)
{
	s->err = (struct qcow2_error){.code = code, .offset_bytes = QCOW2_NO_OFFSET};
	snprintf(s->err.text, sizeof(s->err.text), "%s; nothing was changed", text);
	return -1;
}

static uint64_t get(const struct script *s, const char *name)
{
	return compat_field_load(compat_field_find(&compat_header, name), s->header);
}

static bool put(struct script *s, const char *name, uint64_t value)
{
	return compat_field_store(compat_field_find(&compat_header, name), s->header, value);
}

/* Of size bytes at offset, those that the file has. */
static size_t stored(const struct script *s, uint64_t offset, uint64_t size)
{
	uint64_t end = qcow2_source_size_bytes(s->source);
	uint64_t left = offset < end ? end - offset : 0;

	return (size_t)(left < size ? left : size);
}

/* ---- taking apart ---- */

static int load_header(struct script *s)
{
	uint64_t bits;

	if (qcow2_source_size_bytes(s->source) < HEADER_BYTES)
		return die(s, QCOW2_ERROR_BROKEN, "the file ends inside the header");
	if (qcow2_source_read(s->source, 0, s->header, HEADER_BYTES, &s->err))
		return -1;
	bits = get(s, "cluster_bits");
	s->cluster_size = bits < 63 ? UINT64_C(1) << bits : INT64_MAX;
	if (get(s, "version") == 2) {
		put(s, "incompatible_features", 0);
		put(s, "compatible_features", 0);
		put(s, "autoclear_features", 0);
		put(s, "refcount_order", 4);
		put(s, "header_length", QCOW2_HEADER_V2_BYTES);
	}
	return 0;
}

static int append(struct script *s, const void *bytes, size_t size)
{
	uint8_t *grown;

	if (size > AREA_MOST - s->size)
		return die(s, QCOW2_ERROR_LIMIT, "the extensions are larger than 64 MiB");
	grown = realloc(s->area, s->size + size + 1);
	if (!grown)
		return die(s, QCOW2_ERROR_MEMORY, "out of memory");
	s->area = grown;
	if (size > 0)
		memcpy(s->area + s->size, bytes, size);
	s->size += size;
	return 0;
}

/* Reads size bytes, as far as the file has them, behind what there is already. */
static int append_stored(struct script *s, uint64_t offset, uint64_t size)
{
	size_t before = s->size, there = stored(s, offset, size);
	uint8_t *to;

	if (there > AREA_MOST - before)
		return die(s, QCOW2_ERROR_LIMIT, "the extensions are larger than 64 MiB");
	to = realloc(s->area, before + there + 1);
	if (!to)
		return die(s, QCOW2_ERROR_MEMORY, "out of memory");
	s->area = to;
	s->size += there;
	return there == 0 ? 0 : qcow2_source_read(s->source, offset, to + before, there, &s->err);
}

/*
 * One extension behind another, but for those to leave out: of neighbours of one type, a loop that
 * takes elements out of the list that it goes through passes over every other one.
 */
static int load_extensions(struct script *s, const uint32_t *without, bool *found)
{
	uint64_t at = get(s, "header_length"), end = s->cluster_size;
	uint64_t backing = get(s, "backing_file_offset");
	bool passed = false;
	uint8_t head[EXTENSION];

	if (backing != 0 && backing < end)
		end = backing;
	while (at < end) {
		struct qcow2_extension_header mark;
		uint64_t padded;
		bool leave_out;

		if (stored(s, at, EXTENSION) < EXTENSION)
			return die(s, QCOW2_ERROR_BROKEN, "the file ends inside the extensions");
		if (qcow2_source_read(s->source, at, head, EXTENSION, &s->err))
			return -1;
		qcow2_extension_header_decode(&mark, head, sizeof(head));
		if (mark.magic == QCOW2_EXTENSION_END)
			return 0;
		padded = ((uint64_t)mark.length + 7) & ~UINT64_C(7);
		leave_out = without && mark.magic == *without && !passed;
		passed = leave_out;
		if (leave_out)
			*found = true;
		else if (append(s, head, EXTENSION) || append_stored(s, at + EXTENSION, padded))
			return -1;
		at += EXTENSION + padded;
	}
	return 0;
}

static int load_backing(struct script *s)
{
	uint64_t offset = get(s, "backing_file_offset");

	if (offset == 0)
		return 0;
	s->backing_size = stored(s, offset, get(s, "backing_file_size"));
	if (s->backing_size > AREA_MOST)
		return die(s, QCOW2_ERROR_LIMIT, "the backing file's name is larger than 64 MiB");
	s->backing = malloc(s->backing_size + 1);
	if (!s->backing)
		return die(s, QCOW2_ERROR_MEMORY, "out of memory");
	return s->backing_size == 0
		       ? 0
		       : qcow2_source_read(s->source, offset, s->backing, s->backing_size, &s->err);
}

static int load(struct script *s, const uint32_t *without, bool *found)
{
	return load_header(s) || load_extensions(s, without, found) || load_backing(s) ? -1 : 0;
}

/* ---- writing again ---- */

static int plan_all(struct script *s, struct qcow2_plan *plan)
{
	uint64_t length = get(s, "header_length");
	const uint8_t end_mark[EXTENSION] = {0};
	size_t fields = length == 0 ? HEADER_BYTES - 1 : HEADER_BYTES;

	if (append(s, end_mark, EXTENSION))
		return -1;
	if (s->backing)
		put(s, "backing_file_offset", length + s->size);
	if (s->backing && append(s, s->backing, s->backing_size))
		return -1;
	if (length + s->size > s->cluster_size)
		return die(s, QCOW2_ERROR_LIMIT, "the extensions do not fit the header cluster");
	if (length > 0 && length - 1 < fields)
		fields = (size_t)length - 1;
	return qcow2_plan_write(plan, QCOW2_PHASE_POINT, length,
				(struct qcow2_bytes){s->area, s->size}, "header extensions",
				&s->err) ||
			       qcow2_plan_write(plan, QCOW2_PHASE_POINT, 0,
						(struct qcow2_bytes){s->header, fields}, "header",
						&s->err)
		       ? -1
		       : 0;
}

/* ---- the commands ---- */

enum { DONE = 0, DIED = -1, SAID = 1 };

static int apply(struct script *s, struct qcow2_plan *plan, const struct undo_place *place)
{
	/* As it is found from any folder. */
	char *path = realpath(s->edit->file, NULL);
	bool no_undo_file = false;
	const struct qcow2_apply_options how = {
		.size = sizeof(how),
		.undo_path = place->path[0] ? place->path : NULL,
		.image_path = path ? path : s->edit->file,
		.command = s->edit->command,
		.no_undo_file = &no_undo_file,
	};
	int failed = qcow2_plan_apply(plan, &how, &s->err);

	free(path);
	if (!failed)
		return DONE;
	undo_place_abandon(place);
	if (!no_undo_file)
		return DIED;
	undo_place_fail(s->edit->self, place, &s->err);
	return SAID;
}

static int update(struct script *s)
{
	struct undo_choice undo = s->edit->undo;
	struct undo_place place;
	struct qcow2_plan *plan;
	int result;

	undo.none = !undo.file && !undo.dir && !undo_dir_of_environment();
	if (qcow2_plan_open(s->source, &plan, &s->err))
		return DIED;
	if (plan_all(s, plan))
		result = DIED;
	else if (undo_place_choose(s->edit->self, &undo, s->edit->file, &place) ||
		 undo_place_prepare(s->edit->self, &place))
		result = SAID;
	else
		result = apply(s, plan, &place);
	qcow2_plan_close(plan);
	return result;
}

static int say(struct script *s, const char *format, const char *word)
{
	char safe[1024];

	qcow2_text_escape((struct qcow2_bytes){(const uint8_t *)word, strlen(word)}, safe,
			  sizeof(safe));
	spool_print(s->out, "'%s' %s\n", safe, format);
	return SAID;
}

static int set_header(struct script *s)
{
	const char *name = s->edit->arguments[0];
	struct python_int value;

	if (!python_int_parse(s->edit->arguments[1], &value))
		return say(s, "is not a valid number", s->edit->arguments[1]);
	if (!compat_field_find(&compat_header, name))
		return say(s, "is not a known header field", name);
	if (load(s, NULL, NULL))
		return DIED;
	if (value.negative || value.large || !put(s, name, value.value))
		return die(s, QCOW2_ERROR_ARGUMENT, "the number does not fit the field");
	return update(s);
}

static bool is_magic(const struct python_int *magic)
{
	return !magic->negative && !magic->large && magic->value <= UINT32_MAX;
}

static int add_extension(struct script *s, const uint8_t *data, size_t size)
{
	static const uint8_t zeros[8];
	struct qcow2_extension_header mark;
	struct python_int magic;
	uint8_t head[EXTENSION];

	if (!python_int_parse(s->edit->arguments[0], &magic))
		return say(s, "is not a valid magic number", s->edit->arguments[0]);
	if (load(s, NULL, NULL))
		return DIED;
	if (!is_magic(&magic))
		return die(s, QCOW2_ERROR_ARGUMENT, "the magic number has more than 32 bits");
	mark = (struct qcow2_extension_header){(uint32_t)magic.value, (uint32_t)size};
	qcow2_extension_header_encode(&mark, head, sizeof(head));
	if (append(s, head, EXTENSION) || append(s, data, size) ||
	    append(s, zeros, (8 - size % 8) % 8))
		return DIED;
	return update(s);
}

static int add_from_stdin(struct script *s)
{
	uint8_t *data;
	size_t size;
	int result;

	if (read_whole_file("-", AREA_MOST, &data, &size, &s->err))
		return DIED;
	result = add_extension(s, data, size);
	free(data);
	return result;
}

static int add_from_line(struct script *s)
{
	const char *data = s->edit->arguments[1];

	return add_extension(s, (const uint8_t *)data, strlen(data));
}

static int del_extension(struct script *s)
{
	struct python_int magic;
	bool found = false;
	uint32_t type;

	if (!python_int_parse(s->edit->arguments[0], &magic))
		return say(s, "is not a valid magic number", s->edit->arguments[0]);
	type = (uint32_t)magic.value;
	if (load(s, is_magic(&magic) ? &type : NULL, &found))
		return DIED;
	if (found)
		return update(s);
	spool_text(s->out, "No such header extension\n");
	return DONE;
}

static int set_feature_bit(struct script *s)
{
	static const char *const groups[] = {"incompatible", "compatible", "autoclear"};
	const char *group = s->edit->arguments[0], *word = s->edit->arguments[1];
	struct python_int bit;
	char name[64], number[32];

	/* What is a number is shown as Python shows it. */
	if (!python_int_parse(word, &bit) || bit.large)
		return say(s, "is not a valid bit number in range [0, 64)", word);
	snprintf(number, sizeof(number), "%s%" PRIu64, bit.negative ? "-" : "", bit.value);
	if (bit.negative || bit.value >= 64)
		return say(s, "is not a valid bit number in range [0, 64)", number);
	if (load(s, NULL, NULL))
		return DIED;
	for (size_t i = 0; i < 3; i++) {
		if (strcmp(groups[i], group) != 0)
			continue;
		snprintf(name, sizeof(name), "%s_features", group);
		put(s, name, get(s, name) | UINT64_C(1) << bit.value);
		return update(s);
	}
	return say(s, "is not a valid group, try 'incompatible', 'compatible', or 'autoclear'",
		   group);
}

static const struct {
	const char *name;
	int (*run)(struct script *s);
} commands[] = {
	{"set-header", set_header},
	{"add-header-ext", add_from_line},
	{"add-header-ext-stdio", add_from_stdin},
	{"del-header-ext", del_extension},
	{"set-feature-bit", set_feature_bit},
};

static int run_command(struct script *s)
{
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (strcmp(commands[i].name, s->edit->command) == 0)
			return commands[i].run(s);
	return die(s, QCOW2_ERROR_ARGUMENT, "no such command");
}

int compat_edit(const struct compat_edit *edit, struct spool *out)
{
	struct script s = {.edit = edit, .out = out};
	int result;

	/* qcow2.py opens whatever it may, and so does this. */
	if (open_for_edit(edit->self, edit->file, QCOW2_EDIT_READ_ONLY_TOO, &s.source) != EXIT_FINE)
		return EXIT_COULD_NOT;
	result = run_command(&s);
	qcow2_source_close(s.source);
	free(s.area);
	free(s.backing);
	if (result == DIED)
		return report_error(edit->self, edit->file, &s.err);
	return finish_output(edit->self, out, result == SAID ? EXIT_COULD_NOT : EXIT_FINE);
}
