/* SPDX-License-Identifier: MIT */
/* The ranges that differ, as a table or as JSON. See run.h. */
#include <inttypes.h>
#include <stdio.h>

#include "common/report.h"
#include "compare/run.h"
#include "out/human.h"

/* So many ranges are shown to people, unless --verbose asks for all. */
#define SHOWN_MOST 20

static const char *kind_name(unsigned kind)
{
	return kind == COMPARE_NONE ? "none" : qcow2_disk_kind_name((enum qcow2_disk_kind)kind);
}

static void show_object(struct compare_run *run)
{
	const struct compare_range *range = &run->last;

	spool_print(&run->out,
		    "%s{ \"start\": %" PRIu64 ", \"length\": %" PRIu64
		    ", \"reads-same\": %s, \"a\": \"%s\", \"b\": \"%s\"}",
		    run->ranges == 1 ? "[" : ",\n", range->start_bytes, range->length_bytes,
		    range->reads_same ? "true" : "false", kind_name(range->kinds[0]),
		    kind_name(range->kinds[1]));
}

static void show_row(struct compare_run *run)
{
	const struct compare_range *range = &run->last;

	if (run->ranges > SHOWN_MOST && !wants_all(run->command))
		return;
	if (run->ranges == 1)
		spool_print(&run->out, "%-15s %-13s %-12s %s\n", "Offset", "Length", "A", "B");
	spool_print(&run->out, "0x%-13" PRIx64 " 0x%-11" PRIx64 " %-12s %s%s\n", range->start_bytes,
		    range->length_bytes, kind_name(range->kinds[0]), kind_name(range->kinds[1]),
		    range->reads_same ? "  reads the same" : "");
}

/* Shows the last range, which does not grow any more. */
static void show_last(struct compare_run *run)
{
	if (run->last.length_bytes == 0)
		return;
	if (run->ranges++ == 0)
		run->first_bytes = run->last.start_bytes;
	run->bytes += run->last.length_bytes;
	(run->as_json ? show_object : show_row)(run);
	run->last.length_bytes = 0;
}

static bool joins(const struct compare_range *a, const struct compare_range *b)
{
	return a->length_bytes > 0 && a->start_bytes + a->length_bytes == b->start_bytes &&
	       a->kinds[0] == b->kinds[0] && a->kinds[1] == b->kinds[1] &&
	       a->reads_same == b->reads_same;
}

void compare_add(struct compare_run *run, const struct compare_range *range)
{
	if (joins(&run->last, range)) {
		run->last.length_bytes += range->length_bytes;
		return;
	}
	show_last(run);
	run->last = *range;
}

bool compare_is_done(const struct compare_run *run)
{
	/* Who wants no list wants to know whether there is one. */
	return run->out.errnum != 0 || (wants_silence(run->command) && !run->as_json &&
					(run->ranges > 0 || run->last.length_bytes > 0));
}

static void show_sizes(struct compare_run *run)
{
	char a[HUMAN_MAX], b[HUMAN_MAX];

	if (run->sizes[0] != run->sizes[1])
		spool_print(&run->out, "Sizes differ: A has %s, B has %s%s.\n",
			    human_size(run->sizes[0], a), human_size(run->sizes[1], b),
			    run->strict ? "" : "; what the shorter one lacks counts as zeros");
}

static void show_sum(struct compare_run *run)
{
	const uint64_t size = run->sizes[0] > run->sizes[1] ? run->sizes[0] : run->sizes[1];
	char bytes[HUMAN_MAX], all[HUMAN_MAX];

	if (run->ranges == 0) {
		if (!run->strict || run->sizes[0] == run->sizes[1])
			spool_text(&run->out, "Images are identical.\n");
		return;
	}
	if (run->ranges > SHOWN_MOST && !wants_all(run->command))
		spool_print(&run->out, "and %" PRIu64 " more (-v shows all)\n",
			    run->ranges - SHOWN_MOST);
	spool_print(&run->out,
		    "\n%s of %s differ, in %" PRIu64 " range%s, first at 0x%" PRIx64 ".\n",
		    human_size(run->bytes, bytes), human_size(size, all), run->ranges,
		    run->ranges == 1 ? "" : "s", run->first_bytes);
}

void compare_show_end(struct compare_run *run)
{
	show_last(run);
	if (run->as_json) {
		spool_text(&run->out, run->ranges > 0 ? "]\n" : "[]\n");
		return;
	}
	show_sum(run);
	show_sizes(run);
}
