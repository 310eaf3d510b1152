/* SPDX-License-Identifier: MIT */
/* Reads manifests. See manifest.h. */
#include <stdio.h>
#include <stdlib.h>

#include "common/json_read.h"
#include "export/manifest.h"
#include "export/piece.h"

static int fail(struct qcow2_error *err, enum qcow2_error_code code, const char *text)
{
	*err = (struct qcow2_error){.code = code, .offset_bytes = QCOW2_NO_OFFSET};
	snprintf(err->text, sizeof(err->text), "%s", text);
	return -1;
}

/* Takes one range. False: it makes no sense, or does not follow the last one. */
static bool take_range(struct json_reader *reader, const struct export_record *record,
		       struct export_recorded *out)
{
	const struct export_recorded *last =
		record->count ? &record->list[record->count - 1] : NULL;
	bool has_start = false, has_digest = false;

	*out = (struct export_recorded){.is_zero = false};
	json_need(reader, '{');
	while (!reader->bad && !json_take(reader, '}')) {
		const struct qcow2_bytes key = json_take_string(reader);

		json_need(reader, ':');
		if (json_is(key, "start")) {
			out->range.start_bytes = json_take_number(reader);
			has_start = true;
		} else if (json_is(key, "length")) {
			out->range.length_bytes = json_take_number(reader);
		} else if (json_is(key, "zero")) {
			out->is_zero = json_take_bool(reader);
		} else if (json_is(key, "sha256")) {
			has_digest = json_take_hex(json_take_string(reader), out->digest,
						   HASH_DIGEST_BYTES);
		} else {
			json_skip_value(reader);
		}
		(void)json_take(reader, ',');
	}
	return !reader->bad && has_start && has_digest != out->is_zero &&
	       out->range.length_bytes > 0 &&
	       (out->is_zero || out->range.length_bytes <= EXPORT_PIECE_BYTES) &&
	       out->range.start_bytes <= UINT64_MAX - out->range.length_bytes &&
	       (!last ||
		last->range.start_bytes + last->range.length_bytes <= out->range.start_bytes);
}

static int take_ranges(struct json_reader *reader, struct export_record *record,
		       struct qcow2_error *err)
{
	size_t room = 0;

	json_need(reader, '[');
	while (!reader->bad && !json_take(reader, ']')) {
		if (record->count == room) {
			const size_t more = room ? 2 * room : 64;
			struct export_recorded *grown =
				realloc(record->list, more * sizeof(*grown));

			if (!grown)
				return fail(err, QCOW2_ERROR_MEMORY, "out of memory");
			record->list = grown;
			room = more;
		}
		if (take_range(reader, record, &record->list[record->count]))
			record->count++;
		else
			reader->bad = true;
		(void)json_take(reader, ',');
	}
	return 0;
}

/* Takes one of the ranges that could not be read. False: it makes no sense. */
static bool take_unreadable(struct json_reader *reader, struct export_range *out)
{
	*out = (struct export_range){0, 0};
	json_need(reader, '{');
	while (!reader->bad && !json_take(reader, '}')) {
		const struct qcow2_bytes key = json_take_string(reader);

		json_need(reader, ':');
		if (json_is(key, "start"))
			out->start_bytes = json_take_number(reader);
		else if (json_is(key, "length"))
			out->length_bytes = json_take_number(reader);
		else
			json_skip_value(reader);
		(void)json_take(reader, ',');
	}
	return !reader->bad && out->length_bytes > 0 &&
	       out->start_bytes <= UINT64_MAX - out->length_bytes;
}

static int take_all_unreadable(struct json_reader *reader, struct export_record *record,
			       struct qcow2_error *err)
{
	size_t room = 0;

	json_need(reader, '[');
	while (!reader->bad && !json_take(reader, ']')) {
		if (record->unreadable_count == room) {
			const size_t more = room ? 2 * room : 64;
			struct export_range *grown =
				realloc(record->unreadable, more * sizeof(*grown));

			if (!grown)
				return fail(err, QCOW2_ERROR_MEMORY, "out of memory");
			record->unreadable = grown;
			room = more;
		}
		if (take_unreadable(reader, &record->unreadable[record->unreadable_count]))
			record->unreadable_count++;
		else
			reader->bad = true;
		(void)json_take(reader, ',');
	}
	return 0;
}

