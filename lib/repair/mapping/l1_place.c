/* SPDX-License-Identifier: MIT */
/* See l1_place.h. */
#include "repair/mapping/l1_place.h"

#include <stddef.h>

#include <qcow2/limits.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/checked.h"
#include "base/error.h"

/* Entries that are read at once. */
#define PIECE ((size_t)8192)

/* Where a table is, or could be. */
struct table {
	uint64_t offset, entries;
};

/* What stands there. */
struct seen {
	uint64_t used;    /* entries up to the last one that is not 0 */
	uint64_t leading; /* entries that are not 0 */
	bool faulty;      /* one of them breaks a rule */
};

bool q2_l1_place_hear(struct q2_l1_place *place, const struct qcow2_problem *problem)
{
	struct qcow2_repair_step step = q2_repair_step_of(problem, "");

	switch (problem->kind->number) {
	case QCOW2_PROBLEM_L1_OFFSET_UNALIGNED:
		place->unaligned = step;
		return true;
	case QCOW2_PROBLEM_L1_BEYOND_END:
		place->beyond_end = step;
		return true;
	case QCOW2_PROBLEM_L1_TOO_SMALL:
		place->too_small = step;
		return true;
	case QCOW2_PROBLEM_L1_TOO_LARGE:
		place->too_large = step;
		return true;
	}
	return false;
}

/* The entries of a table that the file has. */
static uint64_t stored(const struct q2_repair *repair, const struct table *table)
{
	uint64_t size = repair->geometry->file_size_bytes, most;

	if (table->offset >= size)
		return 0;
	most = q2_div_ceil_u64(size - table->offset, 8);
	return most < table->entries ? most : table->entries;
}

static void look_at_piece(const struct q2_repair *repair, const uint8_t *bytes, uint64_t count,
			  uint64_t first, struct seen *seen)
{
	for (uint64_t i = 0; i < count; i++) {
		uint64_t entry = q2_load_be64(bytes + i * 8);

		if (entry == 0)
			continue;
		seen->used = first + i + 1;
		seen->leading++;
		seen->faulty |= q2_faults_of_l1(repair, entry).count > 0;
	}
}

/* Looks at the entries from first on, as far as the file has them; holes cost nothing. */
static int look(const struct q2_repair *repair, const struct table *table, uint64_t first,
		struct seen *seen)
{
	uint64_t end = stored(repair, table);
	uint8_t *bytes = q2_alloc_buffer(PIECE * 8);
	int failed = bytes ? 0 : q2_fail_memory(repair->err);

	*seen = (struct seen){.used = 0};
	while (first < end && !failed) {
		uint64_t at = table->offset + first * 8;
		uint64_t hole = (qcow2_source_hole_end(repair->view, at) - at) / 8;
		uint64_t count = end - first < PIECE ? end - first : PIECE;

		if (hole > 0) {
			first += hole;
			continue;
		}
		failed = q2_plan_read(repair->plan, at, bytes, (size_t)count * 8, repair->err);
		if (!failed)
			look_at_piece(repair, bytes, count, first, seen);
		first += count;
	}
	q2_free(bytes);
	return failed;
}

/* Plans that the header says where the table is. */
static int point(struct q2_repair *repair, const struct table *table)
{
	repair->begin_again = true;
	if (q2_repair_write_number(repair, QCOW2_PHASE_POINT,
				   offsetof(struct qcow2_header, l1_size), table->entries, 4,
				   "size of the L1 table"))
		return -1;
	return q2_repair_write_number(repair, QCOW2_PHASE_POINT,
				      offsetof(struct qcow2_header, l1_table_offset), table->offset,
				      8, "place of the L1 table");
}

/*
 * Programs refuse an image whose table is not whole, unless it merely passes the end of the file:
 * then the rest of it reads as zeros.
 */
static int tell(struct q2_repair *repair, struct qcow2_repair_step *step, const char *does,
		bool costs)
{
	enum qcow2_reads unmapped =
		repair->header->backing_file_offset ? QCOW2_READS_BACKING : QCOW2_READS_ZEROS;
	unsigned kind = step->kind->number;

	step->does = does;
	step->costs = costs;
	step->before = QCOW2_READS_ERROR;
	step->after = QCOW2_READS_DATA;
	if (kind == QCOW2_PROBLEM_L1_BEYOND_END && repair->header->l1_table_offset <= INT64_MAX)
		step->before = unmapped;
	if (kind == QCOW2_PROBLEM_L1_BEYOND_END || costs)
		step->after = unmapped;
	if (!step->has_guest)
		step->before = step->after = QCOW2_READS_SAME;
	return q2_repair_tell(repair, step);
}

