/* SPDX-License-Identifier: MIT */
/* Shows extents: as JSON, one object a line, or as records. See run.h. */
#include "map/run.h"

/* The file that an offset leads into. Only with --chain it needs to be said. */
static const char *file_of(const struct map_run *run, const struct map_extent *extent)
{
	return run->chain ? run->stack.layers[extent->depth].offset_file : NULL;
}

/*
 * An array in the layout of qemu-img map, which has an extent without length for a range without
 * bytes.
 */
int map_show_json(struct map_run *run, struct qcow2_error *err)
{
	const struct map_extent none = {.start_bytes = run->start_bytes,
					.offset_bytes = QCOW2_NO_OFFSET};
	const struct map_extent *extent;
	int more;

	map_text_before(&run->text, "[{ \"start\": ");
	while ((more = map_next(run, &extent, err)) > 0) {
		map_text_object(&run->text, &run->out, extent, file_of(run, extent));
		if (run->shown == 1)
			map_text_before(&run->text, "},\n{ \"start\": ");
	}
	/* After an error the array stays open, so that nobody takes it for a whole one. */
	if (more < 0)
		return EXIT_COULD_NOT;
	if (run->shown == 0)
		map_text_object(&run->text, &run->out, &none, NULL);
	spool_text(&run->out, "}]\n");
	return EXIT_FINE;
}

int map_show_lines(struct map_run *run, struct qcow2_error *err)
{
	const struct map_extent *extent;
	int more;

	map_text_before(&run->text, "{ \"start\": ");
	while ((more = map_next(run, &extent, err)) > 0) {
		map_text_object(&run->text, &run->out, extent, file_of(run, extent));
		spool_write(&run->out, "}\n", 2);
	}
	return more < 0 ? EXIT_COULD_NOT : EXIT_FINE;
}

int map_show_records(struct map_run *run, struct qcow2_error *err)
{
	const struct map_extent *extent;
	int more;

	while ((more = map_next(run, &extent, err)) > 0)
		map_record(&run->out, extent);
	return more < 0 ? EXIT_COULD_NOT : EXIT_FINE;
}
