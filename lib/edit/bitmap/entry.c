/* SPDX-License-Identifier: MIT */
/* See entry.h. */
#include "edit/bitmap/entry.h"

#include <string.h>

#include "base/bytes.h"

#define FIXED_BYTES 24

uint64_t q2_edited_entry_size(const struct q2_edited_bitmap *bitmap)
{
	uint64_t size = UINT64_C(24) + bitmap->entry.extra_data_size + bitmap->entry.name_size;

	return (size + 7) & ~UINT64_C(7);
}

void q2_edited_put_entry(uint8_t *to, const struct q2_edited_bitmap *bitmap)
{
	const struct qcow2_bitmap_dir_entry *e = &bitmap->entry;

	q2_store_be64(to, e->bitmap_table_offset);
	q2_store_be32(to + 8, e->bitmap_table_size);
	q2_store_be32(to + 12, e->flags);
	to[16] = e->type;
	to[17] = e->granularity_bits;
	to[18] = (uint8_t)(e->name_size >> 8);
	to[19] = (uint8_t)e->name_size;
	q2_store_be32(to + 20, e->extra_data_size);
	if (e->extra_data_size > 0)
		memcpy(to + FIXED_BYTES, bitmap->extra, e->extra_data_size);
	memcpy(to + FIXED_BYTES + e->extra_data_size, bitmap->name, e->name_size);
}