/* Copies entries to a new table of the size that the disk needs, and points there. */
static int move(struct q2_repair *repair, const struct table *from)
{
	const struct qcow2_geometry *geometry = repair->geometry;
	struct table to = {0, geometry->l1_entries_needed};
	uint64_t size, count = stored(repair, from);
	uint8_t *bytes;
	int failed;

	if (count > to.entries)
		count = to.entries;
	size = q2_div_ceil_u64(to.entries * 8, geometry->cluster_size_bytes)
	       << geometry->cluster_bits;
	if (q2_space_take(repair, size >> geometry->cluster_bits, &to.offset))
		return -1;
	/* Bytes past the end of the file are zeros already: nothing would be written there. */
	if (to.offset == from->offset &&
	    q2_space_take(repair, size >> geometry->cluster_bits, &to.offset))
		return -1;
	bytes = q2_alloc_array((size_t)size, 1);
	if (!bytes)
		return q2_fail_memory(repair->err);
	failed = (count > 0 && q2_plan_read(repair->plan, from->offset, bytes, (size_t)count * 8,
					    repair->err)) ||
		 q2_repair_write(repair, QCOW2_PHASE_NEW, to.offset,
				 (struct qcow2_bytes){bytes, (size_t)size}, "a whole L1 table") ||
		 point(repair, &to);
	q2_free(bytes);
	return failed ? -1 : 0;
}

/* Whether bytes of a table are nothing else's: [first, table->entries) of its entries. */
static int is_alone(struct q2_repair *repair, const struct table *table, uint64_t first,
		    bool *alone)
{
	const struct q2_use_area area = {
		.start = table->offset + first * 8,
		.end = table->offset + table->entries * 8,
		.table = table->offset,
		.part = QCOW2_CLAIM_L1_TABLE,
	};
	struct q2_uses uses = {.repair = repair};
	int failed = q2_uses_add_area(&uses, &area) || q2_uses_walk(&uses);

	*alone = !failed && !q2_uses_contests(&uses, area.start);
	q2_uses_release(&uses);
	return failed ? -1 : 0;
}

/*
 * The low bits of the offset may be wrong, or someone wrote a table at such a place: entries that
 * obey all rules tell.
 */
static int mend_unaligned(struct q2_repair *repair, struct qcow2_repair_step *step)
{
	uint64_t offset = repair->header->l1_table_offset;
	struct table there = {offset, repair->header->l1_size}, below = there;
	struct seen seen, seen_below;
	bool alone;

	below.offset -= offset % repair->geometry->cluster_size_bytes;
	if (!q2_repair_may(repair, QCOW2_PROBLEM_L1_OFFSET_UNALIGNED, false))
		return 0;
	if (look(repair, &there, 0, &seen) || look(repair, &below, 0, &seen_below) ||
	    is_alone(repair, &below, 0, &alone))
		return -1;
	if (below.offset != 0 && seen_below.leading > 0 && !seen_below.faulty &&
	    seen_below.leading >= seen.leading && alone) {
		return tell(repair, step, "points to the L1 table at the start of the cluster",
			    false) || point(repair, &below)
			       ? -1
			       : 0;
	}
	if (seen.leading > 0 && !seen.faulty)
		return tell(repair, step, "copies the L1 table to a place where one may be",
			    false) || move(repair, &there)
			       ? -1
			       : 0;
	q2_repair_leave(repair, QCOW2_PROBLEM_L1_OFFSET_UNALIGNED,
			"no L1 table is there: qcow2 rescue looks for it");
	return 0;
}

/* The size says more than the disk needs, and what lies behind no guest can read. */
static int cut(struct q2_repair *repair, struct qcow2_repair_step *step, bool costs)
{
	const struct table table = {repair->header->l1_table_offset,
				    repair->geometry->l1_entries_needed};

	step->has_guest = false;
	return tell(repair, step, "makes the L1 table as large as the disk needs", costs) ||
			       point(repair, &table)
		       ? -1
		       : 0;
}

/* None of the table is left, or the rest of it. */
static int mend_beyond_end(struct q2_repair *repair, struct qcow2_repair_step *step)
{
	struct table table = {repair->header->l1_table_offset, repair->header->l1_size};
	uint64_t needed = repair->geometry->l1_entries_needed, there;
	bool costs;

	if (table.entries > needed)
		table.entries = needed;
	there = stored(repair, &table);
	costs = there == 0 && needed > 0;
	if (!q2_repair_may(repair, QCOW2_PROBLEM_L1_BEYOND_END, costs)) {
		if (repair->why[QCOW2_PROBLEM_L1_BEYOND_END].wants_all)
			q2_repair_leave(repair, QCOW2_PROBLEM_L1_BEYOND_END,
					"the L1 table is lost: qcow2 rescue looks for another "
					"one; --all makes an empty one");
		return 0;
	}
	if (there == needed)
		return cut(repair, step, false);
	if (tell(repair, step,
		 costs ? "makes an L1 table that maps nothing"
		       : "copies what is left of the L1 table to a whole one",
		 costs))
		return -1;
	return move(repair, &table);
}

