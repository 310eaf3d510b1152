/* SPDX-License-Identifier: MIT */
/* See plan_parse.h. */
#include "rescue/plan_parse.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/command.h"
#include "common/json_read.h"
#include "common/phase_name.h"

#include <qcow2/text.h>

#define TEXT_MOST 256
/* As rescue_write_plan() writes it. */
#define FORMAT_VERSION 1

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
		if (json_is(name, phase_name(*phase)))
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
	struct json_reader reader;
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
	struct json_reader *reader = &reading->reader;
	struct write write = {.has_offset = false};
	enum qcow2_phase phase;

	json_need(reader, '{');
	while (!reader->bad && !json_take(reader, '}')) {
		struct qcow2_bytes key = json_take_string(reader);

		json_need(reader, ':');
		if (json_is(key, "offset")) {
			write.offset = json_take_number(reader);
			write.has_offset = true;
		} else {
			struct qcow2_bytes value = json_take_string(reader);

			if (json_is(key, "phase"))
				write.phase = value;
			else if (json_is(key, "why"))
				write.why = value;
			else if (json_is(key, "old"))
				write.old_hex = value;
			else if (json_is(key, "new"))
				write.new_hex = value;
		}
		json_take(reader, ',');
	}
	if (reader->bad || !write.has_offset || !find_phase(write.phase, &phase))
		return refuse(reading, "a write needs phase, offset, old and new");
	return apply_bytes(reading, &write, phase);
}

static int read_writes(struct reading *reading)
{
	int code = EXIT_FINE;

	reading->has_writes = true;
	json_need(&reading->reader, '[');
	while (code == EXIT_FINE && !reading->reader.bad && !json_take(&reading->reader, ']')) {
		code = read_write(reading);
		json_take(&reading->reader, ',');
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
	struct json_reader *reader = &reading->reader;
	bool named = false;
	int code = EXIT_FINE;

	json_need(reader, '{');
	while (code == EXIT_FINE && !reader->bad && !json_take(reader, '}')) {
		struct qcow2_bytes key = json_take_string(reader);

		json_need(reader, ':');
		if (json_is(key, "format")) {
			named = json_is(json_take_string(reader), "qcow2-rescue-plan");
		} else if (json_is(key, "format-version")) {
			reading->is_known = json_take_number(reader) == FORMAT_VERSION;
		} else if (json_is(key, "size-before")) {
			reading->size_before = json_take_number(reader);
			reading->has_sizes[0] = true;
		} else if (json_is(key, "size-after")) {
			reading->size_after = json_take_number(reader);
			reading->has_sizes[1] = true;
		} else if (json_is(key, "writes") && !reading->has_writes) {
			code = take_sizes(reading);
			if (code == EXIT_FINE)
				code = read_writes(reading);
		} else {
			json_skip_value(reader);
		}
		json_take(reader, ',');
	}
	json_skip_blanks(reader);
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
	reading.reader = (struct json_reader){document.data, document.data + document.size, false};
	return read_document(&reading) == EXIT_FINE;
}
