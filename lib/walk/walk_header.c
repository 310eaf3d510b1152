/* SPDX-License-Identifier: MIT */
/* Walks the header, the feature bits that are set, and the backing file's name. */
#include <stdio.h>
#include <string.h>

#include "image/extensions.h"
#include "walk/lost.h"

#define COMPRESSION_TYPE_AT offsetof(struct qcow2_header, compression_type)
#define KNOWN_HEADER_BYTES  sizeof(struct qcow2_header)
#define FEATURE_NAME_BYTES  sizeof(struct qcow2_feature_name)

/*
 * Tells the fields that a version 2 header lacks, with the values that the specification fixes for
 * them. They have no bytes and no place.
 */
static void walk_fixed_fields(struct q2_walk_state *w)
{
	const struct qcow2_structure *structure = &qcow2_header_structure;
	const uint64_t values[] = {0, 0, 0, 4, QCOW2_HEADER_V2_BYTES};
	size_t next = 0;

	for (size_t i = 0; i < structure->field_count; i++) {
		const struct qcow2_field *field = &structure->fields[i];

		if (field->offset_bytes < QCOW2_HEADER_V2_BYTES ||
		    field->offset_bytes >= COMPRESSION_TYPE_AT)
			continue;
		q2_walk_value(w, &(struct qcow2_value){.name = field->name,
						       .kind = QCOW2_VALUE_NUMBER,
						       .style = field->style,
						       .names = field->names,
						       .number = values[next++],
						       .offset_bytes = QCOW2_NO_OFFSET});
	}
}

/* Tells the bytes of the header behind the known fields, without padding of zeros. */
static void walk_header_tail(struct q2_walk_state *w, struct qcow2_bytes cluster)
{
	uint64_t end = w->header->header_length;
	uint64_t at = COMPRESSION_TYPE_AT + 1;

	if (end > cluster.size)
		end = cluster.size;
	while (at < end && at < KNOWN_HEADER_BYTES && cluster.data[at] == 0)
		at++;
	if (at >= end)
		return;
	q2_walk_bytes(w, "unknown-bytes", false,
		      (struct qcow2_bytes){cluster.data + at, (size_t)(end - at)}, at);
}

void q2_walk_header(struct q2_walk_state *w)
{
	struct qcow2_bytes cluster = qcow2_image_first_cluster(w->image);
	struct qcow2_node node = q2_walk_node("header", "Header");
	struct q2_placed placed = {cluster, 0};
	bool v3 = w->header->version >= 3;

	node.offset_bytes = 0;
	node.offset_key = "offset";
	if (!q2_walk_enter_key(w, "header"))
		return;
	if (placed.bytes.size > QCOW2_HEADER_V2_BYTES && !v3)
		placed.bytes.size = QCOW2_HEADER_V2_BYTES;
	if (v3 && w->header->header_length <= COMPRESSION_TYPE_AT &&
	    placed.bytes.size > COMPRESSION_TYPE_AT)
		placed.bytes.size = COMPRESSION_TYPE_AT;
	q2_walk_begin(w, &node);
	q2_walk_fields(w, &qcow2_header_structure, &placed);
	if (v3)
		walk_header_tail(w, cluster);
	else
		walk_fixed_fields(w);
	q2_walk_end(w, &node);
	q2_walk_leave(w);
}

/*
 * Finds the name that the image's own feature name table gives a bit. The view is empty if there is
 * none: with data NULL if there is no table, else not NULL.
 */
static struct qcow2_bytes name_in_image(const struct q2_walk_state *w, uint8_t type, uint8_t bit)
{
	struct qcow2_extension extension;
	struct qcow2_bytes none = {NULL, 0};

