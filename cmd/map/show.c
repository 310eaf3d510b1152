/* SPDX-License-Identifier: MIT */
/* Shows extents for programs: as JSON, one object a line, or as records. See run.h. */
#include "map/crew.h"
#include "map/run.h"

/* The file that an offset leads into. Only with --chain it needs to be said. */
static const char *file_of(const struct map_run *run, const struct map_extent *extent)
{
	return run->chain ? run->stack.layers[extent->depth].offset_file : NULL;
}

/* Adds the extents of the run. */
static int add_all(struct map_run *run, struct qcow2_error *err)
{
	const struct map_extent *extent;
	int more;

	while ((more = map_next(run, &extent, err)) > 0) {
		map_text_add(&run->text, &run->out, extent, file_of(run, extent));
		map_text_go_on(&run->text);
	}
	return more;
}

/* qemu-img map has an extent without length for a range without bytes. */
static void end_array(struct map_run *run)
{
	const struct map_extent none = {.start_bytes = run->start_bytes,
					.offset_bytes = QCOW2_NO_OFFSET};

	if (run->text.is_first)
		map_text_add(&run->text, &run->out, &none, NULL);
	spool_text(&run->out, "}]\n");
}

int map_show_data(struct map_run *run, struct qcow2_error *err)
{
	int failed;

	map_text_begin(&run->text, run->format);
	failed = map_crew_pays(run) ? map_crew_show(run, err) : add_all(run, err);
	/* After an error the array stays open, so that nobody takes it for a whole one. */
	if (failed)
		return EXIT_COULD_NOT;
	if (run->format == MAP_JSON)
		end_array(run);
	return EXIT_FINE;
}
