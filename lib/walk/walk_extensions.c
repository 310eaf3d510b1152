/* SPDX-License-Identifier: MIT */
/* Walks the header extensions, and decodes the data of those whose type is known. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "format/extension_kind.h"
#include "image/extensions.h"
#include "walk/lost.h"

#define FEATURE_NAME_BYTES sizeof(struct qcow2_feature_name)
#define DATA_AT            sizeof(struct qcow2_extension_header)

/*
 * Whether Python calls the bytes printable, which decides how qcow2.py shows an extension's data.
 */
static bool is_printable(struct qcow2_bytes data)
{
	for (size_t i = 0; i < data.size; i++) {
		uint8_t c = data.data[i];

		if ((c < 0x20 || c > 0x7e) && (c < '\t' || c > '\r'))
			return false;
	}
	return true;
}

/* Tells programs what qcow2.py prints: the text in quotes, or <binary>. */
static void walk_data_str(struct q2_walk_state *w, struct qcow2_bytes data)
{
	char quick[128];
	char *text = quick;
	struct qcow2_value value = {.name = "data_str",
				    .kind = QCOW2_VALUE_TEXT,
				    .audience = QCOW2_FOR_PROGRAMS,
				    .style = QCOW2_STYLE_TEXT,
				    .bytes = {(const uint8_t *)"<binary>", 8},
				    .offset_bytes = QCOW2_NO_OFFSET};

	if (is_printable(data)) {
		if (data.size + 2 > sizeof(quick))
			text = q2_alloc_buffer(data.size + 2);
		if (!text) {
			q2_fail_memory(w->err);
			q2_walk_fail(w);
			return;
		}
		text[0] = '\'';
		if (data.size > 0)
			memcpy(text + 1, data.data, data.size);
		text[data.size + 1] = '\'';
		value.bytes = (struct qcow2_bytes){(const uint8_t *)text, data.size + 2};
	}
	q2_walk_value(w, &value);
	if (text != quick)
		q2_free(text);
}

/* Tells the data of an extension as it is: as text if its type says so, else as bytes. */
static void walk_data(struct q2_walk_state *w, const struct qcow2_extension *extension, bool text)
{
	struct qcow2_value value = {.name = text ? "text" : "bytes",
				    .kind = text ? QCOW2_VALUE_TEXT : QCOW2_VALUE_BYTES,
				    .style = text ? QCOW2_STYLE_TEXT : QCOW2_STYLE_BYTES,
				    .bytes = extension->data,
				    .raw = extension->data,
				    .offset_bytes = extension->offset_bytes + DATA_AT};

	walk_data_str(w, extension->data);
	q2_walk_value(w, &value);
}

static void walk_feature_names(struct q2_walk_state *w, const struct qcow2_extension *extension)
{
	struct qcow2_node list = q2_walk_node("feature-names", NULL);
	uint64_t index = 0;

	walk_data_str(w, extension->data);
	if (!q2_walk_enter_key(w, "feature-names"))
		return;
	q2_walk_begin_list(w, &list);
	for (size_t at = 0; extension->data.size - at >= FEATURE_NAME_BYTES && !q2_walk_over(w);
	     at += FEATURE_NAME_BYTES, index++) {
		struct q2_placed placed = {{extension->data.data + at, FEATURE_NAME_BYTES},
					   extension->offset_bytes + DATA_AT + at};
		struct qcow2_node row = q2_walk_row(index, placed.offset_bytes);

		if (!q2_walk_enter_index(w, index))
			continue;
		q2_walk_begin(w, &row);
		q2_walk_fields(w, &qcow2_feature_name_structure, &placed);
		q2_walk_end(w, &row);
		q2_walk_leave(w);
	}
	q2_walk_end_list(w, &list);
	q2_walk_leave(w);
}