/* Takes an array. Whether there is something in it. */
static bool take_any(struct json_reader *reader)
{
	struct json_reader ahead = *reader;
	bool is_empty;

	json_need(&ahead, '[');
	is_empty = json_take(&ahead, ']');
	reader->bad |= ahead.bad;
	json_skip_value(reader);
	return !is_empty;
}

/* What the head says. */
struct head {
	bool is_manifest, is_known, has_ranges, has_state, has_size, has_bitmaps, has_listed;
	bool has_unreadable;
};

static int take_member(struct json_reader *reader, struct export_record *record, struct head *head,
		       struct qcow2_error *err)
{
	const struct qcow2_bytes key = json_take_string(reader);

	json_need(reader, ':');
	if (json_is(key, "format")) {
		head->is_manifest = json_is(json_take_string(reader), EXPORT_MANIFEST_FORMAT);
	} else if (json_is(key, "format-version")) {
		head->is_known = json_take_number(reader) == EXPORT_MANIFEST_VERSION;
	} else if (json_is(key, "state")) {
		record->is_complete = json_is(json_take_string(reader), "complete");
		head->has_state = true;
	} else if (json_is(key, "virtual-size")) {
		record->size_bytes = json_take_number(reader);
		head->has_size = true;
	} else if (json_is(key, "target-size")) {
		record->target_bytes = json_take_number(reader);
		record->has_target_bytes = true;
	} else if (json_is(key, "bitmaps")) {
		record->is_partial |= take_any(reader);
		head->has_bitmaps = true;
	} else if (json_is(key, "listed-ranges")) {
		record->is_partial |= json_take_bool(reader);
		head->has_listed = true;
	} else if (json_is(key, "unreadable") && !head->has_unreadable) {
		head->has_unreadable = true;
		return take_all_unreadable(reader, record, err);
	} else if (json_is(key, "unreadable-omitted")) {
		record->unreadable_omitted = json_take_number(reader);
	} else if (json_is(key, "ranges") && !head->has_ranges) {
		head->has_ranges = true;
		return take_ranges(reader, record, err);
	} else {
		json_skip_value(reader);
	}
	return 0;
}

static bool fits(const struct export_record *record)
{
	const struct export_range *last;

	if (record->count == 0)
		return true;
	last = &record->list[record->count - 1].range;
	return last->start_bytes + last->length_bytes <= record->size_bytes;
}

/* Whether the ranges are all of the disk; they rise. */
static bool is_whole(const struct export_record *record)
{
	uint64_t at = 0;

	for (size_t i = 0; i < record->count; i++) {
		if (record->list[i].range.start_bytes != at)
			return false;
		at += record->list[i].range.length_bytes;
	}
	return at == record->size_bytes;
}

int export_record_read(struct export_record *record, struct qcow2_bytes document,
		       struct qcow2_error *err)
{
	struct json_reader reader = {document.data, document.data + document.size, false};
	struct head head = {.is_manifest = false};
	int failed = 0;

	*record = (struct export_record){.is_complete = false};
	json_need(&reader, '{');
	while (!failed && !reader.bad && !json_take(&reader, '}')) {
		failed = take_member(&reader, record, &head, err);
		(void)json_take(&reader, ',');
	}
	json_skip_blanks(&reader);
	if (!failed && !reader.bad && head.is_manifest && !head.is_known)
		failed = fail(err, QCOW2_ERROR_UNSUPPORTED,
			      "a manifest of a version that is not known");
	if (!failed && (reader.bad || reader.at != reader.end || !head.is_manifest ||
			!head.has_ranges || !head.has_state || !head.has_size ||
			!head.has_bitmaps || !head.has_listed || !fits(record)))
		failed = fail(err, QCOW2_ERROR_BROKEN,
			      "no manifest, as 'qcow2 export --manifest' writes them");
	if (!failed && record->is_complete && !record->is_partial && !is_whole(record))
		failed = fail(err, QCOW2_ERROR_BROKEN,
			      "a manifest of all of a disk, but its ranges are only a part of it");
	if (failed)
		export_record_free(record);
	return failed;
}

void export_record_free(struct export_record *record)
{
	free(record->list);
	free(record->unreadable);
	*record = (struct export_record){.is_complete = false};
}
