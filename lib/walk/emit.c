/* SPDX-License-Identifier: MIT */
/* The calls with which all parts of the walk tell the visitor. See internal.h. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "walk/lost.h"

void q2_walk_fail(struct q2_walk_state *w)
{
	w->failed = true;
}

struct qcow2_table *q2_walk_table(struct q2_walk_state *w)
{
	if (!w->table && qcow2_table_open(w->image, &w->table, w->err))
		q2_walk_fail(w);
	return w->table;
}

/* Takes the answer of the visitor: anything but 0 ends the walk. */
static void answer(struct q2_walk_state *w, int result)
{
	if (result == 0)
		return;
	q2_fail(w->err, QCOW2_ERROR_STOPPED, QCOW2_NO_OFFSET, "stopped");
	q2_walk_fail(w);
}

bool q2_walk_enter(struct q2_walk_state *w, const struct q2_step *step)
{
	bool wanted;

	if (q2_walk_over(w))
		return false;
	q2_walk_offer_step(w, step);
	wanted = q2_selection_enter(w->selection, step);
	if (w->probe && w->lost.selector == SIZE_MAX && q2_selection_satisfied(w->selection)) {
		w->done = true;
		if (wanted)
			q2_selection_leave(w->selection);
		return false;
	}
	return wanted;
}

bool q2_walk_enter_key(struct q2_walk_state *w, const char *key)
{
	return q2_walk_enter(w, &(struct q2_step){.key = key, .index = QCOW2_NO_INDEX});
}

bool q2_walk_enter_bulk(struct q2_walk_state *w, const char *key)
{
	return q2_walk_enter(w,
			     &(struct q2_step){.key = key, .index = QCOW2_NO_INDEX, .bulk = true});
}

bool q2_walk_enter_index(struct q2_walk_state *w, uint64_t index)
{
	return q2_walk_enter(w, &(struct q2_step){.index = index});
}

void q2_walk_leave(struct q2_walk_state *w)
{
	q2_selection_leave(w->selection);
}

struct qcow2_node q2_walk_node(const char *key, const char *title)
{
	return (struct qcow2_node){.size = sizeof(struct qcow2_node),
				   .key = key,
				   .title = title,
				   .offset_bytes = QCOW2_NO_OFFSET,
				   .index = QCOW2_NO_INDEX,
				   .layout = QCOW2_LAYOUT_BLOCK};
}

struct qcow2_node q2_walk_row(uint64_t index, uint64_t offset_bytes)
{
	return (struct qcow2_node){.size = sizeof(struct qcow2_node),
				   .offset_bytes = offset_bytes,
				   .index = index,
				   .layout = QCOW2_LAYOUT_ROW};
}

void q2_walk_begin(struct q2_walk_state *w, const struct qcow2_node *node)
{
	if (!w->probe && !w->failed)
		answer(w, w->visitor->begin_struct ? w->visitor->begin_struct(w->opaque, node) : 0);
}

void q2_walk_end(struct q2_walk_state *w, const struct qcow2_node *node)
{
	if (!w->probe && !w->failed)
		answer(w, w->visitor->end_struct ? w->visitor->end_struct(w->opaque, node) : 0);
}

void q2_walk_begin_list(struct q2_walk_state *w, const struct qcow2_node *node)
{
	if (!w->probe && !w->failed)
		answer(w, w->visitor->begin_list ? w->visitor->begin_list(w->opaque, node) : 0);
}

void q2_walk_end_list(struct q2_walk_state *w, const struct qcow2_node *node)
{
	if (!w->probe && !w->failed)
		answer(w, w->visitor->end_list ? w->visitor->end_list(w->opaque, node) : 0);
}

void q2_walk_value_always(struct q2_walk_state *w, struct qcow2_value *value)
{
	if (w->probe || q2_walk_over(w) || !w->visitor->field)
		return;
	value->size = sizeof(*value);
	answer(w, w->visitor->field(w->opaque, value));
}

void q2_walk_value(struct q2_walk_state *w, struct qcow2_value *value)
{
	if (q2_walk_over(w))
		return;
	if (w->probe)
		q2_walk_offer(w, value->name);
	if (q2_walk_over(w) || !q2_selection_wants_field(w->selection, value->name))
		return;
	if (w->probe) {
		w->done = w->lost.selector == SIZE_MAX && q2_selection_satisfied(w->selection);
		return;
	}
	q2_walk_value_always(w, value);
}

void q2_walk_label(struct q2_walk_state *w, struct qcow2_value *value)
{
	if (w->probe)
		q2_walk_value(w, value);
	else
		q2_walk_value_always(w, value);
}

void q2_walk_number(struct q2_walk_state *w, const char *name, enum qcow2_style style,
		    uint64_t number)
{
	q2_walk_value(w, &(struct qcow2_value){.name = name,
					       .kind = QCOW2_VALUE_NUMBER,
					       .style = style,
					       .number = number,
					       .offset_bytes = QCOW2_NO_OFFSET});
}

