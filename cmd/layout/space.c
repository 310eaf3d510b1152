/* SPDX-License-Identifier: MIT */
/* See space.h. */
#include "layout/space.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/freed.h"
#include "layout/layout.h"
#include "out/human.h"

#include <qcow2/text.h>

/* ---- measuring ---- */

static void take_free(struct layout_space *space, const struct qcow2_usage_run *run)
{
	space->free_bytes += run->length_bytes - run->hole_bytes;
	space->free_runs++;
	if (run->length_bytes <= space->largest_length_bytes)
		return;
	space->largest_start_bytes = run->start.byte;
	space->largest_length_bytes = run->length_bytes;
}

static int measure_runs(struct layout *layout, struct qcow2_error *err)
{
	const uint64_t end = qcow2_usage_end_bytes(layout->usage);
	struct layout_space *space = &layout->space;
	const struct qcow2_usage_run *run;
	int more;

	while ((more = qcow2_usage_next(layout->usage, &run, err)) > 0) {
		if (run->start.byte >= end)
			space->behind_stored_bytes += run->length_bytes - run->hole_bytes;
		else if (run->kind == QCOW2_USAGE_FREE)
			take_free(space, run);
	}
	return more;
}

/* What deleting all snapshots, or removing all bitmaps, would free. */
static int measure_users(struct layout *layout, struct qcow2_error *err)
{
	struct layout_space *space = &layout->space;
	struct snapshot_table table;
	int failed = snapshot_table_read(&table, layout->image, err) ||
		     freed_all_snapshots(layout->usage, &table, &space->snapshot_count,
					 &space->snapshots_bytes, err);

	snapshot_table_release(&table);
	return failed || freed_all_bitmaps(layout->usage, layout->image, &space->bitmap_count,
					   &space->bitmaps_bytes, err)
		       ? -1
		       : 0;
}

int layout_space_measure(struct layout *layout, struct qcow2_error *err)
{
	const uint64_t size = qcow2_usage_file_size_bytes(layout->usage);
	const uint64_t end = qcow2_usage_end_bytes(layout->usage);
	static const enum qcow2_usage_kind guest[] = {QCOW2_USAGE_DATA, QCOW2_USAGE_COMPRESSED,
						      QCOW2_USAGE_SNAPSHOT_ONLY,
						      QCOW2_USAGE_SHARED};
	struct layout_space *space = &layout->space;

	*space = (struct layout_space){.behind_bytes = size > end ? size - end : 0};
	space->leaked_bytes = qcow2_usage_total_of(layout->usage, QCOW2_USAGE_LEAKED)->bytes;
	for (size_t i = 0; i < sizeof(guest) / sizeof(guest[0]); i++)
		space->zero_bytes += qcow2_usage_total_of(layout->usage, guest[i])->hole_bytes;
	space->has_users = qcow2_usage_user_count(layout->usage) > 0;
	if (measure_runs(layout, err))
		return -1;
	return space->has_users ? measure_users(layout, err) : 0;
}

/* ---- commands ---- */

const char *layout_space_doubt(const struct layout *layout)
{
	if (layout->soundness.corruptions > 0)
		return "The image is corrupt (qcow2 check).";
	if (layout->soundness.leaks_may_be_data)
		return "The guest may have lost data (qcow2 check).";
	switch (qcow2_source_in_use(layout->source)) {
	case QCOW2_IN_USE_NO:
		return NULL;
	case QCOW2_IN_USE_YES:
		return "Another program writes to the image.";
	default:
		return "Another program may write to the image.";
	}
}

__attribute__((format(printf, 3, 4))) static void
set_command(const struct layout *layout, struct layout_gain *gain, const char *format, ...)
{
	char file[LAYOUT_COMMAND_MAX - 128];
	const bool fits = qcow2_text_shell_file(layout->file, file, sizeof(file)) < sizeof(file);
	va_list list;
	size_t used;

	va_start(list, format);
	used = (size_t)vsnprintf(gain->command, sizeof(gain->command), format, list);
	va_end(list);
	snprintf(gain->command + used, sizeof(gain->command) - used, " %s", fits ? file : "IMAGE");
}

__attribute__((format(printf, 2, 3))) static void set_detail(struct layout_gain *gain,
							     const char *format, ...)
{
	va_list list;

	va_start(list, format);
	vsnprintf(gain->detail, sizeof(gain->detail), format, list);
	va_end(list);
}

