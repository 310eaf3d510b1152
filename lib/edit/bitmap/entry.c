/* SPDX-License-Identifier: MIT */
/* See entry.h. */
#include "edit/bitmap/entry.h"

#include <string.h>

#define FIXED_BYTES sizeof(struct qcow2_bitmap_dir_entry)

uint64_t q2_edited_entry_size(const struct q2_edited_bitmap *bitmap)
{
	uint64_t size =
		UINT64_C(0) + FIXED_BYTES + bitmap->entry.extra_data_size + bitmap->entry.name_size;

	return (size + 7) & ~UINT64_C(7);
}

void q2_edited_put_entry(uint8_t *to, const struct q2_edited_bitmap *bitmap)
{
	const struct qcow2_bitmap_dir_entry *e = &bitmap->entry;

	qcow2_bitmap_dir_entry_encode(e, to, FIXED_BYTES);
	if (e->extra_data_size > 0)
		memcpy(to + FIXED_BYTES, bitmap->extra, e->extra_data_size);
	memcpy(to + FIXED_BYTES + e->extra_data_size, bitmap->name, e->name_size);
}
