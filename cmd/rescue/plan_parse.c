/* SPDX-License-Identifier: MIT */
/* See plan_parse.h. */
#include "rescue/plan_parse.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/command.h"
#include "common/phase_name.h"

#include <qcow2/text.h>

#define DEPTH_MOST 32
#define TEXT_MOST  256
/* As rescue_write_plan() writes it. */
#define FORMAT_VERSION 1

/* What is left to read. A wrong document sets bad, and then nothing more is read. */
struct reader {
	const uint8_t *at, *end;
	bool bad;
};

static void skip_blanks(struct reader *reader)
{
	while (reader->at < reader->end && strchr(" \t\r\n", *reader->at) && *reader->at)
		reader->at++;
}

/* Takes a character if it is the next one. */
static bool take(struct reader *reader, char wanted)
{
	skip_blanks(reader);
	if (reader->at == reader->end || *reader->at != (uint8_t)wanted)
		return false;
	reader->at++;
	return true;
}

static void need(struct reader *reader, char wanted)
{
	if (!take(reader, wanted))
		reader->bad = true;
}

/* The bytes of a string between its quotes, escapes as they stand. */
static struct qcow2_bytes take_string(struct reader *reader)
{
	struct qcow2_bytes text = {NULL, 0};

	need(reader, '"');
	if (reader->bad)
		return text;
	text.data = reader->at;
	while (reader->at < reader->end && *reader->at != '"') {
		if (*reader->at == '\\' && reader->end - reader->at > 1)
			reader->at++;
		reader->at++;
	}
	text.size = (size_t)(reader->at - text.data);
	need(reader, '"');
	return text;
}

static uint64_t take_number(struct reader *reader)
{
	uint64_t number = 0;
	unsigned digits = 0;

	skip_blanks(reader);
	for (; reader->at < reader->end && *reader->at >= '0' && *reader->at <= '9'; reader->at++) {
		if (__builtin_mul_overflow(number, 10, &number) ||
		    __builtin_add_overflow(number, *reader->at - '0', &number))
			reader->bad = true;
		digits++;
	}
	reader->bad |= digits == 0;
	return number;
}

/* A word or a number. */
static void skip_word(struct reader *reader)
{
	const uint8_t *start = reader->at;

	while (reader->at < reader->end && !strchr(",]} \t\r\n", *reader->at))
		reader->at++;
	reader->bad |= reader->at == start;
}

/* Skips a value of any kind. */
static void skip_value(struct reader *reader)
{
	unsigned depth = 0;

	do {
		skip_blanks(reader);
		if (reader->at == reader->end || depth > DEPTH_MOST)
			reader->bad = true;
		else if (*reader->at == '"')
			take_string(reader);
		else if (take(reader, '{') || take(reader, '['))
			depth++;
		else if (depth > 0 && (take(reader, '}') || take(reader, ']')))
			depth--;
		else if (depth == 0 || !(take(reader, ',') || take(reader, ':')))
			skip_word(reader);
	} while (depth > 0 && !reader->bad);
}

static bool is(struct qcow2_bytes text, const char *word)
{
	return text.size == strlen(word) && memcmp(text.data, word, text.size) == 0;
}

/* ---- a write ---- */

struct write {
	struct qcow2_bytes phase, why, old_hex, new_hex;
	uint64_t offset;
	bool has_offset;
};

