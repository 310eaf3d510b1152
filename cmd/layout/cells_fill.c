/* SPDX-License-Identifier: MIT */
/* See cells_fill.h. */
#include "layout/cells_fill.h"

uint64_t cells_shown_bytes(const struct layout *layout)
{
	uint64_t size = qcow2_usage_file_size_bytes(layout->usage);
	uint64_t end = qcow2_usage_end_bytes(layout->usage);

	return !layout->is_file && end > 0 && end < size ? end : size;
}

int cells_fill(struct cells *cells, struct layout *layout, size_t most, struct qcow2_error *err)
{
	const struct qcow2_geometry *geometry = qcow2_image_geometry(layout->image);
	const struct qcow2_usage_run *run;
	int more;

	if (!cells_init(cells, cells_shown_bytes(layout), geometry->cluster_size_bytes, most)) {
		*err = (struct qcow2_error){.code = QCOW2_ERROR_MEMORY,
					    .offset_bytes = QCOW2_NO_OFFSET,
					    .text = "out of memory"};
		return -1;
	}
	while ((more = qcow2_usage_next(layout->usage, &run, err)) > 0)
		cells_add(cells, run);
	cells_settle(cells);
	return more;
}