void q2_walk_bool(struct q2_walk_state *w, const char *name, bool truth)
{
	q2_walk_value(w, &(struct qcow2_value){.name = name,
					       .kind = QCOW2_VALUE_BOOL,
					       .style = QCOW2_STYLE_BOOL,
					       .number = truth,
					       .offset_bytes = QCOW2_NO_OFFSET});
}

void q2_walk_null(struct q2_walk_state *w, const char *name)
{
	q2_walk_value(w, &(struct qcow2_value){.name = name,
					       .kind = QCOW2_VALUE_NULL,
					       .offset_bytes = QCOW2_NO_OFFSET});
}

void q2_walk_text(struct q2_walk_state *w, const char *name, const char *text)
{
	q2_walk_value(w, &(struct qcow2_value){.name = name,
					       .kind = QCOW2_VALUE_TEXT,
					       .style = QCOW2_STYLE_TEXT,
					       .bytes = {(const uint8_t *)text, strlen(text)},
					       .offset_bytes = QCOW2_NO_OFFSET});
}

void q2_walk_bytes(struct q2_walk_state *w, const char *name, bool text, struct qcow2_bytes bytes,
		   uint64_t offset_bytes)
{
	q2_walk_value(w, &(struct qcow2_value){.name = name,
					       .kind = text ? QCOW2_VALUE_TEXT : QCOW2_VALUE_BYTES,
					       .style = text ? QCOW2_STYLE_TEXT : QCOW2_STYLE_BYTES,
					       .bytes = bytes,
					       .raw = bytes,
					       .offset_bytes = offset_bytes});
}

uint64_t q2_walk_afford(uint64_t *left, uint64_t first, uint64_t last, uint64_t size_bytes)
{
	uint64_t count = first < last ? last - first : 0;
	uint64_t most = *left / size_bytes;

	count = count < most ? count : most;
	*left -= count * size_bytes;
	return first + count;
}

void q2_walk_omitted(struct q2_walk_state *w, const char *name, uint64_t count)
{
	if (count > 0)
		q2_walk_value_always(w, &(struct qcow2_value){.name = name,
							      .kind = QCOW2_VALUE_NUMBER,
							      .style = QCOW2_STYLE_DECIMAL,
							      .number = count,
							      .offset_bytes = QCOW2_NO_OFFSET});
}

void q2_walk_entry(struct q2_walk_state *w, uint64_t entry, uint64_t offset_bytes)
{
	uint8_t bytes[8];

	for (unsigned i = 0; i < 8; i++)
		bytes[i] = (uint8_t)(entry >> (56 - 8 * i));
	q2_walk_value(w, &(struct qcow2_value){.name = "entry",
					       .kind = QCOW2_VALUE_NUMBER,
					       .style = QCOW2_STYLE_HEX,
					       .number = entry,
					       .raw = {bytes, sizeof(bytes)},
					       .offset_bytes = offset_bytes});
}

/* Cuts the bytes of a text field of fixed length at the first NUL. */
static struct qcow2_bytes up_to_nul(struct qcow2_bytes bytes)
{
	const uint8_t *nul = bytes.size > 0 ? memchr(bytes.data, 0, bytes.size) : NULL;

	if (nul)
		bytes.size = (size_t)(nul - bytes.data);
	return bytes;
}

static void walk_field(struct q2_walk_state *w, const struct qcow2_field *field,
		       const struct q2_placed *placed)
{
	struct qcow2_bytes raw = {placed->bytes.data + field->offset_bytes, field->width_bytes};
	struct qcow2_value value = {
		.name = field->name,
		.kind = QCOW2_VALUE_NUMBER,
		.style = field->style,
		.names = field->names,
		.raw = raw,
		.offset_bytes = placed->offset_bytes + field->offset_bytes,
	};

	if (field->style == QCOW2_STYLE_TEXT || field->style == QCOW2_STYLE_BYTES) {
		bool text = field->style == QCOW2_STYLE_TEXT;

		value.kind = text ? QCOW2_VALUE_TEXT : QCOW2_VALUE_BYTES;
		value.bytes = text ? up_to_nul(raw) : raw;
	} else {
		value.number = qcow2_field_load(field, placed->bytes.data, placed->bytes.size,
						w->geometry ? w->geometry->cluster_bits : 16);
	}
	/* A selector may use the field's name or its alias; the field is shown under its name. */
	if (w->probe && field->alias && !q2_walk_over(w))
		(void)q2_selection_wants_field(w->selection, field->alias);
	if (field->alias && !w->probe && q2_selection_wants_field(w->selection, field->alias))
		q2_walk_value_always(w, &value);
	else
		q2_walk_value(w, &value);
}

void q2_walk_fields(struct q2_walk_state *w, const struct qcow2_structure *structure,
		    const struct q2_placed *placed)
{
	for (size_t i = 0; i < structure->field_count && !q2_walk_over(w); i++) {
		const struct qcow2_field *field = &structure->fields[i];

		if ((size_t)field->offset_bytes + field->width_bytes <= placed->bytes.size)
			walk_field(w, field, placed);
	}
}
