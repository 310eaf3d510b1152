/* SPDX-License-Identifier: MIT */
/* qcow2 bitmap extents: shows the ranges of the virtual disk that bitmaps call dirty. */
#include <inttypes.h>
#include <stdlib.h>

#include "bitmap/actions.h"
#include "bitmap/extent_text.h"

/* Progress is reported once in 65,536 extents. */
#define PROGRESS_MASK 0xffff

static int out_of_memory(const struct bitmap_run *run)
{
	const struct qcow2_error err = {.code = QCOW2_ERROR_MEMORY,
					.offset_bytes = QCOW2_NO_OFFSET,
					.text = "out of memory"};

	return bitmap_fail(run, &err);
}

static int open_all(struct bitmap_run *run, struct qcow2_dirty_extents **out)
{
	struct qcow2_dirty_extents **parts = calloc(run->name_count, sizeof(*parts));
	struct qcow2_error err;
	size_t count = 0;
	int code = EXIT_FINE;

	if (!parts)
		return out_of_memory(run);
	while (count < run->name_count && code == EXIT_FINE) {
		code = bitmap_open_extents(run, run->image, run->names[count], &parts[count]);
		count += code == EXIT_FINE;
	}
	/* The combination owns the parts, even if it fails. */
	if (code == EXIT_FINE &&
	    qcow2_dirty_extents_combine(run->operation, parts, count, out, &err))
		code = bitmap_fail(run, &err);
	else if (code != EXIT_FINE)
		while (count > 0)
			qcow2_dirty_extents_close(parts[--count]);
	free(parts);
	return code;
}

static int show_all(struct bitmap_run *run, struct qcow2_dirty_extents *extents)
{
	struct qcow2_dirty_extent extent;
	struct qcow2_error err;
	struct extent_text *text = calloc(1, sizeof(*text));
	uint64_t told = 0;
	bool first = true;
	int more;

	if (!text)
		return out_of_memory(run);
	text->format = run->format;
	spool_text(&run->out, run->format == BITMAP_JSON ? "[" : "");
	while ((more = qcow2_dirty_extents_next(extents, &extent, &err)) > 0 &&
	       run->out.errnum == 0) {
		if ((++told & PROGRESS_MASK) == 0)
			progress_share(&run->progress, extent.start_bytes,
				       qcow2_dirty_extents_size_bytes(extents));
		if (run->show != BITMAP_ALL && extent.dirty != (run->show == BITMAP_DIRTY))
			continue;
		extent_text_show(text, &run->out, &extent);
		first = false;
	}
	free(text);
	/* After an error the array stays open, so that nobody takes it for a whole one. */
	if (more < 0)
		return bitmap_fail(run, &err);
	spool_text(&run->out, run->format != BITMAP_JSON ? "" : first ? "]\n" : "\n]\n");
	return EXIT_FINE;
}

int bitmap_extents(struct bitmap_run *run)
{
	struct qcow2_dirty_extents *extents;
	int code = open_all(run, &extents);

	if (code != EXIT_FINE)
		return code;
	code = show_all(run, extents);
	qcow2_dirty_extents_close(extents);
	return code;
}
