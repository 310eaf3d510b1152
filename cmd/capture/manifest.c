/* SPDX-License-Identifier: MIT */
/*
 * The manifest of a capture: a small JSON file beside it (docs/capture.md, "The manifest"). It says
 * that the file is a capture, which nothing in that file does: its bytes are the image's own.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "capture/run.h"
#include "common/json_read.h"
#include "common/read_file.h"
#include "out/json.h"

#define FORMAT         "qcow2-capture"
#define FORMAT_VERSION 1
#define SUFFIX         ".json"
/* What a manifest may have. */
#define BYTES_MOST ((size_t)64 << 10)

bool capture_manifest_name(struct capture_run *run, const char *capture)
{
	const int length = snprintf(run->manifest, sizeof(run->manifest), "%s" SUFFIX, capture);

	return length > 0 && (size_t)length < sizeof(run->manifest);
}

/* ---- writing ---- */

static void put_bool(struct json *json, const char *key, bool truth)
{
	json_key(json, key);
	json_bool(json, truth);
}

static void put_problems(struct json *json, const struct capture_facts *facts)
{
	json_key(json, "problems");
	if (!facts->has_problems) {
		json_null(json);
		return;
	}
	json_begin_object(json);
	json_number_member(json, "corruptions", facts->corruptions);
	json_number_member(json, "leaks", facts->leak_count);
	json_number_member(json, "warnings", facts->warnings);
	json_end_object(json);
}

void capture_manifest_members(struct json *json, const struct capture_facts *facts)
{
	char digest[2 * HASH_DIGEST_BYTES + 1];

	for (size_t i = 0; i < HASH_DIGEST_BYTES; i++)
		snprintf(digest + 2 * i, 3, "%02x", facts->digest[i]);
	json_key(json, "format");
	json_text(json, FORMAT);
	json_number_member(json, "format-version", FORMAT_VERSION);
	json_key(json, "tool");
	json_text(json, "qcow2 " QCOW2_UTILS_VERSION);
	put_bool(json, "whole", facts->whole);
	put_bool(json, "redacted", facts->redacted);
	put_bool(json, "with-compressed", facts->compressed);
	put_bool(json, "with-leaks", facts->leaks);
	json_number_member(json, "file-size", facts->size_bytes);
	json_number_member(json, "metadata", facts->metadata_bytes);
	json_number_member(json, "compressed", facts->compressed_bytes);
	json_number_member(json, "left-out", facts->left_out_bytes);
	json_number_member(json, "keys-left-out", facts->keys_bytes);
	json_number_member(json, "orphan-tables", facts->orphan_tables);
	json_number_member(json, "leaks-marked", facts->marked);
	json_number_member(json, "names-replaced", facts->names);
	put_problems(json, facts);
	json_key(json, "sha256");
	json_text(json, digest);
}

int capture_manifest_write(const struct capture_facts *facts, int fd)
{
	struct spool out;
	struct json json;
	int errnum = 0;

	spool_init(&out, fd);
	json_init(&json, &out, 2, false);
	json_begin_object(&json);
	capture_manifest_members(&json, facts);
	json_end_object(&json);
	spool_text(&out, "\n");
	if (!spool_finish(&out))
		errnum = out.errnum;
	spool_release(&out);
	return errnum;
}

/* ---- reading ---- */

static int digit(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool take_digest(struct qcow2_bytes hex, uint8_t *digest)
{
	if (hex.size != 2 * (size_t)HASH_DIGEST_BYTES)
		return false;
	for (size_t i = 0; i < HASH_DIGEST_BYTES; i++) {
		const int high = digit(hex.data[2 * i]), low = digit(hex.data[2 * i + 1]);

		if (high < 0 || low < 0)
			return false;
		digest[i] = (uint8_t)(high << 4 | low);
	}
	return true;
}

/* What was found in a manifest. */
struct found {
	bool format, version, digest, size, whole, redacted;
};

static void take_member(struct json_reader *reader, struct qcow2_bytes key,
			struct capture_facts *facts, struct found *found)
{
	if (json_is(key, "format")) {
		found->format = json_is(json_take_string(reader), FORMAT);
	} else if (json_is(key, "format-version")) {
		found->version = json_take_number(reader) == FORMAT_VERSION;
	} else if (json_is(key, "whole")) {
		facts->whole = json_take_bool(reader);
		found->whole = true;
	} else if (json_is(key, "redacted")) {
		facts->redacted = json_take_bool(reader);
		found->redacted = true;
	} else if (json_is(key, "with-leaks")) {
		facts->leaks = json_take_bool(reader);
	} else if (json_is(key, "file-size")) {
		facts->size_bytes = json_take_number(reader);
		found->size = true;
	} else if (json_is(key, "sha256")) {
		found->digest = take_digest(json_take_string(reader), facts->digest);
	} else {
		json_skip_value(reader);
	}
}

static bool take_manifest(struct qcow2_bytes document, struct capture_facts *facts)
{
	struct json_reader reader = {document.data, document.data + document.size, false};
	struct found found = {.format = false};

	json_need(&reader, '{');
	while (!reader.bad && !json_take(&reader, '}')) {
		const struct qcow2_bytes key = json_take_string(&reader);

		json_need(&reader, ':');
		if (!reader.bad)
			take_member(&reader, key, facts, &found);
		(void)json_take(&reader, ',');
	}
	return !reader.bad && found.format && found.version && found.digest && found.size &&
	       found.whole && found.redacted;
}

int capture_manifest_read(const char *path, struct capture_facts *facts, struct qcow2_error *err)
{
	uint8_t *bytes = NULL;
	size_t size;
	bool is;

	*facts = (struct capture_facts){.whole = false};
	if (read_whole_file(path, BYTES_MOST, &bytes, &size, err))
		return -1;
	is = take_manifest((struct qcow2_bytes){bytes, size}, facts);
	free(bytes);
	return is ? 0 : capture_fail(err, QCOW2_ERROR_BROKEN, "it is no manifest of a capture");
}