static int digit(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Decodes hexadecimal digits. NULL if they are none, or memory is short. */
static uint8_t *decode(struct qcow2_bytes hex, size_t *size)
{
	uint8_t *bytes = malloc(hex.size / 2 + 1);

	*size = hex.size / 2;
	for (size_t i = 0; bytes && i < *size; i++) {
		int high = digit(hex.data[2 * i]), low = digit(hex.data[2 * i + 1]);

		if (high < 0 || low < 0) {
			free(bytes);
			return NULL;
		}
		bytes[i] = (uint8_t)(high << 4 | low);
	}
	if (bytes && hex.size % 2 == 0)
		return bytes;
	free(bytes);
	return NULL;
}

static bool find_phase(struct qcow2_bytes name, enum qcow2_phase *phase)
{
	for (*phase = QCOW2_PHASE_WITHDRAW; *phase <= QCOW2_PHASE_CLEAN; ++*phase)
		if (is(name, phase_name(*phase)))
			return true;
	return false;
}

/* Whether the planned file has the bytes that a write replaces; past its end there are none. */
static bool has_old(struct qcow2_source *view, uint64_t offset, const uint8_t *old, size_t size)
{
	uint8_t *now = malloc(size + 1);
	bool has = now && (size == 0 || qcow2_source_read(view, offset, now, size, NULL) == 0) &&
		   memcmp(now, old, size) == 0;

	free(now);
	return has;
}

/* One plan that is read: sources are opened anew for each write, which a plan demands. */
struct reading {
	struct qcow2_plan *plan;
	struct rescue_plan_fault *fault;
	struct reader reader;
	uint64_t size_before, size_after;
	bool has_sizes[2], has_writes, is_known;
};

/* Both return EXIT_COULD_NOT. */
static int refuse(const struct reading *reading, const char *text)
{
	reading->fault->text = text;
	return EXIT_COULD_NOT;
}

static int fail(const struct reading *reading, const struct qcow2_error *err)
{
	reading->fault->err = *err;
	return EXIT_COULD_NOT;
}

/*
 * Whether a write says all that it replaces, as far as the file goes, and stays inside the file as it
 * will be. A write that says less would go to a file that nobody has compared.
 */
static bool is_whole(const struct reading *reading, uint64_t offset, size_t old_size,
		     size_t new_size)
{
	if (new_size == 0 || old_size > new_size || offset > reading->size_after ||
	    new_size > reading->size_after - offset)
		return false;
	return old_size == new_size || offset + old_size >= reading->size_before;
}

static int apply_bytes(struct reading *reading, const struct write *write, enum qcow2_phase phase)
{
	size_t old_size, new_size;
	uint8_t *old = decode(write->old_hex, &old_size), *new = decode(write->new_hex, &new_size);
	struct qcow2_source *view = NULL;
	char why[TEXT_MOST];
	struct qcow2_error err;
	int code = EXIT_FINE;

	qcow2_text_escape(write->why, why, sizeof(why));
	if (!old || !new)
		code = refuse(reading, "old and new have to be hexadecimal digits");
	else if (!is_whole(reading, write->offset, old_size, new_size))
		code = refuse(reading, "a write has to say all the bytes that it replaces, and to "
				       "lie inside the file");
	else if (qcow2_plan_view(reading->plan, &view, &err))
		code = fail(reading, &err);
	else if (!has_old(view, write->offset, old, old_size))
		code = refuse(reading,
			      "this is not the file that the plan was made for: bytes that "
			      "it replaces are not there");
	qcow2_source_close(view);
	if (code == EXIT_FINE && qcow2_plan_write(reading->plan, phase, write->offset,
						  (struct qcow2_bytes){new, new_size}, why, &err))
		code = fail(reading, &err);
	free(old);
	free(new);
	return code;
}

static int read_write(struct reading *reading)
{
	struct reader *reader = &reading->reader;
	struct write write = {.has_offset = false};
	enum qcow2_phase phase;

	need(reader, '{');
	while (!reader->bad && !take(reader, '}')) {
		struct qcow2_bytes key = take_string(reader);

		need(reader, ':');
		if (is(key, "offset")) {
			write.offset = take_number(reader);
			write.has_offset = true;
		} else {
			struct qcow2_bytes value = take_string(reader);

			if (is(key, "phase"))
				write.phase = value;
			else if (is(key, "why"))
				write.why = value;
			else if (is(key, "old"))
				write.old_hex = value;
			else if (is(key, "new"))
				write.new_hex = value;
		}
		take(reader, ',');
	}
	if (reader->bad || !write.has_offset || !find_phase(write.phase, &phase))
		return refuse(reading, "a write needs phase, offset, old and new");
	return apply_bytes(reading, &write, phase);
}

static int read_writes(struct reading *reading)
{
	int code = EXIT_FINE;

	reading->has_writes = true;
	need(&reading->reader, '[');
	while (code == EXIT_FINE && !reading->reader.bad && !take(&reading->reader, ']')) {
		code = read_write(reading);
		take(&reading->reader, ',');
	}
	return code;
}

/* Makes sure that the file has the right size, and plans its new one, which comes first. */
static int take_sizes(struct reading *reading)
{
	struct qcow2_error err;

	if (!reading->has_sizes[0] || !reading->has_sizes[1])
		return refuse(reading, "it has no sizes in front of its writes");
	if (reading->size_before != qcow2_plan_size_bytes(reading->plan))
		return refuse(reading, "this is not the file that the plan was made for: its size "
				       "is another one");
	if (reading->size_after < reading->size_before)
		return refuse(reading, "no rescue makes a file shorter");
	if (reading->size_after != reading->size_before &&
	    qcow2_plan_resize(reading->plan, reading->size_after, &err))
		return fail(reading, &err);
	return EXIT_FINE;
}

static int read_document(struct reading *reading)
{
	struct reader *reader = &reading->reader;
	bool named = false;
	int code = EXIT_FINE;

	need(reader, '{');
	while (code == EXIT_FINE && !reader->bad && !take(reader, '}')) {
		struct qcow2_bytes key = take_string(reader);

		need(reader, ':');
		if (is(key, "format")) {
			named = is(take_string(reader), "qcow2-rescue-plan");
		} else if (is(key, "format-version")) {
			reading->is_known = take_number(reader) == FORMAT_VERSION;
		} else if (is(key, "size-before")) {
			reading->size_before = take_number(reader);
			reading->has_sizes[0] = true;
		} else if (is(key, "size-after")) {
			reading->size_after = take_number(reader);
			reading->has_sizes[1] = true;
		} else if (is(key, "writes") && !reading->has_writes) {
			code = take_sizes(reading);
			if (code == EXIT_FINE)
				code = read_writes(reading);
		} else {
			skip_value(reader);
		}
		take(reader, ',');
	}
	skip_blanks(reader);
	if (code == EXIT_FINE && !reader->bad && named && !reading->is_known)
		return refuse(reading, "a plan of a version that is not known here");
	if (code == EXIT_FINE &&
	    (reader->bad || !named || !reading->has_writes || reader->at != reader->end))
		return refuse(reading, "this is no plan of qcow2 rescue --plan-to");
	return code;
}

bool rescue_parse_plan(struct qcow2_bytes document, struct qcow2_plan *plan,
		       struct rescue_plan_fault *fault)
{
	struct reading reading = {.plan = plan, .fault = fault};

	*fault = (struct rescue_plan_fault){.text = NULL};
	reading.reader = (struct reader){document.data, document.data + document.size, false};
	return read_document(&reading) == EXIT_FINE;
}
