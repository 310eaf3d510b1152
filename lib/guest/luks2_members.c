/* SPDX-License-Identifier: MIT */
/* See luks2_members.h. */
#include "guest/luks2_members.h"

#include "base/json.h"
#include "codec/base64.h"

/* Base64 of the longest salt or digest, with a NUL. */
#define BASE64_BYTES 96

struct qcow2_bytes q2_luks2_object(struct qcow2_bytes object, const char *name)
{
	struct qcow2_bytes value;

	if (q2_json_member(object, name, &value) != 1 || q2_json_kind(value) != Q2_JSON_OBJECT)
		value = (struct qcow2_bytes){NULL, 0};
	return value;
}

bool q2_luks2_decimal(struct qcow2_bytes object, const char *name, uint64_t *number)
{
	struct qcow2_bytes value;

	return q2_json_member(object, name, &value) == 1 && q2_json_decimal(value, number);
}

bool q2_luks2_number(struct qcow2_bytes object, const char *name, uint64_t *number)
{
	struct qcow2_bytes value;

	return q2_json_member(object, name, &value) == 1 && q2_json_number(value, number);
}

bool q2_luks2_text(struct qcow2_bytes object, const char *name, char *text, size_t size)
{
	struct qcow2_bytes value;

	return q2_json_member(object, name, &value) == 1 && q2_json_text(value, text, size);
}

bool q2_luks2_is(struct qcow2_bytes object, const char *name, const char *text)
{
	struct qcow2_bytes value;

	return q2_json_member(object, name, &value) == 1 && q2_json_is(value, text);
}

bool q2_luks2_base64(struct qcow2_bytes object, const char *name, uint8_t *bytes, size_t room,
		     size_t *size)
{
	char text[BASE64_BYTES];

	return q2_luks2_text(object, name, text, sizeof(text)) &&
	       q2_base64_decode(text, bytes, room, size);
}

bool q2_luks2_is_empty(struct qcow2_bytes object, const char *name)
{
	struct qcow2_bytes value, ignored;
	struct q2_json_items items;
	size_t found = q2_json_member(object, name, &value);

	if (found == 0)
		return true;
	items = q2_json_items(value);
	return q2_json_kind(value) == Q2_JSON_ARRAY && !q2_json_next(&items, &ignored, &ignored);
}

bool q2_luks2_lists(struct qcow2_bytes array, const char *text)
{
	struct q2_json_items items = q2_json_items(array);
	struct qcow2_bytes key, element;
	bool found = false;

	while (!items.has_keys && q2_json_next(&items, &key, &element))
		found = found || q2_json_is(element, text);
	return found;
}
