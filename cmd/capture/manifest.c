/* SPDX-License-Identifier: MIT */
/*
 * The manifest of a capture: a small JSON file beside it (docs/capture.md, "The manifest"). It says
 * that the file is a capture, which nothing in that file does: its bytes are the image's own.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "capture/facts.h"
#include "capture/run.h"
#include "common/read_file.h"
#include "out/json.h"

#define SUFFIX ".json"
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
	json_text(json, CAPTURE_FORMAT);
	json_number_member(json, "format-version", CAPTURE_FORMAT_VERSION);
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

int capture_manifest_read(const char *path, struct capture_facts *facts, struct qcow2_error *err)
{
	uint8_t *bytes = NULL;
	size_t size;
	bool is;

	*facts = (struct capture_facts){.whole = false};
	if (read_whole_file(path, BYTES_MOST, &bytes, &size, err))
		return -1;
	is = capture_manifest_parse((struct qcow2_bytes){bytes, size}, facts);
	free(bytes);
	return is ? 0 : capture_fail(err, QCOW2_ERROR_BROKEN, "it is no manifest of a capture");
}