static void gain_free(const struct layout *layout, struct layout_gain *gain)
{
	const struct layout_space *space = &layout->space;
	const bool punches = layout->is_file && !layout_space_doubt(layout);

	gain->bytes = space->free_bytes;
	if (gain->bytes > 0 && punches)
		set_command(layout, gain, "fallocate -p -o 0x%" PRIx64 " -l 0x%" PRIx64,
			    space->largest_start_bytes, space->largest_length_bytes);
	if (space->free_runs > 1)
		set_detail(gain, "in %" PRIu64 " runs%s", space->free_runs,
			   punches && gain->bytes > 0 ? "; this punches the largest:" : "");
	else if (!layout->is_file)
		set_detail(gain, "the image takes it before it grows");
}

/* A corrupt image may have lost its mappings, and what leaks may be the guest's data. */
static void gain_leaked(const struct layout *layout, struct layout_gain *gain)
{
	gain->bytes = layout->space.leaked_bytes;
	if (gain->bytes == 0)
		return;
	if (layout->soundness.leaks_may_be_data || layout->soundness.corruptions > 0)
		set_command(layout, gain, "qcow2 check");
	else if (!layout_space_doubt(layout))
		set_command(layout, gain, "qcow2 repair --leaks");
	if (layout->soundness.leaks_may_be_data)
		set_detail(gain, "they may be data of the guest");
}

static void gain_users(const struct layout *layout, enum layout_place place,
		       struct layout_gain *gain)
{
	const bool snapshots = place == LAYOUT_SNAPSHOTS;
	const uint64_t count =
		snapshots ? layout->space.snapshot_count : layout->space.bitmap_count;

	gain->bytes = snapshots ? layout->space.snapshots_bytes : layout->space.bitmaps_bytes;
	if (count == 0)
		return;
	set_command(layout, gain, snapshots ? "qcow2 snapshot space" : "qcow2 bitmap list");
	set_detail(gain, "%" PRIu64 " %s%s", count, snapshots ? "snapshot" : "bitmap",
		   count == 1 ? "" : "s");
}

static void gain_zero(const struct layout *layout, struct layout_gain *gain)
{
	gain->bytes = layout->space.zero_bytes;
	if (gain->bytes > 0)
		set_detail(gain, "allocated, but the file stores none of it");
}

static void gain_behind(const struct layout *layout, struct layout_gain *gain)
{
	const struct layout_space *space = &layout->space;
	char human[HUMAN_MAX];

	gain->bytes = space->behind_bytes;
	if (gain->bytes == 0)
		return;
	if (layout->is_file && !layout_space_doubt(layout))
		set_command(layout, gain, "truncate -s %" PRIu64,
			    qcow2_usage_end_bytes(layout->usage));
	if (!layout->is_file)
		set_detail(gain, "the rest of the device, for the image to grow");
	else if (space->behind_stored_bytes == 0)
		set_detail(gain, "none of it stored");
	else if (space->behind_stored_bytes < gain->bytes)
		set_detail(gain, "%s of it stored", human_size(space->behind_stored_bytes, human));
}

void layout_space_gain(const struct layout *layout, enum layout_place place,
		       struct layout_gain *gain)
{
	static const char *const names[][2] = {
		[LAYOUT_FREE] = {"free", "free clusters"},
		[LAYOUT_LEAKED] = {"leaked", "leaked"},
		[LAYOUT_SNAPSHOTS] = {"snapshots", "snapshots' own"},
		[LAYOUT_BITMAPS] = {"bitmaps", "bitmaps"},
		[LAYOUT_ZERO] = {"zeros", "zeros in holes"},
		[LAYOUT_BEHIND] = {"behind", "behind the end"},
	};

	gain->name = names[place][0];
	gain->title = names[place][1];
	gain->known =
		layout->space.has_users || (place != LAYOUT_SNAPSHOTS && place != LAYOUT_BITMAPS);
	gain->bytes = 0;
	gain->command[0] = gain->detail[0] = '\0';
	switch (place) {
	case LAYOUT_FREE:
		gain_free(layout, gain);
		break;
	case LAYOUT_LEAKED:
		gain_leaked(layout, gain);
		break;
	case LAYOUT_SNAPSHOTS:
	case LAYOUT_BITMAPS:
		gain_users(layout, place, gain);
		break;
	case LAYOUT_ZERO:
		gain_zero(layout, gain);
		break;
	default:
		gain_behind(layout, gain);
		break;
	}
}