	if (!q2_find_extension(w->image, QCOW2_EXTENSION_FEATURE_NAMES, &extension))
		return none;
	for (size_t at = 0; extension.data.size - at >= FEATURE_NAME_BYTES;
	     at += FEATURE_NAME_BYTES) {
		const uint8_t *entry = extension.data.data + at;
		const uint8_t *name = entry + offsetof(struct qcow2_feature_name, name), *nul;
		struct qcow2_feature_name fields;

		qcow2_feature_name_decode(&fields, entry, FEATURE_NAME_BYTES);
		if (fields.type != type || fields.bit != bit)
			continue;
		nul = memchr(name, 0, sizeof(fields.name));
		return (struct qcow2_bytes){name, nul ? (size_t)(nul - name) : sizeof(fields.name)};
	}
	none.data = extension.data.data;
	return none;
}

struct feature_group {
	const char *key;
	const struct qcow2_names *names;
	uint64_t bits;
	bool nameless; /* neither the format nor the image has a name for the bit before */
};

static void walk_feature(struct q2_walk_state *w, struct feature_group *group, uint8_t type,
			 uint8_t bit)
{
	struct qcow2_node row = q2_walk_row(bit, QCOW2_NO_OFFSET);
	const char *known = qcow2_names_find(group->names, bit);
	struct qcow2_bytes own = name_in_image(w, type, bit);

	row.title = "bit";
	row.repeats = group->nameless && !known && own.size == 0;
	group->nameless = !known && own.size == 0;
	if (!q2_walk_enter_index(w, bit))
		return;
	q2_walk_begin(w, &row);
	q2_walk_value(w, &(struct qcow2_value){.name = "bit",
					       .kind = QCOW2_VALUE_NUMBER,
					       .audience = QCOW2_FOR_PROGRAMS,
					       .number = bit,
					       .offset_bytes = QCOW2_NO_OFFSET});
	q2_walk_bool(w, "known", known != NULL);
	q2_walk_text(w, "name", known ? known : "unknown");
	if (own.size > 0)
		q2_walk_bytes(w, "name-in-image", true, own, QCOW2_NO_OFFSET);
	else if (own.data)
		q2_walk_null(w, "name-in-image");
	q2_walk_end(w, &row);
	q2_walk_leave(w);
}

static void walk_feature_group(struct q2_walk_state *w, struct feature_group *group, uint8_t type)
{
	char title[40];
	struct qcow2_node list;

	snprintf(title, sizeof(title), "Features, %s", group->key);
	list = q2_walk_node(group->key, title);
	if (!q2_walk_enter_key(w, group->key))
		return;
	q2_walk_begin_list(w, &list);
	if (group->bits == 0)
		q2_walk_lost_none(w, "no such feature bit is set");
	for (uint64_t rest = group->bits; rest != 0 && !q2_walk_over(w); rest &= rest - 1)
		walk_feature(w, group, type, (uint8_t)__builtin_ctzll(rest));
	q2_walk_end_list(w, &list);
	q2_walk_leave(w);
}

void q2_walk_features(struct q2_walk_state *w)
{
	struct feature_group groups[] = {
		{"incompatible", &qcow2_incompatible_features, w->header->incompatible_features,
		 false},
		{"compatible", &qcow2_compatible_features, w->header->compatible_features, false},
		{"autoclear", &qcow2_autoclear_features, w->header->autoclear_features, false},
	};
	struct qcow2_node node = q2_walk_node("features", NULL);

	if (!q2_walk_enter_key(w, "features"))
		return;
	q2_walk_begin(w, &node);
	for (uint8_t type = 0; type < 3; type++)
		walk_feature_group(w, &groups[type], type);
	q2_walk_end(w, &node);
	q2_walk_leave(w);
}

void q2_walk_backing(struct q2_walk_state *w)
{
	struct qcow2_bytes name = qcow2_image_backing_name(w->image);
	struct qcow2_node node = q2_walk_node("backing_file", "Backing file");

	if (w->header->backing_file_offset == 0) {
		q2_walk_lost_key(w, "backing_file", "this image has no backing file");
		return;
	}
	node.offset_bytes = w->header->backing_file_offset;
	node.offset_key = "offset";
	if (!q2_walk_enter_key(w, "backing_file"))
		return;
	q2_walk_begin(w, &node);
	q2_walk_bytes(w, "name", true, name, node.offset_bytes);
	q2_walk_end(w, &node);
	q2_walk_leave(w);
}
