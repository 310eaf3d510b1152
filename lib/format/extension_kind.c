/* SPDX-License-Identifier: MIT */
/* The kinds of header extensions as a table. See extension_kind.h. */
#include "format/extension_kind.h"

static const struct q2_extension_kind kinds[Q2_EXTENSION_COUNT] = {
#define QCOW2_EXTENSION(row, number, word, name, form, fields, meaning)                            \
	[Q2_EXTENSION_##row] = {.id = Q2_EXTENSION_##row,                                          \
				.magic = (number),                                                 \
				.key = #word,                                                      \
				.shape = Q2_EXTENSION_IS_##form,                                   \
				.structure = (fields)},
#include <qcow2/def/extensions.def>
};

const struct q2_extension_kind *q2_extension_kind(uint32_t magic)
{
	for (size_t i = 0; i < Q2_EXTENSION_COUNT; i++)
		if (kinds[i].magic == magic)
			return &kinds[i];
	return NULL;
}