/* The entries behind the table may be the rest of it: the size in the header may be wrong. */
static int mend_too_small(struct q2_repair *repair, struct qcow2_repair_step *step)
{
	const struct table old = {repair->header->l1_table_offset, repair->header->l1_size};
	struct table whole = {old.offset, repair->geometry->l1_entries_needed};
	struct seen rest;
	bool alone, costs;

	if (look(repair, &whole, old.entries, &rest) ||
	    is_alone(repair, &whole, old.entries, &alone))
		return -1;
	if (whole.offset != 0 && stored(repair, &whole) == whole.entries && !rest.faulty && alone &&
	    (rest.leading > 0 || old.entries > 0)) {
		if (!q2_repair_may(repair, QCOW2_PROBLEM_L1_TOO_SMALL, false))
			return 0;
		return tell(repair, step, "makes the L1 table as large as the disk needs", false) ||
				       point(repair, &whole)
			       ? -1
			       : 0;
	}
	costs = old.entries == 0;
	if (!q2_repair_may(repair, QCOW2_PROBLEM_L1_TOO_SMALL, costs)) {
		if (repair->why[QCOW2_PROBLEM_L1_TOO_SMALL].wants_all)
			q2_repair_leave(repair, QCOW2_PROBLEM_L1_TOO_SMALL,
					"the L1 table is lost: qcow2 rescue looks for another "
					"one; --all makes an empty one");
		return 0;
	}
	if (tell(repair, step,
		 costs ? "makes an L1 table that maps nothing"
		       : "copies the L1 table to one that is large enough",
		 costs))
		return -1;
	return move(repair, &old);
}

static int mend_too_large(struct q2_repair *repair, struct qcow2_repair_step *step)
{
	const struct table table = {repair->header->l1_table_offset, repair->header->l1_size};
	uint64_t needed = repair->geometry->l1_entries_needed;
	struct seen rest;

	if (needed > QCOW2_LIMIT_QEMU_L1_ENTRIES) {
		q2_repair_leave(repair, QCOW2_PROBLEM_L1_TOO_LARGE,
				"the disk needs so many entries: qcow2 can read it, QEMU cannot");
		return 0;
	}
	if (look(repair, &table, needed, &rest))
		return -1;
	if (!q2_repair_may(repair, QCOW2_PROBLEM_L1_TOO_LARGE, rest.leading > 0)) {
		if (repair->why[QCOW2_PROBLEM_L1_TOO_LARGE].wants_all)
			q2_repair_leave(repair, QCOW2_PROBLEM_L1_TOO_LARGE,
					"entries past the end of the disk map clusters, which "
					"--all gives up");
		return 0;
	}
	return cut(repair, step, rest.leading > 0);
}

/* Leaves the table alone if it would be larger than QEMU reads. */
static bool is_left(struct q2_repair *repair, const struct q2_l1_place *place)
{
	const struct {
		bool there;
		enum qcow2_problem_id id;
	} all[] = {{place->unaligned.kind, QCOW2_PROBLEM_L1_OFFSET_UNALIGNED},
		   {place->beyond_end.kind, QCOW2_PROBLEM_L1_BEYOND_END},
		   {place->too_small.kind, QCOW2_PROBLEM_L1_TOO_SMALL}};
	bool left = false;

	if (repair->geometry->l1_entries_needed <= QCOW2_LIMIT_QEMU_L1_ENTRIES)
		return false;
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		if (!all[i].there)
			continue;
		left = true;
		q2_repair_leave(repair, all[i].id,
				"the table would be over 32 MiB: is the disk that large?");
	}
	return left;
}

int q2_l1_place_mend(struct q2_repair *repair, struct q2_l1_place *place)
{
	if (is_left(repair, place))
		return 0;
	if (place->unaligned.kind)
		return mend_unaligned(repair, &place->unaligned);
	if (place->beyond_end.kind)
		return mend_beyond_end(repair, &place->beyond_end);
	if (place->too_small.kind)
		return mend_too_small(repair, &place->too_small);
	if (place->too_large.kind)
		return mend_too_large(repair, &place->too_large);
	return 0;
}
