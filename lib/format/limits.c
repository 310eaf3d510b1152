/* SPDX-License-Identifier: MIT */
/* The table of limits, expanded from def/limits.def. */
#include <qcow2/format.h>
#include <qcow2/limits.h>

static const struct qcow2_limit limits[] = {
#define QCOW2_LIMIT(NAME, id_text, limit, unit_text, section_text, refused_text, doc)              \
	{.id = (id_text),                                                                          \
	 .value = QCOW2_LIMIT_##NAME,                                                              \
	 .unit = (unit_text),                                                                      \
	 .section = (section_text),                                                                \
	 .refused_by = (refused_text),                                                             \
	 .meaning = (doc)},
#include <qcow2/def/limits.def>
#undef QCOW2_LIMIT
};

/* What follows from the layout of a structure, or from another limit. */
_Static_assert(QCOW2_LIMIT_SNAPSHOT_EXTRA_BYTES_MIN ==
		       offsetof(struct qcow2_snapshot_extra, icount),
	       "version 3 demands the extra data up to disk_size");
_Static_assert(QCOW2_LIMIT_QEMU_BITMAP_DIRECTORY_BYTES == QCOW2_LIMIT_QEMU_BITMAPS * 1024,
	       "QEMU allows 1024 bytes for each bitmap");
_Static_assert(QCOW2_LIMIT_QEMU_SNAPSHOT_TABLE_BYTES == QCOW2_LIMIT_QEMU_SNAPSHOTS * 1024,
	       "QEMU allows 1024 bytes for each snapshot");

const struct qcow2_limit *qcow2_limits(size_t *count)
{
	*count = sizeof(limits) / sizeof(limits[0]);
	return limits;
}