/* Walks the data of an extension that is a structure of its own. */
static void walk_structured(struct q2_walk_state *w, const struct qcow2_extension *extension,
			    const struct qcow2_structure *structure)
{
	struct q2_placed placed = {extension->data, extension->offset_bytes + DATA_AT};
	struct qcow2_node node = q2_walk_node("data", NULL);

	if (placed.bytes.size > structure->size_bytes)
		placed.bytes.size = structure->size_bytes;
	node.offset_bytes = placed.offset_bytes;
	if (!q2_walk_enter_key(w, "data"))
		return;
	q2_walk_begin(w, &node);
	q2_walk_fields(w, structure, &placed);
	if (structure == &qcow2_bitmaps_extension_structure)
		q2_walk_bitmap_directory(w);
	q2_walk_end(w, &node);
	q2_walk_leave(w);
}

static void walk_body(struct q2_walk_state *w, const struct qcow2_extension *extension)
{
	const struct q2_extension_kind *kind = q2_extension_kind(extension->header.magic);

	if (!kind) {
		walk_data(w, extension, is_printable(extension->data));
		return;
	}
	switch (kind->shape) {
	case Q2_EXTENSION_IS_TEXT:
		walk_data(w, extension, true);
		break;
	case Q2_EXTENSION_IS_FEATURE_NAMES:
		walk_feature_names(w, extension);
		break;
	case Q2_EXTENSION_IS_FIELDS:
		/* Of bitmaps, qcow2.py shows the fields alone. */
		if (kind->id != Q2_EXTENSION_BITMAPS)
			walk_data_str(w, extension->data);
		walk_structured(w, extension, kind->structure);
		break;
	}
}

static void walk_name(struct q2_walk_state *w, uint32_t magic)
{
	const char *name = qcow2_names_find(&qcow2_extension_types, magic);
	const char *shown = name ? name : "<unknown>";

	q2_walk_value_always(w,
			     &(struct qcow2_value){.name = "name",
						   .kind = QCOW2_VALUE_TEXT,
						   .audience = QCOW2_FOR_PROGRAMS,
						   .style = QCOW2_STYLE_TEXT,
						   .bytes = {(const uint8_t *)shown, strlen(shown)},
						   .offset_bytes = QCOW2_NO_OFFSET});
}

static void walk_extension(struct q2_walk_state *w, const struct qcow2_extension *extension)
{
	struct q2_placed placed = {extension->raw, extension->offset_bytes};
	struct qcow2_node node = q2_walk_node(NULL, "Header extension");
	char magic[16];
	const struct q2_extension_kind *kind = q2_extension_kind(extension->header.magic);
	struct q2_step step = {.key = kind ? kind->key : NULL, .index = extension->index};

	step.name.data = (const uint8_t *)magic;
	step.name.size = (size_t)snprintf(magic, sizeof(magic), "0x%08x", extension->header.magic);
	node.offset_bytes = extension->offset_bytes;
	node.offset_key = "offset";
	node.index = extension->index;
	if (!q2_walk_enter(w, &step))
		return;
	q2_walk_begin(w, &node);
	walk_name(w, extension->header.magic);
	q2_walk_fields(w, &qcow2_extension_structure, &placed);
	walk_body(w, extension);
	q2_walk_end(w, &node);
	q2_walk_leave(w);
}

void q2_walk_extensions(struct q2_walk_state *w)
{
	struct qcow2_node list = q2_walk_node("extensions", NULL);
	struct q2_extensions it;
	struct qcow2_extension extension;

	bool bitmaps = q2_find_extension(w->image, QCOW2_EXTENSION_BITMAPS, &extension);

	/* A selector may begin with "bitmaps", short for the directory in the extension. */
	if (bitmaps)
		q2_walk_offer(w, "bitmaps");
	if (!q2_walk_enter_key(w, "extensions"))
		return;
	q2_walk_begin_list(w, &list);
	if (!bitmaps)
		q2_walk_lost_bitmaps(w);
	q2_extensions_begin(w->image, &it);
	while (!q2_walk_over(w) && q2_extensions_next(&it, &extension))
		walk_extension(w, &extension);
	if (it.next_index == 0)
		q2_walk_lost_none(w, "this image has no header extensions");
	q2_walk_end_list(w, &list);
	q2_walk_leave(w);
}
