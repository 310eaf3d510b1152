/* SPDX-License-Identifier: MIT */
/* Reads the text of a manifest, which may come from anybody. See facts.h. */
#include "capture/facts.h"
#include "common/json_read.h"

/* What was found in a manifest. */
struct found {
	bool format, version, digest, size, whole, redacted;
};

static void take_member(struct json_reader *reader, struct qcow2_bytes key,
			struct capture_facts *facts, struct found *found)
{
	if (json_is(key, "format")) {
		found->format = json_is(json_take_string(reader), CAPTURE_FORMAT);
	} else if (json_is(key, "format-version")) {
		found->version = json_take_number(reader) == CAPTURE_FORMAT_VERSION;
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
		found->digest =
			json_take_hex(json_take_string(reader), facts->digest, HASH_DIGEST_BYTES);
	} else {
		json_skip_value(reader);
	}
}

bool capture_manifest_parse(struct qcow2_bytes document, struct capture_facts *facts)
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
