/* SPDX-License-Identifier: MIT */
/* Walks the LUKS header that the encryption header pointer leads to. */
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "image/extensions.h"
#include "walk/lost.h"

#include <qcow2/luks.h>

#define SLOTS_AT     sizeof(struct qcow2_luks1)
#define SLOT_BYTES   sizeof(struct qcow2_luks1_key_slot)
#define LUKS2_BINARY 4096
#define LUKS2_READ   65536

static void walk_slots(struct q2_walk_state *w, const struct q2_placed *luks)
{
	struct qcow2_node list = q2_walk_node("key-slots", NULL);

	if (!q2_walk_enter_key(w, "key-slots"))
		return;
	q2_walk_begin_list(w, &list);
	q2_walk_lost_rows(w, "the list of key slots", QCOW2_LUKS1_SLOTS, QCOW2_LUKS1_SLOTS);
	for (uint64_t i = 0; i < QCOW2_LUKS1_SLOTS && !q2_walk_over(w); i++) {
		uint64_t at = SLOTS_AT + i * SLOT_BYTES;
		struct q2_placed slot = {{luks->bytes.data + at, SLOT_BYTES},
					 luks->offset_bytes + at};
		struct qcow2_node node = q2_walk_node(NULL, "LUKS key slot");

		node.offset_bytes = slot.offset_bytes;
		node.offset_key = "offset";
		node.index = i;
		if (!q2_walk_enter_index(w, i))
			continue;
		q2_walk_begin(w, &node);
		q2_walk_fields(w, &qcow2_luks1_key_slot_structure, &slot);
		q2_walk_end(w, &node);
		q2_walk_leave(w);
	}
	q2_walk_end_list(w, &list);
	q2_walk_leave(w);
}

/* Tells the JSON area of LUKS2 up to its first NUL, as far as it was read. */
static void walk_json_area(struct q2_walk_state *w, const struct q2_placed *luks)
{
	const uint8_t *json = luks->bytes.data + LUKS2_BINARY;
	size_t size = luks->bytes.size - LUKS2_BINARY;
	const uint8_t *nul = memchr(json, 0, size);

	if (nul)
		size = (size_t)(nul - json);
	q2_walk_bytes(w, "json-area", true, (struct qcow2_bytes){json, size},
		      luks->offset_bytes + LUKS2_BINARY);
}

static void walk_body(struct q2_walk_state *w, const struct q2_placed *luks)
{
	struct qcow2_luks1 decoded;
	bool v2;

	qcow2_luks1_decode(&decoded, luks->bytes.data, luks->bytes.size);
	v2 = decoded.version == 2;
	q2_walk_fields(w, v2 ? &qcow2_luks2_structure : &qcow2_luks1_structure, luks);
	if (v2)
		walk_json_area(w, luks);
	else
		walk_slots(w, luks);
}

static void walk_header(struct q2_walk_state *w, const struct q2_placed *luks)
{
	struct qcow2_node node = q2_walk_node("luks", "LUKS header");

	node.offset_bytes = luks->offset_bytes;
	node.offset_key = "offset";
	if (!w->probe)
		q2_rules_luks(w->image, luks->bytes.data, luks->bytes.size, luks->offset_bytes,
			      &w->reporter);
	if (!q2_walk_enter_key(w, "luks"))
		return;
	q2_walk_begin(w, &node);
	walk_body(w, luks);
	q2_walk_end(w, &node);
	q2_walk_leave(w);
}

void q2_walk_luks(struct q2_walk_state *w)
{
	struct q2_placed luks = {{NULL, LUKS2_READ}, 0};
	struct qcow2_error reason;
	struct qcow2_extension extension;
	uint8_t *raw;

	if (!q2_find_extension(w->image, QCOW2_EXTENSION_CRYPTO, &extension)) {
		q2_walk_lost_key(w, "luks", "this image has no LUKS header");
		return;
	}
	raw = q2_alloc_buffer(LUKS2_READ);
	if (!raw) {
		q2_fail_memory(w->err);
		q2_walk_fail(w);
		return;
	}
	luks.bytes.data = raw;
	if (qcow2_image_read_luks(w->image, raw, LUKS2_READ, &luks.offset_bytes, &reason) == 0) {
		walk_header(w, &luks);
	} else if (reason.code == QCOW2_ERROR_IO || reason.code == QCOW2_ERROR_MEMORY) {
		*w->err = reason;
		q2_walk_fail(w);
	} /* if not, the rules of the extension have told why */
	q2_free(raw);
}
