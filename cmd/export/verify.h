/* SPDX-License-Identifier: MIT */
/* What a comparison of a target with its manifests found. */
#ifndef CMD_EXPORT_VERIFY_H
#define CMD_EXPORT_VERIFY_H

#include "export/ranges.h"

/* The most ranges that are listed. */
#define EXPORT_DIFFERENCES_MOST 65536

struct export_verified {
	uint64_t proven_bytes;
	/*
	 * Of ranges that a later export changed in part: their digests are of what was before; and
	 * what no manifest has.
	 */
	uint64_t unproven_bytes;
	uint64_t different_bytes;
	struct export_range *differences;
	size_t difference_count, room;
	uint64_t omitted;
	/* What could not be read when it was exported, and is zeros since then. */
	struct export_range *unreadable;
	size_t unreadable_count;
	uint64_t unreadable_omitted; /* ranges that no manifest lists */
};

#endif
