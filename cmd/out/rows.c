/* SPDX-License-Identifier: MIT */
/* What rows of both pages share. See rows.h. */
#include "out/rows.h"

#include <stdlib.h>
#include <string.h>

#include "out/rows_page.h"

struct rows_page *rows_page_open(struct spool *out, const struct rows_kind *kind, unsigned threads)
{
	struct rows_page *page = calloc(1, kind->page_bytes);
	struct relay_work work = {kind->make, page, kind->batch_bytes, threads};

	if (!page)
		return NULL;
	page->relay = relay_open(out, &work);
	if (page->relay)
		return page;
	free(page);
	return NULL;
}

void rows_page_close(struct rows_page *page)
{
	if (!page)
		return;
	relay_close(page->relay);
	free(page);
}

static void tell_value(const struct qcow2_visitor *visitor, void *opaque,
		       const struct qcow2_column *column, uint64_t number)
{
	struct qcow2_value value = {.size = sizeof(value),
				    .name = column->name,
				    .kind = QCOW2_VALUE_NUMBER,
				    .audience = column->audience,
				    .style = column->style,
				    .number = number,
				    .offset_bytes = QCOW2_NO_OFFSET};

	if (column->texts) {
		const char *text = column->texts[number];

		value.kind = QCOW2_VALUE_TEXT;
		value.bytes = (struct qcow2_bytes){(const uint8_t *)text, strlen(text)};
	}
	(void)visitor->field(opaque, &value);
}

void rows_tell_one(const struct qcow2_visitor *visitor, void *opaque, const struct qcow2_rows *rows,
		   size_t i)
{
	const struct qcow2_node node = {.size = sizeof(node),
					.offset_bytes = QCOW2_NO_OFFSET,
					.index = rows->index + i,
					.layout = QCOW2_LAYOUT_ROW,
					.repeats = rows->repeats[i]};
	const uint64_t *values = rows->values + i * rows->column_count;

	(void)visitor->begin_struct(opaque, &node);
	for (size_t c = 0; c < rows->column_count; c++)
		tell_value(visitor, opaque, rows->columns[c], values[c]);
	(void)visitor->end_struct(opaque, &node);
}
