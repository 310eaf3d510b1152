/* SPDX-License-Identifier: MIT */
/* Every entry of a bitmap directory that can be found. See walk.h. */
#include "edit/bitmap_trust/walk.h"

#include <string.h>

#include "image/internal.h"

#define FIXED_BYTES sizeof(struct qcow2_bitmap_dir_entry)

int q2_directory_walk_open(struct q2_directory_walk *walk, const struct qcow2_image *image,
			   struct qcow2_error *err)
{
	*walk = (struct q2_directory_walk){.count = 0};
	if (qcow2_bitmaps_open(image, &walk->bitmaps, err))
		return -1;
	walk->claimed = *qcow2_bitmaps_header(walk->bitmaps);
	q2_bitmaps_go_beyond(walk->bitmaps);
	return 0;
}

void q2_directory_walk_close(struct q2_directory_walk *walk)
{
	qcow2_bitmaps_close(walk->bitmaps);
	walk->bitmaps = NULL;
}

/* Whether an entry that the extension does not count looks like a bitmap. */
static bool is_likely(const struct qcow2_bitmap *bitmap)
{
	return !bitmap->cut && bitmap->entry.type == 1 && bitmap->entry.name_size > 0 &&
	       bitmap->entry.bitmap_table_offset != 0 && bitmap->entry.granularity_bits < 64;
}

static bool is_empty(const struct qcow2_bitmap *bitmap)
{
	static const uint8_t zeros[FIXED_BYTES];

	return bitmap->raw.size == FIXED_BYTES &&
	       memcmp(bitmap->raw.data, zeros, sizeof(zeros)) == 0;
}

int q2_directory_walk_next(struct q2_directory_walk *walk, struct qcow2_error *err)
{
	const struct qcow2_bitmaps_extension *claimed = &walk->claimed;
	bool in_count = walk->count < claimed->nb_bitmaps;
	bool in_size = walk->used < claimed->bitmap_directory_size;
	int more;

	/* What neither the count nor the size covers is left over from an older directory. */
	if (!in_count && !in_size)
		return 0;
	more = qcow2_bitmaps_next(walk->bitmaps, &walk->bitmap, err);
	if (more <= 0)
		return more;
	if (!(in_count && in_size) && !is_likely(walk->bitmap))
		return 0;
	walk->is_hole = is_empty(walk->bitmap);
	walk->holes |= walk->is_hole;
	/* Nobody knows how many entries the zeros were; those behind them may be whole. */
	if (walk->is_hole &&
	    q2_bitmaps_skip_zeros(walk->bitmaps, claimed->bitmap_directory_size, err))
		return -1;
	/* If the end of an entry is missing, nobody knows where the next one begins. */
	if (!walk->bitmap->cut) {
		walk->count++;
		walk->used = qcow2_bitmaps_used_bytes(walk->bitmaps);
	}
	return 1;
}
