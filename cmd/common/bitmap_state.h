/* SPDX-License-Identifier: MIT */
/* Whether a bitmap can be used: the one word that all commands say of it. */
#ifndef CMD_COMMON_BITMAP_STATE_H
#define CMD_COMMON_BITMAP_STATE_H

#include <qcow2/bitmap.h>

/* What is known of one bitmap. */
struct bitmap_state {
	/*
	 * "enabled" or "disabled" for one that can be used; "in use" if it was not saved,
	 * "inconsistent" if the image's bitmaps bit is clear, "unusable" if it is broken.
	 */
	const char *word;
	const struct qcow2_problem_kind *why; /* it is unusable; else NULL */
	bool damaged;                         /* it has a corruption, if only past its end */
};

/* How to look at the bitmaps of an image. */
struct bitmap_judge {
	const struct qcow2_image *image;
	struct qcow2_bitmap_health *health; /* of the image */
	/* Hears of every problem, too; its result is ignored. May be NULL. */
	qcow2_problem_callback also;
	void *opaque; /* handed to also() */
};

/*
 * Finds the state of a bitmap that qcow2_bitmaps_next() has just given. Bitmaps are looked at in
 * the order of the directory, each once.
 *
 * Returns 0, or -1 with *err filled as qcow2_bitmap_health_examine() does.
 */
int bitmap_state_find(const struct bitmap_judge *judge, const struct qcow2_bitmap *bitmap,
		      struct bitmap_state *out, struct qcow2_error *err);

/*
 * Whether the list of bitmaps has gone further than what the file stores, and a bit more. A
 * directory may lie in a hole of any size, where it claims billions of bitmaps: whoever goes
 * through all of them ends there.
 */
bool bitmap_past_stored(const struct qcow2_bitmaps *bitmaps, const struct qcow2_source *source);

#endif
